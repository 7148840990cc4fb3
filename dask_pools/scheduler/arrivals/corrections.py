"""What was planned on estimates is corrected when real sizes turn out otherwise.

A delayed value was assumed to have a megabyte, and is carried to where it is combined with a field
of ten; it turns out to have fifty. It has come into memory, its transfer has not started: now it
is cheaper to combine the two where the large one is. The tasks go there, the transfer stays
at home, where it does nothing, and the field is fetched.

Only values are watched whose size was not exact and on which it hangs where free tasks run
(`dask_pools.graph.estimates`); for a graph without such values nothing is kept, and nothing asked.
Only free tasks move that no worker has been told of; pins, rules and values in memory stay. New
transfers cannot be added any more: what is needed from another pool then is fetched by the
workers that need it, and the saving has to be real although each of them may do so.

It runs while distributed notes that the value is in memory: what waits for it is about to start,
and is sent to a worker of its new pool a moment later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dask.typing import Key

from dask_pools.graph.estimates import Estimates
from dask_pools.scheduler.arrivals.rebinding import rebind
from dask_pools.scheduler.arrivals.revision import revise
from dask_pools.scheduler.arrivals.surroundings import Surroundings
from dask_pools.scheduler.learned import LearnedTable
from dask_pools.scheduler.roster import Roster

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState

logger = logging.getLogger("dask_pools")

#: A size differs from the one that was planned if it is so many times as large, or as small,
#: and by so many bytes.
FACTOR = 2.0
DIFFERENCE = 1_000_000.0
#: After so many values in a row for which there was nothing to gain, those of the graph are not
#: watched any more: then it would cost more than it gives.
PATIENCE = 100


@dataclass(slots=True, eq=False)
class _Watch:
    """What is watched of one graph."""

    estimates: Estimates
    #: Values since the last correction for which there was nothing to gain.
    in_vain: int = 0


class Corrections:
    """Moves free tasks of one scheduler when the sizes of their inputs are known.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    roster : Roster
        The workers of its pools.
    learned : LearnedTable
        What finished tasks have shown.

    Attributes
    ----------
    moved : int
        Number of tasks that were moved so far.
    """

    def __init__(self, scheduler: Scheduler, roster: Roster, learned: LearnedTable) -> None:
        self.scheduler = scheduler
        self.roster = roster
        self.learned = learned
        self.moved = 0
        #: Called with each task that has moved, when all have, and the pool it was bound to.
        self.changed: list[Callable[[TaskState, str], None]] = []
        #: The values that are watched; each until it is in memory, or forgotten.
        self._watched: dict[Key, _Watch] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def expect(self, estimates: Estimates) -> None:
        """Watch the values of a graph whose tasks have just been made."""
        watch, known = _Watch(estimates), self.scheduler.tasks
        for key in estimates.watched:
            ts = known.get(key)
            if ts is not None and not ts.who_has:
                self._watched[key] = watch

    def transitioned(self, ts: TaskState, start: str, finish: str, stimulus_id: str) -> None:
        """Look at a task that has just changed its state; called after each transition."""
        if not self._watched or finish not in {"memory", "forgotten"} or start == finish:
            return
        watch = self._watched.pop(ts.key, None)
        if watch is None or finish == "forgotten" or watch.in_vain >= PATIENCE:
            return
        planned = watch.estimates.of(ts.key)
        if planned is None or not _differs(float(ts.nbytes), planned.nbytes):
            return
        if self._correct(ts, watch.estimates, stimulus_id):
            watch.in_vain = 0
        else:
            watch.in_vain += 1

    def _correct(self, ts: TaskState, estimates: Estimates, stimulus_id: str) -> bool:
        """Place the tasks around a value anew; returns whether any has moved."""
        around = Surroundings(ts, estimates, self.roster, self.learned.known)
        situation = around.situation() if around.tasks else None
        labels = None if situation is None else revise(situation)
        if situation is None or labels is None:
            return False
        pools = situation.problem.pools
        changes = [
            (task, pools[old], pools[new])
            for task, old, new in zip(around.tasks, situation.labels, labels, strict=False)
            if old != new
        ]
        for task, _, pool in changes:
            rebind(task, pool)
        for task, pool, _ in changes:
            for hear in self.changed:
                hear(task, pool)
        self.moved += len(changes)
        message = "Moved %d tasks to other pools, as the value of %r has %d bytes (%s)"
        logger.debug(message, len(changes), ts.key, ts.nbytes, stimulus_id)
        return True


def _differs(nbytes: float, planned: float) -> bool:
    larger, smaller = max(nbytes, planned), min(nbytes, planned)
    return larger > FACTOR * smaller and larger - smaller > DIFFERENCE
