"""A plan: what a computation will do, known before it runs."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dask_pools.model import Link
from dask_pools.planning.basis import Basis
from dask_pools.planning.parts import (
    ArrayPlan,
    LinkPlan,
    PoolPlan,
    Transfer,
    add_up_links,
    add_up_shares,
)
from dask_pools.units import counted, format_bytes

__all__ = ["ArrayPlan", "LinkPlan", "Plan", "PoolPlan", "Transfer"]

#: How many transfers, and how many arrays, a plan shows: the largest ones.
SHOWN = 10


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """Where the tasks of a computation will run, and what will cross between pools.

    Parameters
    ----------
    tasks : mapping of str or None to int
        Number of tasks in each pool, without transfers; under None those that may run anywhere.
    transfers : tuple of Transfer
        What crosses, each value once for every pool that receives it.
    by_pool : tuple of PoolPlan, optional
        What each pool does, sorted by name. Default: made of `tasks`.
    by_link : tuple of LinkPlan, optional
        What crosses each link that is used, sorted by link. Default: made of `transfers`.
    by_array : tuple of ArrayPlan, default ()
        The ten arrays of which most bytes cross, and why; empty if not asked for.
    shares : mapping of Basis to float, optional
        Bytes that cross, by what their number rests on. Default: made of `transfers`.
    policy : str, default "mincut"
        The policy that placed the tasks.
    objective : {"bytes", "money", "time"}, default "bytes"
        What was to be little.
    cost : float, optional
        How much of it there is: bytes, money in `currency`, or seconds.
    bound : float, optional
        No placement costs less than this; None if unknown.
    currency : str, default "USD"
        What money is in.
    copies : int, default 0
        Number of sources that are made in several pools, instead of being moved.
    regrouped : int, default 0
        Number of reductions that were regrouped, so that each pool reduces its own part first.
    alternatives : mapping of str to Plan, default {}
        Plans of the same computation by other policies, by their names.

    Examples
    --------
    >>> link = Link("ecmwf", "eumetsat")
    >>> plan = Plan(
    ...     tasks={"ecmwf": 20, "eumetsat": 12, None: 1},
    ...     transfers=(Transfer("mean-0", link, 3_000_000), Transfer("mean-1", link, 1_000_000)),
    ...     cost=4_000_000.0,
    ...     bound=4_000_000.0,
    ... )
    >>> plan.nbytes
    4000000.0
    >>> plan.links == {link: 4_000_000.0}
    True
    >>> plan.excess
    0.0
    >>> print(plan.describe())
    ecmwf -> eumetsat: 4 MB in 2 transfers
    >>> plan
    <dask_pools.Plan: 33 tasks in 2 pools, 4 MB in 2 transfers>
    Pools                  tasks
        ecmwf                 20
        eumetsat              12
        anywhere               1
    Links                  transfers  bytes
        ecmwf -> eumetsat          2   4 MB
    Largest transfers      transfers  bytes  link               sizes
        mean-0                     1   3 MB  ecmwf -> eumetsat  assumed
        mean-1                     1   1 MB  ecmwf -> eumetsat  assumed
    Optimum: no placement moves less (policy mincut)
    Sizes: 100 % of the bytes assumed
    """

    tasks: Mapping[str | None, int]
    transfers: tuple[Transfer, ...]
    by_pool: tuple[PoolPlan, ...] = ()
    by_link: tuple[LinkPlan, ...] = ()
    by_array: tuple[ArrayPlan, ...] = ()
    shares: Mapping[Basis, float] = field(default_factory=dict)
    policy: str = "mincut"
    objective: str = "bytes"
    cost: float | None = None
    bound: float | None = None
    currency: str = "USD"
    copies: int = 0
    regrouped: int = 0
    alternatives: Mapping[str, Plan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Add up what was not given."""
        if not self.by_pool:
            names = sorted(name for name in self.tasks if name is not None)
            pools = tuple(PoolPlan(name, self.tasks[name]) for name in names)
            object.__setattr__(self, "by_pool", pools)
        if self.transfers and not self.by_link:
            object.__setattr__(self, "by_link", add_up_links(self.transfers))
        if self.transfers and not self.shares:
            object.__setattr__(self, "shares", add_up_shares(self.transfers))

    @property
    def nbytes(self) -> float:
        """Bytes that cross, on all links together."""
        return float(sum(link.nbytes for link in self.by_link))

    @property
    def links(self) -> dict[Link, float]:
        """Bytes that cross on each link which is used, sorted by link."""
        return {link.link: float(link.nbytes) for link in self.by_link}

    @property
    def unplaced(self) -> int:
        """Number of tasks that may run anywhere."""
        return self.tasks.get(None, 0)

    @property
    def seconds(self) -> float | None:
        """Seconds that the busiest pool or link takes, of those that are known; else None.

        A computation takes at least as long if estimates are right: pools and links work at the
        same time, but may have to wait for each other.
        """
        known = [pool.seconds for pool in self.by_pool] + [link.seconds for link in self.by_link]
        return max((seconds for seconds in known if seconds is not None), default=None)

    @property
    def money(self) -> float | None:
        """What all that crosses costs, in `currency`; None if no prices are known."""
        if not self.by_link:
            return 0.0
        known = [link.money for link in self.by_link if link.money is not None]
        return float(sum(known)) if known else None

    @property
    def excess(self) -> float | None:
        """How far the cost is above the optimum at most, as a share of it; None if unknown."""
        if self.cost is None or self.bound is None:
            return None
        if self.cost <= self.bound:
            return 0.0
        return (self.cost - self.bound) / self.bound if self.bound > 0 else None

    @property
    def largest(self) -> tuple[Transfer, ...]:
        """The ten largest transfers, the largest first."""
        return tuple(heapq.nlargest(SHOWN, self.transfers, key=lambda t: t.nbytes))

    def describe(self) -> str:
        """Say in one line per link what crosses, for a log.

        Examples
        --------
        >>> Plan(tasks={"ecmwf": 3}, transfers=()).describe()
        'nothing crosses between pools'
        """
        lines = [
            f"{part.link}: {format_bytes(part.nbytes)} in {counted(part.transfers, 'transfer')}"
            for part in self.by_link
        ]
        return "\n".join(lines) or "nothing crosses between pools"

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers of the plan as what JSON knows: dicts, lists, strings and numbers.

        Returns
        -------
        dict
            With these keys, None where something is not known:

            - ``policy``, ``objective``: str
            - ``cost``, ``bound``: number, in the unit of the objective (bytes, ``currency``,
              seconds); ``excess``: number, a share of the optimum
            - ``bytes``, ``seconds``, ``money``: number; ``currency``: str
            - ``pools``: list of dict with ``name``, ``tasks``, ``bytes_read``, ``seconds``,
              ``threads``; ``unplaced``: int
            - ``links``: list of dict with ``source``, ``target``, ``transfers``, ``bytes``,
              ``seconds``, ``money``
            - ``arrays``: list of dict with ``name``, ``source``, ``target``, ``transfers``,
              ``bytes``, ``sizes`` and ``because``, a list of two str
            - ``sizes``: dict from what sizes rest on, ``"exact"``, ``"learned"`` and
              ``"assumed"``, to bytes
            - ``copies``, ``regrouped``: int
            - ``alternatives``: dict from a policy to such a dict

        Examples
        --------
        >>> Plan(tasks={"ecmwf": 3}, transfers=()).to_dict()["pools"]
        [{'name': 'ecmwf', 'tasks': 3, 'bytes_read': None, 'seconds': None, 'threads': 0}]
        """
        from dask_pools.planning.plan_dict import plan_dict

        return plan_dict(self)

    def __repr__(self) -> str:
        from dask_pools.planning.plan_text import plan_text

        return plan_text(self)

    def _repr_html_(self) -> str:
        from dask_pools.planning.plan_html import plan_html

        return plan_html(self)
