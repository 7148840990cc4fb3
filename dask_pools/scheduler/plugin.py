"""The scheduler plugin: puts everything of this folder onto a scheduler, and takes it back."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from dask.typing import Key
from distributed import SchedulerPlugin

from dask_pools.errors import ConfigurationError, DistributedChangedError
from dask_pools.model import TRANSFER, Link
from dask_pools.scheduler.arrivals.corrections import Corrections
from dask_pools.scheduler.arrivals.submission import Submissions
from dask_pools.scheduler.circumstances import CIRCUMSTANCES, Circumstances
from dask_pools.scheduler.configuration import Configuration, read_configuration
from dask_pools.scheduler.fallback import WHY_FALLBACK, Fallback
from dask_pools.scheduler.learned import LearnedTable, learn
from dask_pools.scheduler.loss.loss import Loss
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.pressure.pressure import Pressure
from dask_pools.scheduler.private.base import add_handler
from dask_pools.scheduler.private.graphs import (
    replace_create_tasks,
    replace_update_graph,
    update_graph,
)
from dask_pools.scheduler.private.loss import READY
from dask_pools.scheduler.queues.assigning import Assigning
from dask_pools.scheduler.queues.queuing import Queuing
from dask_pools.scheduler.queues.roundtrip import RoundTrips
from dask_pools.scheduler.queues.slots import Slots
from dask_pools.scheduler.removal import UNINSTALL, Removal
from dask_pools.scheduler.replicas.replicas import Replicas
from dask_pools.scheduler.roster import Roster, bound_to
from dask_pools.scheduler.shuffles.p2p import Shuffles
from dask_pools.scheduler.stealing.crossing import links_of
from dask_pools.scheduler.stealing.stealing import steal_inside_pools
from dask_pools.scheduler.telemetry import CROSSINGS, LINK_BYTES, LinkCounter

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState

logger = logging.getLogger(__name__)

#: States of which `Corrections` and `Loss` take note.
_CORRECTING = frozenset({"memory", "forgotten"})
_LOSING = frozenset({*READY, "released"})

#: The name under which the plugin is registered.
NAME = "dask-pools"


class PoolsPlugin(SchedulerPlugin):
    """Keeps tasks in their pools: their queues, their memory, their values, their losses.

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
    # All of the following from installation on.
    #: The settings of those who run the cluster.
    configuration: Configuration
    #: Which worker is in which pool, by address.
    membership: Membership
    #: The workers of each pool.
    roster: Roster
    #: What finished tasks have shown.
    learned: LearnedTable
    #: The wrapper around submissions.
    submissions: Submissions
    #: The bytes per link.
    links: LinkCounter
    #: How far away the pools are.
    round_trips: RoundTrips
    #: Who has room for another read.
    slots: Slots
    #: What is held back for want of memory.
    pressure: Pressure
    #: The queues of the pools.
    queuing: Queuing
    #: Where values are fetched from, and copied to.
    replicas: Replicas
    #: What is placed anew because sizes turn out otherwise.
    corrections: Corrections
    #: What becomes of the tasks of lost pools.
    loss: Loss
    #: Whether there are plain restrictions only.
    falls_back: bool
    #: What takes everything back; empty if nothing is installed.
    _undo: contextlib.ExitStack

    def __init__(self) -> None:
        self.scheduler = None
        self.falls_back = False
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

        If this release of distributed is not as we know it, nothing but plain restrictions is
        installed: see `Fallback`.

        Returns
        -------
        bool
            False if this plugin, or another one of its kind, is installed there already.

        Raises
        ------
        ConfigurationError
            If a setting in the scheduler's configuration is not valid. Nothing is installed then.
        """
        if self.scheduler is not None or installed_on(scheduler) is not None:
            return False
        configuration = read_configuration()
        self.falls_back = False
        try:
            self._attach(scheduler, configuration)
        except DistributedChangedError as error:
            self._fall_back(scheduler, error)
        self.scheduler = scheduler
        return True

    def _attach(self, scheduler: Scheduler, configuration: Configuration) -> None:
        orphan = getattr(update_graph(scheduler), "__self__", None)
        if isinstance(orphan, Submissions):
            orphan.leave()  # unregistered, and no graph was submitted since
        self._make(scheduler, configuration)
        with contextlib.ExitStack() as undo:
            self._install(scheduler, undo)
            # At once, and not by distributed when `start` has returned: a second plugin
            # must find this one, and this one must find itself.
            scheduler.add_plugin(self, name=NAME, idempotent=True)
            self._undo = undo.pop_all()

    def _fall_back(self, scheduler: Scheduler, error: DistributedChangedError) -> None:
        fallback = Fallback(scheduler, error)
        self.links = fallback.links
        self.falls_back = True
        with contextlib.ExitStack() as undo:
            undo.callback(fallback.install())
            removal = Removal(self.detach, self.links)
            undo.callback(add_handler(scheduler, UNINSTALL, removal.answer))
            scheduler.add_plugin(self, name=NAME, idempotent=True)
            self._undo = undo.pop_all()

    def _make(self, scheduler: Scheduler, configuration: Configuration) -> None:
        """Make all parts; nothing is installed by that."""
        self.configuration = configuration
        self.membership = Membership()
        self.roster = roster = Roster(scheduler, self.membership)
        self.learned = LearnedTable()
        self.links = LinkCounter(scheduler, self.membership)
        self.round_trips = RoundTrips(scheduler, roster, lambda: self.configuration)
        self.slots = Slots(roster, self.round_trips.saturation)
        self.pressure = Pressure(scheduler, roster, configuration.memory_share, self._wake)
        self.queuing = Queuing(scheduler, roster, self.slots, self.pressure)
        self.replicas = Replicas(scheduler, roster)
        self.corrections = Corrections(scheduler, roster, self.learned)
        self.corrections.changed.append(self._corrected)
        self.loss = Loss(scheduler, roster)
        self.loss.changed.append(self._corrected)
        self.submissions = Submissions(
            scheduler,
            self.membership,
            self.learned,
            is_wanted=self.is_registered,
            leave=self.detach,
            awaited=self.loss.awaited,
        )
        self.submissions.arriving.append(self._configure)
        self.submissions.estimated.append(self.corrections.expect)

    def _install(self, scheduler: Scheduler, undo: contextlib.ExitStack) -> None:
        submissions, links = self.submissions, self.links
        undo.callback(replace_update_graph(scheduler, submissions.update_graph))
        undo.callback(replace_create_tasks(scheduler, submissions.create_tasks))
        # First of all that hears of workers, and last to stop.
        undo.callback(self.roster.watch())
        undo.callback(self.round_trips.install())
        undo.callback(self.pressure.install())
        undo.callback(self.queuing.install())
        undo.callback(Assigning(scheduler, self.roster, self.slots).install())
        undo.callback(self.replicas.install())
        undo.callback(Shuffles(scheduler, self.roster).install())
        undo.callback(self.loss.install())
        carries = self.replicas.sources.carriers.carries
        undo.callback(steal_inside_pools(scheduler, self.roster, self._find_link, carries))
        asked = Circumstances(submissions.describe)
        removal = Removal(self.detach, links)
        undo.callback(add_handler(scheduler, LINK_BYTES, links.link_bytes))
        undo.callback(add_handler(scheduler, CROSSINGS, links.crossings))
        undo.callback(add_handler(scheduler, CIRCUMSTANCES, asked.answer))
        undo.callback(add_handler(scheduler, UNINSTALL, removal.answer))
        # distributed logs a warning for each operation that it does not know.
        undo.callback(add_handler(scheduler, WHY_FALLBACK, _no_fallback))
        undo.callback(links.leave_future_workers)

    def detach(self) -> None:
        """Take back everything that was installed on the scheduler itself.

        The present workers go on counting; `dask_pools.uninstall` gives them back their plain
        logs, too.
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
        """Tell the parts of a task that has moved; called after each transition.

        It is called for every task of the cluster, several times. So the parts are told only
        of what may concern them: most tasks cross no link, and nothing crosses most of the time.
        """
        if start == finish == "waiting":
            return  # there was no room for it: it is queued next
        scheduler = self.scheduler
        ts = scheduler.tasks.get(key) if scheduler is not None else None
        if ts is None or self.falls_back:
            return
        done = start == "processing" and finish == "memory"
        if done and not self.learned.passes_over(ts.prefix.name):
            self._finished(ts, message)
        annotations = ts.annotations
        carries = annotations is not None and TRANSFER in annotations
        if carries:
            self.slots.transitioned(ts, start, finish, stimulus_id)
        if finish == "waiting" or self.pressure.follows:
            self.pressure.transitioned(ts, start, finish, stimulus_id)
        replicas = self.replicas
        if carries or replicas.coming or (start == "memory" and replicas.kept):
            replicas.transitioned(ts, start, finish, stimulus_id)
        if finish in _CORRECTING and self.corrections:
            self.corrections.transitioned(ts, start, finish, stimulus_id)
        # The others still see a task of a lost pool as one of that pool.
        if self.loss.lacks and finish in _LOSING:
            self.loss.transitioned(ts, start, finish, stimulus_id)

    def _finished(self, ts: TaskState, message: dict[str, Any]) -> None:
        seconds = learn(self.learned, ts, message.get("startstops", ()))
        if seconds is not None and not ts.dependencies and (pool := bound_to(ts)) is not None:
            self.round_trips.finished(pool, seconds)

    def _wake(self, pool: str) -> None:
        self.queuing.wake(pool)

    def _corrected(self, ts: TaskState, _: str) -> None:
        """Have the account of waiting values see a task that has another pool now."""
        self.pressure.rebound(ts)

    def _configure(self) -> None:
        """Read the settings again: somebody may have changed them since the last computation."""
        try:
            self.configuration = read_configuration()
        except ConfigurationError:
            logger.exception("Settings that are not valid are ignored")
        self.pressure.share = self.configuration.memory_share
        self.round_trips.forget_settings()

    def _find_link(self, source: str, target: str) -> Link | None:
        topology = self.submissions.topology
        return None if topology is None else links_of(topology)(source, target)


async def _no_fallback() -> None:
    """Answer a client that everything is installed, and no fallback is needed."""


def installed_on(scheduler: Scheduler) -> PoolsPlugin | None:
    """Return the plugin that is installed on a scheduler of this process, if any."""
    plugin = scheduler.plugins.get(NAME)
    return plugin if isinstance(plugin, PoolsPlugin) and plugin.scheduler is scheduler else None
