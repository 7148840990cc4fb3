"""The queued reads of one pool, and which of them may go on although the pool is held back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dask_pools.scheduler.pressure.computations import Computations
from dask_pools.scheduler.private.queuing import new_heap

if TYPE_CHECKING:
    from distributed.scheduler import TaskState


class Reads:
    """The queued reads of one pool.

    Two kinds may go on: those that complete a consumer, because it runs then, and lets go what
    it waited with; and those of a computation in which nothing crosses a link, because they
    cannot wait for another pool.

    Parameters
    ----------
    computations : Computations
        Which tasks belong together.
    crosses : callable
        Says whether some unfinished task of a computation fetches from another pool.
    """

    def __init__(self, computations: Computations, crosses: Callable[[int], bool]) -> None:
        self._computations = computations
        self._crosses = crosses
        self._by_computation: dict[int, set[TaskState]] = {}
        #: Those known to complete a consumer.
        self._completing = new_heap()
        #: Those of the computations in `_opened`, in which nothing crossed when last looked at.
        self._free = new_heap()
        self._opened: set[int] = set()
        #: Computations that have to be looked at: nothing is spent on them unless `first` is asked.
        self._unseen: dict[int, None] = {}

    def add(self, ts: TaskState) -> None:
        """Add a read that is queued now."""
        computation = self._computations.of(ts)
        reads = self._by_computation.get(computation)
        if reads is None:
            self._by_computation[computation] = {ts}
            self._unseen[computation] = None
            return
        reads.add(ts)
        if computation in self._opened:
            self._free.add(ts)

    def discard(self, ts: TaskState) -> None:
        """Remove a read that is not queued any more."""
        computation = self._computations.of(ts)
        reads = self._by_computation.get(computation)
        if reads is None:
            return
        reads.discard(ts)
        if self._completing:
            self._completing.discard(ts)
        if self._free:
            self._free.discard(ts)
        if not reads:
            del self._by_computation[computation]
            self._opened.discard(computation)
            self._unseen.pop(computation, None)

    def completes(self, ts: TaskState) -> None:
        """Note that a queued read completes a consumer."""
        self._completing.add(ts)

    def crosses_no_more(self, computation: int) -> None:
        """Note that all that had to cross a link in a computation has done so."""
        if computation in self._by_computation and computation not in self._opened:
            self._unseen[computation] = None

    def first(self) -> TaskState | None:
        """Return the first of the reads that may go on; None if there is none."""
        if self._completing:
            return self._completing.peek()
        while self._unseen:
            computation, _ = self._unseen.popitem()
            if not self._crosses(computation):
                self._opened.add(computation)
                for ts in self._by_computation[computation]:
                    self._free.add(ts)
        while self._free:
            ts = self._free.peek()
            computation = self._computations.of(ts)
            if not self._crosses(computation):
                return ts
            self._opened.discard(computation)
            for other in self._by_computation[computation]:
                self._free.discard(other)
        return None
