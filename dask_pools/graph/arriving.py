"""Graphs that have become tasks before they could be optimised, placed task by task.

Nothing is fused and nothing regrouped: the tasks keep their names. Only transfers are added,
and what needs a value of another pool takes it from its transfer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.typing import Key

from dask_pools.graph import adapter
from dask_pools.graph.carrying import carry
from dask_pools.graph.collector import paused_collector
from dask_pools.graph.estimates import Estimates
from dask_pools.graph.options import Options
from dask_pools.graph.placing import Placing
from dask_pools.graph.sizes import Sizes, describe_blocks
from dask_pools.graph.submission import Submission
from dask_pools.graph.zones import Lossless
from dask_pools.model import PIN, Pin
from dask_pools.planning.basis import Basis
from dask_pools.planning.order import Neighbours, levels
from dask_pools.planning.problem import UNPLACED

#: The share by which a task of which nothing is known is taken to make less than it takes in.
LEANING = 1e-3
#: The name of the one layer of such a graph.
_LAYER = "arrived"


@dataclass(frozen=True, slots=True)
class PlacedTasks:
    """Tasks with their places.

    Parameters
    ----------
    tasks : dict
        The tasks that are needed, and the transfers.
    pools : dict
        The pool of each task that has one.
    transfers : dict
        The pools from which and into which each transfer carries its value, by its key.
    estimates : Estimates or None
        What hangs on sizes that are not exact.
    """

    tasks: dict[Key, adapter.GraphNode]
    pools: dict[Key, str]
    transfers: dict[Key, tuple[str, str]]
    estimates: Estimates | None


def place_tasks(
    tasks: Mapping[Key, adapter.GraphNode],
    keys: Collection[Key],
    submission: Submission,
    *,
    pins: Mapping[Key, Pin | tuple[()]],
    default: Pin | None = None,
    alone: Collection[Key] = (),
    expression: Any = None,
    read: Mapping[Key, float] | None = None,
) -> PlacedTasks:
    """Place tasks where the fewest bytes cross, and carry values between pools.

    Parameters
    ----------
    tasks : mapping
        The graph.
    keys : collection of keys
        What is wanted of it.
    submission : Submission
        The circumstances of the submission.
    pins : mapping
        Pins of single tasks; one that is empty makes a task free whatever the default is.
    default : tuple of str or None
        The pin of all other tasks.
    alone : collection of keys
        Tasks that are left unplaced.
    expression : Expr, optional
        What the graph was made from, which may know the sizes of arrays.
    read : mapping, optional
        Bytes that tasks read from files.
    """
    graph = adapter.graph_of({_LAYER: (dict(tasks), {PIN: adapter.ByKey(dict(pins))})})
    placing = _Arrived(graph, sorted(keys, key=str), Options(), default, submission)
    for known in adapter.graphs_inside(expression) if expression is not None else ():
        placing.making.blocks.update(describe_blocks(known))
    placing.making.told.read.update(read or {})
    if read:
        placing.making.told.shares.update(adapter.shares_inside(expression))
    # In a context of its own: layers made here must not take on annotations of the caller.
    with paused_collector():
        return Context().run(_place, placing, alone)


class _Arrived(Placing):
    """A graph whose sizes are mostly assumed.

    A task of which nothing is known is assumed to return what it takes in, so that it would be
    the same to carry its input or its result. Tasks that reduce are more frequent than those
    that expand: of equal ones, what is carried is what has been worked on most.
    """

    def _estimate(self, outside: Mapping[Key, tuple[Pin | None, float]]) -> Sizes:
        sizes, table = super()._estimate(outside), self.making.table
        n, inside = len(table), table.values < len(table)
        values, consumers = table.values[inside], table.consumers[inside]
        steps, _ = levels(Neighbours.of(consumers, values, n), Neighbours.of(values, consumers, n))
        share = np.ones(n)
        for depth, tasks in enumerate(steps):
            share[tasks] = (1 - LEANING) ** depth
        share[sizes.basis != Basis.ASSUMED] = 1.0
        return replace(sizes, nbytes=sizes.nbytes * share)


def _place(placing: Placing, alone: Collection[Key]) -> PlacedTasks:
    making = placing.making
    making.make(lossless=Lossless.NOTHING, reorder=False, zones={_LAYER: 0})
    placing.place({})
    table, labels, problem = making.table, placing.labels, placing.problem
    labels[: len(table)][table.mask(alone)] = UNPLACED
    basis = placing.basis()
    carried = carry(table, labels, problem, basis, placing.outputs, {})
    pools, places = problem.pools, carried.labels.tolist()
    return PlacedTasks(
        tasks=carried.table.tasks(),
        pools={key: pools[p] for key, p in zip(carried.table.keys, places, strict=True) if p >= 0},
        transfers={
            key: (moved.link.source, moved.link.target) for key, moved in carried.moved.items()
        },
        estimates=placing.estimates(carried.table.keys, np.arange(len(places)), carried),
    )
