"""Where the work of a lost pool goes: a decision only, nothing is moved here.

The plan was made with the lost pool in it, and it is kept as far as it can be, with other pools
in its place:

- what is pinned to mirrors goes to the first of them that has workers;
- a free task goes along with those of its inputs that were made in the lost pool, most bytes
  first; what had been brought there for it is brought to its new pool instead;
- a free task without such inputs, and a transfer, go where they are needed;
- all that is pinned to the lost pool alone stays, and what goes along with it, too.

Each task and each arc is looked at a few times, whatever the number of pools and workers.
Deliberately no placement problem is solved: sizes of what has not run are guesses by now, and
half of the plan has been carried out already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dask_pools.graph.annotate import as_pin
from dask_pools.model import PIN, PLACEMENT, TRANSFER, Pin
from dask_pools.scheduler.roster import bound_to

if TYPE_CHECKING:
    from distributed.scheduler import TaskState


@dataclass(frozen=True, slots=True)
class Survivors:
    """What is left of a cluster that has lost a pool.

    Parameters
    ----------
    pools : collection of str
        The pools that have workers.
    holders : callable
        Names the pools that hold the value of a task now.
    largest : str or None
        The pool with the most threads; None if no pool has workers.
    """

    pools: Collection[str]
    holders: Callable[[TaskState], Iterable[str]]
    largest: str | None


def successors(
    lost: str, tasks: Collection[TaskState], survivors: Survivors, *, for_good: bool = False
) -> dict[TaskState, str]:
    """Choose another pool for each task of a lost pool that can run elsewhere.

    Parameters
    ----------
    lost : str
        The pool.
    tasks : collection of TaskState
        Tasks that are bound to it, in whatever state.
    survivors : Survivors
        What is left.
    for_good : bool, default False
        Whether the pool is not waited for any more: free tasks leave it in any case then.

    Returns
    -------
    dict of TaskState to str
        The new pools; tasks that have to stay are not in it.
    """
    if survivors.largest is None:
        return {}
    succession = _Succession(lost, tasks, survivors, for_good)
    for ts in succession.order:
        if not is_movable(ts):
            succession.places[ts] = lost
        elif pin := pin_of_state(ts):
            succession.places[ts] = next((p for p in pin if p in survivors.pools), lost)
        elif not is_transfer(ts):
            succession.follow(ts, succession.inputs_made_here(ts))
    succession.go_where_needed()
    for ts in succession.undecided(transfers=False):
        succession.follow(ts, succession.all_inputs(ts), otherwise=survivors.largest)
    succession.go_where_needed()
    for ts in succession.undecided(transfers=True):
        succession.follow(ts, succession.all_inputs(ts), otherwise=survivors.largest)
    return {ts: pool for ts, pool in succession.places.items() if pool != lost}


def is_movable(ts: TaskState) -> bool:
    """Ask whether it was us who bound a task to its pool, and nothing else binds it there."""
    annotations = ts.annotations or {}
    ours = PIN in annotations or PLACEMENT in annotations
    return ours and not (ts.actor or ts.worker_restrictions or ts.host_restrictions)


def is_transfer(ts: TaskState) -> bool:
    """Ask whether a task carries a value between pools."""
    return TRANSFER in (ts.annotations or {})


def pin_of_state(ts: TaskState) -> Pin | None:
    """Return the pin of a task that the scheduler knows; None if it is free."""
    return as_pin(ts.annotations.get(PIN)) if ts.annotations else None


class _Succession:
    """The decisions so far."""

    def __init__(
        self, lost: str, tasks: Collection[TaskState], survivors: Survivors, for_good: bool
    ) -> None:
        self.lost = lost
        self.survivors = survivors
        self.for_good = for_good
        self.order = _inputs_first(tasks)
        self.places: dict[TaskState, str] = {}

    def undecided(self, *, transfers: bool) -> list[TaskState]:
        """List the tasks without a place, inputs first, transfers only if asked for."""
        places = self.places
        return [ts for ts in self.order if ts not in places and (transfers or not is_transfer(ts))]

    def go_where_needed(self) -> None:
        """Send undecided tasks where most of the tasks go that need them."""
        for ts in reversed(self.undecided(transfers=True)):
            places = (self.places.get(consumer) for consumer in ts.dependents)
            self.follow(ts, [(place, 1) for place in places if place is not None])

    def inputs_made_here(self, ts: TaskState) -> list[tuple[str, int]]:
        """Tell where those inputs go that were made in the lost pool, and their bytes."""
        return [
            (place, value.get_nbytes())
            for value in ts.dependencies
            if value in self.places
            for place in self.whereabouts(value)
        ]

    def all_inputs(self, ts: TaskState) -> list[tuple[str, int]]:
        """Tell where all inputs are or will be, transferred ones where they come from."""
        found = []
        for needed in ts.dependencies:
            value = needed if needed in self.places else _carried(needed)
            found += [(place, value.get_nbytes()) for place in self.whereabouts(value)]
        return found

    def whereabouts(self, value: TaskState) -> Iterable[str]:
        """Name the pools where a value is, or will be made."""
        held = self.survivors.holders(value)
        if held:
            return held
        place = self.places.get(value) or bound_to(value)
        return () if place is None else (place,)

    def follow(
        self, ts: TaskState, votes: Iterable[tuple[str, int]], *, otherwise: str | None = None
    ) -> None:
        """Send a task to the pool with the most votes."""
        total: dict[str, int] = {}
        for place, weight in votes:
            there = place in self.survivors.pools
            if there or (place == self.lost and not self.for_good):
                total[place] = total.get(place, 0) + weight
        if total:
            self.places[ts] = min(total, key=lambda place: (-total[place], place))
        elif otherwise is not None:
            self.places[ts] = otherwise


def _carried(value: TaskState) -> TaskState:
    """Return the value that a transfer carries; any other value is returned as it is."""
    if is_transfer(value) and len(value.dependencies) == 1:
        return next(iter(value.dependencies))
    return value


def _inputs_first(tasks: Collection[TaskState]) -> list[TaskState]:
    """Order tasks such that each comes after its inputs."""
    missing = dict.fromkeys(tasks, 0)
    for ts in missing:
        missing[ts] = sum(value in missing for value in ts.dependencies)
    ready = deque(ts for ts, number in missing.items() if not number)
    order = []
    while ready:
        ts = ready.popleft()
        order.append(ts)
        for consumer in ts.dependents:
            if consumer in missing:
                missing[consumer] -= 1
                if not missing[consumer]:
                    ready.append(consumer)
    return order
