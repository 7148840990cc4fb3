"""How large the blocks of arrays are, as the layers of a graph tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.sizes.samples import Samples, Step
from dask_pools.planning.basis import Basis

#: Bytes of None, which is the result of a block that was stored.
NONE_NBYTES = 16.0


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of one array: how large each one is.

    Parameters
    ----------
    chunks : tuple of tuple of float
        Lengths of the blocks along each axis; NaN where unknown.
    itemsize : float
        Bytes of an element.
    extra : float, default 0
        Bytes that each block has beside its elements, as the dictionary in which arrays are.
    basis : Basis, default exact
        Whether that is known or assumed.
    shown : tuple of tuple of float, optional
        If blocks are broadcast views: what they show along each axis; ``chunks`` is what they
        hold.
    doubts : tuple of str, default none
        The layers of whose blocks these may be views, if those are broadcast views themselves.

    Examples
    --------
    >>> blocks = Blocks(((2, 3), (10,)), itemsize=4)
    >>> blocks.nbytes([("x", 0, 0), ("x", 1, 0)])
    array([ 80., 120.])
    """

    chunks: tuple[tuple[float, ...], ...]
    itemsize: float
    extra: float = 0.0
    basis: Basis = Basis.EXACT
    shown: tuple[tuple[float, ...], ...] | None = None
    doubts: tuple[str, ...] = ()

    def nbytes(self, keys: Sequence[tuple[Any, ...]]) -> NDArray[np.float64] | None:
        """Bytes of the values of some keys of the layer; NaN where unknown.

        Returns
        -------
        ndarray of float64, shape (len(keys),), or None
            None if not all of the keys are keys of blocks.
        """
        ndim, count = len(self.chunks), len(keys)
        if set(map(len, keys)) != {ndim + 1}:
            return None
        sizes = np.full(count, self.itemsize, dtype=np.float64)
        for axis, lengths in enumerate(self.chunks):
            try:
                index = np.fromiter(map(itemgetter(axis + 1), keys), dtype=np.intp, count=count)
            except (TypeError, ValueError):
                return None  # pieces have names in the place of numbers
            if index.min() < 0 or index.max() >= len(lengths):
                return None
            sizes *= np.asarray(lengths, dtype=np.float64)[index]
        return sizes + self.extra if self.extra else sizes

    def held(self, index: tuple[int, ...]) -> tuple[float, ...]:
        """Lengths of what one block holds."""
        return tuple([lengths[i] for lengths, i in zip(self.chunks, index, strict=True)])

    def shape(self, index: tuple[int, ...]) -> tuple[float, ...] | None:
        """Shape of one block; None if blocks are not, or not surely, arrays of known shape."""
        chunks = self.shown or self.chunks
        lengths = tuple([c[i] for c, i in zip(chunks, index, strict=True)])
        return None if self.extra or math.isnan(sum(lengths)) else lengths

    def has(self, index: tuple[Any, ...]) -> bool:
        """Whether an index is the index of a block of this array."""
        if len(index) != len(self.chunks):
            return False
        try:
            return all(map(_is_within, index, self.chunks))
        except TypeError:
            return False  # pieces have names in the place of numbers


def describe_blocks(graph: adapter.HighLevelGraph) -> dict[str, Blocks]:
    """Describe the blocks of every array layer of a graph, by the name of the layer.

    Call it before fusion and culling, which change layers and their names.
    """
    description = _Description(graph)
    for name in adapter.sorted_layers(graph):
        description.add(name)
    return description.blocks


class _Description:
    """The blocks of the layers, which come in an order in which inputs are first."""

    def __init__(self, graph: adapter.HighLevelGraph) -> None:
        self.graph = graph
        self.blocks: dict[str, Blocks] = {}
        self.samples = Samples(graph)
        #: Layers whose blocks are combined in the next step of a reduction.
        self.combined = {
            d
            for name, below in graph.dependencies.items()
            if "-partial-" in name or "-aggregate-" in name
            for d in below
        }
        #: Layers whose elements may be of another type than they tell, and all that come of them.
        self.mistyped: set[str] = set()
        #: Layers that make tuples of arrays, of which some member was found.
        self.taken_apart: set[str] = set()

    def add(self, name: str) -> None:
        """Describe one layer; all that it depends on are described."""
        layer = self.graph.layers[name]
        record = adapter.array_record(layer)
        if record is None:
            return
        if adapter.may_mistype(layer) or not self.mistyped.isdisjoint(
            self.graph.dependencies[name]
        ):
            self.mistyped.add(name)
        sure = record.plain and name not in self.mistyped
        basis = Basis.EXACT if sure else Basis.ASSUMED
        known = Blocks(record.chunks, float(record.dtype.itemsize), basis=basis)
        step = self._step(name, layer, known)
        reduced = None if step is None else self._reduced(name, known, step)
        if reduced is not None:
            self.blocks[name] = reduced
        elif adapter.counts_by_data(layer):
            unknown = tuple((math.nan,) * len(lengths) for lengths in known.chunks)
            self.blocks[name] = replace(known, chunks=unknown)
        elif adapter.returns_none(layer):
            self.blocks[name] = Blocks(tuple((1.0,) * len(c) for c in known.chunks), NONE_NBYTES)
        elif adapter.is_untold(layer):
            self.blocks[name] = replace(known, basis=Basis.ASSUMED)
        else:
            self.blocks[name] = self._viewed(name, layer, known)
            self._credit_gufunc(name, layer, known)

    # ---- reductions

    def _step(self, name: str, layer: adapter.Layer, known: Blocks) -> Step | None:
        """Recognise a layer whose blocks are not what it tells."""
        below = sorted(self.graph.dependencies[name])
        reduction = adapter.reduction_of(layer)
        if reduction is not None:
            return Step(reduction, known.chunks)
        if name.startswith("arg-reduce-") and len(below) == 1:
            ones = [axis for axis, lengths in enumerate(known.chunks) if set(lengths) == {1}]
            return Step(adapter.Reduction(tuple(ones), keep=1), known.chunks)
        earlier = self.samples.steps.get(below[0]) if len(below) == 1 else None
        if earlier is None or "-partial-" in name:
            return earlier
        last = "-aggregate-" in name and (adapter.combines_groups(layer) or earlier.keep > 1)
        return earlier if last else None

    def _reduced(self, name: str, known: Blocks, step: Step) -> Blocks | None:
        """Describe the blocks of a step of a reduction; None if it is none."""
        self.samples.steps[name] = step
        first = step.chunks is known.chunks
        chunks = tuple(
            tuple(float(min(step.keep, max(c, 1)) if first else step.keep) for c in lengths)
            if axis in step.axes
            else lengths
            for axis, lengths in enumerate(known.chunks)
        )
        if step.reduction.by_data and first:
            return replace(known, basis=Basis.ASSUMED)
        found = self.samples.measure(name)
        if found is None and first and name not in self.combined:
            del self.samples.steps[name]
            return None  # some other function with an argument called axis
        if found is None:
            return replace(known, chunks=chunks, basis=Basis.ASSUMED)
        sure = step.is_certain and name not in self.mistyped
        return Blocks(chunks, *found, basis=Basis.EXACT if sure else Basis.ASSUMED)

    # ---- views

    def _viewed(self, name: str, layer: adapter.Layer, known: Blocks) -> Blocks:
        """Describe an array as it is told of, as far as its blocks are no broadcast views."""
        below = {
            d: self.blocks[d] for d in sorted(self.graph.dependencies[name]) if d in self.blocks
        }
        if adapter.is_broadcast_scalar(layer):
            # Strides of zero: one element in memory and on the wire.
            chunks = tuple(tuple(map(_at_most_one, lengths)) for lengths in known.chunks)
            return replace(known, chunks=chunks, shown=known.chunks)
        if adapter.is_broadcast_to(layer) and len(below) == 1:
            (source,) = below.values()
            return _broadcast(known, source, tuple(below))
        if adapter.returns_new(layer):
            return known
        doubts = [d for d, source in below.items() if source.shown or source.doubts]
        if adapter.is_astype(layer) and all(below[d].itemsize != known.itemsize for d in doubts):
            return known  # of another type, hence a copy
        return replace(known, doubts=tuple(doubts))

    # ---- several outputs

    def _credit_gufunc(self, name: str, layer: adapter.Layer, known: Blocks) -> None:
        """Have the layer that makes all outputs of a function be as large as they are.

        It tells of the dimensions which all of them have.
        """
        block = adapter.gathered_block(layer, name)
        source = None if block is None else self.blocks.get(block[0])
        if block is None or source is None:
            return
        made_by = self.graph.layers[block[0]]
        loop, core = known.chunks[: len(source.chunks)], known.chunks[len(source.chunks) :]
        if not isinstance(made_by, adapter.Blockwise) or loop != source.chunks:
            return
        itemsize = known.itemsize * math.prod(lengths[0] for lengths in core)
        if adapter.makes_tuples(made_by):
            # Outputs that nobody needs are not in the graph: it may be larger than these.
            others = source.itemsize if block[0] in self.taken_apart else 0.0
            self.taken_apart.add(block[0])
            self.blocks[block[0]] = Blocks(loop, others + itemsize, basis=Basis.ASSUMED)
        elif core:
            self.blocks[block[0]] = Blocks(loop, itemsize, basis=known.basis)


def _is_within(i: Any, lengths: tuple[float, ...]) -> bool:
    return bool(0 <= i < len(lengths))


def _at_most_one(length: float) -> float:
    return 0.0 if length == 0 else 1.0


def _broadcast(known: Blocks, source: Blocks, names: tuple[str, ...]) -> Blocks:
    """Describe broadcast views of the blocks of another array."""
    new = len(known.chunks) - len(source.chunks)
    chunks = []
    for axis, lengths in enumerate(known.chunks):
        below = source.chunks[axis - new] if axis >= new else (1.0,)
        repeated = set(below) == {1}
        chunks.append(tuple(map(_at_most_one, lengths)) if repeated else below)
    doubts = names if source.doubts else ()
    return replace(source, chunks=tuple(chunks), shown=known.chunks, doubts=doubts)
