"""How a scheduler hears of its workers: their resources, and their status."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distributed.core import Status

from dask_pools.scheduler.private.base import Undo, changed, override, replace_entry

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import WorkerState

ADD_RESOURCES = "add_resources"
REMOVE_RESOURCES = "remove_resources"
STATUS_CHANGE = "handle_worker_status_change"

#: The operation by which a worker tells of new resources.
SET_RESOURCES = "set_resources"
#: The message by which a worker tells of a new status.
STATUS_MESSAGE = "worker-status-change"


def watch_workers(
    scheduler: Scheduler,
    joined: Callable[[WorkerState], None],
    left: Callable[[str], None],
    turned: Callable[[WorkerState, bool], None],
) -> Undo:
    """Hear of workers before any task is moved on their account.

    The methods ``add_worker`` and ``remove_worker`` of plugins are called when tasks have been
    sent to a new worker already, and when those of a lost one have been sent elsewhere.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    joined : callable
        Called with a worker that is new, or has new resources.
    left : callable
        Called with the address of a worker that is about to leave.
    turned : callable
        Called with a worker and whether it will take tasks, before its status changes.
    """
    for name in (ADD_RESOURCES, REMOVE_RESOURCES, STATUS_CHANGE):
        if not callable(getattr(scheduler, name, None)):
            raise changed(f"Scheduler.{name}")
    add, remove = scheduler.add_resources, scheduler.remove_resources
    change = scheduler.handle_worker_status_change

    def add_resources(worker: str, resources: dict[str, float] | None = None) -> Any:
        result = add(worker=worker, resources=resources)
        joined(scheduler.workers[worker])
        return result

    def remove_resources(worker: str) -> None:
        left(worker)
        remove(worker)

    def handle_worker_status_change(
        status: str | Status, worker: str | WorkerState, stimulus_id: str
    ) -> None:
        ws = scheduler.workers.get(worker) if isinstance(worker, str) else worker
        if ws is not None:
            name = status if isinstance(status, str) else status.name
            turned(ws, name == Status.running.name)
        change(status, worker, stimulus_id)

    with contextlib.ExitStack() as undo:
        undo.callback(override(scheduler, ADD_RESOURCES, add_resources))
        undo.callback(override(scheduler, REMOVE_RESOURCES, remove_resources))
        undo.callback(override(scheduler, STATUS_CHANGE, handle_worker_status_change))
        undo.callback(
            replace_entry(
                scheduler.handlers,
                SET_RESOURCES,
                add_resources,
                f"handler {SET_RESOURCES!r} of the scheduler",
            )
        )
        undo.callback(
            replace_entry(
                scheduler.stream_handlers,
                STATUS_MESSAGE,
                handle_worker_status_change,
                f"stream handler {STATUS_MESSAGE!r} of the scheduler",
            )
        )
        return undo.pop_all().close
