"""One task of a layer, run on values of a few elements.

The steps of a reduction hand on what their layers do not tell of: dictionaries of a sum and a
count, pairs of values and positions. What they hand on is found out by making it once, small.
Only functions of the packages of `TRUSTED` are called, which have no effects but their result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
from dask._task_spec import GraphNode, Task, convert_legacy_task
from dask.blockwise import Blockwise, blockwise_token
from dask.highlevelgraph import Layer
from dask.typing import Key

from dask_pools.graph.adapter.arrays import first_task
from dask_pools.graph.adapter.tasks import plain_value

#: Packages whose functions may be tried out.
TRUSTED = frozenset(
    {"_operator", "builtins", "cytoolz", "dask", "flox", "functools", "numpy", "toolz", "xarray"}
)

#: Makes a small value: of the layer of this name, with these lengths along its axes.
Make = Callable[[str, tuple[int, ...]], Any]


class NoSampleError(Exception):
    """A layer has no task that can be tried out."""


def sample(layer: Layer, name: str, lengths: tuple[int, ...], make: Make) -> Any:
    """Run one task of a layer on small values.

    Parameters
    ----------
    layer : Layer
        The layer, neither fused nor culled.
    name : str
        Its name.
    lengths : tuple of int
        Lengths of the block of an array that is reduced, along each axis.
    make : callable
        Makes the values that the task needs.

    Raises
    ------
    NoSampleError
        If the function is not one that may be called, or it fails.
    """
    try:
        if isinstance(layer, Blockwise):
            return _sample_blockwise(layer, lengths, make)
        return _sample_task(layer, name, lengths, make)
    except NoSampleError:
        raise
    except Exception as error:
        raise NoSampleError(name) from error


def _sample_blockwise(layer: Blockwise, lengths: tuple[int, ...], make: Make) -> Any:
    _require_trust([layer.task])
    if layer.io_deps or _new_axes(layer) or layer.concatenate is False:
        # What is given to the function is then not a block for each of its arguments.
        _require_no_contraction(layer)
    length = dict(zip(layer.output_indices, lengths, strict=True))
    values: dict[Key, Any] = {}
    for i, (source, index) in enumerate(layer.indices):
        if index is None:
            values[blockwise_token(i)] = plain_value(source)
        else:
            values[blockwise_token(i)] = make(str(source), tuple(length[s] for s in index))
    return layer.task(values)


def _require_no_contraction(layer: Blockwise) -> None:
    symbols = {s for _, index in layer.indices if index is not None for s in index}
    if layer.io_deps or _new_axes(layer) or not symbols.issubset(layer.output_indices):
        raise NoSampleError(layer.output)


def _new_axes(layer: Blockwise) -> set[str]:
    """Name the axes that a layer adds; Dask's fusion notes those of other layers with it."""
    symbols = {s for _, index in layer.indices if index is not None for s in index}
    return set(layer.output_indices) - symbols


def _sample_task(layer: Layer, name: str, lengths: tuple[int, ...], make: Make) -> Any:
    first = first_task(layer, name)
    if first is None:
        raise NoSampleError(name)
    key, legacy = first
    task = convert_legacy_task(key, legacy, _KeysOfBlocks())
    if not isinstance(task, Task):
        raise NoSampleError(name)
    _require_trust([task])
    return task({d: make(d[0], lengths) for d in task.dependencies})


class _KeysOfBlocks:
    """Everything that may be the key of a block, for the conversion of one task."""

    def __contains__(self, key: object) -> bool:
        return (
            isinstance(key, tuple)
            and len(key) > 1
            and isinstance(key[0], str)
            and all(isinstance(i, int) for i in key[1:])
        )


def _require_trust(values: Iterable[Any]) -> None:
    """Look at a function and at all that is bound to it."""
    stack = list(values)
    seen: set[int] = set()
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            stack += value.values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack += value
        elif isinstance(value, Task):
            stack += [value.func, *value.args, value.kwargs]
        elif not isinstance(value, GraphNode):
            stack += _bound(value)


def _bound(value: Any) -> Iterable[Any]:
    """List what an object may call, if it may be called at all."""
    if isinstance(value, np.ufunc):
        return ()
    named = isinstance(value, (type, FunctionType, BuiltinFunctionType, MethodType))
    package = (getattr(value if named else type(value), "__module__", None) or "").partition(".")[0]
    if package not in TRUSTED:
        if callable(value):
            raise NoSampleError(str(value))
        return ()
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, FunctionType):
        return [cell.cell_contents for cell in value.__closure__ or ()]
    return () if named else [getattr(value, name, None) for name in _attributes(value)]


def _attributes(value: Any) -> Iterable[str]:
    slots = getattr(type(value), "__slots__", ())
    own = (slots,) if isinstance(slots, str) else slots
    return [*getattr(value, "__dict__", ()), *own, "__wrapped__"]
