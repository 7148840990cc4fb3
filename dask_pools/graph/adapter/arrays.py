"""What the layers of arrays tell of the sizes of blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.blockwise import Blockwise
from dask.highlevelgraph import Layer, MaterializedLayer
from dask.typing import Key

from dask_pools.graph.adapter.tasks import alias_target, block_of, plain_value


@dataclass(frozen=True, slots=True)
class ArrayRecord:
    """What an array wrote on its layer when it was made.

    Parameters
    ----------
    chunks : tuple of tuple of float
        Lengths of the blocks along each axis; NaN where unknown.
    dtype : dtype
        The type of its elements.
    plain : bool
        Whether blocks are NumPy arrays whose elements are not objects: then chunks and type say
        how large they are.
    """

    chunks: tuple[tuple[float, ...], ...]
    dtype: np.dtype[Any]
    plain: bool


def array_record(layer: Layer) -> ArrayRecord | None:
    """Return the chunks and the dtype of the array that a layer makes, None if it makes none."""
    record = layer.collection_annotations or {}
    chunks, dtype = record.get("chunks"), record.get("dtype")
    if chunks is None or dtype is None or "columns" in record:
        return None
    dtype = np.dtype(dtype)
    plain = record.get("chunk_type") == "numpy.ndarray" and not dtype.hasobject
    return ArrayRecord(chunks, dtype, plain)


@dataclass(frozen=True, slots=True)
class Reduction:
    """The first step of a reduction: every block is reduced by itself.

    Parameters
    ----------
    axes : tuple of int
        The axes that are reduced.
    keep : int
        The length that is left of each of them.
    selects : bool
        Whether elements are chosen (topk), so that a block of as few of them stays as it is.
    by_data : bool
        Whether it hangs on the values how much is left: as many groups as there are.
    """

    axes: tuple[int, ...]
    keep: int
    selects: bool = False
    by_data: bool = False


def reduction_of(layer: Layer) -> Reduction | None:
    """Recognise the layer that reduces each block of an array by itself."""
    if not isinstance(layer, Blockwise):
        return None
    function = layer.task.func
    given = dict(getattr(function, "keywords", {}))
    kwargs = given | {k: plain_value(v) for k, v in layer.task.kwargs.items()}
    axes = kwargs.get("axis")
    axes = axes if isinstance(axes, tuple) else (axes,)
    first = next((index for _, index in layer.indices if index is not None), ())
    ndim = len(first)
    if tuple(first) != layer.output_indices or not all(_is_axis(a, ndim) for a in axes):
        return None
    grouped = "expected_groups" in kwargs and is_flox(function)
    if kwargs.get("keepdims") is not True and not grouped:
        return None  # flox keeps the dimensions without being told
    # topk and argtopk keep k elements along the axis, others one.
    k = kwargs.get("k")
    keep = abs(k) if isinstance(k, int) else 1
    by_data = grouped and kwargs["expected_groups"] is None
    return Reduction(tuple(a % ndim for a in axes), keep, isinstance(k, int), by_data)


def _is_axis(axis: Any, ndim: int) -> bool:
    return isinstance(axis, (int, np.integer)) and bool(-ndim <= axis < ndim)


def combines_groups(layer: Layer) -> bool:
    """Whether the tasks of a layer combine the groups of blocks (flox)."""
    return is_flox(_first_function(layer))


def is_broadcast_scalar(layer: Layer) -> bool:
    """Whether each block of a layer is one element, broadcast, as of `da.ones` and `da.full`."""
    return isinstance(layer, Blockwise) and _name(layer.task.func) == "_broadcast_trick_inner"


def is_broadcast_to(layer: Layer) -> bool:
    """Whether each block of a layer is a broadcast view of a smaller block."""
    return _name(_first_function(layer)) == "broadcast_to"


def returns_new(layer: Layer) -> bool:
    """Whether each block of a layer is sure to be in memory of its own.

    Other functions may return a view of what they are given, which is as small as that is.
    """
    function = _layer_function(layer)
    return isinstance(layer, Blockwise) and (_is_ufunc(function) or _name(function) == "where")


def is_astype(layer: Layer) -> bool:
    """Whether a layer changes the type of elements; it may find that there is nothing to do."""
    return isinstance(layer, Blockwise) and _name(layer.task.func) == "astype"


#: Functions whose results are as long as the data say. Dask corrects the chunks of an array of
#: them after it has told its layer.
_BY_DATA = frozenset(
    {"_bincount_agg", "_unique_internal", "bincount", "getitem_variadic", "unique"}
)


def counts_by_data(layer: Layer) -> bool:
    """Whether the length of the blocks of a layer hangs on data, whatever the layer tells."""
    name = _name(_layer_function(layer))
    if isinstance(layer, Blockwise) and name == "getitem":
        return sum(index is not None for _, index in layer.indices) > 1  # a mask
    return name in _BY_DATA


#: Functions of flox whose results are what their layers tell.
_PLAIN_FLOX = frozenset({"_extract_result", "_finalize_scan"})


def is_untold(layer: Layer) -> bool:
    """Whether a layer does not tell what its blocks are, as those inside of flox."""
    function = _layer_function(layer)
    return is_flox(function) and _name(function) not in _PLAIN_FLOX


def may_mistype(layer: Layer) -> bool:
    """Whether the elements of a layer may be of another type than it tells.

    The interpolation of xarray makes double precision of single, and tells of single;
    `da.store` returns what the store has made of it.
    """
    return _name(_layer_function(layer)) in {"_interpnd", "load_store_chunk"}


def returns_none(layer: Layer) -> bool:
    """Whether a layer is the last step of `da.store`, which returns None for each block."""
    if not isinstance(layer, Blockwise) or _name(layer.task.func) != "load_store_chunk":
        return False
    return plain_value(layer.task.kwargs.get("return_stored")) is False


def makes_tuples(layer: Layer) -> bool:
    """Whether the blocks of a layer are tuples of arrays, which other layers take apart."""
    return (layer.collection_annotations or {}).get("chunk_type") == "tuple"


def first_task(layer: Layer, name: str) -> tuple[Key, Any] | None:
    """Return one of the tasks that make the blocks of a layer; None if it is blockwise."""
    if not isinstance(layer, MaterializedLayer):
        return None
    found = (item for item in layer.mapping.items() if isinstance(item[0], tuple))
    return next((item for item in found if item[0] and item[0][0] == name), None)


def gathered_block(layer: Layer, name: str) -> tuple[str, tuple[Any, ...]] | None:
    """Return what the first block of a layer stands for, or is a member of; None if of nothing.

    `da.apply_gufunc` makes all outputs in one layer, and takes them apart in others.

    Returns
    -------
    (str, tuple) or None
        The name of a layer and the index of a block.
    """
    first = first_task(layer, name)
    if first is None:
        return None
    task = first[1]
    if isinstance(task, tuple) and task and _name(task[0]) == "getitem":
        source, index = task[1:]
        return block_of(source) if isinstance(index, int) else None
    target = alias_target(task)
    return block_of(task if target is None else target)


def _layer_function(layer: Layer) -> Any:
    if not isinstance(layer, Blockwise):
        return _first_function(layer)
    function = layer.task.func
    if _name(function) == "_enforce_dtype":  # around functions whose type is not sure
        return plain_value(layer.task.kwargs.get("enforce_dtype_function"))
    return function


def _first_function(layer: Layer) -> Any:
    if not isinstance(layer, MaterializedLayer) or not isinstance(layer.mapping, Mapping):
        return None
    task = next(iter(layer.mapping.values()), None)
    return task[0] if isinstance(task, tuple) and task else getattr(task, "func", None)


def is_flox(function: Any) -> bool:
    """Whether a function is one of flox, with which xarray groups."""
    return (getattr(_innermost(function), "__module__", None) or "").startswith("flox.")


def _innermost(function: Any) -> Any:
    """Take a function out of partial and composed ones: the one that is called first."""
    while inner := getattr(function, "func", None) or getattr(function, "first", None):
        function = inner
    return function


def _name(function: Any) -> str:
    return str(getattr(_innermost(function), "__name__", ""))


def _is_ufunc(function: Any) -> bool:
    function = _innermost(function)
    arithmetic = getattr(function, "__module__", None) == "_operator"
    return isinstance(function, np.ufunc) or (arithmetic and _name(function) != "getitem")
