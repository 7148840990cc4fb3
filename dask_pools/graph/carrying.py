"""Tasks that bring a value into a pool: one for each value and pool, which its consumers use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.copies import copy_key, copy_task
from dask_pools.graph.table import TaskTable
from dask_pools.model import Link
from dask_pools.planning.basis import Basis
from dask_pools.planning.cost import crossings
from dask_pools.planning.plan import Transfer
from dask_pools.planning.problem import UNPLACED, PlacementProblem

_BASES = tuple(Basis)

#: For each value that can be made anew anywhere, by its row, the tasks to repeat, itself last.
Copyable = Mapping[int, Mapping[Key, adapter.GraphNode]]


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A graph in which values are carried between pools.

    Parameters
    ----------
    table : TaskTable
        The tasks: those there were and that are still needed, then the ones that carry.
    labels : ndarray of intp, shape (n,)
        The pool of each of them.
    origin : ndarray of intp, shape (n,)
        The row that each had before; -1 for those which were added.
    sources : ndarray of intp, shape (n,)
        The pool from which each transfer takes its value; ``UNPLACED`` for other tasks.
    crossing : ndarray of bool, shape (n,)
        The tasks whose value is needed in another pool.
    moved : dict of key to Transfer
        The transfers, by the key of their task.
    pairs : tuple of two ndarrays of intp
        The value and the receiving pool of each transfer.
    copies : int
        Number of tasks that were added to make a value anew.
    """

    table: TaskTable
    labels: NDArray[np.intp]
    origin: NDArray[np.intp]
    sources: NDArray[np.intp]
    crossing: NDArray[np.bool_]
    moved: dict[Key, Transfer]
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]]
    copies: int

    @classmethod
    def nothing(cls, table: TaskTable, labels: NDArray[np.intp]) -> Carried:
        """Leave a graph as it is, but note which values would cross."""
        n = len(table)
        crossing = np.zeros(len(labels), dtype=np.bool_)
        crossing[table.values[_far(table, labels)]] = True
        none = np.zeros(0, dtype=np.intp)
        return cls(
            table=table,
            labels=labels[:n],
            origin=np.arange(n),
            sources=np.full(n, UNPLACED, dtype=np.intp),
            crossing=crossing[:n],
            moved={},
            pairs=(none, none),
            copies=0,
        )


def carry(
    table: TaskTable,
    labels: NDArray[np.intp],
    problem: PlacementProblem,
    basis: NDArray[np.int8],
    outputs: Iterable[Key],
    copyable: Copyable,
) -> Carried:
    """Add a task for each value and pool that receives it, and have it used.

    Parameters
    ----------
    table : TaskTable
        The tasks.
    labels : ndarray of intp
        The pool of each task, then of each value from outside; ``UNPLACED`` takes no part.
    problem : PlacementProblem
        What was solved; it knows the pools and the sizes.
    basis : ndarray of int8
        What each size rests on: numbers of `Basis`.
    outputs : iterable of keys
        What is wanted of the graph.
    copyable : mapping
        Values which are made anew where they are needed, instead of being moved.
    """
    values, targets = crossings(problem, labels)
    if not len(values):
        return Carried.nothing(table, labels)
    n, added, pools = len(table), len(values), problem.pools
    again = np.isin(values, list(copyable))
    moved: dict[Key, Transfer] = {}
    keys, nodes = [*table.keys], [*table.nodes]
    columns = (values, labels[values], targets, problem.sizes[values], basis[values], again)
    for v, p, q, nbytes, known, anew in zip(*(c.tolist() for c in columns), strict=True):
        value = table.name(v)
        if anew:
            key = copy_key(value, pools[q])
            while key in table.index:
                key = copy_key(key, pools[q])
            node = copy_task(copyable[v], copyable[v], key)
        else:
            link = Link(pools[p], pools[q])
            key = transfer_key(value, link.source, link.target)
            while key in table.index:  # of a graph that was placed before
                key = transfer_key(key, link.source, link.target)
            moved[key] = Transfer(value, link, nbytes, _BASES[known])
            node = adapter.transfer_task(key, value)
        keys.append(key)
        nodes.append(node)

    # Consumers in another pool take the value from its carrier there.
    far = np.flatnonzero(_far(table, labels))
    wanted = table.values[far] * len(pools) + labels[table.consumers[far]]
    carrier = n + np.searchsorted(values * len(pools) + targets, wanted)
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
    carriers = np.arange(n, n + added)[~again]
    whole = TaskTable(
        keys,
        nodes,
        values=np.concatenate([needed, shift(values[~again])]),
        consumers=np.concatenate([table.consumers, carriers]),
        outside=table.outside,
    )
    crossing = np.zeros(n + added, dtype=np.bool_)
    crossing[values[(values < n) & ~again]] = True
    # What is made anew elsewhere may be of no use any more where it was.
    used = whole.needed(outputs) if again.any() else np.ones(n + added, dtype=np.bool_)
    return Carried(
        table=whole.only(used),
        labels=np.concatenate([labels[:n], targets])[used],
        origin=np.concatenate([np.arange(n), np.full(added, -1)])[used],
        sources=np.concatenate([np.full(n, UNPLACED), np.where(again, UNPLACED, labels[values])])[
            used
        ],
        crossing=crossing[used],
        moved=moved,
        pairs=(values[~again], targets[~again]),
        copies=int(again.sum()),
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
