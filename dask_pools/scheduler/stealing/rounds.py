"""One round of work stealing: inside of a pool, or from pool to pool."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from distributed.stealing import WorkStealing

from dask_pools.scheduler.private.rounds import PoolView, Round, Stealable, View
from dask_pools.scheduler.stealing.crossing import Crossing, Pools
from dask_pools.scheduler.stealing.stealable import Book, Kind, kind_of

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

#: So many pairs of a task and a pool are weighed in one round from pool to pool.
WEIGHED = 40
#: So many idle workers of each pool may steal from other pools in one round: more cannot get a
#: task of those that are looked at.
IDLE = WEIGHED
#: At least so many tasks are looked at there, however many pools there are.
LOOKED_AT = 10
#: Of so many kinds of restrictions it is found out there who may run their tasks.
KINDS = 8
#: So many of the workers that hold an input are considered, the least occupied ones.
HOLDERS = 16


class Thieves:
    """Idle workers from which fetching the inputs of a task is equally far, unless they hold one.

    Among those, distributed chooses the one with the least work per thread, then the one that
    holds the fewest bytes. Here this one is found without asking all, for every task.

    Parameters
    ----------
    workers : iterable of WorkerState
        The idle workers; among equals the first comes first.
    occupancy : callable
        Seconds of work that a worker has, with what is on its way to it.
    """

    def __init__(
        self, workers: Iterable[WorkerState], occupancy: Callable[[WorkerState], float]
    ) -> None:
        self._occupancy = occupancy
        self._heap = [(*self._key(ws), i, ws) for i, ws in enumerate(workers)]
        heapq.heapify(self._heap)
        self._workers = {ws for *_, ws in self._heap}
        self._holders: dict[TaskState, list[WorkerState]] = {}

    def _key(self, ws: WorkerState) -> tuple[float, int]:
        return self._occupancy(ws) / ws.nthreads, ws.nbytes

    def candidates(self, ts: TaskState, thieves: set[WorkerState]) -> list[WorkerState]:
        """Return the least occupied worker, and those that hold an input of a task.

        Parameters
        ----------
        ts : TaskState
            The task.
        thieves : set of WorkerState
            Those workers that are idle still.
        """
        found = [ws for value in ts.dependencies for ws in self._holding(value) if ws in thieves]
        first = self._first(thieves)
        return found if first is None else [first, *found]

    def _first(self, thieves: set[WorkerState]) -> WorkerState | None:
        heap = self._heap
        while heap:
            load, nbytes, i, ws = heap[0]
            if ws not in thieves:
                heapq.heappop(heap)
                continue
            now = self._key(ws)
            if now == (load, nbytes):
                return ws
            heapq.heapreplace(heap, (*now, i, ws))  # something is on its way to it by now
        return None

    def _holding(self, value: TaskState) -> list[WorkerState]:
        found = self._holders.get(value)
        if found is None:
            here = self._workers & (value.who_has or set())
            key = lambda ws: (*self._key(ws), ws.address)  # noqa: E731
            found = self._holders[value] = heapq.nsmallest(HOLDERS, here, key=key)
        return found


class InsideRound(Round):
    """One round inside of a pool, or among the workers without one.

    Parameters
    ----------
    stealing, view, stealable
        As of a `Round`.
    pool : str or None
        The pool.
    kind : Restrictions, str or None
        Who may run the tasks.
    """

    def __init__(
        self,
        stealing: WorkStealing,
        view: PoolView,
        stealable: Stealable,
        pool: str | None,
        kind: Kind,
    ) -> None:
        super().__init__(stealing, view, stealable)
        self._kinds = {None, pool} if kind is None else {kind}
        self._thieves: Thieves | None = None

    def thief(
        self,
        ts: TaskState,
        thieves: set[WorkerState],
        occupancies: dict[WorkerState, float],
    ) -> WorkerState | None:
        """Choose the idle worker that is to steal a task; None if none may."""
        if kind_of(ts) not in self._kinds or self.carries(ts):
            return None  # it was restricted in another way when it was noted, or brings a value
        if ts.actor:
            return self.best(ts, thieves, occupancies)
        if self._thieves is None:
            idle = self.scheduler.idle.values()
            self._thieves = Thieves(idle, self.combined(occupancies))
        return self.best(ts, self._thieves.candidates(ts, thieves), occupancies)


class AcrossView(View):
    """A scheduler that knows what it costs to bring values from one pool to another."""

    def __init__(self, scheduler: Scheduler, crossing: Crossing) -> None:
        super().__init__(scheduler)
        self._crossing = crossing
        #: The idle workers by their pools.
        self.idle_of: dict[Pools, list[WorkerState]] = {}
        for ws in scheduler.idle.values():
            self.idle_of.setdefault(crossing.pools_of(ws), []).append(ws)
        for pools, found in self.idle_of.items():
            if len(found) > IDLE:
                self.idle_of[pools] = heapq.nsmallest(IDLE, found, key=_load)
        self.idle = {ws.address: ws for found in self.idle_of.values() for ws in found}

    def get_comm_cost(self, ts: TaskState, ws: WorkerState) -> float:
        """Return how long the inputs of a task take to a worker, in seconds."""
        if ws is ts.processing_on:
            return self._scheduler.get_comm_cost(ts, ws)
        return self._crossing.seconds(ts, ws)

    def allowed(self, ts: TaskState) -> set[WorkerState]:
        """Return the workers that may run a restricted task."""
        return self._scheduler.valid_workers(ts) or set()

    def check_idle_saturated(self, ws: WorkerState, occ: float = -1.0) -> None:
        """Update whether a worker is idle or saturated."""
        self._scheduler.check_idle_saturated(ws, occ)
        if ws not in self._scheduler.saturated:
            self.saturated.discard(ws)


class AcrossRound(Round):
    """One round from pool to pool.

    Only some tasks are looked at, others in the next round, so that it never takes long.

    Parameters
    ----------
    stealing : WorkStealing
        As of a `Round`.
    view : AcrossView
        The idle workers, and the victims.
    crossing : Crossing
        What it costs to bring values from one pool to another.
    book : Book
        The tasks.
    """

    def __init__(
        self, stealing: WorkStealing, view: AcrossView, crossing: Crossing, book: Book
    ) -> None:
        self._view = view
        self._crossing = crossing
        self._idle = view.idle_of
        self._thieves: dict[tuple[Pools, Kind], Thieves] = {}
        self._allowed: dict[Kind, set[WorkerState]] = {}
        victims = [address for address in view.workers if address not in view.idle]
        each = -(-max(LOOKED_AT, WEIGHED // len(self._idle)) // len(victims))
        super().__init__(
            stealing, view, {address: book.sample(address, each) for address in victims}
        )

    def thief(
        self,
        ts: TaskState,
        thieves: set[WorkerState],
        occupancies: dict[WorkerState, float],
    ) -> WorkerState | None:
        """Choose the idle worker that is to steal a task; None if none may."""
        kind = kind_of(ts)
        if ts.actor or ts.processing_on is None or isinstance(kind, str) or self.carries(ts):
            return None
        home = self._crossing.pools_of(ts.processing_on)
        candidates: list[WorkerState] = []
        for pools in self._idle:
            if _is_elsewhere(home, pools) and self._crossing.may_move(ts, home, pools):
                idle = self._idle_of(pools, kind, ts, occupancies)
                candidates += idle.candidates(ts, thieves)
        best = self.best(ts, candidates, occupancies)
        if best is None or math.isinf(self._view.get_comm_cost(ts, best)):
            return None
        return best

    def _idle_of(
        self, pools: Pools, kind: Kind, ts: TaskState, occupancies: dict[WorkerState, float]
    ) -> Thieves:
        """Return the idle workers of some pools that may run a kind of task."""
        found = self._thieves.get((pools, kind))
        if found is None:
            idle = self._idle[pools]
            if kind is not None:
                allowed = self._allowed_to(kind, ts)
                idle = [ws for ws in idle if ws in allowed]
            found = self._thieves[pools, kind] = Thieves(idle, self.combined(occupancies))
        return found

    def _allowed_to(self, kind: Kind, ts: TaskState) -> Collection[WorkerState]:
        allowed = self._allowed.get(kind)
        if allowed is None:
            if len(self._allowed) == KINDS:
                return ()  # it takes a while to find out; others are looked at next time
            idle = set(self._view.idle.values())
            allowed = idle & self._view.allowed(ts)
            if not allowed and ts.loose_restrictions:
                allowed = idle
            self._allowed[kind] = allowed
        return allowed


def _load(ws: WorkerState) -> float:
    return len(ws.processing) / ws.nthreads


def _is_elsewhere(home: Pools, there: Pools) -> bool:
    return home != there and set(home).isdisjoint(there)
