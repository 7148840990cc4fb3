"""The arcs of a problem by their ends: who needs a value, and what a task needs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.problem import PlacementProblem


class Arcs:
    """The arcs of a placement problem, indexed.

    Parameters
    ----------
    problem : PlacementProblem

    Examples
    --------
    >>> from dask_pools.planning.problem import uniform_costs
    >>> problem = PlacementProblem(
    ...     ("a",), np.ones(4), np.ones((4, 1), dtype=bool),
    ...     values=np.array([0, 1, 2]), consumers=np.array([2, 2, 3]), costs=uniform_costs(1),
    ... )
    >>> arcs = Arcs(problem)
    >>> arcs.needing(np.array([0, 1]))
    (array([0, 1]), array([0, 1]))
    >>> list(arcs.around(2))
    [(0, True), (1, True), (3, False)]
    """

    def __init__(self, problem: PlacementProblem) -> None:
        n = len(problem.sizes)
        self._problem = problem
        self._by_value = _Index(problem.values, n)
        self._by_consumer = _Index(problem.consumers, n)

    def needing(self, values: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Find the arcs that lead from some values: arcs, and positions in ``values``."""
        return self._by_value.find(values)

    def needed_by(self, tasks: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Find the arcs that lead to some tasks: arcs, and positions in ``tasks``."""
        return self._by_consumer.find(tasks)

    def around(self, value: int) -> Iterator[tuple[int, bool]]:
        """List the neighbours of one value, and whether it needs them (or they need it)."""
        one = np.array([value])
        for v in self._problem.values[self.needed_by(one)[0]].tolist():
            yield v, True
        for c in self._problem.consumers[self.needing(one)[0]].tolist():
            yield c, False


class _Index:
    """The places of each number in an array of numbers."""

    def __init__(self, numbers: NDArray[np.intp], n: int) -> None:
        self._order = np.argsort(numbers, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=n))])

    def find(self, wanted: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        starts = self._starts[wanted]
        counts = self._starts[wanted + 1] - starts
        which = np.repeat(np.arange(len(wanted)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._order[starts[which] + within], which
