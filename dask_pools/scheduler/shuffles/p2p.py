"""P2P rechunk, shuffle and merge that stay in the pool of their data.

distributed spreads the outputs of a shuffle over all workers, so that of two pools of equal
size half of everything crosses. Here each output goes to a worker of the pool for which the
fewest bytes cross: the pool of its inputs, if these are in one; and always to a worker that
may make it. This is settled anew, with the workers of that time, whenever a shuffle starts,
also if it does so because a worker has left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dask_pools.scheduler.arrivals.restrictions import without_pools
from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.p2p import (
    SHUFFLE,
    GuardedShuffles,
    Partition,
    Shuffle,
    replace_shuffles,
    shuffle_outputs,
)
from dask_pools.scheduler.roster import PoolState, Roster, bound_to
from dask_pools.scheduler.shuffles.outputs import Choice

if TYPE_CHECKING:
    from distributed import Scheduler


class Shuffles:
    """What keeps the shuffles of one scheduler in their pools.

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

    def install(self) -> Undo:
        """Keep shuffles in their pools; returns what takes it back, also while one runs.

        Raises
        ------
        DistributedChangedError
            If this release of distributed has other shuffles.
        """
        with contextlib.ExitStack() as undo:
            undo.callback(
                replace_shuffles(self.scheduler, PoolShuffles, roster=self.roster, stranded={})
            )
            shuffles = self.scheduler.plugins.get(SHUFFLE)
            if isinstance(shuffles, PoolShuffles):
                undo.callback(self._free_outputs)
                self.roster.changed.append(shuffles.pool_changed)
                undo.callback(self.roster.changed.remove, shuffles.pool_changed)
            return undo.pop_all().close

    def _free_outputs(self) -> None:
        """Take the pool from outputs that are still to be made: stock would not look at it."""
        for ts in shuffle_outputs(self.scheduler):
            if ts.state != "memory" and bound_to(ts) is not None:
                ts.resource_restrictions = without_pools(ts.resource_restrictions) or None


def keeps_shuffles(scheduler: Scheduler) -> bool:
    """Ask whether the steps of shuffles may be bound to pools on a scheduler.

    Where they may not, because another plugin is in charge of shuffles, a step that is bound to
    a pool could wait for a worker that cannot be.
    """
    return isinstance(scheduler.plugins.get(SHUFFLE), PoolShuffles)


class PoolShuffles(GuardedShuffles):
    """The shuffles of a scheduler with pools; made by changing the class of the stock ones."""

    #: The workers of each pool; from installation to removal.
    roster: Roster
    #: By shuffle, pools without workers to which outputs are bound; while it runs.
    stranded: dict[str, set[str]]

    def choose_workers(
        self, shuffle: Shuffle, workers: Sequence[str]
    ) -> Mapping[Partition, str] | None:
        """Choose a worker of the best pool for every output; None if no pool has to do with it."""
        for ended in [name for name in self.stranded if name not in self.active_shuffles]:
            del self.stranded[ended]
        choice = Choice(self.scheduler, self.roster, shuffle, workers)
        if not choice.concerns_pools:
            return None
        chosen = choice.workers()
        if choice.stranded:
            self.stranded[shuffle.id] = choice.stranded
        return chosen

    def pool_changed(self, pool: PoolState) -> None:
        """Start shuffles again of which outputs wait for a pool that has workers again."""
        if not pool.running:
            return
        for name in [name for name, pools in self.stranded.items() if pool.name in pools]:
            del self.stranded[name]
            # Not now: the scheduler has not yet noted that this worker runs.
            self.scheduler.loop.add_callback(self.start_again, name, f"p2p-pool-back-{pool.name}")
