"""Raising a bound further: steps along a subgradient of the dual, each component on its own.

Sweeps (`dask_pools.planning.dual`) improve one value's charges at a time, and come to rest where
only changes of several at once would help. A subgradient step changes all of them: a consumer
that would be in a pool is charged more there, and a value that gains more there than its way
costs charges less. The length of the step is Polyak's (*Minimization of unsmooth functionals*,
1969): the distance to the target, here the cost of the best placement, by the square of the
subgradient; and part of the step before is repeated (the heavy ball).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.core import Core
from dask_pools.planning.order import sums

#: The share of the last step that is repeated.
_MOMENTUM = 0.7


class Ascent:
    """Charges between the nodes of a core, on their way up.

    Parameters
    ----------
    core : Core
    charges : ndarray of float64, shape (m, P)
        Charges of the consumer of each arc in each pool, as the sweeps have left them.
    """

    __slots__ = ("_charges", "_core", "_last", "_one", "_one_arc", "_pieces", "_reads")

    def __init__(self, core: Core, charges: NDArray[np.float64]) -> None:
        k = len(core.names)
        self._core, self._charges = core, charges
        self._last = np.zeros_like(charges)
        count = np.bincount(core.values, minlength=k)
        self._one = count == 1
        self._one_arc = np.cumsum(count) - count
        self._reads = np.argsort(core.consumers, kind="stable")
        self._pieces = replace(core, steps=np.array([0, k])).pieces()

    def step(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Make one step.

        Parameters
        ----------
        targets : ndarray of float64, shape (components,)
            What each component costs.

        Returns
        -------
        ndarray of float64, shape (components,)
            A lower bound of each, before the step.
        """
        core = self._core
        least, labels, sold = self._answers()
        bounds = sums(core.component, least, len(targets))
        direction = -sold[core.values].astype(np.float64)
        direction[np.arange(len(direction)), labels[core.consumers]] += 1
        direction[~core.allowed[core.consumers]] = 0
        direction += _MOMENTUM * self._last
        self._last = direction
        component = core.component[core.values]
        square = sums(component, np.square(direction).sum(axis=1), len(targets))
        length = np.maximum(targets - bounds, 0) / np.maximum(square, 1)
        self._charges = self._charges + length[component][:, None] * direction
        several = ~self._one[core.values]
        self._charges[several] = np.maximum(self._charges[several], 0)
        return bounds

    def _answers(self) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.bool_]]:
        """Find for each node the pool that is best for it, its cost there, and what it sells."""
        core = self._core
        k, pools = core.allowed.shape
        totals = _sums(core.values, self._charges, k)
        paid = core.unary + _sums(core.consumers[self._reads], self._charges[self._reads], k)
        least = np.empty(k)
        labels = np.empty(k, dtype=np.intp)
        sold = np.empty((k, pools), dtype=bool)
        for start, stop in self._pieces:
            here = slice(start, stop)
            gains = totals[here, None, :] - core.ways(here)
            one = np.flatnonzero(self._one[here])
            reads = core.allowed[core.consumers[self._one_arc[here][one]]]
            sole = np.where(reads[:, None, :], gains[one], -np.inf)
            gain = np.maximum(gains, 0).sum(axis=2)
            gain[one] = sole.max(axis=2)
            cost = np.where(core.allowed[here], paid[here] - gain, np.inf)
            best = cost.argmin(axis=1)
            own = np.arange(stop - start)
            least[here], labels[here] = cost[own, best], best
            sells = gains[own, best] > 0
            sells[one] = np.arange(pools) == sole[np.arange(len(one)), best[one]].argmax(1)[:, None]
            sold[here] = sells
        return least, labels, sold


def _sums(groups: NDArray[np.intp], rows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Sum up rows of the same group; groups are sorted."""
    sums = np.zeros((count, rows.shape[1]))
    found, starts = np.unique(groups, return_index=True)
    if len(found):
        sums[found] = np.add.reduceat(rows, starts, axis=0)
    return sums
