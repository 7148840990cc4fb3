"""How a scheduler hears of tasks that have seceded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dask_pools.scheduler.private.base import Undo, changed, replace_entry

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Scheduler
    from distributed.scheduler import TaskState

#: The message by which a worker tells that a task has seceded.
SECEDED = "long-running"


def watch_secessions(scheduler: Scheduler, seceded: Callable[[TaskState], None]) -> Undo:
    """Hear of tasks that have seceded, right after distributed has taken note of it."""
    what = f"stream handler {SECEDED!r} of the scheduler"
    stock = scheduler.stream_handlers.get(SECEDED)
    if stock is None:
        raise changed(what)

    def long_running(key: Key, **message: Any) -> None:
        stock(key=key, **message)
        ts = scheduler.tasks.get(key)
        ws = None if ts is None else ts.processing_on
        # What distributed has ignored, because it was late, has not changed this.
        if ts is not None and ws is not None and ts in ws.long_running:
            seceded(ts)

    return replace_entry(scheduler.stream_handlers, SECEDED, long_running, what)
