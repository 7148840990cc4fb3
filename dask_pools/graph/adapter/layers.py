"""Collections, the layers of their graphs, and the annotations of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dask._expr import FinalizeCompute, _AnnotationsTombstone
from dask._task_spec import (
    TaskRef,
)
from dask.base import collections_to_expr, is_dask_collection
from dask.blockwise import Blockwise
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.typing import Key

from dask_pools.model import PIN, PLACEMENT, TRANSFER


def high_level_graph(x: Any) -> HighLevelGraph:
    """Return the graph of a collection, layers and all.

    Raises
    ------
    TypeError
        If it is not a Dask collection.
    """
    if not is_dask_collection(x):
        raise TypeError(
            f"expected a Dask collection (an array, an xarray object, a bag, a delayed value), "
            f"not {type(x).__name__}: {x!r}"
        )
    graph = x.__dask_graph__()
    if isinstance(graph, HighLevelGraph):
        return graph
    return HighLevelGraph.from_collections(str(id(x)), graph, dependencies=())


def output_layers(graph: HighLevelGraph, x: Any) -> dict[str, list[Key]]:
    """Find the layers that hold the keys of a collection, with these keys."""
    layers: dict[str, list[Key]] = {}
    for key in flatten([x.__dask_keys__()], container=list):
        name = key[0] if isinstance(key, tuple) else key
        if name not in graph.layers:
            name = next(n for n, layer in graph.layers.items() if key in layer)
        layers.setdefault(name, []).append(key)
    return layers


def as_graph(dsk: Any) -> HighLevelGraph:
    """Wrap a plain graph in one layer; a graph of layers is returned as it is.

    Only that all layers are named by strings afterwards: where pieces of an array are given to
    a delayed function in a list, Dask names layers by keys, which do not sort with strings.
    """
    if isinstance(dsk, HighLevelGraph):
        if all(isinstance(name, str) for name in dsk.layers):
            return dsk
        return HighLevelGraph(
            {str(name): layer for name, layer in dsk.layers.items()},
            {str(name): {str(d) for d in below} for name, below in dsk.dependencies.items()},
        )
    return HighLevelGraph.from_collections(f"graph-{id(dsk)}", dsk, dependencies=())


def sorted_layers(graph: HighLevelGraph) -> list[str]:
    """Sort layers so that each comes after those it depends on, in a reproducible order.

    Dask keeps dependencies in sets of strings, whose order changes with the hash seed.
    """
    order: list[str] = []
    done: set[str] = set()
    for start in sorted(graph.layers):
        stack = [(start, False)]
        while stack:
            name, expanded = stack.pop()
            if expanded:
                order.append(name)
            elif name not in done:
                done.add(name)
                stack.append((name, True))
                below = graph.dependencies.get(name, ())
                stack.extend((d, False) for d in sorted(below, reverse=True) if d not in done)
    return [name for name in order if name in graph.layers]


def with_annotations(
    graph: HighLevelGraph, annotations: Mapping[str, dict[str, Any] | None]
) -> HighLevelGraph:
    """Copy a graph, its layers annotated anew."""
    layers = {}
    for name, layer in graph.layers.items():
        copied = layer.__copy__()
        copied.annotations = annotations.get(name)
        if isinstance(copied, Blockwise):
            # Dask's fusion writes the axes of other layers into it.
            copied.new_axes = dict(copied.new_axes)
        layers[name] = copied
    return HighLevelGraph(layers, {k: set(v) for k, v in graph.dependencies.items()})


class ByKey:
    """An annotation that differs from key to key; None for keys that it does not know.

    Parameters
    ----------
    values : dict
        The annotation of each key.
    """

    def __init__(self, values: dict[Key, Any]) -> None:
        self.values = values

    def __call__(self, key: Key) -> Any:
        """Return the annotation of a key, as Dask asks for it."""
        return self.values.get(key)

    def __reduce__(self) -> tuple[Any, ...]:
        # A scheduler that nobody has told of pools may have no dask_pools.
        return getattr, (self.values, "get")


def annotations_of(layer: Layer, key: Key) -> dict[str, Any]:
    """Return the annotations of one key of a layer, without its pin."""
    annotations = {
        kind: value(key) if callable(value) else value
        for kind, value in (layer.annotations or {}).items()
        if kind not in (PIN, PLACEMENT, TRANSFER)
    }
    return {
        kind: value
        for kind, value in annotations.items()
        if value is not None and not isinstance(value, _AnnotationsTombstone)
    }


def layers_inside(layer: Layer) -> Mapping[str, Layer]:
    """Return the layers of a graph that has become one layer.

    `Array.to_delayed` optimises a graph, and takes what comes out of it for a mapping of tasks.
    """
    inner = layer.mapping if isinstance(layer, MaterializedLayer) else None
    return inner.layers if isinstance(inner, HighLevelGraph) else {}


def has_futures(layer: Layer) -> bool:
    """Whether a layer holds values of earlier computations."""
    return isinstance(layer, MaterializedLayer) and any(
        isinstance(task, TaskRef) for task in layer.mapping.values()
    )


def future_keys(graph: HighLevelGraph) -> list[Key]:
    """Keys of the values of earlier computations that a graph uses, sorted."""
    found = {
        task.key
        for layer in graph.layers.values()
        if isinstance(layer, MaterializedLayer)
        for task in layer.mapping.values()
        if isinstance(task, TaskRef)
    }
    return sorted(found, key=str)


def materialise(collections: Sequence[Any], *, finalise: bool) -> None:
    """Have Dask optimise and make the graph of some collections, as computing them would.

    Parameters
    ----------
    collections : sequence of dask collection
        All that one computation would get.
    finalise : bool
        With the last steps of ``compute``, which gather the result of each collection.
    """
    expression = collections_to_expr(list(collections), True)
    if finalise:
        expression = FinalizeCompute(expression)
    expression.optimize().__dask_graph__()


def is_delayed_key(key: Key) -> bool:
    """Whether a key is one of a delayed value: a string, and not Dask's own last step."""
    return isinstance(key, str) and not key.startswith("finalize-hlgfinalizecompute-")
