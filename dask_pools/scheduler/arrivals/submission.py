"""Around the submission of a graph: tell the optimiser of the cluster, and keep what is asked.

distributed handles a submission in two steps, and both are wrapped here. While it
materialises the graph (in another thread), `SUBMISSION` tells our optimiser which pools
there are and where earlier values lie. Between that and the first task state, pins are
checked and become restrictions. An error there is reported to the caller of
``compute()`` by distributed, and nothing of the submission exists on the scheduler.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dask.typing import Key

from dask_pools.errors import PinConflictError, one_of
from dask_pools.graph.adapter import is_shuffle_output
from dask_pools.graph.annotate import as_pin, keep_pins_of
from dask_pools.graph.estimates import Estimates
from dask_pools.graph.submission import SUBMISSION, Learned, Residence, Submission
from dask_pools.model import (
    PIN,
    PLACEMENT,
    RESOURCE_PREFIX,
    TRANSFER,
    Pin,
    Topology,
)
from dask_pools.scheduler.arrivals.arrivals import Arrival, Arrivals
from dask_pools.scheduler.arrivals.residence import residence_of
from dask_pools.scheduler.arrivals.restrictions import (
    RESOURCES,
    Annotations,
    Overall,
    choose_pools,
    overall_pin,
    pin_of,
    restrict,
    speaks_of_pools,
)
from dask_pools.scheduler.learned import LearnedTable
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.private import graphs
from dask_pools.scheduler.private.materialising import change_tasks
from dask_pools.scheduler.shuffles.p2p import keeps_shuffles

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState

#: The annotations that are renewed on a task which was known, and which nobody needed.
RENEWED = (PIN, PLACEMENT, TRANSFER)


class Submissions:
    """The wrapper around the submissions to one scheduler.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    membership : Membership
        Its pools.
    learned : LearnedTable
        What finished tasks have shown.
    is_wanted : callable
        Says whether the plugin is still registered. distributed tells a plugin nothing
        when it is unregistered, so that this is asked at each submission.
    leave : callable
        Takes everything back; called when it is not registered any more.
    awaited : callable
        Names the pools without workers whose tasks are to wait.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        membership: Membership,
        learned: LearnedTable,
        is_wanted: Callable[[], bool],
        leave: Callable[[], None],
        awaited: Callable[[], Collection[str]],
    ) -> None:
        self.scheduler = scheduler
        self.membership = membership
        self.learned = learned
        self.is_wanted = is_wanted
        self.leave = leave
        self.awaited = awaited
        #: What the last computation that said anything of links and rules said of them.
        self.topology: Topology | None = None
        #: Called when a graph arrives, before anything is done about it.
        self.arriving: list[Callable[[], None]] = []
        self.arrivals = Arrivals(scheduler, membership)
        #: Called with what hangs on inexact sizes in a graph whose tasks are there since just now.
        self.estimated: list[Callable[[Estimates], None]] = []
        self._stock_update_graph = graphs.update_graph(scheduler)
        self._stock_create_tasks = graphs.create_tasks(scheduler)

    async def update_graph(self, **message: Any) -> None:
        """Handle a submitted graph, with `SUBMISSION` set."""
        if not self.is_wanted():
            self.leave()
            return await self._stock_update_graph(**message)
        for hear in self.arriving:
            hear()
        submission = self.describe()
        place = functools.partial(self.arrivals.of_graph, submission=submission, message=message)
        message = change_tasks(message, keep_pins_of, place)
        token = SUBMISSION.set(submission)
        try:
            return await self._stock_update_graph(**message)
        finally:
            SUBMISSION.reset(token)

    def describe(self) -> Submission:
        """Say what the optimiser has to know of the cluster."""
        return Submission(
            self.membership.topology,
            self.residence,
            known=self.scheduler.tasks,
            learned=self.learned.known,
            awaited=frozenset(self.awaited()),
        )

    def residence(self, key: Key) -> Residence | None:
        """Find where the value of an earlier submission is, or will be made.

        Called from the thread in which graphs are materialised.
        """
        return residence_of(self.scheduler, self.membership, key)

    def create_tasks(self, **graph: Any) -> dict[str, float]:
        """Make the task states of a graph, after its pins were checked and settled.

        Raises
        ------
        UnknownPoolError
            If no pool of a pin has workers.
        PinConflictError
            If a key which is still needed is pinned to other pools than before.
        """
        annotations, overall = graph["annotations_by_type"], graph["global_annotations"]
        if not self.is_wanted():
            return self._stock_create_tasks(**graph)
        submission = SUBMISSION.get()
        self._place(graph, {} if submission is None else submission.learned)
        if speaks_of_pools(annotations, overall):
            graph["global_annotations"] = self.settle(graph["dsk"], annotations, overall)
        metrics = self._stock_create_tasks(**graph)
        if submission is not None:
            self._hear(submission)
        if metrics.get(graphs.COLLISIONS):
            # Of a graph that is placed otherwise than before.
            graphs.forget_orphans(self.scheduler, graph["dsk"], graph["stimulus_id"])
        return metrics

    def _hear(self, submission: Submission) -> None:
        """Take note of what the optimiser has said of a graph."""
        for topology in submission.topologies:
            self.topology = topology
        for estimates in submission.estimates:
            for hear in self.estimated:
                hear(estimates)

    def _place(self, graph: Mapping[str, Any], learned: Mapping[str, Learned]) -> None:
        """Place what nobody has placed, and write it into the annotations of the graph."""
        arrival = Arrival(
            tasks=graph["dsk"],
            annotations=graph["annotations_by_type"],
            overall=graph["global_annotations"],
            order=graph["ordered"],
            actors=graph["actors"],
            submitted_by=graph["submitting_task"],
        )
        pools = self.arrivals.of_tasks(arrival, learned)
        if pools:
            arrival.annotations[PLACEMENT] = pools

    def settle(
        self, tasks: Mapping[Key, Any], annotations: Annotations, overall: Overall | None
    ) -> Overall | None:
        """Check the pins of a graph, and write the restrictions into its annotations."""
        default = overall_pin(overall)
        choice = choose_pools(tasks, annotations, default, self.membership.members, self.awaited())
        bound = tasks if default is not None else choice.pools
        known = list(self._known(tasks, bound))
        _check_conflicts(
            (ts, pin_of(ts.key, annotations, default)) for ts in known if is_needed(ts)
        )
        settled = restrict(choice, annotations, overall)
        if not keeps_shuffles(self.scheduler):
            _free_outputs(tasks, annotations)
        for ts in known:
            if not is_needed(ts):
                _renew(ts, annotations, settled or {})
        return settled

    def _known(self, tasks: Collection[Key], bound: Collection[Key]) -> Iterator[TaskState]:
        known = self.scheduler.tasks
        return (known[key] for key in bound if key in known and key in tasks)


def is_needed(ts: TaskState) -> bool:
    """Ask whether a known task is made, or will be: then it keeps its restrictions.

    Not needed are tasks kept for the lineage of others only, and those of which somebody
    has heard before their graph has come.
    """
    if ts.state not in {"released", "forgotten"}:
        return True
    return ts.run_spec is not None and bool(ts.who_wants or ts.waiters)


def _free_outputs(tasks: Mapping[Key, Any], annotations: Annotations) -> None:
    """Take the pool from the outputs of P2P shuffles.

    distributed binds them to workers of any pool; bound to a pool as well, they would wait for
    a worker that cannot be.
    """
    for key, task in tasks.items():
        if is_shuffle_output(task):
            resources = annotations.setdefault(RESOURCES, {})
            own = resources.get(key) or {}
            resources[key] = {k: v for k, v in own.items() if not k.startswith(RESOURCE_PREFIX)}


def _check_conflicts(pinned: Iterable[tuple[TaskState, Pin | None]]) -> None:
    conflicts = []
    for ts, now in pinned:
        before = as_pin((ts.annotations or {}).get(PIN))
        if before and now and set(before).isdisjoint(now):
            conflicts.append((ts.key, before, now))
    if not conflicts:
        return
    key, before, now = conflicts[0]
    more = f" (and {len(conflicts) - 1} more keys)" if len(conflicts) > 1 else ""
    raise PinConflictError(
        f"Key {key!r}{more} is pinned to {one_of(now)} in this submission, but to "
        f"{one_of(before)} in an earlier one, whose result is still needed. A key has one value "
        "in one place: give this one another key (load the data inside `with pool(...)`, where "
        "names depend on the pool, or pass key= or name=), or release the earlier one first by "
        "deleting its futures and collections. Nothing of this submission has been run."
    )


def _renew(ts: TaskState, annotations: Annotations, overall: Overall) -> None:
    """Give a task that nobody needed the pool of the submission which needs it now.

    distributed reads the annotations of tasks it has not known before only.
    """
    kept = {k: v for k, v in (ts.annotations or {}).items() if k not in RENEWED}
    for name in (*RENEWED, RESOURCES):
        value = annotations.get(name, {}).get(ts.key)
        value = overall.get(name) if value is None else value
        if value is not None:
            kept[name] = value(ts.key) if callable(value) else value
    ts.annotations = kept
    ts.resource_restrictions = kept.get(RESOURCES)
