"""How a scheduler copies values to workers, takes them away, and evens them out."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any, TypeAlias

from dask.typing import Key

from dask_pools.scheduler.private.base import Undo, changed, override, replace_entry

if TYPE_CHECKING:
    from distributed import Scheduler

#: An operation of the scheduler that clients call by name.
Operation: TypeAlias = Callable[..., Awaitable[Any]]

REPLICATE = "replicate"
REBALANCE = "rebalance"
RETIRE = "retire_workers"

#: The arguments of each of them that are read.
ARGUMENTS = {
    REPLICATE: {"keys", "n", "workers", "branching_factor", "delete", "stimulus_id"},
    REBALANCE: {"keys", "workers", "stimulus_id"},
    RETIRE: set[str](),
}


def operation(scheduler: Scheduler, name: str) -> Operation:
    """Return one of the operations `REPLICATE`, `REBALANCE` and `RETIRE`."""
    method: Operation | None = getattr(scheduler, name, None)
    if method is None or not ARGUMENTS[name] <= set(inspect.signature(method).parameters):
        raise changed(f"Scheduler.{name}({', '.join(sorted(ARGUMENTS[name]))})")
    return method


def replace_operation(scheduler: Scheduler, name: str, function: Operation) -> Undo:
    """Put another function in the place of an operation, for clients and the scheduler itself."""
    with contextlib.ExitStack() as undo:
        undo.callback(override(scheduler, name, function))
        what = f"handler {name!r} of the scheduler"
        undo.callback(replace_entry(scheduler.handlers, name, function, what))
        return undo.pop_all().close


def replica_lock(scheduler: Scheduler) -> contextlib.AbstractAsyncContextManager[None]:
    """Keep other operations on replicas away: no worker retires meanwhile."""
    lock = getattr(scheduler, "_replica_lock", None)
    if lock is None:
        raise changed("Scheduler._replica_lock")
    # An owner of its own for each use, so that not even two of ours run at the same time.
    held: contextlib.AbstractAsyncContextManager[None] = lock(("dask-pools", object()))
    return held


async def copy_to(scheduler: Scheduler, address: str, who_has: dict[Key, list[str]]) -> set[Key]:
    """Have a worker fetch values; returns those it could not get. It does not raise."""
    failed: set[Key] = await scheduler.gather_on_worker(address, who_has)
    return failed


async def delete_from(
    scheduler: Scheduler, address: str, keys: Collection[Key], stimulus_id: str
) -> None:
    """Have a worker delete its replicas of values. It does not raise."""
    await scheduler.delete_worker_data(address, list(keys), stimulus_id)
