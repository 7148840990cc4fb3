"""What single tasks tell of the sizes of their values."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from dask._task_spec import Alias, DataNode, GraphNode, List, NestedContainer, Task, TaskRef, Tuple
from dask.array import chunk
from dask.array.core import finalize
from dask.sizeof import sizeof
from dask.typing import Key
from dask.utils import apply, key_split

from dask_pools.graph.adapter.tasks import plain_value

#: Items of a container that is written into a graph which are counted one by one; of larger
#: ones so many are, and the others taken to be like them. (Dask takes ten at random.)
_COUNTED = 1000
_SCALARS = (bool, int, float, complex, str, bytes, np.ndarray, np.generic, slice, type(None))
#: Functions by which the layer of a running sum or product goes on from block to block.
_ADDING = frozenset({"add", "mul", "_cumsum_merge", "_cumprod_merge"})


def plain_nodes(tasks: Mapping[Key, GraphNode]) -> tuple[list[int], list[int]]:
    """Find the aliases and the literals of a graph: their positions among its tasks."""
    kinds = list(map(type, tasks.values()))
    present = set(kinds)
    return tuple(  # type: ignore[return-value]
        [i for i, kind in enumerate(kinds) if kind is wanted] if wanted in present else []
        for wanted in (Alias, DataNode)
    )


def kind_of(name: object) -> str:
    """Name the kind of a task, as Dask does: the prefix of its key or of the name of its layer.

    Examples
    --------
    >>> kind_of("mean_agg-aggregate-1f2e3d4c5b6a")
    'mean_agg-aggregate'
    """
    return str(key_split(name))


def literal_nbytes(task: Any) -> float | None:
    """Size of a value that is written into the graph; None if the task is to be run."""
    return _nbytes(task.value) if isinstance(task, DataNode) else None


def _nbytes(value: Any) -> float:
    """Count a value as `sizeof` does, but for its dice: it takes samples of containers."""
    if isinstance(value, _SCALARS):
        return float(sizeof(value))
    if isinstance(value, Mapping):
        return sys.getsizeof(value) + _items(list(value.items()), pairs=True)
    if isinstance(value, (list, tuple, set, frozenset)):
        return sys.getsizeof(value) + _items(list(value), pairs=False)
    return float(sizeof(value))


def _items(items: list[Any], *, pairs: bool) -> float:
    step = math.ceil(len(items) / _COUNTED) or 1
    chosen: Iterable[Any] = items[::step]
    if pairs:
        chosen = [part for item in chosen for part in item]
    return step * sum(map(_nbytes, chosen))


class Slicing(NamedTuple):
    """One value is sliced.

    Parameters
    ----------
    source : str or tuple
        Key of the value.
    index : object
        What stands between the brackets.
    copies : bool
        Whether a slice of at most half of the elements is copied, so that it is no view.
    """

    source: Key
    index: Any
    copies: bool


_SLICERS = frozenset({"getitem", "_getitem", "getter", "getter_nofancy", "getter_inline"})


def slicing(task: Any, tasks: Mapping[Key, Any]) -> Slicing | None:
    """Recognise a task that slices one value; None if it does not.

    The index may be a literal of its own in the graph, as where `take` shuffles.
    """
    if not isinstance(task, Task) or getattr(task.func, "__name__", "") not in _SLICERS:
        return None
    source, index = task.args[:2]
    if not isinstance(source, (TaskRef, Alias)):
        return None
    if isinstance(index, TaskRef):
        index = tasks.get(index.key)
        if not isinstance(index, DataNode):
            return None
    index = plain_value(index)
    named = task.func.__name__ == "_getitem"
    if named:
        index = index[1]  # a shuffle's index comes with a number
    if isinstance(index, GraphNode):
        return None
    key = source.key if isinstance(source, TaskRef) else source.target
    return Slicing(key, index, named or task.func is chunk.getitem)


def gathered_nbytes(task: Any) -> float | None:
    """Size of a list or tuple around the values that a task gathers; None if it does not."""
    if not isinstance(task, (List, Tuple)) or len(task.dependencies) != _references(task):
        return None
    container = [None] * len(task.args)
    own = sys.getsizeof(container if isinstance(task, List) else tuple(container))
    return own + sum(_nbytes(plain_value(a)) for a in task.args if not _is_reference(a))


def _references(task: NestedContainer) -> int:
    return sum(map(_is_reference, task.args))


def _is_reference(argument: Any) -> bool:
    if isinstance(argument, (DataNode, *_SCALARS)):
        return False
    return bool(getattr(argument, "key", None) or getattr(argument, "dependencies", ()))


def joins_blocks(task: Any) -> bool:
    """Whether a task joins the blocks of an array to the array."""
    return isinstance(task, Task) and task.func is finalize


#: Functions that join blocks in new memory, whatever these are views of.
_JOINING = frozenset({"concatenate", "concatenate3", "concatenate_arrays", "concatenate_shaped"})


def writes_out(task: Any) -> bool:
    """Whether the value of a task is sure to be in memory of its own."""
    return isinstance(task, Task) and getattr(task.func, "__name__", "") in _JOINING


def stores(task: Any) -> bool:
    """Whether a task, fused or not, stores a block and returns None."""
    while isinstance(task, Task) and task.has_subgraph():
        task = task.args[0].get(task.args[1])
    if not isinstance(task, Task) or getattr(task.func, "__name__", "") != "load_store_chunk":
        return False
    return plain_value(task.kwargs.get("return_stored")) is False


def filled_nbytes(task: Any) -> float | None:
    """Size of an array that a task fills with one number; None if it does not."""
    if not isinstance(task, Task) or task.func is not apply or task.args[0] is not np.full_like:
        return None
    try:
        args, kwargs = map(plain_value, task.args[1:])
        return float(math.prod(kwargs["shape"]) * np.dtype(args[2]).itemsize)
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def adds_up(task: Any) -> bool:
    """Whether a task makes one array of two of the same shape and type."""
    if not isinstance(task, Task):
        return False
    module = getattr(task.func, "__module__", None) or ""
    trusted = module == "_operator" or module.startswith(("dask.array", "numpy", "xarray"))
    return trusted and getattr(task.func, "__name__", "") in _ADDING
