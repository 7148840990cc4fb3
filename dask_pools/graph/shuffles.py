"""P2P shuffles in a graph: each runs in one pool as a whole.

The tasks of a shuffle hand on nothing but numbers: the data goes from worker to worker beside
the graph. A *transfer step* takes its input apart, the *barrier* waits for all of these, and the
*outputs* join the pieces. So that the planner sees what crosses, the steps stand for their
data in its problem::

    input --w--> transfer step --w--> barrier --all of it--> outputs --> ...

As it would cost twice the data to take the steps apart, a whole shuffle is placed where its
inputs and what needs its outputs want it. What it needs from another pool is then carried
there like anything else, planned and counted, and no piece crosses a link.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dask_pools.graph import adapter
from dask_pools.graph.table import TaskTable
from dask_pools.planning.problem import UNPLACED, PlacementProblem

#: How many times its data a step counts: more than once, so that taking a shuffle apart never
#: costs the same as carrying its inputs, or its outputs, to another pool.
TOGETHER = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Shuffles:
    """The P2P shuffles of a graph.

    Parameters
    ----------
    steps : ndarray of intp, shape (k,)
        The tasks that are steps of a shuffle, sorted.
    unit : ndarray of intp, shape (k,)
        The number of the shuffle of each step. Shuffles with common outputs, as those of the
        two sides of a merge, are one.
    barriers : ndarray of intp, shape (b,)
        Those of the steps which are barriers.
    outputs : ndarray of intp
        Those of the steps which make outputs.
    into : tuple of two ndarrays of intp
        Arcs over which data comes to the transfer steps: the value and the step.
    through : tuple of two ndarrays of intp
        Arcs from transfer steps to their barrier.
    """

    steps: NDArray[np.intp]
    unit: NDArray[np.intp]
    barriers: NDArray[np.intp]
    outputs: NDArray[np.intp]
    into: tuple[NDArray[np.intp], NDArray[np.intp]]
    through: tuple[NDArray[np.intp], NDArray[np.intp]]

    def __bool__(self) -> bool:
        return bool(len(self.steps))

    def weighed(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the steps the sizes of the data that they stand for.

        Parameters
        ----------
        sizes : ndarray of float64, shape (n,)
            Bytes of each value, tasks first; not changed.
        """
        found = sizes.copy()
        (values, steps), (transfers, barriers) = self.into, self.through
        found[steps] = 0.0
        np.add.at(found, steps, TOGETHER * sizes[values])
        found[barriers] = 0.0
        np.add.at(found, barriers, found[transfers])
        return found

    def together(self, labels: NDArray[np.intp], problem: PlacementProblem) -> NDArray[np.intp]:
        """Place every shuffle in one pool: that of its barrier.

        Parameters
        ----------
        labels : ndarray of intp, shape (n,)
            The pool of each value; not changed.
        problem : PlacementProblem
            What was solved.

        Returns
        -------
        ndarray of intp, shape (n,)
            The steps of a shuffle which may be nowhere together are left unplaced.
        """
        found = labels.copy()
        count = int(self.unit.max(initial=-1)) + 1
        possible = np.ones((count, len(problem.pools)), dtype=np.bool_)
        np.logical_and.at(possible, self.unit, problem.allowed[self.steps])
        votes = np.zeros(possible.shape)
        placed = np.isin(self.steps, self.barriers) & (labels[self.steps] >= 0)
        rows = self.steps[placed]
        np.add.at(votes, (self.unit[placed], labels[rows]), problem.sizes[rows] + 1.0)
        best = np.where(possible, votes, -1.0).argmax(axis=1)
        nowhere = ~possible.any(axis=1) | ~votes.any(axis=1)
        found[self.steps] = np.where(nowhere, UNPLACED, best)[self.unit]
        return found


def find_shuffles(table: TaskTable, barriers: list[int]) -> Shuffles:
    """Find the steps of shuffles around their barriers.

    Parameters
    ----------
    table : TaskTable
        The tasks.
    barriers : list of int
        The barriers.
    """
    n = len(table)
    rows = np.array(barriers, dtype=np.intp)
    inside = table.values < n  # a step of an earlier submission is done
    before = np.isin(table.consumers, rows) & inside
    after = np.isin(table.values, rows)
    named, ends = table.values[before], table.consumers[before]
    transfers = _behind_aliases(table, named)
    sources = np.concatenate([named, transfers, table.values[after]])
    targets = np.concatenate([ends, ends, table.consumers[after]])
    graph = coo_array((np.ones(len(sources)), (sources, targets)), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    steps = np.unique(np.concatenate([sources, targets, rows]))
    coming = np.isin(table.consumers, transfers)
    return Shuffles(
        steps=steps,
        unit=np.unique(component[steps], return_inverse=True)[1].astype(np.intp),
        barriers=rows,
        outputs=np.unique(table.consumers[after]),
        into=(table.values[coming], table.consumers[coming]),
        through=(transfers, ends),
    )


def _behind_aliases(table: TaskTable, values: NDArray[np.intp]) -> NDArray[np.intp]:
    """Find the tasks whose values some tasks stand for: Dask leaves an alias where it fuses."""
    found = values.tolist()
    for i in range(len(found)):
        while (target := adapter.alias_target(table.nodes[found[i]])) in table.index:
            found[i] = table.index[target]
    return np.array(found, dtype=np.intp)
