"""Tasks that make their value out of nothing: cheap, and the same at every run.

Known are the arrays that Dask creates (`arange`, `ones`, seeded random numbers, ...), small
literals, and a few simple functions of these. A function that is not named here may read a
file, ask for the time, or take an hour.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from dask._task_spec import Alias, DataNode, GraphNode, NestedContainer, Task, TaskRef
from dask._task_spec import _identity_cast as identity_cast
from dask.array import chunk, random
from dask.array.wrap import _broadcast_trick_inner
from dask.utils import methodcaller
from tlz import curry

#: Functions by name, of the modules that have them. `empty` is not the same at every run.
_NUMPY = (
    "arange linspace eye tri identity indices diag ones zeros full ones_like zeros_like full_like "
    "broadcast_to transpose reshape expand_dims squeeze swapaxes moveaxis flip roll repeat tile "
    "where clip round real imag concatenate stack meshgrid"
)
_OPERATOR = (
    "add sub mul truediv floordiv mod pow neg pos abs invert and_ or_ xor lshift rshift "
    "eq ne lt le gt ge getitem"
)
_CHUNK = "arange linspace astype getitem view"
_RANDOM = "_apply_random _apply_random_func _choice_rs"
_KNOWN: frozenset[Callable[..., Any]] = frozenset(
    getattr(module, name)
    for module, names in (
        (np, _NUMPY),
        (operator, _OPERATOR),
        (chunk, _CHUNK),
        (random, _RANDOM),
    )
    for name in names.split()
) | {identity_cast, _broadcast_trick_inner.func}  # the latter is curried
_METHODS = frozenset({"astype", "reshape", "transpose", "ravel"})

#: Values that do not change when they are used. Bit generators do.
_CONSTANTS: tuple[type, ...] = (
    *(bool, int, float, complex, str, bytes, slice, type(None), type(Ellipsis)),
    *(np.generic, np.dtype, np.random.SeedSequence),
)


def is_repeatable(task: GraphNode | TaskRef) -> bool:
    """Whether a task makes the same value at every run, quickly, if its inputs are the same.

    Parameters
    ----------
    task : GraphNode
        A task, fused or not, a literal or an alias.

    Returns
    -------
    bool
        False also if nothing is known of what the task does.
    """
    if isinstance(task, (Alias, TaskRef)):
        return True
    if isinstance(task, DataNode):
        return _is_constant(task.value)
    if not isinstance(task, Task):
        return False
    if task.has_subgraph():
        return all(map(is_repeatable, task.args[0].values()))
    return _is_known(task) and _are_constant((*task.args, *task.kwargs.values()))


def written_nbytes(task: GraphNode) -> int:
    """Bytes of the arrays that are written into a task, and have to be sent with it."""
    if isinstance(task, DataNode):
        return _array_nbytes(task.value)
    if isinstance(task, Task):
        return sum(map(_array_nbytes, (*task.args, *task.kwargs.values())))
    return 0


def _is_known(task: Task) -> bool:
    """Whether it is known what a task calls: it is in the lists, options and all."""
    function: Any = task.func
    if isinstance(task, NestedContainer):
        return True
    options: list[Any] = []
    while isinstance(function, (partial, curry)):
        options += [*function.args, *function.keywords.values()]
        function = function.func
    if isinstance(function, methodcaller):
        return function.method in _METHODS
    if isinstance(function, np.ufunc):
        # Users make ufuncs of their own with `np.frompyfunc`.
        return getattr(np, function.__name__, None) is function and _are_constant(options)
    try:
        known = function in _KNOWN
    except TypeError:  # cannot be hashed
        return False
    return known and _are_constant(options)


def _are_constant(values: Iterable[Any]) -> bool:
    return all(map(_is_constant, values))


def _is_constant(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    if isinstance(value, (GraphNode, TaskRef)):
        return is_repeatable(value)
    if isinstance(value, (list, tuple, set)):
        return _are_constant(value)
    if isinstance(value, dict):
        return _are_constant((*value, *value.values()))
    return isinstance(value, _CONSTANTS) or _is_known_type(value)


def _is_known_type(value: Any) -> bool:
    """Whether something is a type of numbers, or a known function that another one calls."""
    if isinstance(value, type):
        return value.__module__.split(".")[0] in ("builtins", "numpy")
    return callable(value) and value.__hash__ is not None and value in _KNOWN


def _array_nbytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, (list, tuple)):
        return sum(map(_array_nbytes, value))
    if isinstance(value, dict):
        return sum(map(_array_nbytes, value.values()))
    return written_nbytes(value) if isinstance(value, GraphNode) else 0
