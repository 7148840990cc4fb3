"""The costs of a problem in whole numbers, for algorithms that need exact arithmetic.

A minimum cut is only canonical, and two placements are only comparable, if sums do not depend
on the order of their terms. So policies count in int64. Whole sizes and whole costs are kept
as they are (divided by the common divisor of the sizes); other numbers are rounded to
1 / 2**55 of the largest possible sum, which is finer than float64 could add them up.

What may not cross has no price, however high: it is counted on its own, and comes first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.cost import crossings
from dask_pools.planning.problem import PlacementProblem

#: Bits of the largest sum of prices: room is left in int64.
_BITS = 55
#: Whole numbers up to here are exact in float64.
_WHOLE = 2.0**53


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Whole-number prices of carrying values over links.

    Parameters
    ----------
    sizes : ndarray of float64, shape (n,)
        Sizes of the values in a unit of its own.
    costs : ndarray of float64, shape (P, P)
        Costs of the links in a unit of its own; zero where nothing may cross.

    Examples
    --------
    >>> from dask_pools.planning.problem import uniform_costs
    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.array([800.0, 200.0]),
    ...     allowed=np.ones((2, 2), dtype=bool),
    ...     values=np.array([0]),
    ...     consumers=np.array([1]),
    ...     costs=0.02 * uniform_costs(2),
    ... )
    >>> Prices.of(problem).charge(np.array([0, 1]), 0, 1)
    array([4, 1])
    """

    sizes: NDArray[np.float64]
    costs: NDArray[np.float64]

    @classmethod
    def of(cls, problem: PlacementProblem, bits: int = _BITS) -> Prices:
        """Make the prices of a problem.

        Parameters
        ----------
        problem : PlacementProblem
        bits : int, default 55
            No sum of prices exceeds 2 to this power (by more than rounding). Fewer make moves
            faster, and less exact.
        """
        sizes, costs = problem.sizes, np.where(np.isposinf(problem.costs), 0, problem.costs)
        if not _whole(costs):
            costs = costs / costs.max()
        if _whole(sizes):
            divisor = int(np.gcd.reduce(sizes.astype(np.int64), initial=0))
            sizes = sizes / max(divisor, 1)
        else:
            sizes = np.ldexp(sizes, -math.frexp(float(sizes.max()))[1])
        # fsum: the same whatever the order of the values.
        most = math.fsum(sizes.tolist()) * float(costs.max(initial=0)) * max(len(costs) - 1, 1)
        exponent = math.frexp(most)[1]
        if exponent > bits or not (_whole(sizes) and _whole(costs)):
            sizes = np.ldexp(sizes, bits - exponent)
        return cls(sizes, costs)

    @property
    def whole(self) -> bool:
        """Whether the prices are exact, because sizes and costs were whole numbers."""
        return _whole(self.sizes) and _whole(self.costs)

    def restricted(self, keep: NDArray[np.bool_]) -> Prices:
        """Leave out values; the unit stays the same."""
        return replace(self, sizes=self.sizes[keep])

    def charge(
        self,
        values: NDArray[np.intp],
        sources: NDArray[np.intp] | int,
        targets: NDArray[np.intp] | int,
    ) -> NDArray[np.int64]:
        """Price values, each carried once from its source to its target."""
        prices: NDArray[np.float64] = self.sizes[values] * self.costs[sources, targets]
        return np.rint(prices).astype(np.int64)


def score(
    problem: PlacementProblem, prices: Prices, labels: NDArray[np.intp]
) -> tuple[int, int, int]:
    """Rank a placement; less is better.

    Returns
    -------
    tuple of int
        How often something crosses that may not; what the placement costs; how many transfers
        it has.
    """
    values, targets = crossings(problem, labels)
    sources = labels[values]
    refused = int(np.count_nonzero(problem.forbidden(values, sources, targets)))
    return refused, int(prices.charge(values, sources, targets).sum()), len(values)


def _whole(numbers: NDArray[np.float64]) -> bool:
    return bool((numbers == np.rint(numbers)).all() and numbers.max(initial=0) < _WHOLE)
