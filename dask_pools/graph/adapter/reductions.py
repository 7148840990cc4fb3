"""Tree reductions, as Dask and flox build them, and how their steps may be put together anew.

Dask reduces each block by itself, then *combines* a few partial results at a time, level by
level, and at last *aggregates* what is left. Every step of the tree takes one argument: lists
of partial results, nested once for each reduced axis. If what the steps do is associative and
commutative, the tree may have any shape. That is known of the functions named here, and of no
others: the algebra of a user's own function is nobody's to guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from dask._task_spec import Alias, GraphNode, List, Task, TaskRef, _identity_cast
from dask.array import reductions
from dask.array.core import _concatenate2
from dask.array.reductions import _nanmax_skip, _nanmin_skip
from dask.array.routines import _chunk_sum
from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.typing import Key
from tlz import compose

from dask_pools.graph.adapter.arrays import array_record
from dask_pools.graph.adapter.tasks import block_of, plain_value

#: A function of a task, which takes nested lists of partial results.
Function = Callable[..., Any]

#: How Dask names the last layer of a tree, its other layers, and flox a whole forest of trees.
_LAST, _INNER, _FOREST = "-aggregate-", "-partial-", "-reduce-cohorts-"


@dataclass(frozen=True, slots=True)
class Tree:
    """The layers of one tree reduction.

    Parameters
    ----------
    name : str
        The layer of the results.
    source : str
        The layer whose blocks are reduced: each of them is a leaf of the tree, or what flox
        makes a leaf of.
    partials : frozenset of str
        The names of the partial results in between.
    """

    name: str
    source: str
    partials: frozenset[str]


# ---- layers


def tree_of(graph: HighLevelGraph, name: str) -> Tree | None:
    """Recognise the tree reduction whose results a layer holds; None if it holds no such results.

    Neither the functions of the tree nor its tasks are looked at.
    """
    if _LAST not in name and _FOREST not in name:
        return None
    below = _only(graph.dependencies.get(name, ()))
    partials = []
    while _LAST in name and below is not None and _INNER in below:
        partials.append(below)
        below = _only(graph.dependencies.get(below, ()))
    if below is None or below not in graph.layers:
        return None
    return Tree(name, below, frozenset(partials))


def _only(names: Iterable[str]) -> str | None:
    found = list(names)
    return found[0] if len(found) == 1 else None


def tree_outputs(graph: HighLevelGraph, tree: Tree) -> tuple[Tree, list[Key]]:
    """Return the keys of a tree's results, in the order of the layer, and the tree.

    Of flox's cohorts, whose trees share one layer, the names of the partial results are found
    only here.
    """
    layer = graph.layers[tree.name]
    if _FOREST not in tree.name:
        return tree, list(layer)
    names = {block[0] for key in layer if (block := block_of(key))}
    start = f"{tree.name}-"
    partials = frozenset(n for n in names if n.startswith(start) and _INNER in n)
    inner = Tree(tree.name, tree.source, partials)
    return inner, [k for k in layer if (block := block_of(k)) and block[0] == tree.name]


def may_be_arranged(graph: HighLevelGraph, tree: Tree) -> bool:
    """Whether a tree's leaves can be put in a row in any order, along any reduced axis.

    They can if there is one reduced axis, or if each leaf has length one along all of them, as
    those of Dask's and flox's own reductions have. Arrays of Python objects are left alone,
    whose sum may be anything, and third moments of complex numbers, for which the formula of
    Dask holds only by chance.
    """
    source = graph.layers[tree.source]
    names = [tree.name, tree.source, *graph.dependencies[tree.source]]
    records = [array_record(graph.layers[name]) for name in names if name in graph.layers]
    if any(record is None or record.dtype.hasobject for record in records):
        return False
    task = next(iter(_mapping(graph.layers[tree.name]).values()), None)
    function, depth = _first_step(task)
    high = getattr(function, "keywords", {}).get("order", 2) > 2  # noqa: PLR2004 - a variance
    if high and any(record and record.dtype.kind == "c" for record in records):
        return False
    return depth == 1 or _keeps_one(source)


def _mapping(layer: Layer) -> Mapping[Key, Any]:
    return layer.mapping if isinstance(layer, MaterializedLayer) else layer


def _first_step(task: Any) -> tuple[Function | None, int]:
    """Return what a step of a tree calls and how deeply its lists are nested: its reduced axes."""
    if isinstance(task, Task):
        nested = nested_keys(task)
        return (task.func, nested[1]) if nested else (None, 0)
    if not isinstance(task, tuple) or len(task) != 2:  # noqa: PLR2004 - a function and its argument
        return None, 0
    depth, inner = 0, task[1]
    while isinstance(inner, list) and inner:
        depth, inner = depth + 1, inner[0]
    return task[0], depth


def _keeps_one(layer: Layer) -> bool:
    """Whether each block of a layer has been reduced to length one by a known function."""
    if not isinstance(layer, Blockwise):
        return False
    function = layer.task.func
    kwargs = {key: plain_value(value) for key, value in layer.task.kwargs.items()}
    if isinstance(function, partial):
        function = function.func
    # flox hides its function in a composition; it has flox's own keywords.
    flox = "-chunk-" in layer.output and {"axis", "expected_groups", "engine"} <= _keywords(layer)
    return flox or (function in _BLOCK_FUNCTIONS and kwargs.get("keepdims") is True)


def _keywords(layer: Blockwise) -> set[str]:
    return {*getattr(layer.task.func, "keywords", {}), *layer.task.kwargs}


# ---- functions

#: What reduces one block and keeps the axes, with length one.
_BLOCK_FUNCTIONS = frozenset(
    {
        *(np.sum, np.prod, np.min, np.max, np.any, np.all, np.nansum, np.nanprod),
        *(reductions.chunk_min, reductions.chunk_max),
        *(_nanmin_skip, _nanmax_skip),
        *(reductions.mean_chunk, reductions.moment_chunk),
    }
)
#: The function that combines, by the one that aggregates. Both are called with the axes.
_ON_ARRAYS: dict[Function, Function] = {
    np.sum: np.sum,
    np.prod: np.prod,
    np.any: np.any,
    np.all: np.all,
    np.min: reductions.chunk_min,
    np.max: reductions.chunk_max,
    reductions.chunk_min: reductions.chunk_min,
    reductions.chunk_max: reductions.chunk_max,
    _nanmin_skip: _nanmin_skip,
    _nanmax_skip: _nanmax_skip,
}
#: The same for functions which are given lists, and concatenate what they need by themselves.
_ON_LISTS: dict[Function, Function] = {
    reductions.mean_agg: reductions.mean_combine,
    reductions.moment_agg: reductions.moment_combine,
    _chunk_sum: _chunk_sum,
}
#: Keywords of a function that aggregates which the one that combines has as well.
_KEPT: dict[Function, tuple[str, ...]] = {
    reductions.mean_agg: ("axis",),
    reductions.moment_agg: ("axis", "order"),
    np.min: ("axis",),
    np.max: ("axis",),
}
#: Reductions of flox's aggregations, by the names that it gives them.
_FLOX = frozenset({"sum", "nansum", "prod", "nanprod", "min", "nanmin", "max", "nanmax"}) | {
    "any",
    "all",
}


def combine_of(aggregate: Function) -> Function | None:
    """Return what combines partial results, for the function that aggregates them.

    Parameters
    ----------
    aggregate : callable
        The function of a task at the end of a tree.

    Returns
    -------
    callable or None
        None if it is not known that the partial results may be combined in any order.
    """
    bare, joins = _taken_apart(aggregate)
    if not isinstance(bare, partial):
        return None
    if (bare.func.__module__ or "").startswith("flox."):
        return None if joins else _combine_of_flox(bare)
    known = (_ON_ARRAYS if joins else _ON_LISTS).get(bare.func)
    if known is None or "axis" not in bare.keywords or bare.args:
        return None
    kept = _KEPT.get(bare.func, tuple(bare.keywords))
    keywords = {k: v for k, v in bare.keywords.items() if k in kept and k != "keepdims"}
    if known is reductions.moment_combine:
        keywords["sum"] = np.nansum  # of a block without a number, the mean is not one
    combine = partial(known, keepdims=True, **keywords)
    return compose(combine, joins) if joins else combine


def is_combine(task: GraphNode, combine: Function) -> bool:
    """Whether a step of a tree does what `combine_of` has found, with whatever options."""
    function = function_of(task)
    if function is None:
        return False
    (a, joins_a), (b, joins_b) = _taken_apart(function), _taken_apart(combine)
    return (
        isinstance(a, partial)
        and isinstance(b, partial)
        and a.func is b.func
        and (joins_a is None) == (joins_b is None)
        and a.keywords.get("axis") == b.keywords.get("axis")
    )


def _taken_apart(function: Function) -> tuple[Function, Function | None]:
    """Split a function into what it does and the concatenation before, None if there is none."""
    first: Any = getattr(function, "first", None)
    rest: tuple[Function, ...] = getattr(function, "funcs", ())
    if isinstance(first, partial) and first.func is _concatenate2 and len(rest) == 1:
        return rest[0], first
    return function, None


def _combine_of_flox(aggregate: partial[Any]) -> Function | None:
    """Do the same for flox, which must not be imported for it."""
    said = aggregate.keywords
    inner, agg = said.get("combine"), said.get("agg")
    if (
        aggregate.func.__name__ != "_aggregate"
        or not isinstance(inner, partial)
        or inner.func.__name__ != "_simple_combine"
        or not {"axis", "reindex"} <= said.keys()
        or getattr(agg, "reduction_type", "") != "reduce"
    ):
        return None
    steps: Sequence[Any] = getattr(agg, "combine", (None,))
    if not all(step in _FLOX or _is_variance(step) for step in steps):
        return None
    return partial(inner.func, agg=agg, axis=said["axis"], reindex=said["reindex"], keepdims=True)


def _is_variance(step: Any) -> bool:
    names = (getattr(step, "__module__", ""), getattr(step, "__name__", ""))
    return names == ("flox.aggregations", "_var_combine")


# ---- tasks


def nested_keys(task: GraphNode) -> tuple[list[Key], int] | None:
    """Return the keys in the nested lists that a task takes, in order, and the depth of the lists.

    None if the task takes anything else.
    """
    if not isinstance(task, Task) or task.kwargs or len(task.args) != 1:
        return None
    level: list[Any] = [task.args[0]]
    depth = 0
    while level and all(map(_is_list, level)):
        level = [inner for item in level for inner in item.args]
        depth += 1
    keys = [
        item.key if isinstance(item, TaskRef) else item.target for item in level if _is_ref(item)
    ]
    return (keys, depth) if depth and len(keys) == len(level) else None


def _is_list(item: Any) -> bool:
    """Whether something is a list with keys in it, in either of the forms that Dask gives one."""
    if isinstance(item, List):
        return True
    return isinstance(item, Task) and item.func is _identity_cast and item.kwargs == {"typ": list}


def _is_ref(item: Any) -> bool:
    return isinstance(item, (TaskRef, Alias))


def tree_task(key: Key, function: Function, inputs: Sequence[Key], depth: int) -> GraphNode:
    """Make one step of a tree, which takes its inputs in a row along the last reduced axis."""
    nested = List(*map(TaskRef, inputs))
    for _ in range(depth - 1):
        nested = List(nested)
    return Task(key, function, nested)


def function_of(task: GraphNode | None) -> Function | None:
    """Return the function that a task calls; None if it calls none, or there is no task."""
    return task.func if isinstance(task, Task) else None
