"""The policy ``"majority"``: every value joins the pool that holds most of its inputs.

This is the greedy of the origin of dask_pools, kept as the baseline for others. It looks at
one task at a time, in the order of the graph, and so moves a big result where moving a small
input earlier would have done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_pools.errors import PlacementError
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
    inputs, outputs = _Neighbours.of(consumers, values, n), _Neighbours.of(values, consumers, n)
    # Sums of whole numbers do not depend on the order of the arcs.
    sizes = np.rint(Prices.of(problem).sizes).astype(np.int64)

    labels = np.where(problem.pinned, problem.allowed.argmax(axis=1), UNPLACED)
    levels = _levels(inputs, outputs)
    ones = np.ones(n, dtype=np.int64)
    homeless = n + 1
    # Two rounds do, unless values without a home form a zigzag: a -> pinned, a -> b <- c -> d.
    while 0 < (left := int(np.count_nonzero(labels == UNPLACED))) < homeless:
        homeless = left
        for level in levels:
            _vote(level, inputs, sizes, labels, p)
        for level in reversed(levels):
            _vote(level, outputs, ones, labels, p)
    labels[labels == UNPLACED] = 0
    return labels


@dataclass(frozen=True, slots=True, eq=False)
class _Neighbours:
    """The neighbours of each value on one side of its arcs, one value after the other."""

    starts: NDArray[np.intp]
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, own: NDArray[np.intp], others: NDArray[np.intp], n: int) -> _Neighbours:
        order = np.argsort(own, kind="stable")
        counts = np.bincount(own, minlength=n)
        return cls(np.concatenate([[0], np.cumsum(counts)]), others[order])

    def gather(self, values: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return for each neighbour of some values the position of the value, and itself."""
        counts = self.starts[values + 1] - self.starts[values]
        position = np.repeat(np.arange(len(values)), counts)
        before = np.cumsum(counts) - counts
        offset = np.arange(len(position)) - before[position]
        return position, self.ends[self.starts[values][position] + offset]


def _levels(inputs: _Neighbours, outputs: _Neighbours) -> list[NDArray[np.intp]]:
    """Sort values topologically: those of one level need only values of earlier ones."""
    waiting = np.diff(inputs.starts)
    levels = []
    ready = np.flatnonzero(waiting == 0)
    while len(ready):
        levels.append(ready)
        freed = outputs.gather(ready)[1]
        np.subtract.at(waiting, freed, 1)
        ready = np.unique(freed[waiting[freed] == 0])
    if waiting.any():
        i = int((waiting > 0).argmax())
        raise PlacementError(
            f"The arcs of the placement problem form a cycle, on which value {i} depends. The "
            "policy 'majority' follows the order of the tasks: give it the arcs of a DAG."
        )
    return levels


def _vote(
    level: NDArray[np.intp],
    neighbours: _Neighbours,
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
