"""The scheduler plugin: puts everything of this folder onto a scheduler, and takes it back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from dask.typing import Key
from distributed import SchedulerPlugin

from dask_pools.scheduler.circumstances import CIRCUMSTANCES, Circumstances
from dask_pools.scheduler.learned import LearnedTable, learn
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.private.base import add_handler
from dask_pools.scheduler.private.graphs import (
    replace_create_tasks,
    replace_update_graph,
    update_graph,
)
from dask_pools.scheduler.private.stealing import replace_stealing
from dask_pools.scheduler.replicas import drop_carried
from dask_pools.scheduler.roster import Roster
from dask_pools.scheduler.stealing import PoolStealing
from dask_pools.scheduler.submission import Submissions
from dask_pools.scheduler.telemetry import CROSSINGS, LINK_BYTES, LinkCounter

if TYPE_CHECKING:
    from distributed import Scheduler

#: The name under which the plugin is registered.
NAME = "dask-pools"


class PoolsPlugin(SchedulerPlugin):
    """Keeps tasks in their pools, refuses pins to pools without workers, counts bytes per link.

    Register it with ``client.register_plugin(PoolsPlugin())``, or with
    `dask_pools.scheduler.install.install` on a scheduler of this process. A scheduler has
    one of them; registering another is harmless.

    Notes
    -----
    distributed does not tell a plugin when it is unregistered. One that is, takes
    everything back at the next submission of a graph.
    """

    name = NAME
    idempotent = True

    #: The scheduler it is installed on; None before, and after it was taken back.
    scheduler: Scheduler | None
    #: Which worker is in which pool; from installation on.
    membership: Membership
    #: The workers of each pool; from installation on.
    roster: Roster
    #: What finished tasks have shown; from installation on.
    learned: LearnedTable
    #: The wrapper around submissions; from installation on.
    submissions: Submissions
    #: The bytes per link; from installation on.
    links: LinkCounter
    #: What takes everything back; empty if nothing is installed.
    _undo: contextlib.ExitStack

    def __init__(self) -> None:
        self.scheduler = None
        self._undo = contextlib.ExitStack()

    def __reduce__(self) -> tuple[type[PoolsPlugin], tuple[()]]:
        """Travel to a scheduler as what it is before it is installed."""
        return type(self), ()

    async def start(self, scheduler: Scheduler) -> None:
        """Install everything; called by distributed when the plugin is registered."""
        if self.attach(scheduler):
            await self.links.count_on_workers()

    async def close(self) -> None:
        """Take everything back; called by distributed when the scheduler closes."""
        self.detach()

    def attach(self, scheduler: Scheduler) -> bool:
        """Install everything on the scheduler itself, within one step of its event loop.

        Returns
        -------
        bool
            False if this plugin, or another one of its kind, is installed there already.

        Raises
        ------
        DistributedChangedError
            If this release of distributed is not as we know it. Nothing is installed then.
        """
        if self.scheduler is not None or installed_on(scheduler) is not None:
            return False
        orphan = getattr(update_graph(scheduler), "__self__", None)
        if isinstance(orphan, Submissions):
            orphan.leave()  # unregistered, and no graph was submitted since
        self.membership = Membership()
        self.roster = Roster(scheduler, self.membership)
        self.learned = LearnedTable()
        self.submissions = Submissions(
            scheduler, self.membership, self.learned, self.is_registered, self.detach
        )
        self.links = LinkCounter(scheduler, self.membership)
        with contextlib.ExitStack() as undo:
            submissions, links = self.submissions, self.links
            undo.callback(replace_update_graph(scheduler, submissions.update_graph))
            undo.callback(replace_create_tasks(scheduler, submissions.create_tasks))
            undo.callback(self.roster.watch())
            undo.callback(
                replace_stealing(
                    scheduler, PoolStealing, membership=self.membership, idle_members={}
                )
            )
            undo.callback(add_handler(scheduler, LINK_BYTES, links.link_bytes))
            undo.callback(add_handler(scheduler, CROSSINGS, links.crossings))
            asked = Circumstances(submissions.describe)
            undo.callback(add_handler(scheduler, CIRCUMSTANCES, asked.answer))
            undo.callback(links.leave_future_workers)
            # At once, and not by distributed when `start` has returned: a second plugin
            # must find this one, and this one must find itself.
            scheduler.add_plugin(self, name=NAME, idempotent=True)
            self._undo = undo.pop_all()
        self.scheduler = scheduler
        return True

    def detach(self) -> None:
        """Take back everything that was installed on the scheduler itself.

        The present workers go on counting; `dask_pools.scheduler.install.uninstall` gives
        them back their plain logs, too.
        """
        scheduler, self.scheduler = self.scheduler, None
        self._undo.close()
        if scheduler is not None and scheduler.plugins.get(NAME) is self:
            scheduler.remove_plugin(NAME)

    def is_registered(self) -> bool:
        """Say whether the scheduler still has this plugin."""
        return self.scheduler is not None and self.scheduler.plugins.get(NAME) is self

    def transition(
        self, key: Key, start: str, finish: str, *_: Any, stimulus_id: str, **message: Any
    ) -> None:
        """Tidy up after a transfer, and learn from other tasks."""
        if finish == "memory" and start == "processing" and self.scheduler is not None:
            drop_carried(self.scheduler, key, stimulus_id)
            learn(self.scheduler, self.learned, key, message.get("startstops", ()))


def installed_on(scheduler: Scheduler) -> PoolsPlugin | None:
    """Return the plugin that is installed on a scheduler of this process, if any."""
    plugin = scheduler.plugins.get(NAME)
    return plugin if isinstance(plugin, PoolsPlugin) and plugin.scheduler is scheduler else None
