"""The policy ``"mincut"``: as few bytes over the links as can be found.

**Two pools.** The placement problem is a minimum cut, and is solved exactly (see
`dask_pools.planning.moves`), for any directed costs.

**More pools.** The problem is NP-hard (Dahlhaus et al. 1994: the multiway cut). Three ideas
are combined:

1. *Isolating cuts*: each pool in turn against all others together, a problem of two pools. If
   all links cost the same, some optimal placement agrees with them: relabelling a cheapest
   isolated set S to its pool makes no placement dearer (add up the values inside of S, those
   which join, and those outside; submodularity of the cut does the rest). So they are claimed
   for good, and on realistic problems little is left to decide. With other costs the claims
   are just a start.
2. *Starts*: what is unclaimed goes to one pool, tried for each (one of these drops the
   dearest cut, as Dahlhaus et al. do); everything goes to one pool; or all follows the policy
   ``"majority"``.
3. *Descent* from the starts: moves of many values at once, each the best of its kind
   (Boykov, Veksler, Zabih 2001). An expansion lets every value go to one pool; a swap exchanges
   two pools. When none of them improves, the results are joined: where two of them disagree,
   the best mixture is one more move.

The result is never dearer than any of the starts. How far it is from the optimum is not said;
on small random problems it is the optimum nearly always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.moves import best_move
from dask_pools.planning.policies.majority import majority
from dask_pools.planning.prices import Prices, score
from dask_pools.planning.problem import UNPLACED, PlacementProblem

#: Up to so many pools one move is the whole problem.
_EXACT = 2
#: Values times improved starts: the best start is always improved, the others as far as this
#: goes, because descents take most of the time (about a second for this number).
_EFFORT = 20_000

#: From a placement and two pools to another placement, which is offered value by value.
_Move: TypeAlias = Callable[[PlacementProblem, NDArray[np.intp], int, int], NDArray[np.intp]]


def mincut(problem: PlacementProblem) -> NDArray[np.intp]:
    """Place values so that as little as possible crosses: exactly for two pools.

    Among placements of equal cost, those with fewer transfers are preferred, then those in
    which values stay where most of their inputs are. Sizes of zero are therefore placed
    sensibly too. For two pools the result does not depend on the order of the values.

    Parameters
    ----------
    problem : PlacementProblem

    Returns
    -------
    ndarray of intp, shape (n,)
        The label of each value.

    Raises
    ------
    PlacementError
        If there are more than two pools and the arcs form a cycle.
    """
    if len(problem.pools) > _EXACT:
        return _several(problem)
    first = problem.allowed.argmax(axis=1)
    last = len(problem.pools) - 1 - problem.allowed[:, ::-1].argmax(axis=1)
    return best_move(problem, Prices.of(problem), first, last)


def _several(problem: PlacementProblem) -> NDArray[np.intp]:
    claims = _claims(problem)
    greedy = majority(problem)
    if not _uniform(problem):
        return _improve(problem, claims, greedy)
    # What is claimed is settled: only its links to the rest still matter.
    open_ = claims == UNPLACED
    if not open_.any():
        return claims
    settled = _claimed(problem, claims)
    near = open_.copy()
    near[problem.values[open_[problem.consumers]]] = True
    near[problem.consumers[near[problem.values]]] = True
    labels = claims.copy()
    labels[near] = _improve(settled.restricted(near), claims[near], greedy[near])
    return labels


def _claims(problem: PlacementProblem) -> NDArray[np.intp]:
    """Isolate every pool from the others; what no pool gets stays ``UNPLACED``."""
    pools = len(problem.pools)
    claims = np.full(len(problem.sizes), UNPLACED)
    for pool in range(pools):
        asked = _claimed(problem, claims)
        others = np.arange(pools) != pool
        two = PlacementProblem(
            pools=("others", "pool"),
            sizes=asked.sizes,
            allowed=np.stack([asked.allowed[:, others].any(axis=1), asked.allowed[:, pool]], 1),
            values=asked.values,
            consumers=asked.consumers,
            costs=np.array(
                [
                    [0.0, asked.costs[others, pool].mean()],
                    [asked.costs[pool, others].mean(), 0.0],
                ]
            ),
        )
        claims[mincut(two) == 1] = pool
    return claims


def _claimed(problem: PlacementProblem, claims: NDArray[np.intp]) -> PlacementProblem:
    """Pin what is claimed."""
    allowed = problem.allowed.copy()
    taken = np.flatnonzero(claims != UNPLACED)
    allowed[taken] = False
    allowed[taken, claims[taken]] = True
    return PlacementProblem(
        problem.pools, problem.sizes, allowed, problem.values, problem.consumers, problem.costs
    )


def _uniform(problem: PlacementProblem) -> bool:
    between = problem.costs[~np.eye(len(problem.pools), dtype=bool)]
    return bool((between == between[0]).all())


def _improve(
    problem: PlacementProblem, claims: NDArray[np.intp], greedy: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Improve all starts, or the best ones of a large problem, and join the results."""
    prices = Prices.of(problem)

    def rank(labels: NDArray[np.intp]) -> tuple[int, int]:
        return score(problem, prices, labels)

    starts = _distinct(sorted(_starts(problem, claims, greedy), key=rank))
    del starts[max(1, _EFFORT // len(problem.sizes)) :]
    found = _distinct(sorted((_descend(problem, prices, start) for start in starts), key=rank))
    best = found[0]
    for other in found[1:]:
        joined = best_move(problem, prices, best, other)
        if rank(joined) < rank(best):
            best = _descend(problem, prices, joined)
    return best


def _starts(
    problem: PlacementProblem, claims: NDArray[np.intp], greedy: NDArray[np.intp]
) -> Iterator[NDArray[np.intp]]:
    first = problem.allowed.argmax(axis=1)
    yield np.where(problem.allowed[np.arange(len(greedy)), greedy], greedy, first)
    for pool in range(len(problem.pools)):
        rest = np.where(problem.allowed[:, pool], pool, first)
        yield np.where(claims != UNPLACED, claims, rest)
        yield rest


def _distinct(placements: list[NDArray[np.intp]]) -> list[NDArray[np.intp]]:
    return list({labels.tobytes(): labels for labels in placements}.values())


def _descend(
    problem: PlacementProblem, prices: Prices, labels: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Make the best moves of every kind until none of them is an improvement."""
    kinds = list(_kinds(problem))
    best = score(problem, prices, labels)
    in_vain = turn = 0
    while in_vain < len(kinds):
        move, one, other = kinds[turn % len(kinds)]
        turn += 1
        moved = best_move(problem, prices, labels, move(problem, labels, one, other))
        reached = score(problem, prices, moved)
        if reached < best:
            labels, best, in_vain = moved, reached, 0
        else:
            in_vain += 1
    return labels


def _kinds(problem: PlacementProblem) -> Iterator[tuple[_Move, int, int]]:
    pools = range(len(problem.pools))
    yield from ((_expansion, pool, pool) for pool in pools)
    yield from ((_swap, *pair) for pair in combinations(pools, 2))
    several = problem.allowed.sum(axis=1) > 1
    if (several & problem.pinned).any():
        # A mirrored value may have to make room for an expansion in which it cannot take part.
        yield from ((_expansion, *pair) for pair in permutations(pools, 2))


def _expansion(
    problem: PlacementProblem, labels: NDArray[np.intp], one: int, other: int
) -> NDArray[np.intp]:
    """Offer one pool to every value, and the other one to those which are not allowed there."""
    aside = np.where(problem.allowed[:, other], other, labels)
    return np.where(problem.allowed[:, one], one, aside)


def _swap(
    problem: PlacementProblem, labels: NDArray[np.intp], one: int, other: int
) -> NDArray[np.intp]:
    """Offer each of two pools to the values of the other one."""
    both = problem.allowed[:, one] & problem.allowed[:, other]
    return np.where(both & (labels == one), other, np.where(both & (labels == other), one, labels))
