"""The policy ``"mincut"``: as few bytes over the links as can be found.

**Two pools.** The placement problem is a minimum cut, and is solved exactly (see
`dask_pools.planning.moves`), for any directed costs, forbidden links and confined values.

**More pools.** The problem is NP-hard (Dahlhaus et al. 1994: the multiway cut).

1. *Closing*: the components of the problem whose optimum can be found and proved are placed for
   good: trees, what isolating cuts settle, what a small linear program solves
   (`dask_pools.planning.closing`). Most computations end here.
2. *Descent* for the others: moves of many values at once, each the best of its kind (Boykov,
   Veksler, Zabih 2001). An expansion lets every value go to one pool; a swap exchanges two pools.
   It starts from what closing has found, or from the policy ``"majority"`` if that is better.
3. *Other starts*, as long as the problem is small enough: what isolating cuts do not claim goes
   to one pool, tried for each (one of these drops the dearest cut, as Dahlhaus et al. do);
   everything goes to one pool. What their descents find is joined: where two results disagree,
   the best mixture is one more move.

No move makes a placement dearer, or lets something cross that may not. If what is found has
forbidden crossings nevertheless, it has as few as could be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.closing import close, surrounded
from dask_pools.planning.isolation import claims, settled
from dask_pools.planning.moves import best_move
from dask_pools.planning.policies.majority import majority
from dask_pools.planning.prices import Prices, score
from dask_pools.planning.problem import UNPLACED, PlacementProblem

#: Up to so many pools one move is the whole problem.
_EXACT = 2
#: Values times moves: one move for each pool is always tried, more of them as far as this goes,
#: because moves take most of the time (about half a second for this number).
_EFFORT = 200_000
#: Moves of problems with so many open values are found with prices of fewer bits: the flow then
#: needs one round (see `dask_pools.planning.cuts`) instead of several.
_FINE = 20_000
_COARSE = 28

#: From a placement and two pools to the two placements that are offered value by value.
_Move: TypeAlias = Callable[
    [PlacementProblem, NDArray[np.intp], int, int], tuple[NDArray[np.intp], NDArray[np.intp]]
]


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
        If there are more than two pools and the arcs form a cycle, among values for which no
        placement can be proved to be the cheapest.
    """
    if len(problem.pools) > _EXACT:
        return _several(problem)
    first = problem.allowed.argmax(axis=1)
    last = len(problem.pools) - 1 - problem.allowed[:, ::-1].argmax(axis=1)
    return best_move(problem, Prices.of(problem), first, last)


def _several(problem: PlacementProblem) -> NDArray[np.intp]:
    found = close(problem, Prices.of(problem))
    labels = found.labels
    if found.open.any():
        left = settled(problem, np.where(found.open, UNPLACED, labels))
        near, rest = surrounded(left, found.open)
        labels[near] = _improve(rest, labels[near])
    return labels


def _improve(problem: PlacementProblem, labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Improve the better one of two starts; then, in small problems, others; join the results."""
    moves = _Moves(problem, len(problem.pools) + _EFFORT // len(problem.sizes))
    greedy = majority(problem)
    best = moves.descend(min(labels, _allowed(problem, greedy), key=moves.rank))
    if moves.left > 0:
        for start in _distinct(sorted(_starts(problem, labels, greedy), key=moves.rank)):
            if moves.left <= 0:
                break
            joined = best_move(problem, moves.prices, best, moves.descend(start))
            if moves.rank(joined) < moves.rank(best):
                best = moves.descend(joined)
    return best


def _starts(
    problem: PlacementProblem, labels: NDArray[np.intp], greedy: NDArray[np.intp]
) -> Iterator[NDArray[np.intp]]:
    claimed = claims(problem)
    yield labels
    yield _allowed(problem, greedy)
    for pool in range(len(problem.pools)):
        rest = _allowed(problem, np.full(len(labels), pool))
        yield np.where(claimed != UNPLACED, claimed, rest)
        yield rest


def _allowed(problem: PlacementProblem, labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Take labels where they are allowed, elsewhere the first pool that is."""
    allowed = problem.allowed[np.arange(len(labels)), labels]
    return np.where(allowed, labels, problem.allowed.argmax(axis=1))


def _distinct(placements: list[NDArray[np.intp]]) -> list[NDArray[np.intp]]:
    return list({labels.tobytes(): labels for labels in placements}.values())


class _Moves:
    """Moves of a problem; so many of them in all."""

    def __init__(self, problem: PlacementProblem, left: int) -> None:
        self.problem, self.left = problem, left
        self.prices = Prices.of(problem)
        #: Moves of large problems need not be exact, as long as they improve the exact rank.
        self.fine = len(problem.sizes) < _FINE
        self.asked = self.prices if self.fine else Prices.of(problem, _COARSE)

    def rank(self, labels: NDArray[np.intp]) -> tuple[int, int, int]:
        return score(self.problem, self.prices, labels)

    def descend(self, labels: NDArray[np.intp]) -> NDArray[np.intp]:
        """Make the best moves of every kind until none of them is an improvement."""
        kinds = list(_kinds(self.problem))
        best = self.rank(labels)
        in_vain = turn = 0
        while in_vain < len(kinds) and self.left > 0:
            move, one, other = kinds[turn % len(kinds)]
            turn += 1
            self.left -= 1
            stay, go = move(self.problem, labels, one, other)
            moved = best_move(self.problem, self.asked, stay, go, transfers=self.fine)
            reached = self.rank(moved)
            in_vain += 1
            if reached < best:
                labels, best, in_vain = moved, reached, 0
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
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Offer one pool to every value, and the other one to those which are not allowed there."""
    aside = np.where(problem.allowed[:, other], other, labels)
    return labels, np.where(problem.allowed[:, one], one, aside)


def _swap(
    problem: PlacementProblem, labels: NDArray[np.intp], one: int, other: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Offer two pools to the values in either of them, as a problem of two pools."""
    both = problem.allowed[:, one] & problem.allowed[:, other]
    both &= (labels == one) | (labels == other)
    return np.where(both, one, labels), np.where(both, other, labels)
