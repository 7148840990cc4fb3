"""Where the steps of a graph make fewer elements than they are given, block by block.

A mean over members of which each block has only one makes as many elements as it is given:
what it returns is the block itself. So it is not enough to know that a step reduces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.adapter import reducing
from dask_pools.graph.sizes import Blocks

#: For each block of an array, whether something is true of it.
Grid: TypeAlias = NDArray[np.bool_]


class Shrinking:
    """What the layers of a graph reduce.

    Parameters
    ----------
    graph : HighLevelGraph
        Neither fused nor culled.
    blocks : mapping of str to Blocks
        The blocks of its arrays.
    """

    def __init__(self, graph: adapter.HighLevelGraph, blocks: Mapping[str, Blocks]) -> None:
        self._graph = graph
        self._blocks = blocks
        self._dependents = graph.dependents
        self._reducing: dict[str, bool] = {}
        self._grids: dict[tuple[str, str], Grid | None] = {}

    def is_reducing(self, name: str) -> bool:
        """Whether the tasks of a layer are of a kind that reduces blocks."""
        if name not in self._reducing:
            layer = self._graph.layers.get(name)
            users = [self._graph.layers[user] for user in self._dependents.get(name, ())]
            self._reducing[name] = layer is not None and reducing.reduces_blocks(layer, users)
        return self._reducing[name]

    def reduces(self, name: str, source: str, *, some: bool = False) -> bool:
        """Whether every task of a layer makes fewer elements than a block of a source has.

        With ``some``, whether those tasks do that `of_some_blocks` marks.
        """
        grid = self._grid(name, source)
        return grid is not None and bool(grid.any() if some else grid.all())

    def of_some_blocks(self, name: str) -> Grid | None:
        """Mark the blocks of a layer that are reduced, if not all are, and not none; else None."""
        if not self.is_reducing(name):
            return None
        below = sorted(self._graph.dependencies.get(name, ()))
        grids = [grid for d in below if (grid := self._grid(name, d)) is not None and grid.any()]
        marked = reduce(np.logical_and, grids) if grids else None
        return None if marked is None or marked.all() or not marked.any() else marked

    def _grid(self, name: str, source: str) -> Grid | None:
        """Tell for each block of a layer whether it has fewer elements than that of a source."""
        if (name, source) not in self._grids:
            self._grids[name, source] = self._compared(name, source)
        return self._grids[name, source]

    def _compared(self, name: str, source: str) -> Grid | None:
        layer, given = self._graph.layers.get(name), self._blocks.get(source)
        made = None if layer is None else reducing.reduced_chunks(layer)
        if layer is None or given is None or made is None or not self.is_reducing(name):
            return None
        # What blocks hold is compared: a broadcast view repeats a few elements, and a sum over
        # its repetitions gives them away.
        axes = reducing.block_axes(layer, source, len(given.chunks))
        return None if axes is None else fewer(made, given.chunks, axes)


def fewer(
    made: Sequence[Sequence[float]], given: Sequence[Sequence[float]], axes: Sequence[int]
) -> Grid | None:
    """Compare the numbers of elements of the blocks of two arrays.

    Parameters
    ----------
    made, given : sequence of sequence of float
        Lengths of blocks along each axis: of what is made, and of what it is made of.
    axes : sequence of int
        For each axis of what is given, the axis of what is made.

    Returns
    -------
    ndarray of bool or None
        For each block that is made, whether it has fewer elements; false where lengths are
        unknown (NaN). None if the blocks do not go together.

    Examples
    --------
    Two members, two members, and one more are reduced to one each:

    >>> fewer([(1, 1, 1), (10,)], [(2, 2, 1), (10,)], [0, 1])
    array([[ True],
           [ True],
           [False]])
    """
    ratios = [np.array(lengths, dtype=np.float64) for lengths in made]
    for axis, lengths in zip(axes, given, strict=True):
        if len(lengths) not in (1, len(ratios[axis])):
            return None
        with np.errstate(all="ignore"):
            ratios[axis] = ratios[axis] / np.array(lengths, dtype=np.float64)
    grid = np.ones((), dtype=np.float64)
    for ratio in ratios:
        grid = np.multiply.outer(grid, ratio)
    return np.asarray(grid < 1)
