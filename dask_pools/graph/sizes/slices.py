"""Shapes of slices of arrays, of broadcast views among them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dask_pools.graph import adapter
from dask_pools.planning.basis import Basis


class Shape(NamedTuple):
    """The shape of one array, what it holds of it, and what that rests on."""

    lengths: tuple[float, ...]
    held: tuple[float, ...]
    itemsize: float
    basis: Basis


def sliced_shape(shape: tuple[float, ...], index: Any) -> tuple[float, ...] | None:
    """Shape of ``x[index]`` with slices, integers and at most one list; None for anything else.

    Examples
    --------
    >>> sliced_shape((10, 4), (slice(2, 8, 2), 1))
    (3.0,)
    >>> sliced_shape((10, 4), (None, slice(0, 4)))
    (1.0, 4.0, 4)
    """
    items = index if isinstance(index, tuple) else (index,)
    result: list[float] = []
    axis = lists = 0
    for item in items:
        if item is None:
            result.append(1.0)
            continue
        if axis == len(shape):
            return None
        length = shape[axis]
        axis += 1
        if isinstance(item, slice):
            result.append(_sliced_length(length, item))
        elif isinstance(item, (list, np.ndarray)) and np.ndim(item) == 1:
            chosen = np.asarray(item)
            result.append(float(chosen.sum() if chosen.dtype == bool else len(chosen)))
            lists += 1
        elif not isinstance(item, (int, np.integer)) or isinstance(item, bool):
            return None
    return (*result, *shape[axis:]) if lists <= 1 else None


def cut(shape: Shape, sliced: adapter.Slicing) -> Shape | None:
    """Shape of a slice; None if it cannot be told."""
    lengths = sliced_shape(shape.lengths, sliced.index)
    if lengths is None:
        return None
    held = lengths
    if shape.held != shape.lengths:
        copied = sliced.copies and math.prod(shape.lengths) >= 2 * math.prod(lengths)
        held = lengths if copied else _sliced_view(shape, sliced.index) or lengths
    return Shape(lengths, held, shape.itemsize, shape.basis)


def _sliced_view(shape: Shape, index: Any) -> tuple[float, ...] | None:
    """Lengths of what a slice of a broadcast view holds: lists copy, all else is a view again."""
    items = index if isinstance(index, tuple) else (index,)
    if any(isinstance(item, (list, np.ndarray)) for item in items):
        return sliced_shape(shape.lengths, index)
    inside: list[Any] = []
    for item in items:
        axis = sum(i is not None for i in inside)
        repeated = (
            isinstance(item, slice)
            and axis < len(shape.lengths)
            and shape.held[axis] != shape.lengths[axis]
            and _sliced_length(shape.lengths[axis], item) > 0
        )
        inside.append(slice(0, 1) if repeated else item)
    rest = shape.held[sum(i is not None for i in inside) :]
    taken = sliced_shape(shape.lengths[: len(shape.lengths) - len(rest)], tuple(inside))
    return None if taken is None else (*taken, *rest)


def _sliced_length(length: float, item: slice) -> float:
    start, stop, step = item.start, item.stop, item.step
    if step is None and start is not None and stop is not None and 0 <= start <= stop <= length:
        return float(stop - start)
    return float(len(range(*item.indices(int(length)))))
