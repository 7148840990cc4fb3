"""The words of dask_pools as data: pools, links, pins, and how Dask is told of them.

Frozen, standard library only; every other module builds on this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from dask_pools.errors import PoolNameError

#: Key of the layer (and task) annotation that holds a *pin*: the tuple of allowed pools.
PIN = "pool"
#: Key of the annotation of a task which a policy has *placed*: the name of its pool.
PLACEMENT = "placement"
#: Key of the annotation of a transfer task: (source pool, target pool).
TRANSFER = "transfer"
#: Worker resources with this prefix say which pool a worker belongs to.
RESOURCE_PREFIX = "pool-"

#: The pools in which a task may run, the preferred one first.
Pin: TypeAlias = tuple[str, ...]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_pool_name(name: object) -> str:
    """Return a pool's name if it is well formed.

    Parameters
    ----------
    name : str
        Letters, digits, ``_``, ``.`` and ``-``, beginning with a letter or a digit.

    Raises
    ------
    TypeError
        If it is not a string.
    PoolNameError
        If it is empty or has a character that is not allowed.

    Examples
    --------
    >>> check_pool_name("eu-west-1")
    'eu-west-1'
    """
    if not isinstance(name, str):
        raise TypeError(
            f"the name of a pool is a string such as 'ecmwf', not {name!r} "
            f"of type {type(name).__name__}"
        )
    if not _NAME.fullmatch(name):
        raise PoolNameError(
            f"{name!r} is not a name for a pool: use letters, digits, '_', '.' and '-', "
            "beginning with a letter or a digit, for example 'ecmwf' or 'eu-west-1'"
        )
    return name


def pool_resource(name: str) -> str:
    """Name the worker resource that makes a worker a member of a pool.

    Examples
    --------
    >>> pool_resource("ecmwf")
    'pool-ecmwf'
    """
    return RESOURCE_PREFIX + name


def pools_of_resources(resources: Iterable[str]) -> tuple[str, ...]:
    """Find the pools of a worker from the names of its resources, sorted.

    Examples
    --------
    >>> pools_of_resources(["GPU", "pool-ecmwf"])
    ('ecmwf',)
    """
    start = len(RESOURCE_PREFIX)
    return tuple(sorted(r[start:] for r in resources if r.startswith(RESOURCE_PREFIX)))


def restriction(name: str) -> dict[str, float]:
    """Build the resource restriction of a task that has to run in a pool.

    The quantity is zero: membership is asked for, but nothing is used up, so that a
    pool never limits how many tasks run at once.

    Examples
    --------
    >>> restriction("ecmwf")
    {'pool-ecmwf': 0}
    """
    return {pool_resource(name): 0}


@dataclass(frozen=True, slots=True, order=True)
class Pool:
    """Workers close to some data, and what may leave them.

    Parameters
    ----------
    name : str
        The pool's name.
    workers : int, default 0
        Number of workers at the time this was asked for.
    nthreads : int, default 0
        Number of their threads, all together.
    egress : {"all", "aggregates", "none"}, default "all"
        What may leave the pool: everything; only what is small or has passed through a
        reduction; nothing.
    egress_limit : float, default 0
        With ``egress="aggregates"``: values up to so many bytes may leave as well.
    """

    name: str
    workers: int = 0
    nthreads: int = 0
    egress: str = "all"
    egress_limit: float = 0.0


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A directed link between two pools.

    Two links are the same if they lead from the same pool to the same pool: the other
    properties take no part in comparisons, so that a link is the key of a table.

    Parameters
    ----------
    source, target : str
        Names of the pool that sends and of the pool that receives.
    bandwidth : float, optional
        Bytes per second; None if unknown.
    latency : float, optional
        Seconds of a round trip; None if unknown.
    price : float, default 0
        Money per GB (10**9 bytes) that crosses, in the topology's currency.
    allowed : bool, default True
        Whether data may cross at all.
    """

    source: str
    target: str
    bandwidth: float | None = field(default=None, compare=False)
    latency: float | None = field(default=None, compare=False)
    price: float = field(default=0.0, compare=False)
    allowed: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Topology:
    """Pools, and the links between them.

    Parameters
    ----------
    pools : tuple of Pool
        Sorted by name.
    links : tuple of Link
        What is known of the links; nothing is known of those which are not listed, and data
        may cross them.
    currency : str, default "USD"
        What prices are in.

    Examples
    --------
    >>> topology = Topology(
    ...     (Pool("ecmwf", workers=2, nthreads=4), Pool("eumetsat")),
    ...     (Link("ecmwf", "eumetsat", price=0.02),),
    ... )
    >>> topology.names
    ('ecmwf', 'eumetsat')
    >>> topology.link("ecmwf", "eumetsat").price, topology.link("eumetsat", "ecmwf").price
    (0.02, 0.0)
    """

    pools: tuple[Pool, ...]
    links: tuple[Link, ...] = ()
    currency: str = "USD"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pools, sorted."""
        return tuple(pool.name for pool in self.pools)

    def link(self, source: str, target: str) -> Link:
        """Return what is known of the link between two pools."""
        wanted = Link(source, target)
        return next((link for link in self.links if link == wanted), wanted)

    def pool(self, name: str) -> Pool:
        """Return what is known of a pool."""
        return next((pool for pool in self.pools if pool.name == name), Pool(name))

    def among(self, present: Topology) -> Topology:
        """Describe the pools that are present now: their workers, with the rules given here.

        Parameters
        ----------
        present : Topology
            The pools of a cluster at this moment, with their workers.
        """
        return replace(
            self,
            pools=tuple(
                replace(self.pool(p.name), workers=p.workers, nthreads=p.nthreads)
                for p in present.pools
            ),
        )
