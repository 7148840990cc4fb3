"""The optimum of a core from both sides: a placement, and a bound, of every component.

Components are independent of each other, so each is closed on its own, as soon as its placement
costs what its bound says; most of them are after the first sweep. Only those which are still open
are worked on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.ascent import Ascent
from dask_pools.planning.core import Core
from dask_pools.planning.dual import Dual
from dask_pools.planning.exact import Solution, solve, variables
from dask_pools.planning.order import sums
from dask_pools.planning.prices import Prices
from dask_pools.planning.problem import PlacementProblem

#: Sweeps end when they raise the bound of what is open by less than this share.
_PROGRESS = 1e-2
#: Steps end when the bound is below the cost by this share only.
_NEAR = 2e-3
#: Rounding of sums in float64, as a share of the largest sums there are.
_ROUNDING = 1e-12


class Bracket:
    """A placement of each component of a core, what it costs, and a bound.

    Parameters
    ----------
    core : Core
    labels : ndarray of intp, shape (k,)
        A placement of the nodes to start from.

    Attributes
    ----------
    core : Core
    labels : ndarray of intp, shape (k,)
        The best placement of each component that was found.
    upper : ndarray of float64, shape (components,)
        What it costs, in the unit of the prices.
    lower : ndarray of float64, shape (components,)
        What no placement can be cheaper than.
    """

    __slots__ = ("_scale", "_solved", "core", "labels", "lower", "upper")

    def __init__(self, core: Core, labels: NDArray[np.intp]) -> None:
        count = int(core.component.max(initial=-1)) + 1
        self.core = core
        self.labels = labels
        self.upper = sums(core.component, core.charge(labels), count)
        self.lower = np.zeros(count)
        self._scale = np.zeros(count)
        self._scale[core.component] = core.forbidden
        #: Components of which the optimum is known, but for the tolerances of the bound.
        self._solved = np.zeros(count, dtype=bool)

    @classmethod
    def of(
        cls, problem: PlacementProblem, prices: Prices, labels: NDArray[np.intp] | None = None
    ) -> Bracket:
        """Take the core out of a problem, with a placement of it as far as that is allowed."""
        core = Core.of(problem, prices)
        start = core.allowed.argmax(axis=1)
        if labels is not None:
            given = labels[core.names]
            start = np.where(core.allowed[np.arange(len(given)), given], given, start)
        return cls(core, start)

    @property
    def refused(self) -> NDArray[np.bool_]:
        """Whether something crosses in each component that may not; shape (components,)."""
        return self.upper >= self._scale

    def placement(self, allowed: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Complete the labels by those of values without a choice; shape (n,)."""
        labels: NDArray[np.intp] = allowed.argmax(axis=1)
        labels[self.core.names] = self.labels
        return labels

    def open_values(self, n: int) -> NDArray[np.bool_]:
        """Say which of the n values of the problem are in open components."""
        values = np.zeros(n, dtype=bool)
        values[self.core.names[self.open[self.core.component]]] = True
        return values

    def gap(self, chosen: NDArray[np.bool_] | NDArray[np.intp] | slice = slice(None)) -> float:
        """Sum up what lies between bound and cost of some components."""
        return float((self.upper - self.lower)[chosen].sum())

    @property
    def open(self) -> NDArray[np.bool_]:
        """Whether a better placement of each component may be found; shape (components,)."""
        gap = self.upper - self.lower
        return (gap > 1e-9 * self.upper + 2 * _ROUNDING * self._scale) & ~self._solved

    def sweep(self, rounds: int, *, read: bool = True, steps: int = 0) -> None:
        """Raise the bounds of open components.

        Parameters
        ----------
        rounds : int
            How many sweeps at most; the first one does most of it.
        read : bool, default True
            Whether to look for better placements as well.
        steps : int, default 0
            How many subgradient steps at most, after the sweeps.
        """
        nodes, components = self._of(self.open)
        dual = Dual(self.core.part(nodes))
        before = -np.inf
        for _ in range(rounds):
            if not len(components):
                return
            dual.forward()
            bounds = dual.bounds()
            self._raise(components, bounds)
            if read:
                self._offer(dual.core, components, nodes, dual.read())
            open_ = self.open[components]
            reached = float(bounds.sum())
            if reached - before <= _PROGRESS * abs(reached):
                break
            before = reached - float(bounds[~open_].sum())
            keep = open_[dual.core.component]
            if np.count_nonzero(keep) < len(keep) / 2:
                dual, nodes, components = dual.part(keep), nodes[keep], components[open_]
            dual.backward()
        self._climb(dual, components, steps)

    def _climb(self, dual: Dual, components: NDArray[np.intp], steps: int) -> None:
        keep = self.open[components][dual.core.component]
        if not steps or not keep.any():
            return
        dual, components = dual.part(keep), components[self.open[components]]
        ascent = Ascent(dual.core, dual.charges)
        for _ in range(steps):
            self._raise(components, ascent.step(self.upper[components]))
            if self.gap(components) <= _NEAR * self.upper[components].sum():
                return

    def settle(self, size: int, total: int, *, refused: bool = False) -> None:
        """Solve small open components exactly, the smallest first.

        Parameters
        ----------
        size, total : int
            Numbers of variables: of the largest program, and of all of them.
        refused : bool, default False
            Whether to look only at components of which no possible placement is known.
        """
        counts = variables(self.core)
        chosen = np.flatnonzero(self.open & (self.refused | ~refused) & (counts <= size))
        chosen = chosen[np.argsort(counts[chosen], kind="stable")]
        known: dict[bytes, Solution | None] = {}
        for component, nodes, part in self.core.split(chosen):
            # Computations repeat themselves, block by block.
            name = part.fingerprint()
            if name not in known:
                total -= int(counts[component])
                if total < 0:
                    return
                known[name] = solve(part)
            if (found := known[name]) is not None:
                own = np.array([component])
                self._raise(own, np.array([found.bound]))
                self._offer(part, own, nodes, found.labels)
                self._solved[component] = found.complete

    def _of(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return np.flatnonzero(chosen[self.core.component]), np.flatnonzero(chosen)

    def _raise(self, components: NDArray[np.intp], bounds: NDArray[np.float64]) -> None:
        # Prices are whole numbers: the cost is not below the next one, whatever was rounded.
        whole = np.ceil(bounds - _ROUNDING * self._scale[components])
        self.lower[components] = np.maximum(self.lower[components], whole)

    def _offer(
        self,
        part: Core,
        components: NDArray[np.intp],
        nodes: NDArray[np.intp],
        labels: NDArray[np.intp],
    ) -> None:
        charged = sums(part.component, part.charge(labels), len(components))
        better = charged < self.upper[components]
        self.upper[components[better]] = charged[better]
        taken = better[part.component]
        self.labels[nodes[taken]] = labels[taken]
