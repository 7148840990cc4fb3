"""Fusion of tasks that a policy has placed: never of two pools, and all that Dask would do.

Dask's blockwise fusion has run inside zones already.  Where a border of two zones turns out
to lie within one pool, tasks are fused here as Dask would have fused their layers; then
chains are fused, as Dask fuses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.table import TaskTable


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Tasks, some of which are made of several.

    Parameters
    ----------
    keys : list of keys
        The key of each task; n of them.
    nodes : list of GraphNode
        The tasks.
    rows : ndarray of intp, shape (n,)
        The row of each task in the table before; of a task made of several, that of the last.
    members : dict of int to list of int
        The rows of all that a task is made of, by its position here; of fused tasks only.
    """

    keys: list[Key]
    nodes: list[adapter.GraphNode]
    rows: NDArray[np.intp]
    members: dict[int, list[int]]

    @classmethod
    def nothing(cls, table: TaskTable) -> Fused:
        """Leave all tasks as they are."""
        return cls(table.keys, table.nodes, np.arange(len(table)), {})

    def table(self) -> TaskTable:
        """Make the table of these tasks."""
        return TaskTable.of(dict(zip(self.keys, self.nodes, strict=True)))


def fuse_into_consumers(table: TaskTable, vanishing: NDArray[np.bool_]) -> Fused:
    """Make tasks a part of those that need them, as Dask's blockwise fusion would have done.

    A task that several others need becomes a part of each of them, as it does in Dask, where
    a step that is repeated costs less than a task.

    Parameters
    ----------
    table : TaskTable
        The graph.
    vanishing : ndarray of bool, shape (n,)
        The tasks that Dask would have fused into those that need them. None of them is needed
        from outside, and all that need one are in its pool.
    """
    if not vanishing.any():
        return Fused.nothing(table)
    inside = table.values < len(table)
    inside[inside] = vanishing[table.values[inside]]
    consumers: dict[int, list[int]] = {i: [] for i in np.flatnonzero(vanishing).tolist()}
    arcs = table.values[inside].tolist(), table.consumers[inside].tolist()
    for value, consumer in zip(*arcs, strict=True):
        consumers[value].append(consumer)
    groups: dict[int, list[int]] = {}
    for value, ends in _ends(consumers).items():
        for end in ends:
            groups.setdefault(end, []).append(value)
    rows = np.flatnonzero(~vanishing)
    keys, nodes = _taken(table, rows)
    members: dict[int, list[int]] = {}
    ends_at = np.searchsorted(rows, list(groups)).tolist()
    for at, (end, group) in zip(ends_at, groups.items(), strict=True):
        members[at] = [*group, end]
        nodes[at] = adapter.fuse_group([table.nodes[i] for i in members[at]], keys[at])
    return Fused(keys, nodes, rows, members)


def _taken(table: TaskTable, rows: NDArray[np.intp]) -> tuple[list[Key], list[adapter.GraphNode]]:
    numbers = rows.tolist()
    keys, nodes = table.keys, table.nodes
    return [keys[i] for i in numbers], [nodes[i] for i in numbers]


def _ends(consumers: Mapping[int, list[int]]) -> dict[int, list[int]]:
    """Find the tasks that each vanishing task ends up in: its consumers, or their ends."""
    ends: dict[int, list[int]] = {}
    for start in consumers:
        stack = [start]
        while stack:
            task = stack[-1]
            users = consumers[task]
            waiting = [user for user in users if user in consumers and user not in ends]
            if task not in ends and waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            ends[task] = list(dict.fromkeys(e for u in users for e in ends.get(u, [u])))
    return ends


def fuse_chains(
    table: TaskTable, place: NDArray[np.intp], alone: NDArray[np.bool_], keep: NDArray[np.bool_]
) -> Fused:
    """Fuse chains of tasks inside each place.

    A chain has a key that tells what it is made of, as in stock Dask, and its last key is an
    alias of it.

    Parameters
    ----------
    table : TaskTable
        The graph.
    place : ndarray of intp, shape (n,)
        Where each task runs; tasks of different places are never fused.
    alone : ndarray of bool, shape (n,)
        Tasks that may not be a part of a chain.
    keep : ndarray of bool, shape (n,)
        Tasks whose value is needed from outside.
    """
    after = _links(table, place, alone, keep)
    if not after:
        return Fused.nothing(table)
    chained = np.zeros(len(table), dtype=np.bool_)
    chained[[*after, *after.values()]] = True
    rows = np.flatnonzero(~chained)
    keys, nodes = _taken(table, rows)
    last: list[int] = []
    members: dict[int, list[int]] = {}
    for first in sorted(after.keys() - after.values()):
        chain = [first]
        while chain[-1] in after:
            chain.append(after[chain[-1]])
        members[len(keys)] = chain
        for key, node in adapter.fuse_chain([table.nodes[i] for i in chain]).items():
            keys.append(key)
            nodes.append(node)
            last.append(chain[-1])
    return Fused(keys, nodes, np.concatenate([rows, np.array(last, dtype=np.intp)]), members)


def _links(
    table: TaskTable, place: NDArray[np.intp], alone: NDArray[np.bool_], keep: NDArray[np.bool_]
) -> dict[int, int]:
    """Find the only consumer of each task that is its only input, both in one place."""
    n = len(table)
    inputs = np.bincount(table.consumers, minlength=n)
    users = np.bincount(table.values, minlength=n)[:n]
    links = (table.values < n) & (inputs[table.consumers] == 1)
    values, consumers = table.values[links], table.consumers[links]
    links = (users[values] == 1) & (place[values] == place[consumers])
    links &= ~(keep[values] | alone[values] | alone[consumers])
    chained = zip(values[links].tolist(), consumers[links].tolist(), strict=True)
    nodes = table.nodes
    return {
        v: c
        for v, c in chained
        if not (adapter.refuses_fusion(nodes[v]) or adapter.refuses_fusion(nodes[c]))
    }
