"""Work that no optimiser has seen is placed when it arrives.

That is what ``client.submit`` and ``client.map`` send, tasks that tasks submit, graphs computed
with ``optimize_graph=False`` or without `dask_pools.propagate_pools`, and expressions.

Whose work is it? A cluster with pools may be used by somebody who never thinks of them, and the
work of such a user has to be scheduled as ever, although every value lies in the pool of some
worker. So work is placed only if something binds it to pools: a pin in its graph; an input
whose task is *bound*, because it was pinned, or placed itself; or the task that has submitted it,
if that is bound. Once it is placed, all inputs count with their real bytes, wherever they are.

Two ways lead to a place:

- A graph of layers, or of an expression, is placed as the optimiser does it, with transfers, in
  the thread in which Dask materialises graphs (`Arrivals.of_graph`): at about 25 microseconds a
  task it would keep the event loop waiting.
- Plain tasks are placed one after the other, where most bytes of their inputs are, in the step in
  which they come to be on the scheduler (`Arrivals.of_tasks`). There the inputs which were
  submitted a moment ago are sure to be known; small graphs for which they were not known in the
  thread are placed here as well. No transfers: a few tasks fetch what they need.

What a task submits belongs into its pool, unless its inputs lie elsewhere: it may open the same
files. This is a placement and no pin, as tasks in two pools may submit the same key.

Left alone is whatever is restricted by its user (``workers=``, ``resources=``), actors that
are not pinned, and the steps of P2P shuffles.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from dask.typing import Key

from dask_pools.graph import adapter
from dask_pools.graph.annotate import as_pin
from dask_pools.graph.arriving import PlacedTasks, place_tasks
from dask_pools.graph.sizes import ASSUMED_NBYTES
from dask_pools.graph.submission import Learned, Submission
from dask_pools.model import PIN, PLACEMENT, TRANSFER, Pin
from dask_pools.scheduler.arrivals.restrictions import (
    Annotations,
    Overall,
    is_restricted,
    overall_pin,
    restricted_keys,
)
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.roster import bound_to

if TYPE_CHECKING:
    from distributed import Scheduler

#: Annotations of tasks by kind and key, before they are copied.
Said: TypeAlias = Mapping[str, Mapping[Key, Any]]
#: The tasks that are actors; True for all that are wanted.
Actors: TypeAlias = Collection[Key] | bool | None

#: Plain tasks that need each other are placed one by one, in one step of the event loop, at about
#: five microseconds each; more of them than this are left unplaced.
LARGEST_PLAIN_GRAPH = 1000


@dataclass(frozen=True, slots=True)
class Arrival:
    """Plain tasks that are about to come to the scheduler.

    Parameters
    ----------
    tasks : mapping
        The tasks.
    annotations : dict
        Their annotations, by kind and key.
    overall : dict or None
        Annotations of the whole submission.
    order : mapping of Key to int
        The order in which Dask wants to run them; each comes after those it needs.
    actors : collection of keys or bool
        The tasks that are actors; True for all that are wanted.
    submitted_by : str or tuple or None
        The key of the task which has submitted them.
    """

    tasks: Mapping[Key, adapter.GraphNode]
    annotations: Annotations
    overall: Overall | None
    order: Mapping[Key, int]
    actors: Actors
    submitted_by: Key | None


class Arrivals:
    """Places what arrives on one scheduler.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    membership : Membership
        Its pools.
    """

    def __init__(self, scheduler: Scheduler, membership: Membership) -> None:
        self.scheduler = scheduler
        self.membership = membership

    def home(self, submitted_by: Key | None) -> str | None:
        """Return the pool of the task that has submitted something, if it is bound to one."""
        ts = self.scheduler.tasks.get(submitted_by) if submitted_by is not None else None
        pool = None if ts is None else bound_to(ts)
        return pool if pool in self.membership.members else None

    # ---- graphs

    def of_graph(
        self,
        expression: Any,
        tasks: dict[Key, Any],
        said: Said,
        *,
        submission: Submission,
        message: Mapping[str, Any],
    ) -> tuple[dict[Key, Any], Said]:
        """Place a graph that no optimiser has placed; called in the thread of materialisation.

        Parameters
        ----------
        expression : Expr
            What was submitted.
        tasks : dict
            The tasks that were made of it.
        said : mapping
            Their annotations, by kind and key.
        submission : Submission
            The circumstances of the submission.
        message : mapping
            All that the client has sent with it.

        Returns
        -------
        tasks, said
            The same if there is nothing to place.
        """
        overall = message.get("annotations")
        actors = message.get("actors")
        nodes, taken = adapter.take_pins(adapter.as_tasks(tasks))
        if taken:
            tasks, said = nodes, {**said, PIN: {**said.get(PIN, {}), **taken.pins}}
        if not self.membership.members or PLACEMENT in said:
            return tasks, said
        if is_restricted(overall) or actors is True:
            return tasks, said
        default, home = overall_pin(overall), self.home(message.get("submitting_task"))
        pins = said.get(PIN, {})
        if not (pins or default or home or self._has_bound_inputs(nodes)):
            return tasks, said
        alone = _alone(said, actors, default)
        if home is not None:
            # What takes no input may open the files that the task which submits it can see.
            sources = (key for key, task in nodes.items() if adapter.is_source(task))
            pins = {**{key: (home,) for key in sources if key not in alone}, **pins}
        known = self._known(nodes)
        placed = place_tasks(
            {key: task for key, task in nodes.items() if key not in known},
            message["keys"],
            submission,
            pins=pins,
            default=default,
            alone=alone,
            expression=expression,
            read=taken.nbytes,
        )
        if placed.estimates is not None:
            submission.estimates.append(placed.estimates)
        return {**nodes, **known, **placed.tasks}, _told(said, placed)

    def _has_bound_inputs(self, tasks: Mapping[Key, adapter.GraphNode]) -> bool:
        inputs: set[Key] = set().union(*map(adapter.dependencies, tasks.values()))
        known = self.scheduler.tasks
        return any((ts := known.get(key)) and bound_to(ts) for key in inputs - tasks.keys())

    def _known(self, tasks: Mapping[Key, adapter.GraphNode]) -> dict[Key, adapter.GraphNode]:
        """Return the tasks that the scheduler knows, as it knows them, and all that they need.

        They stay where they are, and keep the inputs that they have, such as transfers.
        """
        known = self.scheduler.tasks
        found: dict[Key, adapter.GraphNode] = {}
        stack = [key for key in tasks if key in known]
        while stack:
            key = stack.pop()
            ts = known.get(key)
            if ts is not None and ts.run_spec is not None and key not in found:
                found[key] = ts.run_spec
                stack += adapter.dependencies(ts.run_spec)
        return found

    # ---- plain tasks

    def of_tasks(self, arrival: Arrival, learned: Mapping[str, Learned]) -> dict[Key, str]:
        """Place plain tasks, each where most bytes of its inputs are.

        Parameters
        ----------
        arrival : Arrival
            The tasks.
        learned : mapping of str to Learned
            What was learned of each kind of task.

        Returns
        -------
        dict
            The pool of each task that has one now; empty for work that has nothing to do with
            pools.
        """
        if not self.membership.members or PLACEMENT in arrival.annotations:
            return {}
        home = self.home(arrival.submitted_by)
        if home is None and not self._uses_bound(arrival.tasks):
            return {}
        default = overall_pin(arrival.overall)
        if default or is_restricted(arrival.overall) or arrival.actors is True:
            return {}
        alone = _alone(arrival.annotations, arrival.actors, default)
        return _Placing(self.scheduler, self.membership, home, learned).run(arrival, alone)

    def _uses_bound(self, tasks: Mapping[Key, adapter.GraphNode]) -> bool:
        """Ask whether any task uses the value of a bound one; this is what everybody pays."""
        known = self.scheduler.tasks
        for task in tasks.values():
            for key in task.dependencies:
                ts = known.get(key)
                if ts is not None and ts.resource_restrictions and bound_to(ts) is not None:
                    return True
        return False


class _Placing:
    """Places the tasks of one arrival one after the other."""

    def __init__(
        self,
        scheduler: Scheduler,
        membership: Membership,
        home: str | None,
        learned: Mapping[str, Learned],
    ) -> None:
        self.known = scheduler.tasks
        self.membership = membership
        self.alive = membership.members
        self.home = home
        self.learned = learned
        #: The pools of the tasks so far; those of pinned ones among them.
        self.pools: dict[Key, str] = {}

    def run(self, arrival: Arrival, alone: Container[Key]) -> dict[Key, str]:
        tasks, pins = arrival.tasks, arrival.annotations.get(PIN, {})
        found: dict[Key, str] = {}
        for key in _in_order(tasks, arrival.order):
            if key in self.known and self.known[key].run_spec is not None:
                continue  # it stays where it is
            pin = as_pin(pins.get(key))
            if pin is not None:
                pool = next((name for name in pin if name in self.alive), None)
            elif key in alone or adapter.is_shuffle(tasks[key]):
                pool = None
            else:
                pool = self._nearest(sorted(tasks[key].dependencies, key=str)) or self.home
                if pool is not None:
                    found[key] = pool
            if pool is not None:
                self.pools[key] = pool
        return found

    def _nearest(self, inputs: list[Key]) -> str | None:
        """Choose the pool in which most bytes of the inputs are: the fewest have to come there.

        Of equal ones, the pool that has the largest input; then the first by its name.
        """
        if len(inputs) == 1:
            return min(self._where(inputs[0]), default=None)
        held: dict[str, tuple[float, float]] = {}
        for key in inputs:
            pools = self._where(key)
            nbytes = self._nbytes(key) if pools else 0.0
            for pool in pools:
                total, largest = held.get(pool, (0.0, 0.0))
                held[pool] = total + nbytes, max(largest, nbytes)
        return min(held, key=lambda pool: (-held[pool][0], -held[pool][1], pool), default=None)

    def _where(self, key: Key) -> Collection[str]:
        pool = self.pools.get(key)
        if pool is not None:
            return (pool,)
        ts = self.known.get(key)
        if ts is None:
            return ()
        pool = bound_to(ts)
        if pool is not None and pool in self.alive:
            return (pool,)
        pools_of = self.membership.pools_of
        return {name for ws in ts.who_has or () for name in pools_of(ws.address)}

    def _nbytes(self, key: Key) -> float:
        ts = self.known.get(key)
        if ts is not None and ts.nbytes >= 0:
            return float(ts.nbytes)
        seen = self.learned.get(adapter.kind_of(key))
        return ASSUMED_NBYTES if seen is None or seen.nbytes is None else seen.nbytes


def _in_order(tasks: Mapping[Key, adapter.GraphNode], order: Mapping[Key, int]) -> Collection[Key]:
    """Return tasks so that each comes after those it needs; none if they are too many for that."""
    if len(tasks) == 1 or not any(d in tasks for task in tasks.values() for d in task.dependencies):
        return tasks
    return sorted(tasks, key=order.__getitem__) if len(tasks) <= LARGEST_PLAIN_GRAPH else ()


def _alone(said: Said, actors: Actors, default: Pin | None) -> Collection[Key]:
    """Name the tasks that have no pin, and are not to be placed either."""
    if default is not None:
        return ()
    pins = said.get(PIN, {})
    named = () if isinstance(actors, bool) or actors is None else actors
    return {key for key in (*restricted_keys(said), *named) if as_pin(pins.get(key)) is None}


def _told(said: Said, placed: PlacedTasks) -> Said:
    """Add their places to the annotations of tasks."""
    told = {**said, PLACEMENT: placed.pools}
    return {**told, TRANSFER: placed.transfers} if placed.transfers else told
