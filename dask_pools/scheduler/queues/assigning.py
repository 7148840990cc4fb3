"""Which worker of its pool runs a task that is not queued, and which may run it at all.

distributed makes a set of all workers for each restricted task, and compares all of its
members. Here the workers of a pool are kept; those that hold inputs are compared as in
distributed, and if none of them is in the pool, a few workers in turn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, TypeAlias

from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.queuing import least_busy, replace_choice, stock_choice
from dask_pools.scheduler.queues.slots import COMPARED, Slots
from dask_pools.scheduler.roster import Roster, bound_to

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

#: So many different sets of restrictions are remembered. Tasks have a few; but somebody could
#: ask for another amount of memory for each of a million.
REMEMBERED = 1000

#: A pool, and what else a task needs of a worker: resources, by name and quantity.
Need: TypeAlias = "tuple[str, tuple[tuple[str, float], ...]]"


class Lineup:
    """The workers that may run some tasks now.

    Parameters
    ----------
    workers : set of WorkerState
        The workers; not to be changed.
    """

    __slots__ = ("_order", "workers")

    def __init__(self, workers: set[WorkerState]) -> None:
        self.workers = workers
        self._order = sorted(workers, key=_address)

    def some(self, turn: int) -> list[WorkerState]:
        """Return a few of them, others at each turn."""
        order = self._order
        if len(order) <= COMPARED:
            return order
        start = turn * COMPARED
        return [order[i % len(order)] for i in range(start, start + COMPARED)]


class Assigning:
    """The choice of workers for tasks that are bound to a pool.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    roster : Roster
        The workers of each pool.
    slots : Slots
        Who of them has room; looked at first.
    """

    def __init__(self, scheduler: Scheduler, roster: Roster, slots: Slots) -> None:
        self.scheduler = scheduler
        self.roster = roster
        self.slots = slots
        #: Until the next worker of any pool comes, goes, pauses or resumes.
        self._lineups: dict[Need, Lineup] = {}
        self._stock_valid_workers, self._stock_decide = stock_choice(scheduler)

    def install(self) -> Undo:
        """Choose the workers of bound tasks from now on; returns what ends it."""
        with contextlib.ExitStack() as undo:
            self.roster.moved.append(self._moved)
            undo.callback(self.roster.moved.remove, self._moved)
            undo.callback(replace_choice(self.scheduler, self.valid_workers, self.decide))
            return undo.pop_all().close

    def valid_workers(self, ts: TaskState) -> set[WorkerState] | None:
        """Return the running workers that may run a task; None if all may.

        The set is not to be changed: it may be the one which the roster keeps.
        """
        pool = bound_to(ts) if ts.resource_restrictions else None
        return self._stock_valid_workers(ts) if pool is None else self._allowed(ts, pool)

    def _allowed(self, ts: TaskState, pool: str) -> set[WorkerState]:
        lineup = self._lineup(ts, pool)
        if ts.worker_restrictions or ts.host_restrictions:
            return self._named(ts) & lineup.workers
        return lineup.workers

    def decide(self, ts: TaskState) -> WorkerState | None:
        """Choose the worker for a task that is not queued; None if nobody may run it."""
        pool = bound_to(ts) if ts.resource_restrictions else None
        if pool is None:
            return self._stock_decide(ts)
        allowed = self._allowed(ts, pool)
        if not allowed and ts.loose_restrictions:
            # It prefers workers that are not here. distributed lets it go anywhere, and fails
            # over the resources that others do not have; here it goes anywhere in its pool.
            allowed = self._lineup(ts, pool).workers
        if not allowed:
            return None
        candidates: Collection[WorkerState] = allowed
        if not ts.actor:
            holders = {ws for dts in ts.dependencies for ws in dts.who_has or () if ws in allowed}
            candidates = holders or self._some(ts, pool, allowed)
        return least_busy(self.scheduler, ts, candidates)

    def _some(self, ts: TaskState, pool: str, allowed: set[WorkerState]) -> Collection[WorkerState]:
        if ts.worker_restrictions or ts.host_restrictions:
            return allowed
        found = [ws for ws in self.slots.in_line(pool) if ws in allowed]
        if not ts.dependencies:
            # All that has nothing to do is equally good; those first in line are so in turn.
            unoccupied = next((ws for ws in found if not ws.processing), None)
            if unoccupied is not None:
                return [unoccupied]
        return found or self._lineup(ts, pool).some(self.scheduler.n_tasks)

    def _named(self, ts: TaskState) -> set[WorkerState]:
        """Return the workers that a task names, or whose hosts it names."""
        workers, hosts = self.scheduler.workers, self.scheduler.host_info
        addresses = set(ts.worker_restrictions or ())
        for host in ts.host_restrictions or ():
            info = hosts.get(self.scheduler.coerce_hostname(host), {})
            addresses |= info.get("addresses", set())
        return {workers[address] for address in addresses if address in workers}

    def _lineup(self, ts: TaskState, pool: str) -> Lineup:
        others = _beside_its_pool(ts.resource_restrictions or {})
        lineup = self._lineups.get((pool, others))
        if lineup is None:
            if len(self._lineups) >= REMEMBERED:
                self._lineups.clear()
            running = self.roster.running(pool)
            if others:
                running = {ws for ws in running if _supplies(ws, others)}
            lineup = self._lineups[pool, others] = Lineup(running)
        return lineup

    def _moved(self, *_: object) -> None:
        self._lineups.clear()


def _beside_its_pool(needed: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return what a task needs of the resources of a worker of its pool."""
    if len(needed) == 1 and not any(needed.values()):
        return ()
    return tuple(needed.items())


def _supplies(ws: WorkerState, needed: tuple[tuple[str, float], ...]) -> bool:
    return all(name in ws.resources and ws.resources[name] >= n for name, n in needed)


def _address(ws: WorkerState) -> str:
    return ws.address
