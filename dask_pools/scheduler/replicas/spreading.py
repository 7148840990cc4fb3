"""Where replicas of a value go, such that it enters as few pools as it can, each of them once.

Plain functions over one value: its holders, the workers that may hold it, and their pools.
Workers without a pool count as one more pool, ``None``. A worker of several pools counts in its
first one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence, Set
from typing import TypeVar

W = TypeVar("W", bound=Hashable)
P = TypeVar("P", bound=Hashable)


def choose_targets(
    holders: Set[W],
    allowed: Sequence[W],
    n: int,
    pool_of: Callable[[W], P],
    needing: Sequence[P],
) -> list[W]:
    """Choose the workers that get a replica.

    First one in each pool which needs the value and lacks it; then in the pools that have it,
    evenly; and only if these are full, in further pools, the largest first.

    Parameters
    ----------
    holders : set
        The workers that hold the value.
    allowed : sequence
        The workers among which there shall be replicas, the preferred ones first.
    n : int
        How many of them shall hold it.
    pool_of : callable
        The pool of a worker.
    needing : collection
        The pools that need the value, the most urgent first.

    Returns
    -------
    list
        As many as are missing, or can be had.

    Examples
    --------
    >>> first_letter = lambda name: name[0]
    >>> choose_targets({"a1"}, ["a1", "a2", "b1", "b2"], 2, first_letter, needing=["b"])
    ['b1']
    >>> choose_targets({"a1"}, ["a1", "a2", "b1", "b2"], 3, first_letter, needing=[])
    ['a2', 'b1']
    """
    missing = n - sum(ws in holders for ws in allowed)
    if missing <= 0:
        return []
    free = _by_pool((ws for ws in allowed if ws not in holders), pool_of)
    replicas = {pool: len(members) for pool, members in _by_pool(holders, pool_of).items()}
    entered = [pool for pool in dict.fromkeys(needing) if pool not in replicas and pool in free]
    targets = [free[pool].pop(0) for pool in entered[:missing]]
    replicas.update(dict.fromkeys(entered, 1))
    open_pools = {pool: free.pop(pool) for pool in list(free) if pool in replicas}
    targets += _evenly(open_pools, replicas, missing - len(targets))
    for members in sorted(free.values(), key=len, reverse=True):
        targets += members[: missing - len(targets)]
    return targets


def choose_surplus(
    holders: Set[W],
    allowed: Sequence[W],
    n: int,
    pool_of: Callable[[W], P],
    needing: Sequence[P],
) -> list[W]:
    """Choose the workers that lose their replica, if more hold one than should.

    The pool with the most replicas loses one first; among those with a single one, a pool that
    needs the value does so last.

    Parameters
    ----------
    holders, allowed, n, pool_of, needing
        As of `choose_targets`; the holders that are preferred are kept.

    Examples
    --------
    >>> first_letter = lambda name: name[0]
    >>> everyone = ["a1", "a2", "b1"]
    >>> choose_surplus(set(everyone), everyone, 1, first_letter, needing=["b"])
    ['a2', 'a1']
    """
    held = _by_pool((ws for ws in allowed if ws in holders), pool_of)
    replicas = {pool: len(members) for pool, members in _by_pool(holders, pool_of).items()}
    surplus: list[W] = []
    for _ in range(sum(map(len, held.values())) - n):
        # All but the last replicas first; sorting is stable, hence deterministic.
        pool = max(held, key=lambda p: (replicas[p] > 1, p not in needing, replicas[p]))
        surplus.append(held[pool].pop())
        replicas[pool] -= 1
        if not held[pool]:
            del held[pool]
    return surplus


def choose_round(
    targets: Iterable[W], holders: Set[W], pool_of: Callable[[W], P], branching: int
) -> list[W]:
    """Choose those of the targets that copy at once; the others follow when these have it.

    Examples
    --------
    >>> choose_round(["a2", "b1", "b2"], {"a1"}, lambda name: name[0], branching=2)
    ['a2', 'b1']
    """
    room = {pool: branching * len(ws) for pool, ws in _by_pool(holders, pool_of).items()}
    chosen = []
    for ws in targets:
        pool = pool_of(ws)
        # One worker alone brings it into a pool.
        left = room.setdefault(pool, 1)
        if left:
            room[pool] = left - 1
            chosen.append(ws)
    return chosen


def _by_pool(workers: Iterable[W], pool_of: Callable[[W], P]) -> dict[P, list[W]]:
    groups: dict[P, list[W]] = {}
    for ws in workers:
        groups.setdefault(pool_of(ws), []).append(ws)
    return groups


def _evenly(free: dict[P, list[W]], replicas: dict[P, int], missing: int) -> Iterator[W]:
    # By the number of replicas their pool has with them; pools of one rank in their order.
    ranked = [
        (rank, order, ws)
        for order, (pool, members) in enumerate(free.items())
        for rank, ws in enumerate(members, replicas[pool])
    ]
    ranked.sort(key=lambda entry: entry[:2])
    return (ws for _, _, ws in ranked[:missing])
