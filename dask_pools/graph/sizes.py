"""How many bytes the value of each task has, as far as Dask knows before it runs.

Arrays carry the chunks and the dtype of their blocks on the layers of their graphs.
Two kinds of keys need more: intermediate results of reductions, whose layers were
described before their chunks were reduced and which may be dictionaries of arrays
(`mean` carries a sum and a count), and keys inside a layer that are no blocks of any
array (the pieces of a rechunk). What nothing is known of is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter

#: Bytes assumed of a value that comes from no other value and that nothing is known of, as
#: of most delayed functions. A guess: about the size of a small chunk.
ASSUMED_NBYTES = 1_000_000.0


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of one array: how large each one is.

    Parameters
    ----------
    chunks : tuple of tuple of float
        Lengths of the blocks along each axis; NaN where unknown.
    itemsize : float
        Bytes of an element.

    Examples
    --------
    >>> blocks = Blocks(((2, 3), (10,)), itemsize=4)
    >>> blocks.nbytes([(0, 0), (1, 0)])
    array([ 80., 120.])
    """

    chunks: tuple[tuple[float, ...], ...]
    itemsize: float

    def nbytes(self, indices: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        """Bytes of some blocks, given by their index in the array of blocks."""
        sizes = np.full(len(indices), self.itemsize, dtype=np.float64)
        if self.chunks:
            positions = np.asarray(indices, dtype=np.intp)
            for axis, lengths in enumerate(self.chunks):
                sizes *= np.asarray(lengths, dtype=np.float64)[positions[:, axis]]
        return sizes

    def shape(self, index: tuple[int, ...]) -> tuple[float, ...]:
        """Shape of one block."""
        return tuple(lengths[i] for lengths, i in zip(self.chunks, index, strict=True))

    def has(self, index: tuple[Any, ...]) -> bool:
        """Whether an index is the index of a block of this array."""
        return len(index) == len(self.chunks) and all(
            isinstance(i, (int, np.integer)) and 0 <= i < len(lengths)
            for lengths, i in zip(self.chunks, index, strict=True)
        )


def describe_blocks(graph: adapter.HighLevelGraph) -> dict[str, Blocks]:
    """Describe the blocks of every array layer of a graph, by the name of the layer.

    Call it before fusion and culling, which change layers and their names.
    """
    blocks: dict[str, Blocks] = {}
    partial: dict[str, float] = {}
    for name in adapter.sorted_layers(graph):
        layer = graph.layers[name]
        array = adapter.array_record(layer)
        if array is None:
            continue
        known = Blocks(array.chunks, float(array.dtype.itemsize))
        dependencies = graph.dependencies[name]
        reduction = adapter.reduction_of(layer)
        if reduction is not None:
            known, element = _reduced(known, reduction, blocks.get(reduction.source))
            if element is not None:
                partial[name] = element
        elif "-partial-" in name and len(dependencies) == 1:
            (source,) = dependencies
            if source in partial:
                partial[name] = partial[source]
                known = replace(known, itemsize=partial[source])
        elif adapter.is_broadcast_scalar(layer):
            # Strides of zero: one element in memory and on the wire.
            known = Blocks(tuple((1.0,) * len(c) for c in known.chunks), known.itemsize)
        elif adapter.is_broadcast_to(layer):
            continue  # as large as what is broadcast
        blocks[name] = known
    return blocks


def _reduced(
    known: Blocks, reduction: adapter.Reduction, source: Blocks | None
) -> tuple[Blocks, float | None]:
    """Describe the blocks of the first step of a reduction."""
    keep = reduction.keep
    chunks = tuple(
        tuple(min(float(keep), c) for c in lengths) if axis in reduction.axes else lengths
        for axis, lengths in enumerate(known.chunks)
    )
    element = adapter.try_reduction(reduction, len(known.chunks)) if source else None
    return Blocks(chunks, known.itemsize if element is None else element), element


def estimate_nbytes(
    tasks: Mapping[Key, Any],
    blocks: Mapping[str, Blocks],
    outside: Mapping[Key, float],
) -> dict[Key, float]:
    """Estimate the size in bytes of the value of every task.

    Parameters
    ----------
    tasks : mapping
        The graph, a task for each key.
    blocks : mapping
        What `describe_blocks` found.
    outside : mapping
        Sizes of values that tasks need and that are not in the graph, in bytes.

    Returns
    -------
    dict
        Bytes by key, in the order of ``tasks``. Every size is finite and not negative.
    """
    sizes = _known_sizes(tasks, blocks)
    _infer_aliases(tasks, sizes)
    unknown = [key for key in tasks if key not in sizes]
    if unknown:
        estimate = _Estimate(tasks, blocks, outside, sizes)
        for key in unknown:
            estimate.visit(key)
    return {key: sizes[key] for key in tasks}


def _known_sizes(tasks: Iterable[Key], blocks: Mapping[str, Blocks]) -> dict[Key, float]:
    by_name: dict[str, list[tuple[Key, tuple[Any, ...]]]] = {}
    for key in tasks:
        block = adapter.block_of(key)
        if block is not None and block[0] in blocks and blocks[block[0]].has(block[1]):
            by_name.setdefault(block[0], []).append((key, block[1]))
    sizes: dict[Key, float] = {}
    for name, known in by_name.items():
        nbytes = blocks[name].nbytes([index for _, index in known]).tolist()
        pairs = zip(known, nbytes, strict=True)
        sizes.update((key, size) for (key, _), size in pairs if math.isfinite(size))
    return sizes


def _infer_aliases(tasks: Mapping[Key, Any], sizes: dict[Key, float]) -> None:
    """Have an alias and its target agree.

    `da.from_delayed` knows the size of a delayed value. The other way round, a block that
    stands for a broadcast one is as small as that one.
    """
    for key, task in tasks.items():
        target = adapter.alias_target(task)
        if target is not None and target in tasks and key in sizes:
            if target in sizes:
                sizes[key] = min(sizes[key], sizes[target])
            elif adapter.block_of(target) is None:
                sizes[target] = sizes[key]
            else:
                del sizes[key]


class _Estimate:
    """Sizes of the keys that are no blocks of an array, from the values they come from."""

    def __init__(
        self,
        tasks: Mapping[Key, Any],
        blocks: Mapping[str, Blocks],
        outside: Mapping[Key, float],
        sizes: dict[Key, float],
    ) -> None:
        self.tasks = tasks
        self.blocks = blocks
        self.outside = outside
        self.sizes = sizes
        self.shapes: dict[Key, tuple[tuple[float, ...], float]] = {}

    def visit(self, key: Key) -> None:
        """Estimate a key and, before it, whatever it comes from."""
        stack = [key]
        while stack:
            top = stack[-1]
            if top in self.sizes:
                stack.pop()
                continue
            inputs = adapter.dependencies(self.tasks[top])
            missing = [k for k in inputs if k not in self.sizes and k in self.tasks]
            if missing:
                stack.extend(missing)
            else:
                stack.pop()
                self.sizes[top] = self._one(top, inputs)

    def _one(self, key: Key, inputs: Collection[Key]) -> float:
        task = self.tasks[key]
        literal = adapter.literal_nbytes(task)
        if literal is not None:
            return literal
        sliced = adapter.slicing(task, self.tasks)
        if sliced is not None:
            source, index = sliced
            shape = self._shape(source)
            if shape is not None and (result := _sliced_shape(shape[0], index)) is not None:
                self.shapes[key] = (result, shape[1])
                return math.prod(result) * shape[1]
        sizes = [self._size(k) for k in inputs]
        if sizes:
            # As large as all it comes from: right for what gathers or passes on its inputs.
            return sum(sizes)
        # Inside the graph of an array, what comes from nothing is some constant.
        block = adapter.block_of(key)
        return 0.0 if block is not None and block[0] in self.blocks else ASSUMED_NBYTES

    def _size(self, key: Key) -> float:
        size = self.sizes.get(key)
        return self.outside.get(key, ASSUMED_NBYTES) if size is None else size

    def _shape(self, key: Key) -> tuple[tuple[float, ...], float] | None:
        if key in self.shapes:
            return self.shapes[key]
        block = adapter.block_of(key)
        if block is not None and block[0] in self.blocks:
            known, index = self.blocks[block[0]], block[1]
            if known.has(index) and all(map(math.isfinite, known.shape(index))):
                return known.shape(index), known.itemsize
        target = adapter.alias_target(self.tasks.get(key))
        return None if target is None else self._shape(target)


def _sliced_shape(shape: tuple[float, ...], index: Any) -> tuple[float, ...] | None:
    """Shape of ``x[index]`` with slices, integers and at most one list; None for anything else.

    Examples
    --------
    >>> _sliced_shape((10, 4), (slice(2, 8, 2), 1))
    (3.0,)
    """
    items = index if isinstance(index, tuple) else (index,)
    if len(items) > len(shape):
        return None
    result: list[float] = []
    lists = 0
    for length, item in zip(shape, items, strict=False):
        if isinstance(item, slice):
            result.append(float(len(range(*item.indices(int(length))))))
        elif isinstance(item, (list, np.ndarray)) and np.ndim(item) == 1:
            chosen = np.asarray(item)
            result.append(float(chosen.sum() if chosen.dtype == bool else len(chosen)))
            lists += 1
        elif not isinstance(item, (int, np.integer)) or isinstance(item, bool):
            return None
    return (*result, *shape[len(items) :]) if lists <= 1 else None
