"""Fusion of tasks that a policy has placed: never of two pools, and all that Dask would do.

Dask's blockwise fusion has run inside zones already.  Where a border of two zones turns out
to lie within one pool, tasks are fused here as Dask would have fused their layers; then
chains are fused, as Dask fuses them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.table import TaskTable

#: Tasks by key.
Tasks = dict[Key, adapter.GraphNode]


def fuse_into_consumers(
    table: TaskTable, vanishing: NDArray[np.bool_]
) -> tuple[Tasks, dict[Key, list[Key]]]:
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

    Returns
    -------
    tasks : dict
        The graph, in which some tasks have taken in others and kept their own key.
    members : dict
        For each of these, the keys of the tasks that it has taken in.
    """
    keys, nodes = table.keys, table.nodes
    if not vanishing.any():
        return dict(zip(keys, nodes, strict=True)), {}
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
    tasks = {
        keys[i]: nodes[i]
        if i not in groups
        else adapter.fuse_group([nodes[j] for j in (*groups[i], i)], keys[i])
        for i in np.flatnonzero(~vanishing).tolist()
    }
    return tasks, {keys[i]: [keys[j] for j in group] for i, group in groups.items()}


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
) -> tuple[Tasks, dict[Key, list[Key]]]:
    """Fuse chains of tasks inside each place.

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

    Returns
    -------
    tasks : dict
        The fused graph. A chain has a key that tells what it is made of, as in stock Dask,
        and its last key is an alias of it.
    members : dict
        For the key of each chain, the keys of the tasks that it is made of.
    """
    keys, nodes = table.keys, table.nodes
    after = _links(table, place, alone, keep)
    if not len(after):
        return dict(zip(keys, nodes, strict=True)), {}
    chained = np.zeros(len(table), dtype=np.bool_)
    chained[[*after, *after.values()]] = True
    tasks = {keys[i]: nodes[i] for i in np.flatnonzero(~chained).tolist()}
    members: dict[Key, list[Key]] = {}
    for first in sorted(after.keys() - after.values()):
        chain = [first]
        while chain[-1] in after:
            chain.append(after[chain[-1]])
        fused = adapter.fuse_chain([nodes[i] for i in chain])
        members[next(iter(fused))] = [keys[i] for i in chain]
        tasks.update(fused)
    return tasks, members


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
