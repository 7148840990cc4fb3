"""What the layers of arrays tell of the sizes of blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.blockwise import Blockwise
from dask.highlevelgraph import Layer, MaterializedLayer
from dask.sizeof import sizeof

from dask_pools.graph.adapter.tasks import plain_value


@dataclass(frozen=True, slots=True)
class ArrayRecord:
    """What an array wrote on its layer when it was made."""

    chunks: tuple[tuple[float, ...], ...]
    dtype: np.dtype[Any]


def array_record(layer: Layer) -> ArrayRecord | None:
    """Return the chunks and the dtype of the array that a layer makes, None if it makes none."""
    record = layer.collection_annotations or {}
    chunks, dtype = record.get("chunks"), record.get("dtype")
    if chunks is None or dtype is None or "columns" in record:
        return None
    return ArrayRecord(chunks, np.dtype(dtype))


@dataclass(frozen=True, slots=True)
class Reduction:
    """The first step of a reduction: every block is reduced by itself."""

    function: Callable[..., Any]
    kwargs: dict[str, Any]
    axes: tuple[int, ...]
    keep: int
    source: str
    dtype: np.dtype[Any] | None


def reduction_of(layer: Layer) -> Reduction | None:
    """Recognise the layer that reduces each block of an array by itself."""
    if not isinstance(layer, Blockwise) or "axis" not in layer.task.kwargs:
        return None
    kwargs = {k: plain_value(v) for k, v in layer.task.kwargs.items()}
    axes = kwargs["axis"]
    arrays = [(name, index) for name, index in layer.indices if index is not None]
    if kwargs.get("keepdims") is not True or not isinstance(axes, tuple) or not arrays:
        return None
    # topk and argtopk keep k elements along the axis, others one.
    keep = kwargs.get("k", getattr(layer.task.func, "keywords", {}).get("k", 1))
    record = array_record(layer)
    return Reduction(
        layer.task.func,
        kwargs,
        axes,
        abs(keep) if isinstance(keep, int) else 1,
        str(arrays[0][0]),
        record.dtype if record and len(arrays) == 1 else None,
    )


#: Functions of these packages may be tried out on one element: they have no side effects.
_TRUSTED = ("dask.", "numpy", "xarray.", "functools")


def try_reduction(reduction: Reduction, ndim: int) -> float | None:
    """Learn the bytes per element that a reduction of a block returns, from a block of one.

    `mean` returns a dictionary of a sum and a count for each element, `var` of three arrays.
    Only functions of Dask, NumPy and xarray are called.
    """
    function = reduction.function
    inner = getattr(function, "func", function)
    if reduction.dtype is None or not (inner.__module__ or "").startswith(_TRUSTED):
        return None
    try:
        with np.errstate(all="ignore"):
            result = function(np.ones((1,) * ndim, dtype=reduction.dtype), **reduction.kwargs)
    except Exception:  # noqa: BLE001 - whatever it is, the size is then assumed
        return None
    return _leaf_nbytes(result)


def _leaf_nbytes(value: Any) -> float:
    if isinstance(value, Mapping):
        return sum(map(_leaf_nbytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_leaf_nbytes, value))
    return float(getattr(value, "nbytes", sizeof(value)))


def is_broadcast_scalar(layer: Layer) -> bool:
    """Whether each block of a layer is one element, broadcast, as of `da.ones` and `da.full`."""
    if not isinstance(layer, Blockwise):
        return False
    function = layer.task.func
    while hasattr(function, "func"):  # a partial of a curried function
        function = function.func
    return getattr(function, "__name__", "") == "_broadcast_trick_inner"


def is_broadcast_to(layer: Layer) -> bool:
    """Whether each block of a layer is a broadcast view of a smaller block."""
    if not isinstance(layer, MaterializedLayer) or not layer.mapping:
        return False
    task = next(iter(layer.mapping.values()))
    function = task[0] if isinstance(task, tuple) and task else getattr(task, "func", None)
    return getattr(function, "__name__", "") == "broadcast_to"
