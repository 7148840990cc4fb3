"""Connected components of a problem: what hangs together, and could stay in one pool for free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dask_pools.planning.loads import pool_times, work_of
from dask_pools.planning.problem import UNPLACED, PlacementProblem
from dask_pools.planning.sharing import share


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The connected components of a problem.

    Parameters
    ----------
    of_value : ndarray of intp, shape (n,)
        The component of each value.
    common : ndarray of bool, shape (C, P)
        The pools in which all the values of each component may be.
    pinned : ndarray of bool, shape (C,)
        Whether a component has a pinned value. One without may run anywhere.
    """

    of_value: NDArray[np.intp]
    common: NDArray[np.bool_]
    pinned: NDArray[np.bool_]

    @classmethod
    def of(cls, problem: PlacementProblem) -> Components:
        """Find the components of a problem."""
        n, pools = problem.allowed.shape
        pattern = coo_array(
            (np.ones(len(problem.values), dtype=np.int8), (problem.values, problem.consumers)),
            shape=(n, n),
        )
        count, found = connected_components(pattern, directed=False) if n else (0, np.arange(0))
        component = found.astype(np.intp)
        pins = np.flatnonzero(problem.pinned)
        common = np.ones((count, pools), dtype=np.bool_)
        for pool in range(pools):
            refused = pins[np.flatnonzero(~problem.allowed[pins, pool])]
            common[component[refused], pool] = False
        pinned = np.zeros(count, dtype=np.bool_)
        pinned[component[pins]] = True
        return cls(component, common, pinned)

    @property
    def undecided(self) -> NDArray[np.bool_]:
        """The values of components that cannot be in one pool as a whole; shape (n,)."""
        apart = np.logical_not(np.logical_or.reduce(self.common, axis=1))
        undecided: NDArray[np.bool_] = apart[self.of_value]
        return undecided

    def settled(self) -> NDArray[np.intp]:
        """Label the values of components that can be in one pool only, and in no other.

        Returns
        -------
        ndarray of intp, shape (n,)
            ``UNPLACED`` for all other values.
        """
        single = self.pinned & (self.common.sum(axis=1) == 1)
        return np.where(single, self.common.argmax(axis=1), UNPLACED)[self.of_value]

    def spread(self, problem: PlacementProblem, labels: NDArray[np.intp]) -> NDArray[np.intp]:
        """Place the components which have several pools to choose from, each as a whole.

        They are shared out so that the busiest pool, per worker thread, is as little busy as
        can be: those that have the fewest pools to choose from first. If all pools are alike,
        the first one is preferred.

        Parameters
        ----------
        problem : PlacementProblem
            Without ``work``, work is in proportion to bytes.
        labels : ndarray of intp, shape (n,)
            The placement of all other values.

        Returns
        -------
        ndarray of intp, shape (n,)
        """
        open_ = np.flatnonzero(self.pinned & (self.common.sum(axis=1) > 1))
        if not len(open_):
            return labels
        work = work_of(problem)
        # Work that takes no time is counted in tasks.
        durations = work.durations if work.durations.any() else np.ones(len(labels))
        spent = np.bincount(self.of_value, durations, minlength=len(self.common))
        busy = pool_times(problem, labels)
        chosen = np.full(len(self.common), UNPLACED)
        sets, which = np.unique(self.common[open_], axis=0, return_inverse=True)
        which = which.reshape(-1)
        for i in np.argsort(sets.sum(axis=1), kind="stable").tolist():
            pools, members = np.flatnonzero(sets[i]), open_[which == i]
            # The last resource is the sum of the positions of the pools, all the rest equal.
            ways = np.zeros((len(pools), 1, len(pools) + 1))
            at = np.arange(len(pools))
            ways[at, 0, at] = 1 / work.threads[pools]
            ways[at, 0, -1] = at
            way = share(
                spent[members][:, None],
                ways,
                np.concatenate([busy[pools], [0.0]]),
                [at, np.array([len(pools)])],
            )
            chosen[members] = pools[way]
            busy += np.bincount(pools[way], spent[members], len(busy)) / work.threads
        here = chosen[self.of_value]
        return np.where(here == UNPLACED, labels, here)
