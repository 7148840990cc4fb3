"""Dask's own steps of optimisation."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import dask
from dask._task_spec import (
    Alias,
    GraphNode,
    Task,
    convert_legacy_graph,
)
from dask.array.optimization import _optimize_slices
from dask.bag.core import lazify_task, reify
from dask.blockwise import Blockwise, fuse_roots, optimize_blockwise
from dask.highlevelgraph import HighLevelGraph, Layer
from dask.optimization import default_fused_keys_renamer
from dask.typing import Key

from dask_pools.graph.adapter.layers import sorted_layers, with_annotations


def fuse_blockwise(graph: HighLevelGraph, keys: Collection[Key]) -> HighLevelGraph:
    """Run Dask's blockwise fusion and root fusion; layers of other annotations stay apart."""
    keys = list(keys)
    fused: HighLevelGraph = fuse_roots(optimize_blockwise(graph, keys=keys), keys=keys)
    return fused


def fused_away(graph: HighLevelGraph, keys: Collection[Key]) -> set[str]:
    """Name the layers that Dask's blockwise fusion makes a part of other ones."""
    fused = optimize_blockwise(with_annotations(graph, {}), keys=list(keys))
    return set(graph.layers) - set(fused.layers)


def cull(graph: HighLevelGraph, keys: Collection[Key]) -> dict[str, Layer]:
    """Keep what the keys need; return layers in a reproducible order, by their names.

    `HighLevelGraph.cull` appends a token to the names of all layers: it is taken off.
    """
    culled = graph.cull(set(keys))
    layers = {name.rpartition("-")[0]: layer for name, layer in culled.layers.items()}
    return {name: layers[name] for name in sorted_layers(graph) if name in layers}


def layer_tasks(layer: Layer) -> dict[Key, Any]:
    """Materialise a layer in a reproducible order."""
    tasks = dict(layer.items())
    if isinstance(layer, Blockwise):
        return tasks  # made in the order of the blocks
    try:
        return dict(sorted(tasks.items(), key=lambda item: _sortable(item[0])))
    except TypeError:
        return dict(sorted(tasks.items(), key=lambda item: str(item[0])))


def _sortable(key: Key) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def as_tasks(dsk: dict[Key, Any]) -> dict[Key, GraphNode]:
    """Convert a whole graph to Dask's task specification.

    The whole graph at once: a key of another layer is recognised only then. Keys whose value
    is a future are left out, as they are made already.
    """
    old = {key: task for key, task in dsk.items() if not isinstance(task, Task)}
    if not old:
        return cast("dict[Key, GraphNode]", dsk)
    converted = convert_legacy_graph(old, dsk.keys())
    tasks = dict(dsk)
    # In the place of the old ones, so that the order stays.
    for key in old:
        if key in converted:
            tasks[key] = converted[key]
        else:
            del tasks[key]
    return cast("dict[Key, GraphNode]", tasks)


def fuse_chain(chain: list[GraphNode]) -> dict[Key, GraphNode]:
    """Make one task of a chain, named after all of it as Dask does; its last key is an alias."""
    last = chain[-1].key
    key = default_fused_keys_renamer([task.key for task in chain])
    fused = {key: Task.fuse(*chain, key=key)}
    return fused if key == last else {**fused, last: Alias(last, target=key)}


def refuses_fusion(task: GraphNode) -> bool:
    """Whether a task asks not to be fused with others."""
    return bool(task.block_fusion)


def fuse_group(group: list[GraphNode], key: Key) -> GraphNode:
    """Make one task of several, of which the value of only one is needed outside."""
    return Task.fuse(*group, key=key)


def fuse_slices(tasks: dict[Key, GraphNode]) -> dict[Key, GraphNode]:
    """Make one slice of slices of slices, so that a read reads no more than is needed."""
    return cast("dict[Key, GraphNode]", _optimize_slices(tasks))


def make_lazy(task: GraphNode) -> GraphNode:
    """Drop the lists between fused steps of a bag."""
    return cast("GraphNode", lazify_task(task))


def makes_lists(task: GraphNode) -> bool:
    """Whether a fused task makes a list between its steps, as those of a bag do."""
    return (
        isinstance(task, Task)
        and task.has_subgraph()
        and any(isinstance(t, Task) and t.func is reify for t in task.args[0].values())
    )


def wants_linear_fusion() -> bool:
    """Whether ``optimization.fuse.active`` allows tasks to be fused."""
    return dask.config.get("optimization.fuse.active") is not False


def wants_delayed_fusion() -> bool:
    """Whether ``optimization.fuse.delayed`` asks for delayed functions to be fused."""
    return bool(dask.config.get("optimization.fuse.delayed", False))
