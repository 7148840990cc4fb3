"""Which pools still need a value, and which of its replicas may go therefore."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Set
from typing import TYPE_CHECKING, TypeVar

from dask_pools.scheduler.roster import bound_to

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

    from dask_pools.scheduler.roster import PoolState, Roster

W = TypeVar("W")
P = TypeVar("P")

#: So many of the tasks that wait for a value are looked at; with more, all pools that hold it
#: are said to need it.
LOOKED_AT = 10_000


def pools_in_need(value: TaskState, roster: Roster) -> Collection[PoolState]:
    """Find the pools in which an unfinished task needs a value.

    Parameters
    ----------
    value : TaskState
        The value.
    roster : Roster
        The workers of each pool.

    Returns
    -------
    collection of PoolState
        The pools to which such tasks are bound, and those of the workers that others are on.
    """
    waiters = value.waiters or ()
    if len(waiters) > LOOKED_AT:
        return list(roster.pools.values())
    found: dict[PoolState, None] = {}
    for task in waiters:
        name = bound_to(task)
        if name is not None:
            if name in roster.pools:
                found[roster.pools[name]] = None
        elif task.processing_on is not None:
            found.update(dict.fromkeys(roster.pools_of(task.processing_on)))
    return found


def droppable(
    among: Iterable[W],
    holders: Set[W],
    going: Set[W],
    pools_of: Callable[[W], Collection[P]],
    needing: Container[P],
    running: Container[W],
) -> set[W]:
    """Choose the holders of a value that can drop it, and no pool loses what it needs.

    Parameters
    ----------
    among : iterable
        Some of the holders.
    holders : set
        All of them.
    going : set
        Those that will drop theirs anyway.
    pools_of : callable
        The pools of a worker.
    needing : container
        The pools that need the value.
    running : container
        The workers that are going to stay.

    Returns
    -------
    set
        Each of them may go, but not all of them together.

    Examples
    --------
    >>> pools = {"a1": "a", "a2": "a", "b1": "b"}
    >>> sorted(droppable(pools, set(pools), set(), pools.get, {"a", "b"}, set(pools)))
    ['a1', 'a2']
    """
    staying: dict[P, int] = {}
    for ws in holders - going:
        if ws in running:
            for pool in pools_of(ws):
                staying[pool] = staying.get(pool, 0) + 1
    # Who is not counted itself may go as soon as one that is counted stays.
    return {
        ws
        for ws in among
        if all(
            staying.get(pool, 0) > (ws in running and ws not in going)
            for pool in pools_of(ws)
            if pool in needing
        )
    }
