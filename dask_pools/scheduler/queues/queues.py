"""The queued tasks of a scheduler: distributed's own, and those of each pool."""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Callable, Iterator, MutableSet
from typing import TYPE_CHECKING, Protocol

from dask_pools.scheduler.private.queuing import Heap, new_heap
from dask_pools.scheduler.roster import bound_to

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

_priority = operator.attrgetter("priority")


class BackPressure(Protocol):
    """Who may hold back the queue of a pool although its workers have room."""

    def holds_back(self, pool: str) -> bool:
        """Say whether the next task of a pool has to be chosen by `pick`."""

    def pick(self, pool: str, queue: Heap) -> TaskState | None:
        """Choose the next task from the queue of a pool; None leaves it as it is."""

    def queued(self, ts: TaskState) -> None:
        """Note that a task waits in the queue of its pool."""

    def dequeued(self, ts: TaskState) -> None:
        """Note that a task does not wait in a queue any more."""


class NoPressure:
    """Holds nothing back."""

    def holds_back(self, pool: str) -> bool:  # noqa: ARG002
        """Say no."""
        return False

    def pick(self, pool: str, queue: Heap) -> TaskState | None:  # noqa: ARG002
        """Choose the first."""
        return queue.peek()

    def queued(self, ts: TaskState) -> None:
        """Take no note."""

    def dequeued(self, ts: TaskState) -> None:
        """Take no note."""


class Queues(MutableSet["TaskState"]):
    """All queued tasks of a scheduler: distributed's own queue, and one for each pool.

    While a task is queued for a pool, it stands where distributed has its own queue, and is for
    everybody who looks there what that was: a set of tasks with a first one.

    Parameters
    ----------
    unplaced : HeapSet
        distributed's own queue; holds the tasks that are not bound to a pool.
    pressure : BackPressure
        Is told what enters and what leaves the queues of pools.
    show : callable
        Called with what has to stand in that place: this object before the first task is
        queued for a pool, and distributed's own queue, which is quicker, after the last one.
    """

    def __init__(
        self,
        unplaced: Heap,
        pressure: BackPressure,
        show: Callable[[MutableSet[TaskState]], None],
    ) -> None:
        self.unplaced = unplaced
        self.pressure = pressure
        self._show = show
        #: The pool of every task in one of the queues below; with the first and the last of it.
        self.pool_of: dict[TaskState, str] = {}
        self._queues: dict[str, Heap] = {}

    def of(self, pool: str) -> Heap:
        """Return the queue of a pool; not to be changed."""
        queue = self._queues.get(pool)
        if queue is None:
            queue = self._queues[pool] = new_heap()
        return queue

    def add(self, ts: TaskState) -> None:
        """Add a task to the queue of its pool, or to distributed's own if it has none."""
        pool = bound_to(ts)
        if pool is None:
            self.unplaced.add(ts)
        elif ts not in self.pool_of:
            if not self.pool_of:
                self._show(self)
            self.pool_of[ts] = pool
            self.of(pool).add(ts)
            self.pressure.queued(ts)

    def discard(self, ts: TaskState) -> None:
        """Remove a task from the queue in which it is, if any."""
        pool = self.pool_of.pop(ts, None)
        if pool is None:
            self.unplaced.discard(ts)
        else:
            self._queues[pool].discard(ts)
            self.pressure.dequeued(ts)
            if not self.pool_of:
                self._show(self.unplaced)

    def peek(self) -> TaskState:
        """Return the first task of all.

        Raises
        ------
        KeyError
            If no task is queued.
        """
        if not self.pool_of:
            return self.unplaced.peek()
        return min((queue.peek() for queue in self._all() if queue), key=_priority)

    def sorted(self) -> Iterator[TaskState]:
        """Iterate over all tasks in the order of their priorities."""
        return heapq.merge(*(queue.sorted() for queue in self._all()), key=_priority)

    def __contains__(self, ts: object) -> bool:
        return ts in self.pool_of or ts in self.unplaced

    def __iter__(self) -> Iterator[TaskState]:
        return itertools.chain(self.unplaced, self.pool_of)

    def __len__(self) -> int:
        return len(self.unplaced) + len(self.pool_of)

    def __bool__(self) -> bool:
        return bool(self.pool_of or self.unplaced)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} items>"

    def _all(self) -> Iterator[Heap]:
        return itertools.chain((self.unplaced,), self._queues.values())
