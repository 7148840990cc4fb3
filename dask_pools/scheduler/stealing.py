"""Work stealing that stays inside of pools.

A task that is bound to a pool is stolen by workers of that pool only, whatever
preferences it has; any other task by a worker that has a pool in common with the worker
it is on. From workers without a pool everybody may steal, as in stock Dask. Transfers are not
stolen at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_pools.model import TRANSFER, Pin, pools_of_resources
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.private.stealing import GuardedStealing

if TYPE_CHECKING:
    from distributed.scheduler import TaskState, WorkerState


class PoolStealing(GuardedStealing):
    """The work stealing of a scheduler with pools; made by changing the class of the stock one."""

    #: The pools of the workers; from installation to removal.
    membership: Membership
    #: The idle workers of each pool; during one round of balancing.
    idle_members: dict[str, set[WorkerState]]

    def can_move_anything(self) -> bool:
        """Say whether some worker has work that some idle worker may take.

        Without this, a round asks for every task of a full pool, again and again, whether
        the idle workers of another pool may have it.
        """
        pools_of = self.membership.pools_of
        self.idle_members = {}
        idle = self.scheduler.idle
        if not idle:
            return False
        for ws in idle.values():
            for pool in pools_of(ws.address):
                self.idle_members.setdefault(pool, set()).add(ws)
        return any(
            self._has_thief(pools_of(ws.address))
            for ws in self.scheduler.workers.values()
            if ws.processing and ws.address not in idle
        )

    def _has_thief(self, pools: Pin) -> bool:
        return not pools or any(pool in self.idle_members for pool in pools)

    def thieves_for(self, ts: TaskState, thieves: set[WorkerState]) -> set[WorkerState]:
        """Choose those of the idle workers that may steal a task."""
        if ts.annotations and TRANSFER in ts.annotations:
            return set()  # its worker may have fetched the value: the thief would fetch it again
        here = ts.processing_on
        around = self.membership.pools_of(here.address) if here is not None else ()
        if not self._has_thief(around):
            return set()  # the many tasks of a full pool end here
        pools = pools_of_resources(ts.resource_restrictions or ()) or around
        if not pools:
            return thieves
        if len(pools) == 1:
            return thieves & self.idle_members.get(pools[0], set())
        return thieves & set().union(*(self.idle_members.get(pool, ()) for pool in pools))
