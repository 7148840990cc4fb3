"""The policy ``"majority"``: every value joins the pool that holds most of its inputs.

This is the greedy of the origin of dask_pools, kept as the baseline for others. It looks at
one task at a time, in the order of the graph, and so moves a big result where moving a small
input earlier would have done.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_pools.errors import PlacementError
from dask_pools.planning.order import Neighbours, levels
from dask_pools.planning.prices import Prices
from dask_pools.planning.problem import UNPLACED, PlacementProblem


def majority(problem: PlacementProblem) -> NDArray[np.intp]:
    """Place values greedily, in the order in which they are made.

    A value that is pinned takes the first pool it is allowed in. A free one takes the pool
    which holds most bytes of its inputs; if equal, most of its inputs; if equal, the first
    such pool. Free values that descend from no pinned one are then pulled to the pool of most
    of their consumers.

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
        If the arcs form a cycle.
    """
    n, p = problem.allowed.shape
    arcs = np.unique(problem.values * n + problem.consumers)
    values, consumers = arcs // n, arcs % n
    inputs, outputs = Neighbours.of(consumers, values, n), Neighbours.of(values, consumers, n)
    # Sums of whole numbers do not depend on the order of the arcs.
    sizes = np.rint(Prices.of(problem).sizes).astype(np.int64)

    labels = np.where(problem.pinned, problem.allowed.argmax(axis=1), UNPLACED)
    steps, cyclic = levels(inputs, outputs)
    if cyclic is not None:
        raise PlacementError(
            f"The arcs of the placement problem form a cycle, on which value {cyclic} depends. The "
            "policy 'majority' follows the order of the tasks: give it the arcs of a DAG."
        )
    ones = np.ones(n, dtype=np.int64)
    homeless = n + 1
    # Two rounds do, unless values without a home form a zigzag: a -> pinned, a -> b <- c -> d.
    while 0 < (left := int(np.count_nonzero(labels == UNPLACED))) < homeless:
        homeless = left
        for level in steps:
            _vote(level, inputs, sizes, labels, p)
        for level in reversed(steps):
            _vote(level, outputs, ones, labels, p)
    labels[labels == UNPLACED] = 0
    return labels


def _vote(
    level: NDArray[np.intp],
    neighbours: Neighbours,
    weights: NDArray[np.int64],
    labels: NDArray[np.intp],
    pools: int,
) -> None:
    """Label the values of a level that have no label yet by the votes of their neighbours."""
    level = level[labels[level] == UNPLACED]
    if not len(level):
        return
    position, voters = neighbours.gather(level)
    voting = labels[voters] != UNPLACED
    position, voters = position[voting], voters[voting]
    box = position * pools + labels[voters]
    shape = (len(level), pools)
    count = np.bincount(box, minlength=len(level) * pools).reshape(shape)
    weight = np.zeros(len(level) * pools, dtype=np.int64)
    np.add.at(weight, box, weights[voters])
    weight = weight.reshape(shape)
    heaviest = weight == weight.max(axis=1, keepdims=True)
    best = np.where(heaviest, count, -1).argmax(axis=1)
    asked = count.any(axis=1)
    labels[level[asked]] = best[asked]
