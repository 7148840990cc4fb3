"""The core of a problem: the values that have a choice, and what surrounds them as prices.

Most values of a computation are read in one place. What such a value costs its neighbours is
known as soon as their pools are, so it is taken out of the problem:

* a value which one open value needs is a price for each pool of that value;
* a consumer is a price for each pool of the value it needs, and that value can be used by
  others in the consumer's pool for nothing.

What is left falls apart into components which can be placed one by one. The values of a core
are called nodes: those with a choice, and the others which several of these need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dask_pools.planning.order import Neighbours, levels, sums
from dask_pools.planning.prices import Prices
from dask_pools.planning.problem import PlacementProblem

#: Arrays of (nodes, pools, pools) are made in pieces of about so many numbers.
_AT_ONCE = 1 << 21
#: No more steps than these; beyond it, levels are taken together.
_STEPS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Core:
    """The open part of a placement problem; k nodes and m arcs, in topological order.

    Parameters
    ----------
    names : ndarray of intp, shape (k,)
        The value of the problem that each node is.
    sizes : ndarray of float64, shape (k,)
        Sizes of the values, in the unit of the prices.
    costs : ndarray of float64, shape (P, P)
        Costs of the links, in the unit of the prices; infinite where nothing may cross.
    allowed : ndarray of bool, shape (k, P)
        The pools in which each node may be.
    confined : ndarray of bool, shape (k, P), or None
        As in the problem.
    unary : ndarray of float64, shape (k, P)
        What each node costs in each pool on account of values without a choice.
    paid : ndarray of bool, shape (k, P)
        The pools which receive a node whatever happens: that is in `unary`.
    values, consumers : ndarray of intp, shape (m,)
        The arcs between nodes, sorted by value; their consumers have a choice.
    component : ndarray of intp, shape (k,)
        The component of each node.
    forbidden : ndarray of float64, shape (k,)
        A finite price of what may not cross: more than all of the node's component can cost.
    steps : ndarray of intp, shape (s + 1,)
        No arc leads from a node of ``steps[i] : steps[i + 1]`` to a node before or among them
        (unless there are cycles, or thousands of levels).
    """

    names: NDArray[np.intp]
    sizes: NDArray[np.float64]
    costs: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    confined: NDArray[np.bool_] | None
    unary: NDArray[np.float64]
    paid: NDArray[np.bool_]
    values: NDArray[np.intp]
    consumers: NDArray[np.intp]
    component: NDArray[np.intp]
    forbidden: NDArray[np.float64]
    steps: NDArray[np.intp]

    @classmethod
    def of(cls, problem: PlacementProblem, prices: Prices) -> Core:
        """Take the core out of a problem.

        Parameters
        ----------
        problem : PlacementProblem
        prices : Prices
            The prices of that problem.
        """
        allowed = problem.allowed
        n, p = allowed.shape
        fixed = allowed.sum(axis=1) == 1
        label = allowed.argmax(axis=1)
        open_ = ~fixed[problem.consumers]
        paid = np.zeros((n, p), dtype=bool)
        paid[problem.values[~open_], label[problem.consumers[~open_]]] = True
        codes = np.unique(problem.values[open_] * n + problem.consumers[open_])
        values, consumers = codes // n, codes % n
        values, consumers = values[values != consumers], consumers[values != consumers]
        whole = cls(
            names=np.arange(n),
            sizes=prices.sizes,
            costs=np.where(np.isposinf(problem.costs), np.inf, prices.costs),
            allowed=allowed,
            confined=problem.confined,
            unary=np.zeros((n, p)),
            paid=np.zeros((n, p), dtype=bool),
            values=values,
            consumers=consumers,
            component=np.zeros(n, dtype=np.intp),
            forbidden=np.full(n, np.inf),
            steps=np.array([0, n]),
        )
        asked = np.flatnonzero(~fixed & paid.any(axis=1))
        for some in np.array_split(asked, 1 + len(asked) * p * p // _AT_ONCE):
            due = np.where(paid[some][:, None, :], whole.ways(some), 0)
            whole.unary[some] = due.sum(axis=2)
        whole.paid[:] = paid
        alone = fixed[values] & (np.bincount(values, minlength=n)[values] == 1)
        for some in np.array_split(np.flatnonzero(alone), 1 + len(values) * p * p // _AT_ONCE):
            value = values[some]
            due = whole.ways(value)[np.arange(len(some)), label[value]]
            np.add.at(whole.unary, consumers[some], due)
        nodes = ~fixed
        nodes[values[~alone]] = True
        whole.unary[fixed] = 0
        whole = replace(whole, values=values[~alone], consumers=consumers[~alone])
        return _closed(_sorted(whole, nodes))

    def ways(self, nodes: NDArray[np.intp] | slice) -> NDArray[np.float64]:
        """Price some nodes on their ways from each pool to each other, shape (nodes, P, P)."""
        finite = np.isfinite(self.costs)
        prices = np.rint(self.sizes[nodes, None, None] * np.where(finite, self.costs, 0))
        closed = np.broadcast_to(~finite, prices.shape)
        if self.confined is not None:
            away = ~np.eye(len(self.costs), dtype=bool)
            closed = closed | self.confined[nodes][:, :, None] & away
        if closed.any():
            prices = np.where(closed, self.forbidden[nodes, None, None], prices)
        prices[np.broadcast_to(self.paid[nodes][:, None, :], prices.shape)] = 0
        return prices

    def pieces(self) -> list[tuple[int, int]]:
        """Divide the nodes, in their order, in ranges that can be looked at side by side."""
        pools = len(self.costs)
        size = max(_AT_ONCE // pools**2, 1)
        found = []
        for start, stop in pairwise(self.steps.tolist()):
            bounds = [*range(start, stop, size), stop]
            found += list(pairwise(bounds))
        return found

    def charge(self, labels: NDArray[np.intp]) -> NDArray[np.float64]:
        """Price a placement of the core: what each node costs; shape (k,)."""
        k, pools = self.allowed.shape
        received = np.zeros((k, pools), dtype=bool)
        received[self.values, labels[self.consumers]] = True
        every = np.arange(k)
        charged: NDArray[np.float64] = self.unary[every, labels].copy()
        for start, stop in self.pieces():
            own = np.arange(stop - start), labels[start:stop]
            charged[start:stop] += (self.ways(slice(start, stop))[own] * received[start:stop]).sum(
                1
            )
        return charged

    def part(self, nodes: NDArray[np.intp]) -> Core:
        """Keep whole components: all of their nodes, in ascending order."""
        keep = np.zeros(len(self.names), dtype=bool)
        keep[nodes] = True
        index = np.cumsum(keep)
        arcs = np.flatnonzero(keep[self.values])
        part = self._part(nodes, index - 1, arcs)
        _, component = np.unique(self.component[nodes], return_inverse=True)
        steps = np.unique(np.concatenate([[0], index])[self.steps])
        return replace(part, component=component, steps=steps)

    def split(self, components: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp], Core]]:
        """Take components out one by one: the component, its nodes, and its own core."""
        count = np.arange(int(self.component.max(initial=-1)) + 2)
        nodes = np.argsort(self.component, kind="stable")
        starts = np.searchsorted(self.component[nodes], count)
        index = np.zeros(len(nodes), dtype=np.intp)
        index[nodes] = np.arange(len(nodes)) - starts[self.component[nodes]]
        arcs = np.argsort(self.component[self.values], kind="stable")
        firsts = np.searchsorted(self.component[self.values[arcs]], count)
        for i in components.tolist():
            own = nodes[starts[i] : starts[i + 1]]
            yield i, own, self._part(own, index, arcs[firsts[i] : firsts[i + 1]])

    def fingerprint(self) -> bytes:
        """Make equal bytes for cores that are equal but for the names of their nodes."""
        parts = (self.sizes, self.allowed, self.unary, self.paid, self.values, self.consumers)
        confined = b"" if self.confined is None else self.confined.tobytes()
        return b"|".join([*(part.tobytes() for part in parts), confined])

    def _part(
        self, nodes: NDArray[np.intp], index: NDArray[np.intp], arcs: NDArray[np.intp]
    ) -> Core:
        return replace(
            self,
            names=self.names[nodes],
            sizes=self.sizes[nodes],
            allowed=self.allowed[nodes],
            confined=None if self.confined is None else self.confined[nodes],
            unary=self.unary[nodes],
            paid=self.paid[nodes],
            values=index[self.values[arcs]],
            consumers=index[self.consumers[arcs]],
            component=np.zeros(len(nodes), dtype=np.intp),
            forbidden=self.forbidden[nodes],
            steps=np.array([0, len(nodes)]),
        )


def _sorted(core: Core, keep: NDArray[np.bool_]) -> Core:
    """Keep some nodes, in topological order, and find their components."""
    n = len(keep)
    inputs = Neighbours.of(core.consumers, core.values, n)
    found, _ = levels(inputs, Neighbours.of(core.values, core.consumers, n))
    level = np.full(n, len(found))
    for depth, nodes in enumerate(found):
        level[nodes] = depth
    level //= 1 + len(found) // _STEPS
    names = np.flatnonzero(keep)
    names = names[np.argsort(level[names], kind="stable")]
    index = np.zeros(n, dtype=np.intp)
    index[names] = np.arange(len(names))
    values, consumers = index[core.values], index[core.consumers]
    order = np.lexsort((consumers, values))
    ends = np.flatnonzero(np.diff(level[names])) + 1
    return replace(
        core,
        names=names,
        sizes=core.sizes[names],
        allowed=core.allowed[names],
        confined=None if core.confined is None else core.confined[names],
        unary=core.unary[names],
        paid=core.paid[names],
        values=values[order],
        consumers=consumers[order],
        forbidden=np.full(len(names), np.inf),
        steps=np.unique(np.concatenate([[0], ends, [len(names)]])),
    )


def _closed(core: Core) -> Core:
    """Find the components, and give what is forbidden a price beyond theirs."""
    k, pools = core.allowed.shape
    pattern = coo_array(
        (np.ones(len(core.values), dtype=np.int8), (core.values, core.consumers)), shape=(k, k)
    )
    count, found = connected_components(pattern, directed=False) if k else (0, core.names)
    component = found.astype(np.intp)
    # A pool which the surroundings forbid is not open, as long as another one is.
    possible = core.allowed & np.isfinite(core.unary)
    some = np.logical_or.reduce(possible, axis=1)
    allowed = np.where(some[:, None], possible, core.allowed)
    dearest = np.max(core.costs, where=np.isfinite(core.costs), initial=0)
    most: NDArray[np.float64] = np.where(np.isfinite(core.unary), core.unary, 0).max(
        axis=1, initial=0
    )
    most += np.rint(core.sizes * dearest) * np.minimum(np.bincount(core.values, minlength=k), pools)
    forbidden = 1 + sums(component, most, count)[component]
    return replace(
        core,
        component=component,
        allowed=allowed,
        forbidden=forbidden,
        unary=np.where(np.isfinite(core.unary), core.unary, forbidden[:, None]),
    )
