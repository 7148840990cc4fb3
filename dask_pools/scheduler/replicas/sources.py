"""From whom a worker takes a value: from its own pool, if that has it.

A worker knows no pools. It fetches from the holders which the scheduler has named last, so
that naming the right ones is all that is needed, whatever brought the value into the pool.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Collection, Iterable, Set
from typing import TYPE_CHECKING, Protocol, TypeVar

from dask.typing import Key

from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.holders import (
    choose_holders_asked_for,
    choose_holders_for_copies,
    choose_holders_of_tasks,
    hear_of_arrivals,
    name_holders,
)
from dask_pools.scheduler.replicas.carriers import Carriers

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

    from dask_pools.scheduler.roster import PoolState, Roster

W = TypeVar("W")

#: So many questions for holders are remembered. One that was forgotten is answered like a
#: first one, and asked once more.
REMEMBERED = 10_000


class Workers(Protocol[W]):
    """The workers of a pool, as in `PoolState`."""

    members: set[W]
    running: set[W]


def choose_holders(holders: Set[W], pools: Iterable[Workers[W]]) -> Set[W]:
    """Choose those holders of a value from which a worker has to take it.

    Parameters
    ----------
    holders : set
        All holders.
    pools : iterable
        The pools of the worker that needs the value.

    Returns
    -------
    set
        The holders in these pools, if one of them is running; else all, so that a value which
        only paused or leaving workers have in the pool does not depend on them.
    """
    near: Set[W] = frozenset()
    running = False
    for pool in pools:
        here = holders & pool.members
        running = running or not here.isdisjoint(pool.running)
        near = near | here if near else here
    return near if running else holders


class Sources:
    """On the scheduler: names the holders to the workers.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    roster : Roster
        The workers of its pools.
    """

    def __init__(self, scheduler: Scheduler, roster: Roster) -> None:
        self.scheduler = scheduler
        self.roster = roster
        self.carriers = Carriers(self._tell)
        #: The workers (their addresses) that did not get a value from the holders in their pool.
        self._asked: OrderedDict[tuple[str, Key], None] = OrderedDict()

    def install(self) -> Undo:
        """Name the holders from now on; returns what ends it."""
        scheduler = self.scheduler
        with contextlib.ExitStack() as undo:
            undo.callback(choose_holders_of_tasks(scheduler, self.for_task))
            undo.callback(choose_holders_asked_for(scheduler, self.for_question))
            undo.callback(choose_holders_for_copies(scheduler, self.for_copy))
            undo.callback(hear_of_arrivals(scheduler, self.arrived, self.carriers.coming))
            return undo.pop_all().close

    def for_task(self, ts: TaskState) -> dict[Key, Collection[str]]:
        """Choose the holders for each input of a task, where they are not simply all."""
        ws = ts.processing_on
        chosen: dict[Key, Collection[str]] = {}
        if ws is None:
            return chosen
        pools: tuple[PoolState, ...] | None = None
        for value in ts.dependencies:
            holders = value.who_has
            # Most of the time a task is where its only input is.
            if not holders or value.actor or (len(holders) == 1 and ws in holders):
                continue
            pools = self.roster.pools_of(ws) if pools is None else pools
            if not pools:
                break
            near = choose_holders(holders, pools)
            if len(near) < len(holders):
                chosen[value.key] = _addresses(near)
            elif _is_elsewhere(holders, pools) and self.carriers.must_wait(value, ts, ws, pools):
                # Itself: a holder it cannot fetch from. A fetch that it had still to begin
                # has to be called off first; it would never begin.
                chosen[value.key] = (ws.address,)
                self._name(ws, {value.key: ()})
        return chosen

    def for_question(
        self, ws: WorkerState, value: TaskState, missing: bool
    ) -> Collection[str] | None:
        """Choose the holders of a value for a worker that asks.

        Parameters
        ----------
        ws : WorkerState
            The worker.
        value : TaskState
            What it lacks.
        missing : bool
            Whether it knows no holder; else all those that it knows are too busy.

        Returns
        -------
        collection of str or None
            Their addresses; None if it is told as soon as the value is in its pool.
        """
        holders = value.who_has or set()
        pools = self.roster.pools_of(ws)
        if not pools or not holders or value.actor:
            return _addresses(holders)
        if _is_elsewhere(holders, pools):
            task = _task_in_need(ws, value) if missing else None
            waits = task is not None and self.carriers.must_wait(value, task, ws, pools)
            return None if waits else _addresses(holders)
        near = choose_holders(holders, pools)
        if missing and len(near) < len(holders) and self._asks_again(ws, value):
            return _addresses(holders)
        return _addresses(near)

    def for_copy(self, ws: WorkerState, value: TaskState) -> list[str]:
        """Choose the holders from which a worker copies a value that it does not need itself."""
        return _addresses(choose_holders(value.who_has or set(), self.roster.pools_of(ws)))

    def arrived(self, value: TaskState, ws: WorkerState) -> None:
        """Have those who wait for a value take it from a worker that has it now."""
        self.carriers.arrived(value, self.roster.pools_of(ws))

    def _asks_again(self, ws: WorkerState, value: TaskState) -> bool:
        question = (ws.address, value.key)
        if question in self._asked:
            del self._asked[question]
            return True
        self._asked[question] = None
        if len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)
        return False

    def _tell(self, ws: WorkerState, value: TaskState) -> None:
        if value.who_has:
            near = choose_holders(value.who_has, self.roster.pools_of(ws))
            self._name(ws, {value.key: _addresses(near)})

    def _name(self, ws: WorkerState, who_has: dict[Key, Collection[str]]) -> None:
        name_holders(self.scheduler, ws, who_has, "dask-pools-holders")


def _is_elsewhere(holders: Set[WorkerState], pools: Iterable[PoolState]) -> bool:
    return all(holders.isdisjoint(pool.members) for pool in pools)


def _addresses(holders: Iterable[WorkerState]) -> list[str]:
    return [ws.address for ws in holders]


def _task_in_need(ws: WorkerState, value: TaskState) -> TaskState | None:
    """Find a task on a worker that needs a value."""
    waiters = value.waiters or set()
    if len(waiters) < len(ws.processing):
        return next((ts for ts in waiters if ts.processing_on is ws), None)
    return next((ts for ts in ws.processing if ts in waiters), None)
