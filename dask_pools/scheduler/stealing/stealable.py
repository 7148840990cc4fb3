"""The tasks that may be stolen, sorted by who may steal them.

distributed keeps them by worker, and finds out for every single one, each time, that no idle
worker may have it. Here those which only some workers may run are kept apart: what nobody who is
idle may run is not even looked at. All others, nearly all, stay where distributed has them.
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
    """The tasks that may be stolen, but not by any worker of their worker's pool.

    Parameters
    ----------
    levels : int
        Number of levels.
    pools_of : callable
        The pools of a worker.
    divides : bool
        Whether there are pools. If not, all tasks stay where distributed has them.

    Attributes
    ----------
    divides : bool
        The same, as of the last round.
    apart : dict
        These tasks, by who may run them.
    unplaced : dict
        Tasks that are not bound to a pool, by the address of their worker, with their level,
        whether they are kept apart or not. Workers and tasks that were looked at last are at
        the end.
    """

    def __init__(
        self,
        levels: int,
        pools_of: Callable[[WorkerState], tuple[PoolState, ...]],
        *,
        divides: bool,
    ) -> None:
        self._levels = levels
        self._pools_of = pools_of
        self.divides = divides
        #: Where each task that is kept apart is: the set of tasks, its shelf, who may run it.
        self._places: dict[TaskState, tuple[set[TaskState], Shelf, str | Restrictions]] = {}
        self.apart: dict[str | Restrictions, Shelf] = {}
        self.unplaced: dict[str, dict[TaskState, int]] = {}

    # The two that follow are called for every task of the cluster: they count every call.

    def put(self, ts: TaskState, address: str, level: int) -> bool:
        """Note a task that is on a worker, and may be stolen; returns whether it is kept apart."""
        if not self.divides:
            return False
        pool = bound_only(ts)
        if pool is not None and self._is_at_home(ts, pool):
            return False
        kind = kind_of(ts)
        if kind is None or (not isinstance(kind, str) and kind.pool is None):
            tasks = self.unplaced.get(address)
            if tasks is None:
                tasks = self.unplaced[address] = {}
            tasks[ts] = level
            if kind is None:
                return False
        self._put_apart(ts, kind, address, level)
        return True

    def remove(self, ts: TaskState, address: str) -> None:
        """Forget a task that was on a worker, if it was noted."""
        if self._places:
            self._remove_apart(ts)
        tasks = self.unplaced.get(address)
        if tasks is not None and tasks.pop(ts, None) is not None and not tasks:
            del self.unplaced[address]

    def _put_apart(self, ts: TaskState, kind: str | Restrictions, address: str, level: int) -> None:
        shelf = self.apart.get(kind)
        if shelf is None:
            shelf = self.apart[kind] = Shelf(self._levels)
        if address not in shelf:
            shelf[address] = _empty(self._levels)
        tasks = shelf[address][level]
        tasks.add(ts)
        shelf.size += 1
        self._places[ts] = (tasks, shelf, kind)

    def _remove_apart(self, ts: TaskState) -> None:
        place = self._places.pop(ts, None)
        if place is not None:
            tasks, shelf, kind = place
            tasks.discard(ts)
            shelf.size -= 1
            if not shelf.size:
                del self.apart[kind]

    def _is_at_home(self, ts: TaskState, pool: str) -> bool:
        # A worker of several pools has tasks which not all may run that share a pool with it.
        ws = ts.processing_on
        if ws is None:
            return False
        pools = self._pools_of(ws)
        return len(pools) == 1 and pools[0].name == pool

    def clear(self) -> None:
        """Forget all tasks."""
        self._places.clear()
        self.apart.clear()
        self.unplaced.clear()

    def forget_worker(self, address: str) -> None:
        """Forget a worker that has left, and the tasks it had."""
        for shelf in list(self.apart.values()):
            for tasks in shelf.pop(address, ()):
                for ts in list(tasks):
                    self._remove_apart(ts)
        self.unplaced.pop(address, None)

    def sample(self, address: str, most: int) -> Levels:
        """Return some of the unplaced tasks of a worker: those looked at longest ago."""
        levels = _empty(self._levels)
        tasks = self.unplaced[address] = self.unplaced.pop(address)
        for ts in list(islice(tasks, most)):
            level = tasks[ts] = tasks.pop(ts)
            levels[level].add(ts)
        return levels


def _empty(levels: int) -> Levels:
    return tuple(set() for _ in range(levels))
