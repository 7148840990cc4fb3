"""The active memory manager, such that no pool loses a value that it needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from dask.utils import format_bytes

from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.memory import (
    GuardedManager,
    replace_manager,
    retire_with,
    temporary_manager,
)
from dask_pools.scheduler.replicas.needs import droppable

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

    from dask_pools.scheduler.roster import PoolState, Roster

logger = logging.getLogger(__name__)


class PoolManager(GuardedManager):
    """The active memory manager of a scheduler with pools."""

    #: The workers of each pool; from installation to removal.
    roster: Roster
    #: The pools that need a value, now or later; from installation to removal.
    needed_in: Callable[[TaskState], Collection[PoolState]]
    #: What has to get another holder in the pool of a worker before that may retire, by the
    #: worker's address; from installation to removal.
    leaving: dict[str, list[TaskState]]

    #: The answers of `needed_in`; during one round.
    _needs: dict[TaskState, Collection[PoolState]]
    #: The values that leave their pools; during one round.
    _outward: list[TaskState]

    def begin(self) -> None:
        """Prepare for a round."""
        self._needs, self._outward = {}, []
        workers = self.scheduler.workers
        for address in [address for address in self.leaving if address not in workers]:
            del self.leaving[address]

    def end(self) -> None:
        """Warn of what leaves its pool, and forget what was true in this round only."""
        if self._outward:
            nbytes = sum(ts.get_nbytes() for ts in self._outward)
            logger.warning(
                "%d values (%s) are copied out of their pools, because no other worker is "
                "running there that could take them",
                len(self._outward),
                format_bytes(nbytes),
            )
        del self._needs, self._outward

    def recipients(
        self, ts: TaskState, among: set[WorkerState], pending: set[WorkerState]
    ) -> set[WorkerState]:
        """Choose workers of the pools which hold the value; others only if there are none."""
        holders = ts.who_has or set()
        homes = {pool for ws in holders for pool in self.roster.pools_of(ws)}
        if not homes:
            return among
        near = set().union(*(among & pool.running for pool in homes))
        if near - holders - pending:
            return near
        if not near and among - holders - pending:
            self._outward.append(ts)
        return among

    def droppers(
        self, ts: TaskState, among: set[WorkerState], pending: set[WorkerState]
    ) -> set[WorkerState]:
        """Choose holders of which none is the last in a pool that needs the value."""
        needing = self._needs.get(ts)
        if needing is None:
            needing = self._needs[ts] = self.needed_in(ts)
        if not needing:
            return among
        running = self.scheduler.running
        return droppable(
            among, ts.who_has or set(), pending, self.roster.pools_of, needing, running
        )

    def wanted_before_retiring(
        self, ws: WorkerState
    ) -> Iterator[tuple[TaskState, set[WorkerState]]]:
        """List what a worker's pool needs and nobody else there holds, and who can take it."""
        self.leaving[ws.address] = leaving = []
        for ts in list(ws.has_what):
            if ts.actor or ts.who_has == {ws}:
                continue
            for pool in self.needed_in(ts):
                if ws in pool.members and _has_to_get(pool, ts, ws):
                    leaving.append(ts)
                    yield ts, pool.running - {ws}

    def is_safe_to_retire(self, address: str) -> bool:
        """Say whether another worker of the pool holds each of these."""
        ws = self.scheduler.workers.get(address)
        if ws is None:
            return True
        pools = self.roster.pools_of(ws)
        return not any(
            _has_to_get(pool, ts, ws) for ts in self.leaving.get(address, ()) for pool in pools
        )


def _has_to_get(pool: PoolState, ts: TaskState, leaving: WorkerState) -> bool:
    """Say whether a pool has workers that stay, and none of them holds a value."""
    holders = ts.who_has or set()
    if leaving not in holders:
        return False  # it was dropped, or is not needed any more
    staying = pool.running - {leaving}
    return bool(staying) and staying.isdisjoint(holders)


def install_manager(
    scheduler: Scheduler,
    roster: Roster,
    needed_in: Callable[[TaskState], Collection[PoolState]],
) -> Undo:
    """Have the active memory manager leave each pool what that needs.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    roster : Roster
        The workers of its pools.
    needed_in : callable
        The pools that need a value.
    """

    def state() -> dict[str, object]:
        return {"roster": roster, "needed_in": needed_in, "leaving": {}}

    def make(scheduler: Scheduler) -> GuardedManager:
        return temporary_manager(scheduler, PoolManager, **state())

    undo_manager = replace_manager(scheduler, PoolManager, **state())
    undo_retiring = retire_with(scheduler, make)

    def undo() -> None:
        undo_retiring()
        undo_manager()

    return undo
