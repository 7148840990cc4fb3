"""A plan: what a computation will do, known before it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from dask_pools.model import Link
from dask_pools.units import format_bytes

_STEP = 1024


@dataclass(frozen=True, slots=True)
class Transfer:
    """One value on its way into one pool.

    Parameters
    ----------
    key : hashable
        The key of the task that makes the value.
    link : Link
        From where to where.
    nbytes : float
        Size of the value in bytes, as far as it is known before it exists.
    """

    key: Hashable
    link: Link
    nbytes: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the tasks of a computation will run, and what will cross between pools.

    Parameters
    ----------
    tasks : mapping of str or None to int
        Number of tasks in each pool; under None those that may run anywhere.
    transfers : tuple of Transfer
        What crosses, each value once for every pool that receives it.

    Examples
    --------
    >>> link = Link("ecmwf", "eumetsat")
    >>> plan = Plan(
    ...     tasks={"ecmwf": 20, "eumetsat": 12, None: 1},
    ...     transfers=(Transfer("mean-0", link, 3_000_000), Transfer("mean-1", link, 1_000_000)),
    ... )
    >>> plan.nbytes
    4000000.0
    >>> plan.links
    {Link(source='ecmwf', target='eumetsat'): 4000000.0}
    >>> print(plan.describe())
    ecmwf -> eumetsat: 4 MB in 2 transfers
    """

    tasks: Mapping[str | None, int]
    transfers: tuple[Transfer, ...]

    @property
    def nbytes(self) -> float:
        """Bytes that cross, on all links together."""
        return float(sum(transfer.nbytes for transfer in self.transfers))

    @property
    def links(self) -> dict[Link, float]:
        """Bytes that cross on each link which is used, sorted by link."""
        total: dict[Link, float] = {}
        for transfer in self.transfers:
            total[transfer.link] = total.get(transfer.link, 0.0) + transfer.nbytes
        return dict(sorted(total.items()))

    def describe(self) -> str:
        """Say in one line per link what crosses, for a log.

        Examples
        --------
        >>> Plan(tasks={"ecmwf": 3}, transfers=()).describe()
        'nothing crosses between pools'
        """
        count = Counter(transfer.link for transfer in self.transfers)
        lines = [
            f"{link.source} -> {link.target}: {format_bytes(nbytes)} in {count[link]} "
            f"transfer{'s' if count[link] > 1 else ''}"
            for link, nbytes in self.links.items()
        ]
        return "\n".join(lines) or "nothing crosses between pools"
