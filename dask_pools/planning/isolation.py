"""Isolating cuts: each pool in turn against all the others together, a problem of two pools.

If all links cost the same, some optimal placement agrees with them: relabelling a cheapest
isolated set S to its pool makes no placement dearer (add up the values inside of S, those which
join, and those outside; submodularity of the cut does the rest; Dahlhaus et al., *The complexity
of multiterminal cuts*, 1994, have it for graphs). So what they claim is settled for good. With
other costs the claims are just a start.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.moves import best_move
from dask_pools.planning.prices import Prices
from dask_pools.planning.problem import UNPLACED, PlacementProblem


def persistent(problem: PlacementProblem) -> bool:
    """Say whether claims are settled for good: if all links cost the same."""
    between = problem.costs[~np.eye(len(problem.pools), dtype=bool)]
    return not problem.forbids and bool((between == between[:1]).all())


def claims(problem: PlacementProblem) -> NDArray[np.intp]:
    """Isolate every pool from the others.

    Parameters
    ----------
    problem : PlacementProblem

    Returns
    -------
    ndarray of intp, shape (n,)
        The pool which claims each value; ``UNPLACED`` for one that no pool claims.
    """
    pools = len(problem.pools)
    finite = np.where(np.isposinf(problem.costs), np.nan, problem.costs)
    # Links that nothing may cross cost as much as the dearest here.
    finite = np.where(np.isnan(finite), np.nanmax(finite), finite)
    claimed = np.full(len(problem.sizes), UNPLACED)
    for pool in range(pools):
        asked = settled(problem, claimed)
        others = np.arange(pools) != pool
        out, back = finite[pool, others].mean(), finite[others, pool].mean()
        two = PlacementProblem(
            pools=("others", "pool"),
            sizes=asked.sizes,
            allowed=np.stack([asked.allowed[:, others].any(axis=1), asked.allowed[:, pool]], 1),
            values=asked.values,
            consumers=asked.consumers,
            costs=np.array([[0.0, back], [out, 0.0]]),
        )
        stay = two.allowed.argmax(axis=1)
        go = np.where(two.allowed[:, 1], 1, 0)
        claimed[best_move(two, Prices.of(two), stay, go, transfers=False) == 1] = pool
    return claimed


def settled(problem: PlacementProblem, labels: NDArray[np.intp]) -> PlacementProblem:
    """Allow only the labels that are given; values ``UNPLACED`` keep what they are allowed."""
    allowed = problem.allowed.copy()
    taken = np.flatnonzero(labels != UNPLACED)
    allowed[taken] = False
    allowed[taken, labels[taken]] = True
    return replace(problem, allowed=allowed)
