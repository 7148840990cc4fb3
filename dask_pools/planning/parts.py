"""The parts of a plan: what one pool does, what crosses one link, and what crosses of one array."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from dask_pools.model import Link
from dask_pools.planning.basis import Basis


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
    basis : Basis, default Basis.ASSUMED
        What the size rests on.
    name : str, default ""
        The array, or the kind of task, to which the value belongs; empty if not asked for.
    because : tuple of str and str, optional
        What holds the value in the pool that sends it, and what needs it in the other one.
    """

    key: Hashable
    link: Link
    nbytes: float
    basis: Basis = Basis.ASSUMED
    name: str = ""
    because: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What one pool will do.

    Parameters
    ----------
    name : str
        The pool.
    tasks : int
        Number of tasks placed in it, without transfers.
    nbytes_read : float, optional
        Bytes that its tasks read from the data that is pinned to it; None if not asked for.
    seconds : float, optional
        Time of its tasks on all its threads; None if unknown.
    threads : int, default 0
        Its worker threads; 0 if unknown.
    """

    name: str
    tasks: int
    nbytes_read: float | None = None
    seconds: float | None = None
    threads: int = 0


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """What will cross one link.

    Parameters
    ----------
    link : Link
        From where to where.
    transfers : int
        Number of values.
    nbytes : float
        Their bytes.
    seconds : float, optional
        Time that they take; None if the bandwidth is unknown.
    money : float, optional
        What they cost, in the currency of the plan; None if no prices are known.
    """

    link: Link
    transfers: int
    nbytes: float
    seconds: float | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True)
class ArrayPlan:
    """What of one array, or of one kind of task, will cross one link.

    Parameters
    ----------
    name : str
        The array, or the kind of task.
    link : Link
        From where to where.
    transfers : int
        Number of its values.
    nbytes : float
        Their bytes.
    basis : Basis
        What their sizes rest on, the worst of them.
    because : tuple of str and str, optional
        Why the largest of them has to cross: what holds it in the pool that sends it, and what
        needs it in the other one.
    """

    name: str
    link: Link
    transfers: int
    nbytes: float
    basis: Basis
    because: tuple[str, str] | None = None


def add_up_links(transfers: Iterable[Transfer]) -> tuple[LinkPlan, ...]:
    """Add up what crosses each link that is used, sorted by link."""
    count: dict[Link, int] = {}
    nbytes: dict[Link, float] = {}
    for transfer in transfers:
        link = transfer.link
        count[link] = count.get(link, 0) + 1
        nbytes[link] = nbytes.get(link, 0.0) + transfer.nbytes
    return tuple(LinkPlan(link, count[link], nbytes[link]) for link in sorted(count))


def add_up_shares(transfers: Iterable[Transfer]) -> dict[Basis, float]:
    """Add up the bytes that cross by what their number rests on, the best first."""
    shares: dict[Basis, float] = {}
    for transfer in transfers:
        shares[transfer.basis] = shares.get(transfer.basis, 0.0) + transfer.nbytes
    return dict(sorted(shares.items()))
