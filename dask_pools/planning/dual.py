r"""A bound on the cost of a core, and placements near it: the dual of a linear relaxation.

Let every value charge its consumers for the pools they are in: a(v, u, q) for the consumer u of
v in the pool q. Whatever these charges are,

    sum over v of  min over p of  [ prices of v in p  +  what v is charged for being in p
                                    -  sum over q of max(0, sum over u a(v, u, q) - w(v) c(p, q)) ]

is a lower bound on the cost of every placement, if no charge is negative: a value in p which q
receives gains at most what the consumers in q are charged for it, less the price of the link. (If
a value has just one consumer u, that is in one pool: instead of the sum, the largest of
``a(v, u, q) - w(v) c(p, q)`` is taken, and charges may be negative.) The best charges are the dual
of the linear program in which values may be in parts in several pools, called the local polytope
of the labelling problem, with a hub for each value and pool that receives it.

Charges are improved one value after the other, never to the worse (block coordinate ascent as in
TRW-S: Kolmogorov, *Convergent tree-reweighted message passing for energy minimization*, 2006):

* *forward*, in the order of the graph, a value charges its consumers as much as it can;
* *backward*, a consumer gives back what it is charged for pools in which it would not be anyway,
  an equal share to each of its inputs, and takes over what they can put on it.

On a tree of reductions the first sweep forward is dynamic programming: the bound is the optimum,
and the labels read off backwards are optimal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.core import Core
from dask_pools.planning.order import sums


class Dual:
    """Charges between the nodes of a core, and what follows from them.

    Parameters
    ----------
    core : Core

    Attributes
    ----------
    charges : ndarray of float64, shape (m, P)
        What the consumer of each arc is charged in each pool.
    """

    __slots__ = ("_pieces", "charges", "core")

    def __init__(self, core: Core) -> None:
        self.core = core
        self.charges = np.zeros((len(core.values), core.allowed.shape[1]))
        by_consumer = np.argsort(core.consumers, kind="stable")
        outputs = np.searchsorted(core.values, np.arange(len(core.names) + 1))
        inputs = np.searchsorted(core.consumers[by_consumer], np.arange(len(core.names) + 1))
        self._pieces = [
            _Piece(core, start, stop, outputs, by_consumer[inputs[start] : inputs[stop]])
            for start, stop in core.pieces()
        ]

    def part(self, keep: NDArray[np.bool_]) -> Dual:
        """Leave out whole components; `keep` says which nodes stay."""
        rest = Dual(self.core.part(np.flatnonzero(keep)))
        rest.charges = self.charges[keep[self.core.values]]
        return rest

    def forward(self) -> None:
        """Let values charge their consumers, in the order of the graph."""
        for piece in self._pieces:
            if len(piece.values):
                self._push(piece)

    def backward(self) -> None:
        """Let consumers give back what does not help, and take over what does."""
        for piece in reversed(self._pieces):
            if len(piece.inputs):
                self._pull(piece)

    def bounds(self) -> NDArray[np.float64]:
        """Bound each component's cost from below; shape (components,)."""
        core = self.core
        least = np.zeros(len(core.names))
        for piece in self._pieces:
            least[piece.nodes] = self._reduced(piece, piece.ways(core)).min(axis=1)
        return sums(core.component, least, int(core.component.max(initial=-1)) + 1)

    def read(self) -> NDArray[np.intp]:
        """Read a placement off the charges: consumers first, then the values they need."""
        core = self.core
        labels = np.zeros(len(core.names), dtype=np.intp)
        received = np.zeros(core.allowed.shape, dtype=bool)
        asked = np.zeros(core.allowed.shape, dtype=np.intp)
        for piece in reversed(self._pieces):
            prices = piece.ways(core) * received[piece.nodes][:, None, :]
            total = self._charged(piece) + prices.sum(axis=2)
            least = total.min(axis=1, keepdims=True)
            # Rounding must not decide; among equals, most of the consumers do.
            near = total <= least + 1e-9 * np.abs(least)
            labels[piece.nodes] = np.where(near, asked[piece.nodes], -1).argmax(axis=1)
            inputs, chosen = core.values[piece.inputs], labels[core.consumers[piece.inputs]]
            received[inputs, chosen] = True
            np.add.at(asked, (inputs, chosen), 1)
        return labels

    def _charged(self, piece: _Piece) -> NDArray[np.float64]:
        """Sum up what nodes pay in each pool for their surroundings and to their inputs."""
        core = self.core
        paid = core.unary[piece.nodes].copy()
        if len(piece.inputs):
            charges = self.charges[piece.inputs]
            paid[piece.consumers] += np.add.reduceat(charges, piece.input_starts, axis=0)
        return np.where(core.allowed[piece.nodes], paid, np.inf)

    def _totals(self, piece: _Piece) -> NDArray[np.float64]:
        """Sum up what the consumers of each value are charged in each pool."""
        totals = np.zeros((piece.nodes.stop - piece.nodes.start, self.charges.shape[1]))
        if len(piece.values):
            charges = self.charges[piece.outputs]
            totals[piece.values] = np.add.reduceat(charges, piece.output_starts, axis=0)
        return totals

    def _reduced(self, piece: _Piece, ways: NDArray[np.float64]) -> NDArray[np.float64]:
        """Find what every node costs in each pool by itself, given all charges."""
        gains = self._totals(piece)[:, None, :] - ways
        one = gains[piece.ones]
        gain = np.maximum(gains, 0, out=gains).sum(axis=2)
        if len(piece.ones):
            gain[piece.ones] = np.where(piece.open_to_one[:, None, :], one, -np.inf).max(axis=2)
        reduced: NDArray[np.float64] = self._charged(piece) - gain
        return reduced

    def _push(self, piece: _Piece) -> None:
        ways = piece.ways(self.core)
        charged = self._charged(piece)
        if len(piece.ones):
            # One consumer: it can be told all that is known.
            least = (charged[piece.ones][:, :, None] + ways[piece.ones]).min(axis=1)
            least = np.where(piece.open_to_one, least, np.inf)
            least -= least.min(axis=1, keepdims=True)
            self.charges[piece.one_arcs] = np.where(piece.open_to_one, least, 0)
        if len(piece.many):
            self._share(piece, charged[piece.many], ways[piece.many])

    def _share(
        self, piece: _Piece, charged: NDArray[np.float64], ways: NDArray[np.float64]
    ) -> None:
        """Raise what each pool's consumers pay together, and divide it among them."""
        totals = self._totals(piece)[piece.many]
        before = totals.copy()
        slack = charged - np.maximum(totals[:, None, :] - ways, 0).sum(axis=2)
        slack -= slack.min(axis=1, keepdims=True)
        for q in range(totals.shape[1]):
            room = np.maximum(ways[:, :, q] - totals[:, q, None], 0)
            more = (room + slack).min(axis=1)
            slack = np.maximum(slack - np.maximum(more[:, None] - room, 0), 0)
            totals[:, q] += more
        more = totals - before
        arcs, own = piece.many_arcs, piece.many_own
        open_ = self.core.allowed[self.core.consumers[arcs]]
        # Those who kept something in the last round can make use of more.
        kept = np.maximum(self.charges[arcs], 0)
        weight = np.where(open_, kept + 1e-3 * totals[own], 0)
        whole = np.add.reduceat(weight, piece.many_starts, axis=0)
        rate = np.divide(more, whole, out=np.zeros_like(more), where=whole > 0)
        self.charges[arcs] += rate[own] * weight

    def _pull(self, piece: _Piece) -> None:
        core = self.core
        reduced = self._reduced(piece, piece.ways(core))
        arcs, own = piece.inputs, core.consumers[piece.inputs] - piece.nodes.start
        inputs = np.bincount(own, minlength=len(reduced))
        parts = np.maximum(inputs, 1)[:, None]
        spare = reduced - reduced.min(axis=1, keepdims=True)
        spare = np.where(np.isfinite(spare), spare, 0) / parts
        charges = self.charges[arcs]
        alone = piece.only_consumer[:, None]
        less = charges - spare[own]
        less = np.where(alone, less, np.maximum(less, 0))
        less = np.where(core.allowed[core.consumers[arcs]], less, 0)
        reduced[piece.consumers] += np.add.reduceat(less - charges, piece.input_starts, axis=0)
        # If one pool is still the best of a consumer, its inputs may charge it that much there.
        two = np.partition(reduced, 1, axis=1)
        lead = np.where(np.isfinite(two[:, 1]), two[:, 1] - two[:, 0], 0) / parts[:, 0]
        best = reduced.argmin(axis=1)
        shared = np.flatnonzero(~piece.only_consumer)
        less[shared, best[own[shared]]] += lead[own[shared]]
        self.charges[arcs] = less


class _Piece:
    """Nodes that are looked at side by side, and where their arcs are."""

    def __init__(
        self,
        core: Core,
        start: int,
        stop: int,
        outputs: NDArray[np.intp],
        inputs: NDArray[np.intp],
    ) -> None:
        self.nodes = slice(start, stop)
        #: Arcs to the nodes, sorted by consumer; the consumers, and where the arcs of each start.
        self.inputs = inputs
        self.consumers, self.input_starts = np.unique(
            core.consumers[inputs] - start, return_index=True
        )
        counts = np.diff(outputs)
        self.only_consumer = counts[core.values[inputs]] == 1
        #: Arcs from the nodes; the nodes that have any, and where the arcs of each start.
        self.outputs = slice(int(outputs[start]), int(outputs[stop]))
        count = counts[start:stop]
        self.values = np.flatnonzero(count)
        self.output_starts = outputs[start:stop][self.values] - outputs[start]
        #: Nodes that have one consumer, their arcs, and the pools open to that.
        self.ones = np.flatnonzero(count == 1)
        self.one_arcs = outputs[start:stop][self.ones]
        self.open_to_one = core.allowed[core.consumers[self.one_arcs]]
        #: Nodes that have several consumers, their arcs, and the place in `many` of each.
        self.many = np.flatnonzero(count > 1)
        several = np.repeat(count > 1, count)
        self.many_arcs = np.flatnonzero(several) + outputs[start]
        self.many_own = np.repeat(np.arange(len(self.many)), count[self.many])
        self.many_starts = np.cumsum(count[self.many]) - count[self.many]

    def ways(self, core: Core) -> NDArray[np.float64]:
        return core.ways(self.nodes)
