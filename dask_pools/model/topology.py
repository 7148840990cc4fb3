"""Pools, and which links are between them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from dask_pools.errors import TopologyError, near_miss, one_of
from dask_pools.model.fields import ShortRepr, check_count, check_number
from dask_pools.model.links import Link, LinkClass, link_properties
from dask_pools.model.names import check_pool_name

#: What may leave a pool: everything, only what is small or reduced, nothing.
Egress: TypeAlias = Literal["all", "aggregates", "none"]


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Pool(ShortRepr):
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

    Raises
    ------
    TopologyError
        If a value is not as described.
    PoolNameError, TypeError
        If the name is none.

    Examples
    --------
    >>> Pool("ecmwf", workers=2, egress="aggregates", egress_limit=1e6)
    Pool(name='ecmwf', workers=2, egress='aggregates', egress_limit=1000000.0)
    """

    name: str
    workers: int = 0
    nthreads: int = 0
    egress: Egress = "all"
    egress_limit: float = 0.0

    def __post_init__(self) -> None:
        check_pool_name(self.name)
        whose = f"pool {self.name!r}"
        check_count(self, "workers", whose)
        check_count(self, "nthreads", whose)
        if self.egress not in get_args(Egress):
            allowed = get_args(Egress)
            raise TopologyError(
                f"egress of {whose} is one of {one_of(allowed)}, not {self.egress!r}."
                f"{near_miss(str(self.egress), allowed)}"
            )
        if self.egress_limit != 0:
            check_number(self, "egress_limit", whose, "bytes")
            if self.egress != "aggregates":
                # Whoever gives a limit wants one to hold: here none would.
                raise TopologyError(
                    f"egress_limit of {whose} is {self.egress_limit:g} bytes, and has no meaning "
                    f"with egress={self.egress!r}. Say egress='aggregates', or leave the limit out."
                )


class _Cached:
    """Room for what a frozen dataclass derives from its fields: neither compared nor pickled."""

    __slots__ = ("_links", "_pools")
    _links: dict[tuple[str, str], Link]
    _pools: dict[str, Pool]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Topology(ShortRepr, _Cached):
    """Pools, and the links between them.

    Two topologies are equal if they say the same, in whatever order.

    Parameters
    ----------
    pools : tuple of Pool
        In any order; kept sorted by name.
    links : tuple of Link
        What is known of the links; of those which are not listed `default` is known. In any
        order; kept sorted by the names of source and target.
    currency : str, default "USD"
        What prices are in.
    default : LinkClass, optional
        What all links are like that are not listed. Default: nothing is known of them, and
        data may cross them.

    Raises
    ------
    TopologyError
        If two pools have one name, two links lead from and to the same pools, or a link
        leads from or to a pool that is not there.

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
    default: LinkClass | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pools", _sorted(self.pools, Pool, "pools"))
        object.__setattr__(self, "links", _sorted(self.links, Link, "links"))
        currency: object = self.currency
        if not (isinstance(currency, str) and re.fullmatch(r"\S+", currency)):
            raise TopologyError(
                f"the currency of a topology is one word such as 'USD', not {currency!r}"
            )
        if not isinstance(self.default, LinkClass | None):
            raise TopologyError(
                f"the default of a topology is a LinkClass, such as "
                f"link_class('research-network'), not {self.default!r}"
            )
        names = set(self.names)
        for link in self.links:
            for name in (link.source, link.target):
                if name not in names:
                    raise TopologyError(
                        f"the link {link} names {name!r}, which is no pool of this topology. "
                        f"Its pools: {one_of(names)}.{near_miss(name, names)}"
                    )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Topology):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> tuple[object, ...]:
        # A link compares by its two pools only.
        links = tuple((link, *link_properties(link).values()) for link in self.links)
        return self.pools, links, self.currency, self.default

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pools, sorted."""
        return tuple(pool.name for pool in self.pools)

    def link(self, source: str, target: str) -> Link:
        """Return what is known of the link between two pools.

        Parameters
        ----------
        source, target : str
            Names of two different pools. They need not be pools of this topology: a link
            that is not listed is like the `default`.
        """
        # `slots` leaves no room for functools.cached_property.
        if not hasattr(self, "_links"):
            object.__setattr__(self, "_links", {(x.source, x.target): x for x in self.links})
        link = self._links.get((source, target))
        if link is None:
            default = self.default
            link = default.link(source, target) if default else Link(source, target)
            self._links[source, target] = link
        return link

    def pool(self, name: str) -> Pool:
        """Return what is known of a pool; of one that is not listed only its name is known."""
        if not hasattr(self, "_pools"):
            object.__setattr__(self, "_pools", {pool.name: pool for pool in self.pools})
        return self._pools.get(name) or Pool(name)

    def among(self, present: Topology) -> Topology:
        """Describe the pools that are present now: their workers, with the rules given here.

        Links of pools that are not present are left out.

        Parameters
        ----------
        present : Topology
            The pools of a cluster at this moment, with their workers.

        Examples
        --------
        >>> rules = Topology((Pool("ecmwf", egress="none"), Pool("cedadocs")))
        >>> rules.among(Topology((Pool("ecmwf", workers=2, nthreads=4),)))
        Topology(pools=(Pool(name='ecmwf', workers=2, nthreads=4, egress='none'),))
        """
        here = set(present.names)
        return replace(
            self,
            pools=tuple(
                replace(self.pool(p.name), workers=p.workers, nthreads=p.nthreads)
                for p in present.pools
            ),
            links=tuple(x for x in self.links if x.source in here and x.target in here),
        )


def _sorted(items: Iterable[Any], kind: type[Any], what: str) -> tuple[Any, ...]:
    """Sort pools or links; refuse what is none, and what is there twice."""
    try:
        found = list(items)
    except TypeError:
        found = [items]
    if wrong := [item for item in found if not isinstance(item, kind)]:
        raise TopologyError(
            f"the {what} of a topology are {kind.__name__} objects, not {wrong[0]!r}"
        )
    key = (lambda x: x.name) if kind is Pool else (lambda x: (x.source, x.target))
    found.sort(key=key)
    for one, two in itertools.pairwise(found):
        if key(one) == key(two):
            raise TopologyError(
                f"these {what} are one and the same: {one!r} and {two!r}. Keep one."
            )
    return tuple(found)
