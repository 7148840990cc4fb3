"""A worker that has the credentials of its pool, and does not see the data of others."""

from __future__ import annotations

from typing import Any

from distributed import Worker

from dask_pools.deploy import guard, namespaces
from dask_pools.deploy.visibility import Means
from dask_pools.topology.kept import keep_storage_options
from dask_pools.topology.storage import StorageOptions

_HIDE = {"namespaces": namespaces.hide, "guard": guard.hide}


class PoolWorker(Worker):
    """A worker from whose process some directories are hidden, and which has its credentials.

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
    means : {"namespaces", "guard"} or None
        How to hide them; None if there are none.
    storage_options : StorageOptions or str, optional
        What opens the data of its pool, or the path of a file that has it. Kept beside Dask's
        configuration, which is part of every dump of a worker.
    """

    def __init__(
        self,
        *args: Any,
        hidden: tuple[str, ...] = (),
        means: Means | None = None,
        storage_options: StorageOptions | str | None = None,
        **kwargs: Any,
    ) -> None:
        if means is not None:
            _HIDE[means](hidden)
        if storage_options is not None:
            keep_storage_options(storage_options)
        super().__init__(*args, **kwargs)
