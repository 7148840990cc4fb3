"""Placing a few tasks anew when better sizes are known: whether it is worth it, and what moves.

Plain functions over a small placement problem, in which a transfer is a value like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.place import place
from dask_pools.planning.policies import with_traits
from dask_pools.planning.policies.mincut import mincut
from dask_pools.planning.problem import UNPLACED, PlacementProblem
from dask_pools.planning.residency import PlacementConflictError

#: What has to be saved for a move: this share of what crosses, and so many bytes. Sizes ahead are
#: estimates still, so that less is no real saving.
LEAST_SHARE = 0.1
LEAST_BYTES = 1_000_000.0


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """Where some tasks are to run by the present plan, and what may cross for it.

    Parameters
    ----------
    problem : PlacementProblem
        The tasks, and the values and consumers around them, which stay where they are.
    labels : ndarray of intp, shape (n,)
        Where each is now.
    times : ndarray of float64, shape (m,)
        By arc, for how many consumers it stands.
    receivers : ndarray of float64, shape (P,)
        Workers of each pool. Without a transfer, each of them may fetch a value for itself.
    """

    problem: PlacementProblem
    labels: NDArray[np.intp]
    times: NDArray[np.float64]
    receivers: NDArray[np.float64]

    def costs(self, labels: NDArray[np.intp]) -> NDArray[np.float64]:
        """Sum up what crosses: at the least, and at the most.

        At the least, a value crosses once for each pool; at the most, once for each consumer
        there, as far as there are workers to fetch it.
        """
        problem, pools = self.problem, len(self.problem.pools)
        sources, targets = labels[problem.values], labels[problem.consumers]
        far = sources != targets
        pairs, which = np.unique(problem.values[far] * pools + targets[far], return_inverse=True)
        values, pool = pairs // pools, pairs % pools
        users = np.bincount(which, weights=self.times[far], minlength=len(pairs))
        once = np.zeros(len(pairs))
        sized = problem.sizes[values] > 0
        once[sized] = (problem.sizes[values] * problem.costs[labels[values], pool])[sized]
        most = np.minimum(users, np.maximum(self.receivers[pool], 1.0))
        return np.array([once.sum(), (once * most).sum()])


@with_traits(lawful=True)
def _cheapest(problem: PlacementProblem) -> NDArray[np.intp]:
    """Place as ``mincut`` does, but do not move tasks only to share the work."""
    return mincut(problem)


def revise(situation: Situation) -> NDArray[np.intp] | None:
    """Place tasks anew if that saves enough; returns None if all is to stay as it is.

    Parameters
    ----------
    situation : Situation
        The tasks and what is around them.

    Returns
    -------
    ndarray of intp, shape (n,), or None
        The label of each of them.

    Examples
    --------
    A value of pool 0 which is carried to pool 1 (by task 1) for a task there (2) with a value of
    that pool (3) has turned out to be large. The task goes to the value instead:

    >>> from dask_pools.planning.problem import uniform_costs
    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.array([5e7, 5e7, 8.0, 1e6]),
    ...     allowed=np.array([[1, 0], [1, 1], [1, 1], [0, 1]], dtype=bool),
    ...     values=np.array([0, 1, 3]),
    ...     consumers=np.array([1, 2, 2]),
    ...     costs=uniform_costs(2),
    ... )
    >>> revise(Situation(problem, np.array([0, 1, 1, 1]), np.ones(3), np.ones(2)))
    array([0, 0, 0, 1])
    """
    present, problem = situation.labels, situation.problem
    before = situation.costs(present)
    least = _least_saving(problem, float(before[0]))
    if before[0] < least:
        return None
    try:
        found = place(problem, _cheapest)
    except PlacementConflictError:
        return None
    labels = np.where(found == UNPLACED, present, found)
    # Both ways of counting have to agree that it is worth it.
    if (before - situation.costs(labels)).min() < least:
        return None
    return _without_idle_moves(situation, labels)


def _least_saving(problem: PlacementProblem, cost: float) -> float:
    links = problem.costs[np.isfinite(problem.costs) & (problem.costs > 0)]
    per_byte = float(links.min()) if len(links) else 1.0
    return max(LEAST_SHARE * cost, LEAST_BYTES * per_byte)


def _without_idle_moves(situation: Situation, labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Leave what saves nothing by its move where it is."""
    present, best = situation.labels, situation.costs(labels)
    for task in np.flatnonzero(labels != present)[::-1].tolist():
        tried = labels.copy()
        tried[task] = present[task]
        costs = situation.costs(tried)
        if (costs <= best).all():
            labels, best = tried, costs
    return labels
