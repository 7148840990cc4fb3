"""How many bytes tasks read from the data that is pinned to pools.

A task that Dask has fused of a read and the steps after it returns less than it reads: a mean,
not the field. The layers from before the fusion still tell what was read::

    open_dataset (5 GB, 50 blocks) -> isel -> mean_chunk (50 tasks, 2 MB each)
    each task of mean_chunk reads 5 GB / 50

A block that several tasks need is counted for each, as each of them reads it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.sizes import Blocks
from dask_pools.graph.table import TaskTable


@dataclass(frozen=True, slots=True)
class Reads:
    """What the layers of a graph read from data that is pinned.

    Parameters
    ----------
    arrays : mapping of str to tuple of str
        For each layer that reads arrays: the layers from before the fusion that read them.
    others : frozenset of str
        Layers that read something else, such as delayed functions.
    blocks : mapping of str to Blocks
        The blocks of the arrays.
    """

    arrays: Mapping[str, tuple[str, ...]]
    others: frozenset[str]
    blocks: Mapping[str, Blocks]

    def nbytes(
        self,
        table: TaskTable,
        layer_names: Sequence[str],
        layers: NDArray[np.integer],
        sizes: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Estimate how many bytes each task reads.

        Parameters
        ----------
        table : TaskTable
            The tasks after blockwise fusion and culling; t of them.
        layer_names : sequence of str
            As given to `find_reads`.
        layers : ndarray of int, shape (t,)
            The layer of each task, an index into ``layer_names``.
        sizes : ndarray of float64, shape (n,)
            Bytes of the value of each task, then of values from outside.

        Returns
        -------
        ndarray of float64, shape (n,)
            Bytes; zero for tasks that read nothing, and for values from outside.
        """
        t = len(table)
        counts = np.bincount(layers, minlength=len(layer_names)).tolist()
        per_task = np.array(list(map(self._per_task, layer_names, counts)), dtype=np.float64)
        reading = per_task[layers]
        # A layer may hold keys beside its blocks, such as the store that they are read from.
        for task in np.flatnonzero(reading).tolist():
            if adapter.layer_name(table.keys[task]) != layer_names[layers[task]]:
                reading[task] = 0.0
        # What is no array, or of unknown size, is taken to read as much as it returns.
        whole = np.array([name in self.others for name in layer_names], dtype=np.bool_)[layers]
        whole &= np.bincount(table.consumers, minlength=t)[:t] == 0
        read = np.zeros(len(sizes))
        read[:t] = np.where(whole | np.isnan(reading), sizes[:t], reading)
        return read

    def _per_task(self, layer: str, count: int) -> float:
        """Tell what each task of a layer reads; ``count`` of its tasks are left after culling."""
        known = self.blocks.get(layer)
        tasks = count if known is None else math.prod(map(len, known.chunks))
        return sum(_share(self.blocks[name], tasks) for name in self.arrays.get(layer, ()))


def find_reads(
    graph: adapter.HighLevelGraph,
    blocks: Mapping[str, Blocks],
    pinned: Collection[str],
    layer_names: Sequence[str],
) -> Reads:
    """Find out which layers read pinned data.

    Parameters
    ----------
    graph : HighLevelGraph
        The graph before fusion and culling.
    blocks : mapping
        The blocks of its arrays.
    pinned : collection of str
        Its layers that are pinned, or some of whose keys are.
    layer_names : sequence of str
        The layers that are left after fusion and culling, each with the name of the last one
        that became a part of it.
    """
    arrays, others = _sources(graph, blocks, pinned)
    left = set(layer_names)
    found = {name: tuple(sorted(_parts(graph, name, left) & arrays)) for name in layer_names}
    return Reads(
        arrays={name: sources for name, sources in found.items() if sources},
        others=frozenset(others),
        blocks={name: blocks[name] for name in {*arrays, *left} if name in blocks},
    )


def _sources(
    graph: adapter.HighLevelGraph, blocks: Mapping[str, Blocks], pinned: Collection[str]
) -> tuple[set[str], set[str]]:
    """Find the pinned layers that read: those of arrays, and those of anything else.

    An array reads if nothing comes before it but an object without inputs: the store that
    holds it, or the delayed function that reads it, which is not counted once more.
    """
    below = graph.dependencies
    arrays = {
        name
        for name in pinned
        if name in blocks and not any(d in blocks or below.get(d) for d in below.get(name, ()))
    }
    held = {d for name in arrays for d in below.get(name, ())}
    others = {n for n in pinned if n not in blocks and not below.get(n) and n not in held}
    return arrays, others


def _parts(graph: adapter.HighLevelGraph, name: str, left: Collection[str]) -> set[str]:
    """Find the layers that one consists of after fusion: itself, and those it has taken in.

    A blockwise layer needs blocks of all that it depends on. What it depends on and is not
    left, though needed, was taken in.
    """
    found, stack = {name}, [name]
    while stack:
        layer = stack.pop()
        if isinstance(graph.layers.get(layer), adapter.Blockwise):
            taken = graph.dependencies.get(layer, set()) - found
            taken = {d for d in taken if d not in left and d in graph.layers}
            found |= taken
            stack += taken
    return found


def _share(read: Blocks, tasks: int) -> float:
    """Bytes of an array that each of so many tasks reads, on average."""
    count = math.prod(map(len, read.chunks))
    if not count or not tasks:
        return 0.0
    total = math.prod(map(sum, read.chunks)) * read.itemsize
    # More tasks than blocks: each reads one. More blocks than tasks: each reads its share.
    return total / min(count, tasks)
