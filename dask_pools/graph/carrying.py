"""Transfers: a task for each value and pool that receives it, which its consumers then use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.table import TaskTable
from dask_pools.model import Link
from dask_pools.planning.cost import crossings
from dask_pools.planning.plan import Transfer
from dask_pools.planning.problem import PlacementProblem


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A graph in which values are carried between pools.

    Parameters
    ----------
    table : TaskTable
        The tasks: first those there were, then the ones that carry.
    labels : ndarray of intp, shape (n,)
        The pool of each of them.
    sources : ndarray of intp
        The pool from which each of those that carry takes its value.
    crossing : ndarray of bool, shape (n,)
        The tasks whose value is needed in another pool.
    moved : dict of key to Transfer
        The transfers, by the key of their task.
    """

    table: TaskTable
    labels: NDArray[np.intp]
    sources: NDArray[np.intp]
    crossing: NDArray[np.bool_]
    moved: dict[Key, Transfer]

    @classmethod
    def nothing(
        cls, table: TaskTable, labels: NDArray[np.intp], _: PlacementProblem | None = None
    ) -> Carried:
        """Leave a graph as it is, but note which values would cross."""
        far = _far(table, labels)
        crossing = np.zeros(len(labels), dtype=np.bool_)
        crossing[table.values[far]] = True
        return cls(table, labels[: len(table)], labels[:0], crossing[: len(table)], {})


def carry(table: TaskTable, labels: NDArray[np.intp], problem: PlacementProblem) -> Carried:
    """Add a task for each value and pool that receives it, and have it used.

    Parameters
    ----------
    table : TaskTable
        The tasks.
    labels : ndarray of intp
        The pool of each task, then of each value from outside; ``UNPLACED`` takes no part.
    problem : PlacementProblem
        What was solved; it knows the pools and the sizes.
    """
    values, targets = crossings(problem, labels)
    if not len(values):
        return Carried.nothing(table, labels)
    n, added, pools = len(table), len(values), len(problem.pools)
    names = problem.pools
    moved: dict[Key, Transfer] = {}
    carriers: list[adapter.GraphNode] = []
    sizes = problem.sizes[values].tolist()
    sources = labels[values].tolist()
    for v, p, q, nbytes in zip(values.tolist(), sources, targets.tolist(), sizes, strict=True):
        value, link = table.name(v), Link(names[p], names[q])
        key = transfer_key(value, link.source, link.target)
        moved[key] = Transfer(value, link, nbytes)
        carriers.append(adapter.transfer_task(key, value))

    # Consumers in another pool take the value from its carrier there.
    far = np.flatnonzero(_far(table, labels))
    wanted = table.values[far] * pools + labels[table.consumers[far]]
    carrier = n + np.searchsorted(values * pools + targets, wanted)
    keys = [*table.keys, *moved]
    nodes = [*table.nodes, *carriers]
    instead: dict[int, dict[Key, Key]] = {}
    for consumer, v, c in zip(
        table.consumers[far].tolist(), table.values[far].tolist(), carrier.tolist(), strict=True
    ):
        instead.setdefault(consumer, {})[table.name(v)] = keys[c]
    for consumer, other in instead.items():
        nodes[consumer] = adapter.redirect(nodes[consumer], other)

    def shift(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.where(numbers < n, numbers, numbers + added)

    needed = shift(table.values)
    needed[far] = carrier
    crossing = np.zeros(n + added, dtype=np.bool_)
    crossing[values[values < n]] = True
    return Carried(
        table=TaskTable(
            keys,
            nodes,
            values=np.concatenate([needed, shift(values)]),
            consumers=np.concatenate([table.consumers, np.arange(n, n + added)]),
            outside=table.outside,
        ),
        labels=np.concatenate([labels[:n], targets]),
        sources=labels[values],
        crossing=crossing,
        moved=moved,
    )


def _far(table: TaskTable, labels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mark the arcs that lead from one pool to another."""
    sources, targets = labels[table.values], labels[table.consumers]
    far: NDArray[np.bool_] = (sources != targets) & (sources >= 0) & (targets >= 0)
    return far


def transfer_key(key: Key, source: str, target: str) -> Key:
    """Name the task that carries a value over a link; tasks of a link share a prefix.

    The slash, which no pool has in its name, says where the target ends and the key begins.

    Examples
    --------
    >>> transfer_key(("mean-1f", 0, 3), "ecmwf", "eumetsat")
    ('transfer-ecmwf-eumetsat-/mean-1f', 0, 3)
    """
    prefix = f"transfer-{source}-{target}-/"
    if isinstance(key, tuple) and key and isinstance(key[0], str):
        return (prefix + key[0], *key[1:])
    return prefix + str(key)
