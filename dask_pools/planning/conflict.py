"""Why a problem has no placement: the shortest chain of values that shows it.

Two pins that cannot be served are linked by a chain of tasks. Going along it from one end, the
pools in which the next task can be grow fewer; the last one, pinned, is left with none::

    raw @ ecmwf (confined) --> difference <-- model @ metoffice (no way to ecmwf)
                               not at metoffice: raw cannot come
                               not at ecmwf: the model cannot come

With two pools there is always such a chain. With more of them, three pins may exclude each
other although any two do not; then a chain between two of them is shown, and the others named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.arcs import Arcs
from dask_pools.planning.problem import UNPLACED, PlacementProblem


@dataclass(frozen=True, slots=True)
class Crossing:
    """A crossing that is forbidden: a value may not get from one pool to another.

    Parameters
    ----------
    value, consumer : int
        The value, and the task that needs it.
    source, target : int
        Indices of the pools.
    rule : {"link", "confined"}
        What forbids it: that nothing may cross the link, or that this value may not leave the
        pool.
    """

    value: int
    consumer: int
    source: int
    target: int
    rule: Literal["link", "confined"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a problem has no placement.

    Parameters
    ----------
    chain : tuple of int
        Values, each next to the one before it, from one that is pinned to another one: wherever
        those between them are, one would have to cross where it may not.
    broken : tuple of Crossing
        The forbidden crossings that the chain runs into, in its order.
    others : tuple of int
        Further pinned values that it takes. Only with more than two pools, where three pins may
        exclude each other although any two of them do not.
    """

    chain: tuple[int, ...]
    broken: tuple[Crossing, ...]
    others: tuple[int, ...] = ()


def first_forbidden(problem: PlacementProblem, labels: NDArray[np.intp]) -> Conflict | None:
    """Find the first arc over which a placement carries a value although it may not cross.

    With more than two pools a problem may have no placement although each value has a pool
    left in which it could be. What a policy answers then has such an arc.

    Parameters
    ----------
    problem : PlacementProblem
    labels : ndarray of intp, shape (n,)
        The pool of each value, or ``UNPLACED``.

    Returns
    -------
    Conflict or None
        The value and its consumer as a chain; None if every crossing is allowed.
    """
    values, consumers = problem.values, problem.consumers
    sources, targets = labels[values], labels[consumers]
    crossing = (sources != targets) & (sources != UNPLACED) & (targets != UNPLACED)
    wrong = np.flatnonzero(crossing & problem.forbidden(values, sources, targets))
    if not len(wrong):
        return None
    arc = int(wrong[0])
    v, c, p, q = (int(a[arc]) for a in (values, consumers, sources, targets))
    return Conflict((v, c), (_crossing(problem, v, c, p, q),))


def find_chain(
    problem: PlacementProblem, rounds: NDArray[np.int32], start: int, arcs: Arcs
) -> Conflict:
    """Lead a value that has lost all its pools back to the pins that took them.

    Parameters
    ----------
    problem : PlacementProblem
    rounds : ndarray of int32, shape (n, P)
        The round of narrowing in which each value lost each pool: 0 if its pin excludes it,
        a large number if it has not.
    start : int
        The value.
    arcs : Arcs
        The arcs of the problem.
    """
    causes = _causes(problem, rounds, start, arcs)
    network = _Network(problem, causes, arcs)
    chain = network.shortest_chain()
    if chain is not None:
        return Conflict(chain, network.broken(chain, ends_meet=True))
    chain = network.chain_through(start)
    others = tuple(v for v in network.pinned if v not in chain)
    return Conflict(chain, network.broken(chain, ends_meet=False), others)


def _causes(
    problem: PlacementProblem, rounds: NDArray[np.int32], start: int, arcs: Arcs
) -> list[int]:
    """Find the values that had a part in taking all pools from one, itself included, sorted.

    A pool was lost to a neighbour that had before lost every pool which goes with it; the
    neighbour which had done so first is taken.
    """
    found = {start}
    stack = [(start, pool) for pool in range(len(problem.pools))]
    done = set(stack)
    while stack:
        value, pool = stack.pop()
        if rounds[value, pool] == 0:
            continue
        best: tuple[int, int, list[int]] | None = None
        for neighbour, is_source in arcs.around(value):
            supports = _supports(problem, value, pool, neighbour, neighbour_is_source=is_source)
            last = int(rounds[neighbour, supports].max())
            if best is None or (last, neighbour) < best[:2]:
                best = (last, neighbour, supports.tolist())
        if best is None:  # pragma: no cover - a pool is lost in round 0, or to a neighbour
            continue
        found.add(best[1])
        for lost in best[2]:
            if (best[1], lost) not in done:
                done.add((best[1], lost))
                stack.append((best[1], lost))
    return sorted(found)


def _supports(
    problem: PlacementProblem,
    value: int,
    pool: int,
    neighbour: int,
    *,
    neighbour_is_source: bool,
) -> NDArray[np.intp]:
    """Find the pools of a neighbour with which a value can be in a pool."""
    every = np.arange(len(problem.pools))
    if neighbour_is_source:
        forbidden = problem.forbidden(np.full(len(every), neighbour), every, pool)
    else:
        forbidden = problem.forbidden(np.full(len(every), value), pool, every)
    return np.flatnonzero(~forbidden | (every == pool))


def _crossing(problem: PlacementProblem, v: int, c: int, p: int, q: int) -> Crossing:
    closed = bool(np.isposinf(problem.costs[p, q]))
    return Crossing(v, c, p, q, "link" if closed else "confined")


#: Pools, as the bits of a number.
_Mask: TypeAlias = int
#: A value, and the pools that are left to it.
_State: TypeAlias = tuple[int, _Mask]


class _Network:
    """A few values of a problem, with the constraints between them, in plain numbers."""

    def __init__(self, problem: PlacementProblem, values: Sequence[int], arcs: Arcs) -> None:
        self.problem = problem
        pools = range(len(problem.pools))
        self.all: _Mask = (1 << len(pools)) - 1
        self.allowed = {v: _mask(problem.allowed[v]) for v in values}
        self.pinned = [v for v in values if self.allowed[v] != self.all]
        inside = set(values)
        #: The neighbours of each value, and whether they need it (or it needs them).
        self.around = {
            v: sorted({(u, not source) for u, source in arcs.around(v) if u in inside})
            for v in values
        }
        passable = ~np.isposinf(problem.costs)
        self.outward = [_mask(passable[p]) for p in pools]
        self.inward = [_mask(passable[:, p]) for p in pools]

    def step(self, value: int, mask: _Mask, neighbour: int, *, forward: bool) -> _Mask:
        """Tell where a neighbour can be, if a value is in some of its pools."""
        confined = self.problem.confined
        source = value if forward else neighbour
        held = 0 if confined is None else _mask(confined[source])
        if forward:
            reached = _union(self.outward, mask & ~held)
        else:
            reached = _union(self.inward, mask) & ~held
        return (mask | reached) & self.allowed[neighbour]

    def shortest_chain(self) -> tuple[int, ...] | None:
        """Find the shortest chain that leaves its last value without a pool, if there is one.

        A breadth-first search from all pins at once over values with the pools that are left
        to them. Whoever comes later to a value with at least as many pools is not followed.
        """
        origin: dict[_State, _State | None] = {(v, self.allowed[v]): None for v in self.pinned}
        seen = {v: [self.allowed[v]] for v in self.pinned}
        queue = deque(origin)
        while queue:
            state = queue.popleft()
            value, mask = state
            for neighbour, forward in self.around[value]:
                left = self.step(value, mask, neighbour, forward=forward)
                following = (neighbour, left)
                if not left:
                    return (*_way(origin, state), neighbour)
                if not any(old & left == old for old in seen.get(neighbour, ())):
                    seen.setdefault(neighbour, []).append(left)
                    origin[following] = state
                    queue.append(following)
        return None

    def chain_through(self, start: int) -> tuple[int, ...]:
        """Lead from the nearest pin through a value to another pin, without going back."""
        paths = {start: [start]}
        queue = deque([start])
        while queue:
            value = queue.popleft()
            for neighbour, _ in self.around[value]:
                if neighbour not in paths:
                    paths[neighbour] = [*paths[value], neighbour]
                    queue.append(neighbour)
        near = [paths[v] for v in paths if v in set(self.pinned)]
        first = near[0]
        second = next((p for p in near if not set(p[1:]) & set(first)), [start])
        return (*reversed(first), *second[1:])

    def broken(self, chain: Sequence[int], *, ends_meet: bool) -> tuple[Crossing, ...]:
        """List the forbidden crossings that stand in the way along a chain.

        Between the pools in which a value can be as seen from one end of the chain, and those
        in which the next one can be as seen from the other end, all crossings are forbidden.
        """
        seen = self._seen_along(chain)
        back = self._seen_along(chain[::-1])[::-1]
        found: list[Crossing] = []
        for i, (value, neighbour) in enumerate(pairwise(chain)):
            theirs = back[i + 1] if ends_meet else self.allowed[neighbour]
            forward = dict(self.around[value])[neighbour]
            for p in _bits(seen[i]):
                for q in _bits(theirs & ~(1 << p)):
                    ends = (value, neighbour, p, q) if forward else (neighbour, value, q, p)
                    if self.problem.forbidden(np.array(ends[:1]), *ends[2:])[0]:
                        found.append(_crossing(self.problem, *ends))
        return tuple(found)

    def _seen_along(self, chain: Sequence[int]) -> list[_Mask]:
        masks = [self.allowed[chain[0]]]
        for value, neighbour in pairwise(chain):
            forward = dict(self.around[value])[neighbour]
            masks.append(self.step(value, masks[-1], neighbour, forward=forward))
        return masks


def _way(origin: Mapping[_State, _State | None], state: _State) -> tuple[int, ...]:
    """List the values on the way to a state, from its pin."""
    way: list[int] = []
    at: _State | None = state
    while at is not None:
        way.append(at[0])
        at = origin[at]
    return tuple(reversed(way))


def _mask(pools: NDArray[np.bool_]) -> _Mask:
    """Write pools as the bits of a number.

    Examples
    --------
    >>> _mask(np.array([True, False, True]))
    5
    """
    return sum(1 << int(i) for i in np.flatnonzero(pools))


def _bits(mask: _Mask) -> Iterator[int]:
    return (i for i in range(mask.bit_length()) if mask >> i & 1)


def _union(masks: Sequence[_Mask], which: _Mask) -> _Mask:
    union = 0
    for i in _bits(which):
        union |= masks[i]
    return union
