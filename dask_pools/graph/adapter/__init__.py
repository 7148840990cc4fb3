"""Everything that dask_pools knows of Dask's internals: the only folder that does.

Layers and their annotations, the task specification, Dask's own steps of optimisation, the
naming of keys. Each function is a few lines around names of Dask that may move;
``tests/graph/test_adapter.py`` calls all of them, so that a new release breaks there.
"""

from __future__ import annotations

from dask._task_spec import GraphNode
from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph, Layer

from dask_pools.graph.adapter.arrays import (
    ArrayRecord,
    Reduction,
    array_record,
    is_broadcast_scalar,
    is_broadcast_to,
    reduction_of,
    try_reduction,
)
from dask_pools.graph.adapter.layers import (
    ByKey,
    annotations_of,
    as_graph,
    has_futures,
    high_level_graph,
    is_delayed_key,
    layers_inside,
    output_layers,
    sorted_layers,
    with_annotations,
)
from dask_pools.graph.adapter.naming import (
    name_keys_by,
    require_graph_arrays,
)
from dask_pools.graph.adapter.steps import (
    as_tasks,
    cull,
    fuse_blockwise,
    fuse_chain,
    fuse_group,
    fuse_slices,
    fused_away,
    layer_tasks,
    make_lazy,
    makes_lists,
    refuses_fusion,
    wants_delayed_fusion,
    wants_linear_fusion,
)
from dask_pools.graph.adapter.tasks import (
    alias_target,
    block_of,
    dependencies,
    flat_keys,
    graph_of,
    is_shuffle,
    layer_name,
    literal_nbytes,
    members,
    needed,
    plain_value,
    redirect,
    slicing,
    transfer_task,
)

__all__ = [
    "ArrayRecord",
    "Blockwise",
    "ByKey",
    "GraphNode",
    "HighLevelGraph",
    "Layer",
    "Reduction",
    "alias_target",
    "annotations_of",
    "array_record",
    "as_graph",
    "as_tasks",
    "block_of",
    "cull",
    "dependencies",
    "flat_keys",
    "fuse_blockwise",
    "fuse_chain",
    "fuse_group",
    "fuse_slices",
    "fused_away",
    "graph_of",
    "has_futures",
    "high_level_graph",
    "is_broadcast_scalar",
    "is_broadcast_to",
    "is_delayed_key",
    "is_shuffle",
    "layer_name",
    "layer_tasks",
    "layers_inside",
    "literal_nbytes",
    "make_lazy",
    "makes_lists",
    "members",
    "name_keys_by",
    "needed",
    "output_layers",
    "plain_value",
    "redirect",
    "reduction_of",
    "refuses_fusion",
    "require_graph_arrays",
    "slicing",
    "sorted_layers",
    "transfer_task",
    "try_reduction",
    "wants_delayed_fusion",
    "wants_linear_fusion",
    "with_annotations",
]
