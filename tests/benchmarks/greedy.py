"""The greedy rule of the origin of dask_pools, by layer: the baseline that everything began with.

A layer that is pinned runs in its pool, any other one in the pool that holds most bytes of what
its tasks need; so as a whole. What this rule decides is written down as pins, and goes the way
of everything else: the same transfers, the same fusion, the same scheduler.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_pools.graph import adapter
from dask_pools.graph.making import Making
from dask_pools.graph.sizes import estimate
from dask_pools.graph.zones import Lossless
from dask_pools.model import PIN

FREE = -1


def pools_by_layer(x: Any) -> dict[str, str]:
    """Choose the pool of each layer; layers that no pinned one leads to are left out.

    Ties go to the first pool in the order of names. For graphs without persisted values.
    """
    graph, outputs = adapter.high_level_graph(x), adapter.flat_keys(x.__dask_keys__())
    making = Making(graph, outputs, None, None)
    zones = {name: i for i, name in enumerate(graph.layers)}
    making.make(lossless=Lossless.NOTHING, reorder=False, zones=zones)
    table, layer = making.table, making.layer
    sizes = estimate(table.tasks(), making.blocks, {}, {}, (table.values, table.consumers)).nbytes

    pools = sorted({name for pin in making.pin_table for name in pin or ()})
    first = np.array([pools.index(pin[0]) if pin else FREE for pin in making.pin_table])
    labels = first[making.bound]
    chosen: dict[str, str] = {}
    for name in adapter.sorted_layers(graph):
        if name not in making.layer_names:
            continue  # nothing of it is needed
        mine = layer == making.layer_names.index(name)
        free = mine & (labels == FREE)
        inputs = np.unique(table.values[mine[table.consumers]])
        inputs = inputs[labels[inputs] != FREE]
        if not free.any() or not len(inputs):
            continue
        held = np.bincount(labels[inputs], sizes[inputs], minlength=len(pools))
        labels[free] = held.argmax()
        chosen[name] = pools[int(held.argmax())]
    return chosen


def greedy_by_layer(x: Any) -> Any:
    """Return a collection whose layers are pinned as the rule has it."""
    graph, chosen = adapter.high_level_graph(x), pools_by_layer(x)
    annotations = {
        name: {**(layer.annotations or {}), PIN: (chosen[name],)}
        if name in chosen
        else layer.annotations
        for name, layer in graph.layers.items()
    }
    rebuild, arguments = x.__dask_postpersist__()
    return rebuild(adapter.with_annotations(graph, annotations), *arguments)
