"""Weighted times: a placement problem whose cost is the weighted time of links and pools.

What crosses costs the seconds of its link, times the weight of the link: that is a placement
problem already. That a task costs its seconds in whatever pool it runs, times the weight of the
pool, is made one by *anchors*: each value that has a choice needs a second value, as large as
its task takes long, from a pool of its own which is behind links of just these costs.

    anchor of v, in no real pool --- seconds of v * weight / threads ---> the pool of v

So one minimum cut finds the placement of least weighted time between any two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.loads import work_of
from dask_pools.planning.moves import ties
from dask_pools.planning.prices import Prices
from dask_pools.planning.problem import PlacementProblem
from dask_pools.planning.work import Work


@dataclass(frozen=True, slots=True, eq=False)
class WeightedTimes:
    """A problem with anchors, which is given its costs for each set of weights.

    Parameters
    ----------
    anchored : PlacementProblem
        The problem and, behind its values, their anchors; the last pool is theirs.
    work : Work
        How long things take.
    scale : float
        Bytes that count like a second, so that both are numbers of one size.
    count : int
        Number of values, without anchors.
    """

    anchored: PlacementProblem
    work: Work
    scale: float
    count: int

    @classmethod
    def of(cls, problem: PlacementProblem) -> WeightedTimes:
        """Give the values of a problem their anchors."""
        n, pools = problem.allowed.shape
        work = work_of(problem)
        free = np.flatnonzero((problem.allowed.sum(axis=1) > 1) & (work.durations > 0))
        anchors = np.arange(n, n + len(free))
        allowed = np.zeros((n + len(free), pools + 1), dtype=np.bool_)
        allowed[:n, :pools] = problem.allowed
        allowed[n:, pools] = True
        confined = None
        if problem.confined is not None:
            confined = np.zeros_like(allowed)
            confined[:n, :pools] = problem.confined
        durations = work.durations[free]
        total = float(durations.sum())
        scale = float(problem.sizes.sum()) / total if total > 0 else 1.0
        scale = scale if scale > 0 else 1.0
        costs = np.zeros((pools + 1, pools + 1))
        costs[:pools, :pools] = problem.costs
        anchored = PlacementProblem(
            pools=(*problem.pools, "anchors"),
            sizes=np.concatenate([problem.sizes, durations * scale]),
            allowed=allowed,
            values=np.concatenate([problem.values, anchors]),
            consumers=np.concatenate([problem.consumers, free]),
            costs=costs,
            confined=confined,
        )
        return cls(anchored, work, scale, n)

    def move(
        self,
        links: NDArray[np.float64],
        pools: NDArray[np.float64],
        stay: NDArray[np.intp],
        go: NDArray[np.intp],
    ) -> NDArray[np.intp]:
        """Find the placement of least weighted time between two.

        Parameters
        ----------
        links : ndarray of float64, shape (P, P)
            Weights of the links.
        pools : ndarray of float64, shape (P,)
            Weights of the pools.
        stay, go : ndarray of intp, shape (n,)
            Two placements.

        Returns
        -------
        ndarray of intp, shape (n,)
            For every value the label of one of the two; in doubt that of `stay`.
        """
        size = len(pools)
        costs = self.anchored.costs.copy()
        passable = np.isfinite(costs[:size, :size])
        costs[:size, :size][passable] = (links * self.work.seconds)[passable]
        costs[size, :size] = pools / self.work.threads / self.scale
        problem = replace(self.anchored, costs=costs)
        own = np.full(len(problem.sizes) - self.count, size)
        first, second = np.concatenate([stay, own]), np.concatenate([go, own])
        node, cuts = ties(problem, Prices.of(problem), first, second)
        goes = (cuts.sides[node[: self.count]] < 0) & (stay != go)
        return np.where(goes, go, stay)
