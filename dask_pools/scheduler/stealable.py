"""The tasks that may be stolen, sorted by who may steal them.

distributed keeps them by worker, and finds out for every single one, each time, that no idle
worker may have it. Here those which the same workers may run lie together: what nobody who is
idle may run is not even looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from dask_pools.scheduler.roster import PoolState, bound_only, bound_to

if TYPE_CHECKING:
    from distributed.scheduler import TaskState, WorkerState

#: The tasks on one worker, by level.
Levels: TypeAlias = "tuple[set[TaskState], ...]"


class Restrictions(NamedTuple):
    """What keeps a task from running anywhere, beside its pool."""

    pool: str | None
    workers: frozenset[str]
    hosts: frozenset[str]
    resources: frozenset[tuple[str, float]]
    loose: bool


#: None: may run anywhere. A string: in this pool. Else: what its restrictions say.
Kind: TypeAlias = "str | Restrictions | None"


def kind_of(ts: TaskState) -> Kind:
    """Tell who may run a task."""
    resources = ts.resource_restrictions
    if not resources and not ts.worker_restrictions and not ts.host_restrictions:
        return None
    return bound_only(ts) or Restrictions(
        bound_to(ts),
        frozenset(ts.worker_restrictions or ()),
        frozenset(ts.host_restrictions or ()),
        frozenset((resources or {}).items()),
        bool(ts.loose_restrictions),
    )


class Shelf(dict[str, Levels]):
    """Tasks by the address of their worker, and by level.

    Parameters
    ----------
    levels : int
        Number of levels.

    Attributes
    ----------
    size : int
        Number of tasks.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self._nothing = _empty(levels)
        self.size = 0

    def __missing__(self, address: str) -> Levels:
        return self._nothing

    def task(self) -> TaskState:
        """Return one of the tasks, no matter which."""
        return next(ts for levels in self.values() for tasks in levels for ts in tasks)


class Book:
    """All tasks that may be stolen.

    Parameters
    ----------
    levels : int
        Number of levels.
    pools_of : callable
        The pools of a worker.

    Attributes
    ----------
    common : Shelf
        Tasks that any worker may run which is in the pool of their worker.
    apart : dict
        All other tasks, by who may run them.
    unplaced : dict
        Tasks that are not bound to a pool, by the address of their worker, with their level;
        each is on a shelf as well. Workers and tasks that were looked at last are at the end.
    """

    def __init__(
        self, levels: int, pools_of: Callable[[WorkerState], tuple[PoolState, ...]]
    ) -> None:
        self._levels = levels
        self._pools_of = pools_of
        #: Where each task is: the set of tasks, its shelf, who may run it, and its worker.
        self._places: dict[TaskState, tuple[set[TaskState], Shelf, Kind, str]] = {}
        self.common = Shelf(levels)
        self.apart: dict[str | Restrictions, Shelf] = {}
        self.unplaced: dict[str, dict[TaskState, int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    # The two that follow are called for every task of the cluster: they count every call.

    def put(self, ts: TaskState, address: str, level: int) -> None:
        """Note a task that is on a worker, and may be stolen."""
        if ts in self._places:
            self.remove(ts)
        kind = kind_of(ts)
        if kind is None or (isinstance(kind, str) and self._is_at_home(ts, kind)):
            shelf = self.common
        elif kind in self.apart:
            shelf = self.apart[kind]
        else:
            shelf = self.apart[kind] = Shelf(self._levels)
        if address not in shelf:
            shelf[address] = _empty(self._levels)
        tasks = shelf[address][level]
        tasks.add(ts)
        shelf.size += 1
        self._places[ts] = (tasks, shelf, kind, address)
        if _is_unplaced(kind):
            self.unplaced.setdefault(address, {})[ts] = level

    def remove(self, ts: TaskState) -> None:
        """Forget a task, if it was noted."""
        place = self._places.pop(ts, None)
        if place is None:
            return
        tasks, shelf, kind, address = place
        tasks.discard(ts)
        shelf.size -= 1
        if not shelf.size and kind is not None and shelf is not self.common:
            del self.apart[kind]
        if _is_unplaced(kind):
            unplaced = self.unplaced[address]
            del unplaced[ts]
            if not unplaced:
                del self.unplaced[address]

    def _is_at_home(self, ts: TaskState, pool: str) -> bool:
        # A worker of several pools has tasks which not all may run that share a pool with it.
        ws = ts.processing_on
        pools = self._pools_of(ws) if ws is not None else ()
        return len(pools) == 1 and pools[0].name == pool

    def clear(self) -> None:
        """Forget all tasks."""
        self._places.clear()
        self.common.clear()
        self.common.size = 0
        self.apart.clear()
        self.unplaced.clear()

    def forget_worker(self, address: str) -> None:
        """Forget a worker that has left, and the tasks it had."""
        for shelf in [self.common, *self.apart.values()]:
            for tasks in shelf[address]:
                for ts in list(tasks):
                    self.remove(ts)
            shelf.pop(address, None)

    def sample(self, address: str, most: int) -> Levels:
        """Return some of the unplaced tasks of a worker: those looked at longest ago."""
        levels = _empty(self._levels)
        tasks = self.unplaced[address] = self.unplaced.pop(address)
        for ts in list(islice(tasks, most)):
            level = tasks[ts] = tasks.pop(ts)
            levels[level].add(ts)
        return levels


def _is_unplaced(kind: Kind) -> bool:
    return kind is None or (not isinstance(kind, str) and kind.pool is None)


def _empty(levels: int) -> Levels:
    return tuple(set() for _ in range(levels))
