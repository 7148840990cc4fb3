"""Work stealing that keeps to pools.

Each pool is balanced by itself, as distributed would balance a cluster that consists of it.
Then some of the tasks that are not bound to a pool may go from one pool to another, if they
start there sooner although their inputs have to cross. From and to workers without a pool, tasks
go as in stock Dask. Transfers are not stolen at all: their worker may have the value already,
and the thief would fetch it again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from distributed.metrics import time
from distributed.stealing import WorkStealing

from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.rounds import PoolView, occupancies
from dask_pools.scheduler.private.stealing import LEVELS, RoundStealing, replace_stealing
from dask_pools.scheduler.roster import Roster
from dask_pools.scheduler.stealing.crossing import Crossing, FindLink, MeasuredLinks
from dask_pools.scheduler.stealing.rounds import AcrossRound, AcrossView, InsideRound
from dask_pools.scheduler.stealing.stealable import Book, Kind, Restrictions, Shelf

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState


#: From so many saturated workers unplaced tasks are looked at in one step, others in the next.
VICTIMS = 20


class PoolStealing(RoundStealing):
    """The work stealing of a scheduler with pools; made by changing the class of the stock one."""

    #: The workers of each pool; from installation to removal, like all that follows.
    roster: Roster
    #: What the topology says of links.
    link: FindLink
    #: What workers say of links.
    measured: MeasuredLinks
    #: The tasks that may be stolen.
    book: Book

    #: Says whether a value is on its way into a pool because of a task.
    carries: Callable[[TaskState], bool]

    def balance(self) -> None:
        """Move tasks from workers that have too many to idle ones."""
        if self.book.divides is not bool(self.roster.pools):
            # The first pool has come, or the last one has gone.
            self.book.divides = bool(self.roster.pools)
            self.divide()
        if not self.roster.pools:
            WorkStealing.balance(self)
            return
        self.put_newcomers()
        if not self.key_stealable:
            return
        start = time()
        for pool in list(self.roster.pools.values()):
            self._balance_inside(pool.name, pool.members, pool.running)
        workers = self.scheduler.workers.values()
        outside = {ws for ws in workers if not self.roster.pools_of(ws)}
        self._balance_inside(None, outside, self.scheduler.running)
        self._balance_across(bool(outside))
        digests = self.scheduler.digests
        if digests:
            digests["steal-duration"].add(time() - start)

    def _balance_inside(
        self, pool: str | None, members: Collection[WorkerState], running: set[WorkerState]
    ) -> None:
        if not self._is_any_busy(members):
            return
        view = PoolView(self.scheduler, occupancies(self.scheduler, members))
        if not view.find_idle(running):
            return
        view.find_saturated()
        view.look_at(members, self._with_coming(view.occupancy))
        InsideRound(self, view, self.stealable, pool, None).run()
        for kind, shelf in list(self.book.apart.items()):
            self._balance_apart(pool, kind, shelf, view)

    def _is_any_busy(self, members: Collection[WorkerState]) -> bool:
        """Say whether a worker has, or will have, more tasks than it can run at once."""
        if any(len(ws.processing) > ws.nthreads for ws in members):
            return True
        coming = self.in_flight_tasks
        return bool(self.in_flight) and any(
            len(ws.processing) + coming.get(ws, 0) > ws.nthreads for ws in members
        )

    def _balance_apart(self, pool: str | None, kind: Kind, shelf: Shelf, whole: PoolView) -> None:
        """Let idle workers steal those tasks which only some workers may run."""
        home = kind.pool if isinstance(kind, Restrictions) else kind
        if home not in (None, pool):
            return
        victims = [ws for ws in whole.occupancy if ws.address in shelf]
        if not victims:
            return
        idle = whole.idle
        if isinstance(kind, Restrictions):
            valid = self.scheduler.valid_workers(shelf.task()) or set()
            may = {address: ws for address, ws in idle.items() if ws in valid}
            idle = may if may or not kind.loose else idle
        occupancy = self._with_coming(whole.occupancy)
        idle = {
            address: ws
            for address, ws in idle.items()
            if whole.is_unoccupied(
                ws, occupancy[ws], len(ws.processing) + self.in_flight_tasks.get(ws, 0)
            )
        }
        if not idle:
            return
        view = whole.narrowed(idle, victims)
        view.look_at(victims, occupancy)
        InsideRound(self, view, shelf, pool, kind).run()

    def _with_coming(self, occupancy: Mapping[WorkerState, float]) -> dict[WorkerState, float]:
        coming = self.in_flight_occupancy
        if not coming:
            return dict(occupancy)
        return {ws: seconds + coming.get(ws, 0) for ws, seconds in occupancy.items()}

    def _balance_across(self, outside: bool) -> None:
        """Let idle workers steal unplaced tasks from workers of other pools."""
        scheduler = self.scheduler
        only_one = len(self.roster.pools) + outside == 1
        victims = [] if only_one or not scheduler.idle else self._with_unplaced()
        if not victims:
            return
        crossing = Crossing(scheduler, self.roster, self.link, self.measured)
        view = AcrossView(scheduler, crossing)
        view.saturate(islice((ws for ws in victims if ws in scheduler.saturated), VICTIMS))
        looked_at = view.saturated or victims
        view.look_at(victims, self._with_coming(occupancies(scheduler, looked_at)))
        AcrossRound(self, view, crossing, self.book).run()

    def _with_unplaced(self) -> list[WorkerState]:
        """List the workers that have unplaced tasks, and more than they can run at once."""
        workers, idle = self.scheduler.workers, self.scheduler.idle
        return [
            ws
            for address in self.book.unplaced
            if (ws := workers.get(address)) is not None
            and len(ws.processing) > ws.nthreads
            and address not in idle
        ]


def steal_inside_pools(
    scheduler: Scheduler,
    roster: Roster,
    link: FindLink,
    carries: Callable[[TaskState], bool] = lambda _: False,
) -> Undo:
    """Have the workers of a scheduler steal from each other as their pools allow.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler. Nothing is done if it has no work stealing, or not Dask's own.
    roster : Roster
        The workers of each pool.
    link : callable
        What is known of the link from one pool to another; None if nothing is. A link that is
        not allowed, or has a price, is never crossed for the sake of speed.
    carries : callable
        Says whether a value is on its way into a pool because of a task, which therefore is not
        to be stolen now. Default: no task does.

    Returns
    -------
    callable
        Takes it back.

    Raises
    ------
    DistributedChangedError
        If this release of distributed is not as we know it.
    """
    return replace_stealing(
        scheduler,
        PoolStealing,
        roster=roster,
        link=link,
        carries=carries,
        measured=MeasuredLinks(scheduler, roster),
        book=Book(LEVELS, roster.pools_of, divides=bool(roster.pools)),
    )
