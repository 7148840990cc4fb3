"""What the steps of reductions hand on, found out on a few elements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.sizeof import sizeof

from dask_pools.graph import adapter

#: Lengths of the axes that are kept, in the values that steps are tried out on. Two make a
#: straight line, the third has to lie on it.
_TRIED = (2, 3, 5)
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a reduction, which hands on other values than its layer tells of.

    Parameters
    ----------
    reduction : Reduction
        What is reduced, and what is left.
    chunks : tuple of tuple of float
        What the layer of the first step tells.
    """

    reduction: adapter.Reduction
    chunks: tuple[tuple[float, ...], ...]

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that are reduced."""
        return self.reduction.axes

    @property
    def keep(self) -> int:
        """The length that is left of each of them."""
        return self.reduction.keep

    @property
    def is_certain(self) -> bool:
        """Whether as much is left of each block as is to be kept."""
        if not self.reduction.selects:
            return not self.reduction.by_data
        return all(min(self.chunks[axis]) > self.keep for axis in self.axes)

    def lengths(self, kept: int) -> tuple[int, ...]:
        """Shape of a block to try the step out on; an axis of length one stays that."""
        return tuple(
            self.keep + kept if axis in self.axes else 1 if set(lengths) == {1} else kept
            for axis, lengths in enumerate(self.chunks)
        )


class Samples:
    """Small values of layers, each made by a task of the layer.

    Parameters
    ----------
    graph : HighLevelGraph
        Layers, neither fused nor culled.
    """

    def __init__(self, graph: adapter.HighLevelGraph) -> None:
        self.graph = graph
        #: The steps of reductions that were found so far, by the name of the layer.
        self.steps: dict[str, Step] = {}
        self._made: dict[tuple[str, tuple[int, ...]], Any] = {}

    def measure(self, name: str) -> tuple[float, float] | None:
        """Find out how the size of a block hangs on the number of its elements.

        Returns
        -------
        (float, float) or None
            Bytes for each element, and beside them; None if the step cannot be tried out, or if
            its results are not of that kind.
        """
        step = self.steps[name]
        sizes, counts = [], []
        for kept in _TRIED:
            lengths = step.lengths(kept)
            try:
                sizes.append(float(sizeof(self._value(name, lengths))))
            except adapter.NoSampleError:
                return None
            left = math.prod(n for axis, n in enumerate(lengths) if axis not in step.axes)
            counts.append(left * step.keep ** len(step.axes))
        return _line(counts, sizes)

    def _value(self, name: str, lengths: tuple[int, ...]) -> Any:
        if (name, lengths) not in self._made:
            self._made[name, lengths] = self._make(name, lengths)
        return self._made[name, lengths]

    def _make(self, name: str, lengths: tuple[int, ...]) -> Any:
        layer = self.graph.layers.get(name)
        record = None if layer is None else adapter.array_record(layer)
        if layer is None or record is None:
            raise adapter.NoSampleError(name)
        if name in self.steps or not record.plain:
            with np.errstate(all="ignore"):
                return adapter.sample(layer, name, lengths, self._value)
        shape = tuple(
            1 if set(c) == {1} else n for c, n in zip(record.chunks, lengths, strict=True)
        )
        return np.zeros(shape, dtype=record.dtype)


def _line(counts: list[int], sizes: list[float]) -> tuple[float, float] | None:
    """Lay a straight line through points; None if they do not lie on one.

    Examples
    --------
    >>> _line([2, 3, 5], [116.0, 124.0, 140.0])
    (8.0, 100.0)
    """
    if len(set(counts)) == 1:
        return (sizes[0] / counts[0], 0.0) if len(set(sizes)) == 1 else None
    slope = (sizes[1] - sizes[0]) / (counts[1] - counts[0])
    rest = sizes[0] - slope * counts[0]
    off = abs(rest + slope * counts[2] - sizes[2])
    return None if off > _TOLERANCE * sizes[2] or slope < 0 or rest < 0 else (slope, rest)
