"""Replicas: each pool keeps what it needs, and gets it over a link once.

Who takes a value from whom is decided in `sources`; what is copied and dropped besides, in
`memory`, `replicating` and `rebalancing`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from dask.typing import Key

from dask_pools.model import TRANSFER
from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.replicas import (
    REBALANCE,
    REPLICATE,
    operation,
    replace_operation,
    replica_lock,
)
from dask_pools.scheduler.replicas.memory import install_manager
from dask_pools.scheduler.replicas.needs import pools_in_need
from dask_pools.scheduler.replicas.rebalancing import Rebalancing
from dask_pools.scheduler.replicas.replicating import Replicating
from dask_pools.scheduler.replicas.sources import Sources

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState

    from dask_pools.scheduler.roster import PoolState, Roster


class Replicas:
    """On the scheduler: the replicas of values.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    roster : Roster
        The workers of its pools.

    Raises
    ------
    DistributedChangedError
        If this release of distributed is not as we know it.
    """

    def __init__(self, scheduler: Scheduler, roster: Roster) -> None:
        self.scheduler = scheduler
        self.roster = roster
        self.sources = Sources(scheduler, roster)
        self.replicating = Replicating(
            scheduler, roster, self.waited_for_in, operation(scheduler, REPLICATE)
        )
        self.rebalancing = Rebalancing(scheduler, roster, operation(scheduler, REBALANCE))
        #: Values on their way into pools, and those that were copied on purpose: while there are
        #: none, `transitioned` need be called for transfers only.
        self.coming = self.sources.carriers.coming
        self.kept = self.replicating.kept

    def install(self) -> Undo:
        """Take care of the replicas from now on; returns what ends it."""
        scheduler = self.scheduler
        replica_lock(scheduler)  # is it there? It is needed only when somebody replicates
        with contextlib.ExitStack() as undo:
            undo.callback(self.sources.install())
            undo.callback(install_manager(scheduler, self.roster, self.needed_in))
            replicate, rebalance = self.replicating.replicate, self.rebalancing.rebalance
            undo.callback(replace_operation(scheduler, REPLICATE, replicate))
            undo.callback(replace_operation(scheduler, REBALANCE, rebalance))
            return undo.pop_all().close

    def transitioned(self, ts: TaskState, start: str, finish: str, stimulus_id: str) -> None:
        """Tidy up after a task; called by the plugin after each transition."""
        self.sources.carriers.transitioned(ts, start, finish)
        if finish == "memory":
            if start == "processing":
                drop_carried(self.scheduler, ts.key, stimulus_id, self.waited_for_in)
        elif start == "memory":
            self.replicating.forget(ts)

    def waited_for_in(self, ts: TaskState) -> Collection[PoolState]:
        """Find the pools in which an unfinished task needs a value."""
        return pools_in_need(ts, self.roster)

    def needed_in(self, ts: TaskState) -> Collection[PoolState]:
        """Find the pools in which a task needs a value, or it was replicated on purpose."""
        kept = self.replicating.kept.get(ts, ())
        needing = self.waited_for_in(ts)
        return {*needing, *kept} if kept else needing


def drop_carried(
    scheduler: Scheduler,
    key: Key,
    stimulus_id: str,
    waited_for_in: Callable[[TaskState], Collection[PoolState]],
) -> None:
    """Have the worker that has run a transfer forget the value under its old key.

    It holds the value twice then: as the result of the transfer, for the tasks of its pool, and
    under the key that it has at home. A worker at home which needs the latter has no use for
    this copy; a task of this pool may have.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    key : str or tuple
        A task that has just come into memory. Nothing is done if it is no transfer.
    stimulus_id : str
        What made it come there, for distributed's log of events.
    waited_for_in : callable
        The pools in which an unfinished task needs a value.
    """
    ts = scheduler.tasks.get(key)
    if ts is None or not ts.annotations or TRANSFER not in ts.annotations:
        return
    for ws in list(ts.who_has or ()):
        keys = [
            value.key
            for value in ts.dependencies
            if value.who_has and ws in value.who_has and len(value.who_has) > 1
            if not any(ws in pool.members for pool in waited_for_in(value))
        ]
        if keys:
            scheduler.request_remove_replicas(ws.address, keys, stimulus_id=stimulus_id)
