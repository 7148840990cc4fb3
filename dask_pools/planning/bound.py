"""What no placement can cost less than, so that a plan can say how far it is from the optimum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.closing import close
from dask_pools.planning.cost import cost
from dask_pools.planning.policies.mincut import mincut
from dask_pools.planning.prices import Prices, score
from dask_pools.planning.problem import UNPLACED, PlacementProblem

#: Up to so many pools the minimum cut is the optimum.
_EXACT = 2
#: Share by which a bound is lowered for what was rounded in whole prices and float64.
_ROUNDING = 1e-9


def lower_bound(problem: PlacementProblem, labels: NDArray[np.intp]) -> float:
    """Bound the cost of every placement from below.

    For two pools that is the optimum, found by a minimum cut. For more, each component of what
    is not settled has a bound of its own (`dask_pools.planning.closing`), and the sum is the
    bound: the optimum where the graph is made of trees, and for small components; near it
    elsewhere. It does not depend on how the placement was found.

    Parameters
    ----------
    problem : PlacementProblem
    labels : ndarray of intp, shape (n,)
        A placement of it. Values that are ``UNPLACED`` in it are left out of the problem.

    Returns
    -------
    float
        Never above the cost of any placement; equal to `cost` if the placement is known to be
        the cheapest. Infinite if in two pools something has to cross that may not.

    Examples
    --------
    Two fields of 8 and 80 bytes are added; all in one pool or the other:

    >>> from dask_pools.planning.problem import uniform_costs
    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.array([8.0, 80.0, 80.0]),
    ...     allowed=np.array([[True, False], [False, True], [True, True]]),
    ...     values=np.array([0, 1]),
    ...     consumers=np.array([2, 2]),
    ...     costs=uniform_costs(2),
    ... )
    >>> lower_bound(problem, np.array([0, 1, 0]))
    8.0
    """
    placed = labels != UNPLACED
    if not placed.all():
        problem, labels = problem.restricted(placed), labels[placed]
    if len(problem.pools) <= _EXACT:
        return min(cost(problem, labels), cost(problem, mincut(problem)))
    prices = Prices.of(problem)
    found = close(problem, prices, labels)
    refused, price, _ = score(problem, prices, found.labels)
    if refused or not price:
        return 0.0
    best = cost(problem, found.labels)
    # Each price of a transfer may be rounded by a half, here and in the optimum.
    rounded = 0 if prices.whole else len(labels) * len(problem.pools)
    if found.gap + rounded < 1 - _ROUNDING:
        return min(cost(problem, labels), best)
    return max((price - found.gap - rounded) / price, 0.0) * best * (1 - _ROUNDING)
