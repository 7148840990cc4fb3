"""Computations inside the opening of data are made in its own thread.

To compare coordinates of several files, xarray computes them. On a worker, Dask would send each
such computation to the scheduler, and wait for it in the only thread that could run it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import dask
from dask.base import get_scheduler
from distributed import get_client

_INLINE: ContextVar[bool] = ContextVar("dask_pools_inline", default=False)


class _Switch:
    """Dask's setting of the scheduler, which all threads of a process share.

    The first thread that asks for computations of its own changes it, the last one changes it
    back; computations of other threads go where they would have gone.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entered = 0
        self.outer: Any = None
        self.setting = contextlib.ExitStack()

    def enter(self) -> None:
        with self.lock:
            self.entered += 1
            if self.entered == 1:
                self.outer = dask.config.get("scheduler", None)
                self.setting.enter_context(dask.config.set(scheduler=self.get))

    def leave(self) -> None:
        with self.lock:
            self.entered -= 1
            if self.entered == 0:
                self.setting.close()

    def get(self, graph: Any, keys: Any, **options: Any) -> Any:
        """Compute: what Dask takes for a scheduler."""
        return self.choose()(graph, keys, **options)

    def choose(self) -> Any:
        if _INLINE.get():
            return get_scheduler(scheduler="synchronous")
        if self.outer is not None:
            return get_scheduler(scheduler=self.outer)
        try:
            return get_client().get
        except ValueError:
            return get_scheduler(scheduler="threads")


_SWITCH = _Switch()


@contextlib.contextmanager
def computing_inline() -> Iterator[None]:
    """Make Dask computations of this thread in this thread.

    Examples
    --------
    >>> import threading, dask
    >>> with computing_inline():
    ...     dask.delayed(threading.get_ident)().compute() == threading.get_ident()
    True
    """
    _SWITCH.enter()
    token = _INLINE.set(True)
    try:
        yield
    finally:
        _INLINE.reset(token)
        _SWITCH.leave()
