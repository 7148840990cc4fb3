"""Plain restrictions: what is done on a release of distributed that is not as we know it.

The scheduler stays as it is. Computations are placed by our optimiser as ever, and tasks are
bound to their pools by Dask's own restrictions. Only what distributed documents is used here
(hooks of scheduler plugins, tables of handlers), so that it goes on where all else fails.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from dask.typing import Key
from distributed import SchedulerPlugin
from distributed.core import error_message

from dask_pools.errors import DistributedChangedError, UnknownPoolError
from dask_pools.graph.adapter import is_shuffle_output
from dask_pools.graph.submission import SUBMISSION, Residence, Submission
from dask_pools.model import restriction
from dask_pools.scheduler.arrivals.residence import residence_of
from dask_pools.scheduler.arrivals.restrictions import choose_pools, without_pools
from dask_pools.scheduler.circumstances import CIRCUMSTANCES, Circumstances
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.private.base import Undo, add_handler
from dask_pools.scheduler.private.graphs import UpdateGraph, replace_update_graph, update_graph
from dask_pools.scheduler.roster import bound_to
from dask_pools.scheduler.telemetry import CROSSINGS, LINK_BYTES, LinkCounter

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState

logger = logging.getLogger(__name__)

#: The name under which the plugin is registered.
NAME = "dask-pools-fallback"
#: The operation of the scheduler that tells why there are plain restrictions only.
WHY_FALLBACK = "dask_pools_why_fallback"


class Fallback(SchedulerPlugin):
    """Binds pinned and placed tasks to their pools, and does nothing else.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    error : DistributedChangedError
        What this release of distributed does not have.
    """

    name = NAME

    def __init__(self, scheduler: Scheduler, error: DistributedChangedError) -> None:
        self.scheduler = scheduler
        self.membership = Membership()
        self.links = LinkCounter(scheduler, self.membership)
        self.reason = str(error)
        #: The handler of submitted graphs, if there is one that we know of.
        self._stock_update_graph: UpdateGraph

    def install(self) -> Undo:
        """Follow workers and graphs by documented hooks; returns what ends it."""
        logger.info("Only plain restrictions are used: %s", self.reason)
        scheduler = self.scheduler
        for address in scheduler.workers:
            self.add_worker(scheduler, address)
        with contextlib.ExitStack() as undo:
            with contextlib.suppress(DistributedChangedError):
                self._stock_update_graph = update_graph(scheduler)
                undo.callback(replace_update_graph(scheduler, self.handle_graph))
            asked = Circumstances(self.describe)
            undo.callback(add_handler(scheduler, CIRCUMSTANCES, asked.answer))
            undo.callback(add_handler(scheduler, LINK_BYTES, self.links.link_bytes))
            undo.callback(add_handler(scheduler, CROSSINGS, self.links.crossings))
            undo.callback(add_handler(scheduler, WHY_FALLBACK, self.why))
            undo.callback(self.links.leave_future_workers)
            scheduler.add_plugin(self, name=NAME)
            undo.callback(self._unregister)
            return undo.pop_all().close

    def _unregister(self) -> None:
        if self.scheduler.plugins.get(NAME) is self:
            self.scheduler.remove_plugin(NAME)

    async def why(self) -> tuple[str, str]:
        """Tell a client which scheduler this is, and what it does not have."""
        return self.scheduler.id, self.reason

    # ---- for the optimiser

    async def handle_graph(self, **message: Any) -> None:
        """Handle a submitted graph, with `SUBMISSION` set."""
        token = SUBMISSION.set(self.describe())
        try:
            await self._stock_update_graph(**message)
        finally:
            SUBMISSION.reset(token)

    def describe(self) -> Submission:
        """Say what the optimiser has to know of the cluster."""
        return Submission(self.membership.topology, self.residence, known=self.scheduler.tasks)

    def residence(self, key: Key) -> Residence | None:
        """Find where the value of an earlier submission is, or will be made."""
        return residence_of(self.scheduler, self.membership, key)

    # ---- documented hooks of scheduler plugins

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Note the pools of a new worker."""
        ws = scheduler.workers[worker]
        self.membership.join(worker, ws.resources, ws.nthreads)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:  # noqa: ARG002
        """Note that a worker has left."""
        self.membership.leave(worker)

    def update_graph(
        self,
        scheduler: Scheduler,
        *,
        client: str,
        keys: Collection[Key],
        tasks: Collection[Key],
        annotations: Mapping[str, Mapping[Key, Any]],
        **_: Any,
    ) -> None:
        """Bind the tasks of a new graph; none of them has started yet."""
        self._free_outputs(tasks)
        try:
            choice = choose_pools(set(tasks), annotations, None, self.membership.members)
        except UnknownPoolError as error:
            # What a plugin raises is logged, and nothing else.
            scheduler.loop.add_callback(self.refuse, keys, client, error)
            return
        for key, pool in choice.pools.items():
            ts = scheduler.tasks.get(key)
            if ts is not None and not is_shuffle_output(ts.run_spec):
                _bind(ts, pool)

    def _free_outputs(self, tasks: Collection[Key]) -> None:
        """Take the pool from the outputs of P2P shuffles, which distributed binds to workers."""
        for key in tasks:
            ts = self.scheduler.tasks.get(key)
            if ts is not None and ts.resource_restrictions and is_shuffle_output(ts.run_spec):
                ts.resource_restrictions = without_pools(ts.resource_restrictions)

    def refuse(self, keys: Collection[Key], client: str, error: Exception) -> None:
        """Report an error for all that a submission asked for, and forget about it."""
        said = error_message(error)
        what = {"exception": said["exception"], "traceback": said["traceback"]}
        for key in keys:
            message: dict[str, Any] = {"op": "task-erred", "key": key, **what}
            self.scheduler.report(message, client=client)
        self.scheduler.client_releases_keys(list(keys), client)


def fallback_on(scheduler: Scheduler) -> Fallback | None:
    """Return the fallback that is installed on a scheduler of this process, if any."""
    plugin = scheduler.plugins.get(NAME)
    return plugin if isinstance(plugin, Fallback) else None


def _bind(ts: TaskState, pool: str) -> None:
    if bound_to(ts) != pool:
        others = without_pools(ts.resource_restrictions)
        ts.resource_restrictions = {**others, **restriction(pool)}
    if ts.loose_restrictions:
        # A preference for workers, by which it could leave its pool.
        ts.loose_restrictions = False
        ts.worker_restrictions = ts.host_restrictions = None
