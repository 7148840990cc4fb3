"""The tasks around a value that can still be moved, as a small placement problem."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from dask_pools.graph.estimates import Estimates
from dask_pools.graph.sizes import ASSUMED_NBYTES
from dask_pools.graph.submission import Learned
from dask_pools.model import PIN, PLACEMENT, TRANSFER
from dask_pools.planning.basis import Basis
from dask_pools.planning.problem import PlacementProblem
from dask_pools.scheduler.arrivals.revision import Situation
from dask_pools.scheduler.roster import Roster, bound_only, bound_to

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

#: So many tasks are placed anew together, those nearest to the value. Placing them takes a few
#: milliseconds of the scheduler's event loop.
MOST_TASKS = 128
#: A task which more tasks than this need is left where it is.
MOST_DEPENDENTS = 1000
#: The states of tasks that no worker has been told of, and that nobody has put into a queue.
UNSTARTED = frozenset({"released", "waiting"})


class Surroundings:
    """The free tasks around a value, none of them started.

    Parameters
    ----------
    start : TaskState
        The value, which has just come into memory.
    estimates : Estimates
        What the tasks were placed by.
    roster : Roster
        The workers of the pools.
    learned : mapping of str to Learned
        What finished tasks have shown by now.

    Attributes
    ----------
    tasks : list of TaskState
        The tasks, inputs first; transfers among them.
    """

    def __init__(
        self,
        start: TaskState,
        estimates: Estimates,
        roster: Roster,
        learned: Mapping[str, Learned],
    ) -> None:
        self.estimates = estimates
        self.roster = roster
        self.learned = learned
        self.tasks = sorted(self._collect(start), key=_priority)

    # ---- what can be moved

    def _collect(self, start: TaskState) -> set[TaskState]:
        found: set[TaskState] = set()
        line = deque([start])
        while line and len(found) < MOST_TASKS:
            ts = line.popleft()
            around: Iterable[TaskState] = ts.dependents
            if ts is not start:
                around = [*ts.dependents, *ts.dependencies]
            near = (other for other in around if other not in found and self._is_movable(other))
            # In an order of their own: that of a set hangs on the hash seed.
            new = heapq.nsmallest(MOST_TASKS - len(found), near, key=_priority)
            found.update(new)
            line.extend(new)
        return found

    def _is_movable(self, ts: TaskState) -> bool:
        said = ts.annotations
        return (
            ts.state in UNSTARTED
            and said is not None
            and PLACEMENT in said
            and not said.get(PIN)
            and not ts.actor
            and len(ts.dependents) <= MOST_DEPENDENTS
            and (ts.key in self.estimates or TRANSFER in said)
            and bound_only(ts) is not None
        )

    # ---- sizes

    def _sizes(self) -> Callable[[TaskState], float]:
        """Return what tells the sizes of values: real ones where they are known."""
        known: dict[TaskState, float] = {}
        learned, planned = self.learned, self._planned

        def size(ts: TaskState) -> float:
            if ts.nbytes >= 0:
                return float(ts.nbytes)
            if ts in known:
                return known[ts]
            carried = _carried(ts)
            if carried is not None:
                return size(carried)
            estimate = self.estimates.of(ts.key)
            if estimate is not None and estimate.basis == Basis.EXACT:
                return estimate.nbytes
            seen = learned.get(ts.prefix.name)
            if seen is not None and seen.nbytes is not None:
                return seen.nbytes
            return ASSUMED_NBYTES if estimate is None else estimate.nbytes

        for ts in self.tasks:  # inputs first
            if ts.nbytes < 0 and self._is_assumed(ts):
                # It was assumed from the sizes of its inputs, which are better known now.
                before = sum(map(planned, ts.dependencies))
                now = sum(map(size, ts.dependencies))
                known[ts] = planned(ts) * (now / before if before else 1.0)
        return size

    def _is_assumed(self, ts: TaskState) -> bool:
        estimate = self.estimates.of(ts.key)
        return (
            estimate is not None
            and estimate.basis == Basis.ASSUMED
            and ts.prefix.name not in self.learned
        )

    def _planned(self, ts: TaskState) -> float:
        carried = _carried(ts)
        estimate = self.estimates.of((carried or ts).key)
        if estimate is not None:
            return estimate.nbytes
        return float(ts.nbytes) if ts.nbytes >= 0 else ASSUMED_NBYTES

    # ---- the problem

    def situation(self) -> Situation | None:
        """Describe the tasks and what is around them; None if a pool is new since the plan."""
        rows: dict[TaskState, int] = {ts: i for i, ts in enumerate(self.tasks)}
        places: list[str] = [bound_to(ts) or "" for ts in self.tasks]
        arcs: list[tuple[int, int, int]] = []
        for i, ts in enumerate(self.tasks):
            for value in sorted(ts.dependencies, key=_name):
                if value not in rows and (place := self._place(value)) is not None:
                    rows[value] = len(places)
                    places.append(place)
                if value in rows:
                    arcs.append((rows[value], i, 1))
        inputs = list(rows)
        for i, ts in enumerate(self.tasks):
            for place, count in sorted(self._receivers(ts, rows).items()):
                arcs.append((i, len(places), count))
                places.append(place)
        size = self._sizes()
        sizes = [size(ts) for ts in inputs] + [0.0] * (len(places) - len(inputs))
        return self._described(places, arcs, sizes)

    def _receivers(self, ts: TaskState, rows: Mapping[TaskState, int]) -> dict[str, int]:
        """Count the consumers of a task which stay where they are, by pool."""
        found: dict[str, int] = {}
        for consumer in ts.dependents:
            place = None if consumer in rows else self._place(consumer)
            if place is not None:
                found[place] = found.get(place, 0) + 1
        return found

    def _place(self, ts: TaskState) -> str | None:
        """Return the pool where something is; None if it is in several, or may be anywhere."""
        pool = bound_to(ts)
        holders = list(ts.who_has or ())
        if ts.processing_on is not None:
            holders.append(ts.processing_on)
        found = {state.name for ws in holders for state in self.roster.pools_of(ws)}
        if pool is not None and (not holders or pool in found):
            return pool
        return found.pop() if len(found) == 1 else None

    def _described(
        self, places: list[str], arcs: list[tuple[int, int, int]], sizes: list[float]
    ) -> Situation | None:
        pools = tuple(sorted(set(places)))
        if not set(pools).issubset(self.estimates.pools):
            return None
        chosen = [self.estimates.pools.index(name) for name in pools]
        labels = np.array([pools.index(place) for place in places], dtype=np.intp)
        receivers = np.array([len(self.roster.running(name)) for name in pools], dtype=np.float64)
        allowed = np.zeros((len(places), len(pools)), dtype=np.bool_)
        allowed[: len(self.tasks)] = receivers > 0
        allowed[np.arange(len(places)), labels] = True
        ends = np.array(arcs, dtype=np.intp).reshape(-1, 3)
        problem = PlacementProblem(
            pools=pools,
            sizes=np.array(sizes, dtype=np.float64),
            allowed=allowed,
            values=ends[:, 0],
            consumers=ends[:, 1],
            costs=self.estimates.costs[np.ix_(chosen, chosen)],
            bound=np.arange(len(places)) >= len(self.tasks),
        )
        return Situation(problem, labels, ends[:, 2].astype(np.float64), receivers)


def _carried(ts: TaskState) -> TaskState | None:
    """Return the value that a transfer carries; None if it is none."""
    if ts.annotations and TRANSFER in ts.annotations:
        return next(iter(ts.dependencies), None)
    return None


def _priority(ts: TaskState) -> tuple[object, ...]:
    return (ts.priority or (), str(ts.key))


def _name(ts: TaskState) -> str:
    return str(ts.key)
