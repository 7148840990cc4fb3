"""All minimum cuts of a network at once, for capacities of 55 bits.

A cut divides the nodes of a network in a source side and a sink side, and costs the capacity
of the arcs that lead from the first to the second. There may be many cheapest cuts. Picard and
Queyranne (1980) describe all of them at once: a maximum flow settles some nodes for good and
leaves between the others the *implications* "if the tail is on the source side, so is the
head"; every set that obeys them is a cheapest cut. That set does not depend on which maximum
flow was found, hence not on the order of the nodes, and a second objective can choose among
its members by one more cut, without being mixed into the capacities of the first.

``scipy`` finds maximum flows in 32-bit capacities, and wraps larger ones around in silence.
Here the flow is found by scaling: the leading bits of the capacities first; then what is left
of the capacities, whose remaining flow is now small enough to look at further bits; and so on.
No arc can carry more than the whole remaining flow, so cutting capacities off there loses
nothing, and the result is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, maximum_flow

#: The terminals of every network; its other nodes are numbered from 2.
SOURCE, SINK = 0, 1

#: Flows and capacities given to scipy stay below 2 to this power, so that a capacity and the
#: flow against it fit in int32 together.
_BITS = 29


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """A set of cuts of one network.

    Parameters
    ----------
    sides : ndarray of int8, shape (nodes,)
        1 for a node that is on the source side in all of them, -1 for one that is on the sink
        side in all of them, 0 for an open one.
    tails, heads : ndarray of intp, shape (implications,)
        Open nodes: if a tail is on the source side, so is its head.
    """

    sides: NDArray[np.int8]
    tails: NDArray[np.intp]
    heads: NDArray[np.intp]

    @classmethod
    def all(cls, nodes: int, tails: NDArray[np.intp], heads: NDArray[np.intp]) -> Cuts:
        """Make the set of all cuts that obey some implications.

        Parameters
        ----------
        nodes : int
            Number of nodes, the terminals included.
        tails, heads : ndarray of intp
            The implications, between nodes that are no terminals.
        """
        sides = np.zeros(nodes, dtype=np.int8)
        sides[SOURCE], sides[SINK] = 1, -1
        return cls(sides, tails, heads)

    def narrow(
        self,
        tails: NDArray[np.intp],
        heads: NDArray[np.intp],
        capacities: NDArray[np.int64],
    ) -> Cuts:
        """Keep only the cheapest of these cuts.

        Parameters
        ----------
        tails, heads : ndarray of intp, shape (arcs,)
            Arcs of the network.
        capacities : ndarray of int64, shape (arcs,)
            Their capacities, not negative; together below 2**60.

        Examples
        --------
        A chain source -> 2 -> 3 -> sink with a bottleneck in its middle:

        >>> nothing = np.array([], dtype=int)
        >>> cuts = Cuts.all(4, nothing, nothing)
        >>> cuts.narrow(np.array([0, 2, 3]), np.array([2, 3, 1]), np.array([5, 1, 5])).sides
        array([ 1, -1,  1, -1], dtype=int8)
        """
        unsettled = np.flatnonzero(self.sides == 0)
        if not len(unsettled):
            return self
        # Settled nodes melt into the terminals; the network that is left may be a lot smaller.
        index = np.where(self.sides > 0, SOURCE, SINK).astype(np.int32)
        index[unsettled] = np.arange(2, 2 + len(unsettled), dtype=np.int32)
        graph = _Residual.of(
            2 + len(unsettled),
            (index[tails], index[heads], capacities),
            (index[self.tails], index[self.heads]),
        )
        graph.saturate()
        from_source, to_sink = graph.reached()
        sides = self.sides.copy()
        sides[unsettled[from_source[2:]]] = 1
        sides[unsettled[to_sink[2:]]] = -1
        still = ~(from_source | to_sink)
        arcs = (graph.left > 0) & still[graph.tails] & still[graph.heads]
        # Two dummies for the terminals, which take no part in implications.
        names = np.concatenate([[SOURCE, SINK], unsettled])
        return Cuts(sides, names[graph.tails[arcs]], names[graph.heads[arcs]])

    def groups(self) -> tuple[int, NDArray[np.intp]]:
        """Group open nodes so that every group can be put on either side on its own.

        Returns
        -------
        count : int
            Number of groups.
        group : ndarray of intp, shape (nodes,)
            The group of every open node; -1 for others.
        """
        unsettled = np.flatnonzero(self.sides == 0)
        index = np.zeros(len(self.sides), dtype=np.intp)
        index[unsettled] = np.arange(len(unsettled))
        size = len(unsettled)
        pattern = coo_array(
            (np.ones(len(self.tails), dtype=np.int8), (index[self.tails], index[self.heads])),
            shape=(size, size),
        )
        count, found = connected_components(pattern, directed=False) if size else (0, unsettled)
        group = np.full(len(self.sides), -1, dtype=np.intp)
        group[unsettled] = found
        return int(count), group


@dataclass(slots=True, eq=False)
class _Residual:
    """What a growing flow leaves of the capacities of a network.

    Every arc is there together with its reverse, sorted by tail and head, as scipy returns
    flows; so the flow of one round can be taken off entry by entry.
    """

    tails: NDArray[np.int32]
    heads: NDArray[np.int32]
    rows: NDArray[np.int32]
    #: Capacity that is left on each arc; shrinks and grows with the flow.
    left: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        nodes: int,
        arcs: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]],
        implications: tuple[NDArray[np.int32], NDArray[np.int32]],
    ) -> _Residual:
        """Build it with no flow yet; an implication is an arc that no cheapest cut can afford."""
        tails, heads, capacities = arcs
        # Nothing flows into the source, out of the sink, or from a node to itself, and what
        # flows from source to sink directly is in every cut.
        useful = (capacities > 0) & (tails != heads) & (tails != SINK) & (heads != SOURCE)
        useful &= (tails != SOURCE) | (heads != SINK)
        tails, heads, capacities = tails[useful], heads[useful], capacities[useful]
        if_tails, then_heads = implications
        too_much = np.full(len(if_tails), capacities.sum() + 1, dtype=np.int64)
        nothing = np.zeros(len(tails) + len(if_tails), dtype=np.int64)
        graph = coo_array(
            (
                np.concatenate([capacities, too_much, nothing]),
                (
                    np.concatenate([tails, if_tails, heads, then_heads]),
                    np.concatenate([heads, then_heads, tails, if_tails]),
                ),
            ),
            shape=(nodes, nodes),
        ).tocsr()
        rows = graph.indptr.astype(np.int32)
        tails = np.repeat(np.arange(nodes, dtype=np.int32), np.diff(rows))
        return cls(tails, graph.indices.astype(np.int32), rows, graph.data)

    def saturate(self) -> None:
        """Send a maximum flow through the network."""
        bound = min(
            int(self.left[self.tails == SOURCE].sum()), int(self.left[self.heads == SINK].sum())
        )
        while bound:
            # What is left of the flow is at most `bound`: no arc can use more of its capacity.
            # One unit more keeps implications out of every cut that can be full.
            shift = max(0, bound.bit_length() - _BITS)
            capacities = np.minimum(self.left >> shift, (bound >> shift) + 1).astype(np.int32)
            flow = maximum_flow(self._matrix(capacities), SOURCE, SINK).flow.data
            self.left -= flow.astype(np.int64) << shift
            if not shift:
                return
            # A cut that is full in these leading bits has little room in all bits.
            near = self._reached_from(SOURCE, capacities > flow)
            bound = int(self.left[near[self.tails] & ~near[self.heads]].sum())

    def reached(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Find the nodes that the source still reaches, and those which still reach the sink."""
        room = self.left > 0
        from_source = self._reached_from(SOURCE, room)
        pattern = self._pattern(room).T.tocsr()
        return from_source, _reached(pattern, SINK)

    def _reached_from(self, start: int, room: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return _reached(self._pattern(room), start)

    def _matrix(self, data: NDArray[np.int32]) -> csr_array:
        nodes = len(self.rows) - 1
        return csr_array((data, self.heads, self.rows), shape=(nodes, nodes))

    def _pattern(self, room: NDArray[np.bool_]) -> csr_array:
        nodes = len(self.rows) - 1
        rows = np.concatenate([[0], np.cumsum(room)])[self.rows].astype(np.int32)
        heads = self.heads[room]
        return csr_array((np.ones(len(heads)), heads, rows), shape=(nodes, nodes))


def _reached(pattern: csr_array, start: int) -> NDArray[np.bool_]:
    reached = np.zeros(pattern.shape[0], dtype=bool)
    reached[breadth_first_order(pattern, start, return_predecessors=False)] = True
    return reached
