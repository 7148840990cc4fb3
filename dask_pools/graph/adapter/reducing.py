"""Which steps of a graph reduce their inputs, and which functions do nothing but compute.

For rules about data: a value that has passed through a reduction may leave where raw data may
not, and a function that can only compute with its arguments reads no data of its own. What is
not recognised for certain is neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from dask._task_spec import List, Task
from dask.array.einsumfuncs import chunk_einsum
from dask.array.reductions import arg_chunk
from dask.blockwise import Blockwise
from dask.highlevelgraph import Layer, MaterializedLayer
from dask.utils import methodcaller

from dask_pools.graph.adapter.arrays import array_record, is_flox, reduction_of
from dask_pools.graph.adapter.reductions import nested_keys
from dask_pools.graph.adapter.tasks import plain_value


def is_tree_step(task: Any) -> bool:
    """Whether a task combines partial results of a reduction, as Dask and flox build it.

    It calls one function with the reduced axes on (nested) lists of partial results. The task
    may be one of the task specification or a tuple, as the layer has it.
    """
    if isinstance(task, tuple):
        return len(task) == 2 and isinstance(task[1], list) and combines(task[0])  # noqa: PLR2004
    return isinstance(task, Task) and nested_keys(task) is not None and combines(task.func)


def combines(function: Any) -> bool:
    """Whether a function is that of a step of a tree reduction."""
    for part in (function, *getattr(function, "funcs", ())):
        if isinstance(part, partial) and "keepdims" in part.keywords:
            return isinstance(part.keywords.get("axis"), tuple)
    return False


def is_tree_layer(layer: Layer) -> bool:
    """Whether the tasks of a layer combine partial results of a reduction."""
    if not isinstance(layer, MaterializedLayer):
        return False
    return is_tree_step(next(iter(layer.mapping.values()), None))


def reduces_blocks(layer: Layer, used_by: list[Layer]) -> bool:
    """Whether each task of a layer reduces one block of each of its inputs.

    The first steps of Dask's reductions do, which is known by what follows them, and sums of
    products (`einsum`). Whether there is anything to be reduced in a block is another question.
    """
    if isinstance(layer, MaterializedLayer):
        return _function(next(iter(layer.mapping.values()), None)) is arg_chunk
    if not isinstance(layer, Blockwise):
        return False
    if layer.task.func is chunk_einsum:
        return True
    # What flox makes of a block has as many elements as there are groups in it.
    followed = bool(used_by) and all(map(is_tree_layer, used_by)) and not is_flox(layer.task.func)
    return followed and reduction_of(layer) is not None


def _function(task: Any) -> Any:
    """Return the innermost function of a task, in either notation; None if there is none."""
    function = task.func if isinstance(task, Task) else task[0] if isinstance(task, tuple) else None
    while isinstance(function, partial):
        function = function.func
    return function


def reduced_chunks(layer: Layer) -> tuple[tuple[float, ...], ...] | None:
    """Return the lengths of the blocks that a layer makes which `reduces_blocks`; None if unknown.

    The first step of a reduction is recorded on its layer as if it reduced nothing.
    """
    record = array_record(layer)
    reduction = reduction_of(layer)
    if record is None or reduction is None:
        return None if record is None else record.chunks
    return tuple(
        tuple(min(reduction.keep, length) for length in lengths)
        if axis in reduction.axes
        else lengths
        for axis, lengths in enumerate(record.chunks)
    )


def block_axes(layer: Layer, source: str, ndim: int) -> tuple[int, ...] | None:
    """Tell which axis of the block that is made each axis of a block of an input becomes.

    Parameters
    ----------
    layer : Layer
        One which `reduces_blocks`.
    source : str
        The layer of the input.
    ndim : int
        Its number of axes.

    Returns
    -------
    tuple of int or None
        None if some axis becomes none, or the input is used in more than one way.
    """
    if not isinstance(layer, Blockwise):
        return tuple(range(ndim))
    used = [i for name, i in layer.indices if isinstance(name, str) and name == source]
    if len(used) != 1 or used[0] is None or not set(used[0]).issubset(layer.output_indices):
        return None
    return tuple(layer.output_indices.index(symbol) for symbol in used[0])


#: Modules whose functions compute with their arguments, and with nothing else.
_COMPUTING = ("numpy", "operator", "_operator", "dask.array", "flox")
#: Functions of NumPy which read files.
_READING = frozenset(
    {np.load, np.loadtxt, np.genfromtxt, np.fromfile, np.fromregex, np.memmap, np.fromiter}
)


def only_computes(task: Any) -> bool:
    """Whether a task does nothing but compute with its inputs: it reads no file, for instance.

    Arithmetic, slicing and the like of NumPy and Dask; never a function of a user.
    """
    if not isinstance(task, Task) or task.has_subgraph():
        return not isinstance(task, Task)
    arguments = (*task.args, *task.kwargs.values())
    functions = (task.func, *(plain_value(a) for a in arguments))
    return all(map(_is_computing, _leaves(functions)))


def _leaves(values: Any) -> Iterator[Callable[..., Any]]:
    """List the functions among some values, and those inside of them."""
    for value in values:
        if isinstance(value, partial):
            yield from _leaves((value.func, *value.args, *value.keywords.values()))
        elif hasattr(value, "first") and hasattr(value, "funcs"):  # a composition
            yield from _leaves((value.first, *value.funcs))
        elif callable(value) and not isinstance(value, (Task, List)):
            yield value


def _is_computing(function: Callable[..., Any]) -> bool:
    if isinstance(function, np.ufunc):
        # Users make ufuncs of their own with `np.frompyfunc`.
        return getattr(np, function.__name__, None) is function
    module = getattr(function, "__module__", None) or ""
    if isinstance(function, methodcaller) or (isinstance(function, type) and module == "builtins"):
        return True
    known = any(module == name or module.startswith(f"{name}.") for name in _COMPUTING)
    return known and function not in _READING
