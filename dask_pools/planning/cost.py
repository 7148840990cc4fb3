"""What a placement costs: the specification that every policy is measured against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.problem import UNPLACED, PlacementProblem


def crossings(
    problem: PlacementProblem, labels: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the transfers which a placement needs.

    Parameters
    ----------
    problem : PlacementProblem
    labels : ndarray of intp, shape (n,)
        The pool of each value, or ``UNPLACED``. What is unplaced neither sends nor receives.

    Returns
    -------
    values, targets : ndarray of intp
        Each value and the index of a pool that receives it, once for every such pair however
        many consumers the pool has; sorted by value, then by pool.
    """
    sources, targets = labels[problem.values], labels[problem.consumers]
    crossing = (sources != targets) & (sources != UNPLACED) & (targets != UNPLACED)
    pools = len(problem.pools)
    pairs = np.unique(problem.values[crossing] * pools + targets[crossing])
    return pairs // pools, pairs % pools


def cost(problem: PlacementProblem, labels: NDArray[np.intp]) -> float:
    """Sum what crosses between pools, every value once for each pool that receives it.

    Parameters
    ----------
    problem : PlacementProblem
    labels : ndarray of intp, shape (n,)
        The pool of each value, or ``UNPLACED``.

    Returns
    -------
    float
        Bytes times the cost of a byte; bytes, if the costs are uniform. Infinite if anything
        crosses that may not, were it a value of no bytes.

    Examples
    --------
    Ten tasks of one pool need the same value of another; it crosses once:

    >>> from dask_pools.planning.problem import uniform_costs
    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.full(11, 8.0),
    ...     allowed=np.ones((11, 2), dtype=bool),
    ...     values=np.zeros(10, dtype=int),
    ...     consumers=np.arange(1, 11),
    ...     costs=uniform_costs(2),
    ... )
    >>> cost(problem, np.array([0] + [1] * 10))
    8.0
    """
    values, targets = crossings(problem, labels)
    if problem.forbidden(values, labels[values], targets).any():
        return math.inf
    return float(problem.sizes[values] @ problem.costs[labels[values], targets])
