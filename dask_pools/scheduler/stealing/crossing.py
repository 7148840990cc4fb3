"""How long a worker would have to wait for the inputs of a task that has no place.

Inside of a pool a value comes at the speed which the scheduler knows of the whole cluster; over
a link, at what is known of the link: from the topology, else from what workers have measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from distributed.metrics import monotonic

from dask_pools.model import Link, Topology
from dask_pools.scheduler.roster import Roster, bound_to

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

#: What is known of the link from one pool to another; None if nothing is.
FindLink: TypeAlias = Callable[[str, str], "Link | None"]
#: The names of a worker's pools; empty if it has none.
Pools: TypeAlias = tuple[str, ...]

#: So many workers of each pool are asked for what they have measured.
ASKED = 32
#: For so many seconds the answer is remembered.
REMEMBERED = 60.0
#: Tasks with more inputs, or more consumers, are not taken out of their pool.
MANY = 100


class Speed(NamedTuple):
    """Bytes per second, and the seconds of a round trip."""

    bandwidth: float
    latency: float


def links_of(topology: Topology) -> FindLink:
    """Make the function that tells what a topology says of links.

    Examples
    --------
    >>> from dask_pools.model import Pool
    >>> link = links_of(Topology((Pool("ecmwf", egress="aggregates"), Pool("eumetsat"))))
    >>> link("ecmwf", "eumetsat").allowed, link("eumetsat", "ecmwf").allowed
    (False, True)
    """

    def find(source: str, target: str) -> Link:
        link = topology.link(source, target)
        # What may leave a pool is decided where tasks are placed, and not here.
        return link if topology.pool(source).egress == "all" else replace(link, allowed=False)

    return find


class MeasuredLinks:
    """The bandwidth between pools as workers have measured it when they fetched values.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler, which the workers tell of it.
    roster : Roster
        The workers of each pool.
    clock : callable
        The time in seconds.
    """

    def __init__(
        self, scheduler: Scheduler, roster: Roster, clock: Callable[[], float] = monotonic
    ) -> None:
        self._scheduler = scheduler
        self._roster = roster
        self._clock = clock
        self._found: dict[tuple[str, str], tuple[float, float | None]] = {}

    def bandwidth(self, source: str, target: str) -> float | None:
        """Return the median over some workers, in bytes per second; None if none has measured."""
        now = self._clock()
        when, found = self._found.get((source, target), (-math.inf, None))
        if now - when > REMEMBERED:
            found = self._measured(source, target)
            self._found[source, target] = (now, found)
        return found

    def _measured(self, source: str, target: str) -> float | None:
        measured = self._scheduler.bandwidth_workers
        senders, receivers = self._some(source), self._some(target)
        found = [
            bandwidth
            for receiver in receivers
            for sender in senders
            if (bandwidth := measured.get((receiver, sender), 0.0)) > 0
        ]
        return statistics.median(found) if found else None

    def _some(self, pool: str) -> list[str]:
        state = self._roster.pools.get(pool)
        addresses = sorted(ws.address for ws in state.members) if state is not None else []
        return addresses[:: -(-len(addresses) // ASKED) or 1]


class Crossing:
    """What it costs to fetch the inputs of tasks, for one round of stealing.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    roster : Roster
        The pools of the workers.
    link : callable
        What the topology says of links.
    measured : MeasuredLinks
        What the workers say of them.
    """

    def __init__(
        self, scheduler: Scheduler, roster: Roster, link: FindLink, measured: MeasuredLinks
    ) -> None:
        self._scheduler = scheduler
        self._roster = roster
        self._link = link
        self._measured = measured
        self._speeds: dict[tuple[Pools, Pools], Speed | None] = {}
        self._holders: dict[TaskState, frozenset[Pools]] = {}

    def pools_of(self, ws: WorkerState) -> Pools:
        """Return the names of the pools of a worker."""
        return tuple(pool.name for pool in self._roster.pools_of(ws))

    def may_move(self, ts: TaskState, source: Pools, target: Pools) -> bool:
        """Say whether a task may be stolen by a worker of other pools at all.

        Its result may have to go back, so that both directions have to be open, and free of
        charge. If some task is bound to a pool that needs the result, no other pool gets it.
        """
        if self._speed(source, target) is None or self._speed(target, source) is None:
            return False
        if len(ts.dependents) > MANY or len(ts.dependencies) > MANY:
            return False
        return all(
            (pool := bound_to(dependent)) is None or pool in target for dependent in ts.dependents
        )

    def seconds(self, ts: TaskState, ws: WorkerState) -> float:
        """Return how long the inputs of a task take to a worker; infinite if they may not go."""
        target = self.pools_of(ws)
        links: dict[Pools, float] = {}
        for value in ts.dependencies:
            if value in ws.has_what:
                continue
            nbytes = value.get_nbytes()
            seconds, latency, source = self._cheapest(value, nbytes, target)
            links[source] = links.get(source, latency) + seconds
        return sum(links.values())

    def _cheapest(self, value: TaskState, nbytes: int, target: Pools) -> tuple[float, float, Pools]:
        ways = [
            (nbytes / speed.bandwidth, speed.latency, source)
            for source in self._sources(value)
            if (speed := self._speed(source, target)) is not None
        ]
        return min(ways, default=(math.inf, 0.0, ()))

    def _sources(self, value: TaskState) -> frozenset[Pools]:
        found = self._holders.get(value)
        if found is None:
            found = frozenset(self.pools_of(ws) for ws in value.who_has or ())
            self._holders[value] = found
        return found

    def _speed(self, source: Pools, target: Pools) -> Speed | None:
        between = (source, target)
        if between not in self._speeds:
            self._speeds[between] = self._find_speed(source, target)
        return self._speeds[between]

    def _find_speed(self, source: Pools, target: Pools) -> Speed | None:
        if not source or not target or not set(source).isdisjoint(target):
            return Speed(self._scheduler.bandwidth, 0.0)
        speeds = [speed for s in source for t in target if (speed := self._over(s, t)) is not None]
        return max(speeds, default=None)

    def _over(self, source: str, target: str) -> Speed | None:
        link = self._link(source, target)
        if link is None:
            link = Link(source, target)
        if not link.allowed or link.price > 0:
            return None
        bandwidth = link.bandwidth or self._measured.bandwidth(source, target)
        return Speed(bandwidth or self._scheduler.bandwidth, link.latency or 0.0)
