"""A worker that does not see the data of other pools."""

from __future__ import annotations

from typing import Any

from distributed import Worker

from dask_pools.deploy import guard, namespaces
from dask_pools.deploy.visibility import Means

_HIDE = {"namespaces": namespaces.hide, "guard": guard.hide}


class PoolWorker(Worker):
    """A worker from whose process some directories are hidden.

    A worker class, not a preload: Dask logs the errors of preloads and goes on, and a worker
    that sees too much must not start. A nanny runs this first of all in the main thread of a
    new process, so all the threads that will run tasks are made later, and see the same.
    Only for workers in processes of their own, since nothing can be shown again.

    Parameters
    ----------
    *args, **kwargs
        As for `distributed.Worker`.
    hidden : tuple of str
        Absolute paths of the directories to hide.
    means : {"namespaces", "guard"}
        How to hide them.
    """

    def __init__(self, *args: Any, hidden: tuple[str, ...], means: Means, **kwargs: Any) -> None:
        _HIDE[means](hidden)
        super().__init__(*args, **kwargs)
