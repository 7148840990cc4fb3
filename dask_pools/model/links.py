"""Directed links between pools, and classes of links that are alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dask_pools.errors import TopologyError
from dask_pools.model.fields import ShortRepr, check_number
from dask_pools.model.names import check_pool_name


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Link(ShortRepr):
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

    Raises
    ------
    TopologyError
        If a value is not as described, or source and target are the same pool.
    PoolNameError, TypeError
        If a name is none.

    Examples
    --------
    >>> Link("ecmwf", "eumetsat", price=0.02)
    Link(source='ecmwf', target='eumetsat', price=0.02)
    >>> Link("ecmwf", "eumetsat", price=0.02) == Link("ecmwf", "eumetsat")
    True
    """

    source: str
    target: str
    bandwidth: float | None = field(default=None, compare=False)
    latency: float | None = field(default=None, compare=False)
    price: float = field(default=0.0, compare=False)
    allowed: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        check_pool_name(self.source)
        check_pool_name(self.target)
        if self.source == self.target:
            raise TopologyError(
                f"a link leads from one pool to another, not from {self.source!r} to itself: "
                "nothing crosses inside of a pool"
            )
        _check_properties(self)

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


@dataclass(frozen=True, slots=True, repr=False)
class LinkClass(ShortRepr):
    """What is the same for many links: those of one provider, or all that are not listed.

    `dask_pools.link_class` knows some by name.

    Parameters
    ----------
    name : str
        What it is called. It takes no part in comparisons.
    bandwidth, latency, price, allowed
        As of a `Link`.
    reference : str, optional
        Where the numbers come from. It takes no part in comparisons.

    Raises
    ------
    TopologyError
        If a value is not as described.

    Examples
    --------
    >>> leased = LinkClass("leased line", bandwidth=125e6, latency=0.02)
    >>> leased.link("ecmwf", "eumetsat", latency=0.01)
    Link(source='ecmwf', target='eumetsat', bandwidth=125000000.0, latency=0.01)
    """

    name: str = field(compare=False)
    bandwidth: float | None = None
    latency: float | None = None
    price: float = 0.0
    allowed: bool = True
    reference: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_properties(self)

    def __str__(self) -> str:
        return f"class {self.name!r}"

    def link(self, source: str, target: str, **overrides: Any) -> Link:
        """Make a link of this class.

        Parameters
        ----------
        source, target : str
            Names of the pool that sends and of the pool that receives.
        **overrides
            Properties of this link that differ from those of the class: `bandwidth`,
            `latency`, `price`, `allowed`.
        """
        return Link(source, target, **{**link_properties(self), **overrides})


def link_properties(of: Link | LinkClass) -> dict[str, Any]:
    """Collect what a link or a class of links says beside its name.

    Examples
    --------
    >>> link_properties(Link("ecmwf", "eumetsat", price=0.02))
    {'bandwidth': None, 'latency': None, 'price': 0.02, 'allowed': True}
    """
    return {
        "bandwidth": of.bandwidth,
        "latency": of.latency,
        "price": of.price,
        "allowed": of.allowed,
    }


def _check_properties(of: Link | LinkClass) -> None:
    # One link is made for each value that crosses: what was not given is not looked at, and
    # no message is made in advance.
    if of.bandwidth is not None:
        check_number(of, "bandwidth", str(of), "bytes per second", positive=True)
    if of.latency is not None:
        check_number(of, "latency", str(of), "seconds")
    if of.price != 0:
        check_number(of, "price", str(of), "money per GB")
    if of.allowed is not True and of.allowed is not False:
        raise TopologyError(f"allowed of {of} is True or False, not {of.allowed!r}")
