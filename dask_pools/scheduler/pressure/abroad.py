"""Which unfinished tasks lack nothing but values from other pools, and which values wait for them.

Two pools are joined: r are reads in this pool, s in another one, T carries s over a link.

    s1 ---> T1 ---.
                   +-- W1        W1 lacks T1 only: r1 lies in memory, and waits for another pool.
            r1 ---'
    s2 ---> T2 ---.              (s1 does so as well, until T1 has fetched it.)
                   +-- W2        W2 lacks r2 as well, a read of its own pool: reading r2 is what
            r2 ---'              has to be done, and nothing here *waits for another pool* yet.
            r3 ---'

A task *comes from abroad* if all that it lacks does: it is a transfer, or made of such tasks and
of values which are there. By this, values wait only if no read of their own pool could help them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dask_pools.model import TRANSFER
from dask_pools.scheduler.roster import bound_to

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

#: States of a task that has all its inputs, and is not finished.
_READY = frozenset({"queued", "no-worker", "processing"})
_NONE: frozenset[TaskState] = frozenset()


class Abroad:
    """Follows the tasks that come from abroad, and the values that wait for them.

    Parameters
    ----------
    held, freed : callable
        Called with a value, and with the first task for which it waits, when it begins to wait
        for another pool; and with the value alone when it ends to.
    crosses : callable
        Called with a task that fetches from another pool, and whether it is going to or will
        not (any more), because it has finished or is not wanted.

    Notes
    -----
    Everything is kept in sets which are changed for the one task that has moved and its
    neighbours: adding and removing twice does no harm, whatever the order in which distributed
    tells of what happened at once. A task costs a few steps for each of its neighbours,
    all in all, and none if no task of the cluster fetches from another pool.
    """

    def __init__(
        self,
        held: Callable[[TaskState, TaskState], None],
        freed: Callable[[TaskState], None],
        crosses: Callable[[TaskState, bool], None],
    ) -> None:
        self._tell_held = held
        self._tell_freed = freed
        self._tell_crosses = crosses
        #: Unfinished tasks that fetch values from another pool.
        self.crossing: set[TaskState] = set()
        #: Unfinished tasks that come from abroad; those that have all their inputs now included.
        self.coming: set[TaskState] = set()
        #: By task that lacks inputs: those of them that come from abroad; empty for few.
        self._foreign: dict[TaskState, set[TaskState]] = {}
        #: By value in memory: the tasks that come from abroad for which it waits.
        self._waits_for: dict[TaskState, set[TaskState]] = {}

    def transitioned(self, ts: TaskState, finish: str) -> None:
        """Follow a task that has moved to another state."""
        if finish == "waiting":
            self._await(ts)
        elif not self.is_busy():
            return
        elif finish in _READY:
            self._ready(ts)
        elif finish == "memory":
            self._arrive(ts)
        else:
            self._withdraw(ts, finish)

    def is_busy(self) -> bool:
        """Say whether any task fetches from another pool, or lacks what comes from there."""
        return bool(self._foreign or self.coming)

    def rebound(self, ts: TaskState) -> None:
        """Look anew at a task that is bound to another pool now, and at those that use it."""
        for task in (ts, *ts.dependents):
            if task.state == "waiting":
                self._withdraw(task, "released")
                self._await(task)

    def would_hold(self, ts: TaskState, waiter: TaskState) -> bool:
        """Say whether a value would wait for another pool if it were there: for this task."""
        foreign = self._foreign.get(waiter)
        if foreign is None:
            return False
        missing = len(waiter.waiting_on or ()) - 1
        return len(foreign) - (ts in foreign) == missing and (
            missing > 0 or waiter in self.crossing
        )

    def _await(self, ts: TaskState) -> None:
        """Look at a task that has begun to wait for its inputs."""
        if not ts.dependencies:
            return
        missing = ts.waiting_on or _NONE
        if is_transfer(ts):
            foreign = set(missing)
        elif _is_bound_apart(ts):
            foreign = {dts for dts in missing if dts in self.coming or _apart(dts, ts)}
        elif self.coming and (foreign := self.coming.intersection(missing)):
            self._foreign[ts] = foreign
            self._settle([ts])
            return
        else:
            return
        self._foreign[ts] = foreign
        if ts not in self.crossing:
            self.crossing.add(ts)
            self._tell_crosses(ts, True)
        self._settle([ts])

    def _ready(self, ts: TaskState) -> None:
        """Look at a task that has all its inputs."""
        if ts in self.crossing:
            self._settle([ts])  # it still has to fetch them
            return
        self._foreign.pop(ts, None)
        if ts in self.coming:
            # For others it still comes from abroad until it has finished: were it otherwise, a
            # task of ten thousand inputs would change its mind with each of them, twice.
            self._release(ts)

    def _arrive(self, ts: TaskState) -> None:
        """Look at a task that has finished."""
        self._leave(ts)
        changed = []
        for waiter in ts.waiters or ():
            foreign = self._foreign.get(waiter)
            if foreign is not None:
                foreign.discard(ts)
                if waiter not in self.coming:
                    changed.append(waiter)
                elif waiter.waiting_on or waiter in self.crossing:
                    self._hold(ts, waiter)
        self._settle(changed)

    def _withdraw(self, ts: TaskState, finish: str) -> None:
        """Look at a task whose value has gone, or will not be made for now."""
        if self._waits_for.pop(ts, None) is not None:
            self._tell_freed(ts)
        changed = self._end(ts) if ts in self.coming else []
        self._leave(ts)
        for waiter in ts.dependents:
            foreign = self._foreign.get(waiter)
            if foreign is None and waiter not in self.coming:
                continue
            lacks = finish != "forgotten" and waiter.waiting_on and ts in waiter.waiting_on
            if foreign is not None:
                if lacks and (is_transfer(waiter) or _apart(ts, waiter)):
                    foreign.add(ts)
                else:
                    foreign.discard(ts)
            changed.append(waiter)
        self._settle(changed)

    def _leave(self, ts: TaskState) -> None:
        """Take a task that has finished, or is withdrawn, from all records but as a value."""
        self._foreign.pop(ts, None)
        if ts in self.coming:
            self.coming.discard(ts)
            self._release(ts)
        if ts in self.crossing:
            self.crossing.discard(ts)
            self._tell_crosses(ts, False)

    def _settle(self, tasks: list[TaskState]) -> None:
        """Find out anew whether some tasks come from abroad, and then those made of them."""
        while tasks:
            ts = tasks.pop()
            missing = ts.waiting_on
            if missing:
                comes = len(self._foreign.get(ts, _NONE)) == len(missing)
            elif ts in self.crossing:
                comes = True
            else:
                continue  # it is about to run
            if comes != (ts in self.coming):
                tasks += self._begin(ts) if comes else self._end(ts)

    def _begin(self, ts: TaskState) -> list[TaskState]:
        self.coming.add(ts)
        for dts in ts.dependencies:
            if dts.who_has:
                self._hold(dts, ts)
        changed = []
        for waiter in ts.waiters or ():
            if waiter.waiting_on and ts in waiter.waiting_on:
                self._foreign.setdefault(waiter, set()).add(ts)
                changed.append(waiter)
        return changed

    def _end(self, ts: TaskState) -> list[TaskState]:
        self.coming.discard(ts)
        self._release(ts)
        changed = []
        for waiter in ts.dependents:
            foreign = self._foreign.get(waiter)
            if foreign and ts in foreign and not is_transfer(waiter) and not _apart(ts, waiter):
                foreign.discard(ts)
                changed.append(waiter)
        return changed

    def _hold(self, value: TaskState, ts: TaskState) -> None:
        waits_for = self._waits_for.get(value)
        if waits_for is None:
            self._waits_for[value] = {ts}
            self._tell_held(value, ts)
        else:
            waits_for.add(ts)

    def _release(self, ts: TaskState) -> None:
        """Let no value wait for a task any more."""
        for value in ts.dependencies:
            waits_for = self._waits_for.get(value)
            if waits_for is not None:
                waits_for.discard(ts)
                if not waits_for:
                    del self._waits_for[value]
                    self._tell_freed(value)


def is_transfer(ts: TaskState) -> bool:
    """Ask whether a task is a transfer."""
    return ts.annotations is not None and TRANSFER in ts.annotations


def _is_bound_apart(ts: TaskState) -> bool:
    """Ask whether some input of a task is bound to another pool than itself."""
    own = ts.resource_restrictions
    if own:
        for dts in ts.dependencies:
            theirs = dts.resource_restrictions
            # Tasks of one pool share their restrictions: most of the time this is all.
            if theirs is not own and theirs and _apart(dts, ts):
                return True
    return False


def _apart(ts: TaskState, other: TaskState) -> bool:
    """Ask whether two tasks are bound to different pools."""
    pool = bound_to(ts)
    return pool is not None and bound_to(other) not in {None, pool}
