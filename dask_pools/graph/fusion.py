"""Fusion of tasks that a policy has placed: never of two pools, and all that Dask would do.

Dask's blockwise fusion has run inside zones already.  Where a border of two zones turns out
to lie within one pool, tasks are fused here as Dask would have fused their layers; then
chains are fused pool by pool, by Dask's own function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dask.typing import Key

from dask_pools.graph import adapter

#: Tasks by key.
Tasks = dict[Key, adapter.GraphNode]


def fuse_into_consumers(tasks: Tasks, keep: set[Key], may_vanish: Callable[[Key], bool]) -> Tasks:
    """Make tasks a part of those that need them, as Dask's blockwise fusion would have done.

    A task that several others need becomes a part of each of them, as it does in Dask, where
    a step that is repeated costs less than a task.

    Parameters
    ----------
    tasks : dict
        The graph.
    keep : set
        Keys that are needed from outside: results, and values that cross between pools. All
        that need any other value are in the pool of that value.
    may_vanish : callable
        Whether the task of a key is one that Dask would have fused into those that need it.

    Returns
    -------
    dict
        A new graph, in which some tasks have taken in others and kept their own key.
    """
    vanishing = {key for key in tasks if key not in keep and may_vanish(key)}
    consumers: dict[Key, list[Key]] = {key: [] for key in tasks if key in vanishing}
    for key, task in tasks.items():
        for d in vanishing.intersection(adapter.dependencies(task)):
            consumers[d].append(key)
    ends = _ends(consumers)
    groups: dict[Key, list[adapter.GraphNode]] = {}
    for key, taken_in in ends.items():
        for end in taken_in:
            groups.setdefault(end, []).append(tasks[key])
    return {
        key: adapter.fuse_group([*groups[key], task], key) if key in groups else task
        for key, task in tasks.items()
        if key not in ends
    }


def _ends(consumers: Mapping[Key, list[Key]]) -> dict[Key, list[Key]]:
    """Find the tasks that each vanishing task ends up in: its consumers, or their ends."""
    ends: dict[Key, list[Key]] = {}
    for start in consumers:
        stack = [start]
        while stack:
            key = stack[-1]
            waiting = [user for user in consumers[key] if user in consumers and user not in ends]
            if key not in ends and waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            ends[key] = list(dict.fromkeys(e for u in consumers[key] for e in ends.get(u, [u])))
    return ends


def fuse_chains(
    tasks: Tasks,
    place: Mapping[Key, Key],
    keep: set[Key],
    may_fuse: Callable[[Key], bool],
) -> tuple[Tasks, dict[Key, Key]]:
    """Fuse chains of tasks inside each place.

    Parameters
    ----------
    tasks : dict
        The graph.
    place : mapping
        Where each task runs; tasks of different places are never fused.
    keep : set
        Keys that are needed from outside.
    may_fuse : callable
        Whether the task of a key may be a part of a chain.

    Returns
    -------
    tasks : dict
        The fused graph. A chain has a key that tells what it is made of, as in stock Dask,
        and its last key is an alias of it.
    place : dict
        Where each of its tasks runs.
    """
    groups: dict[Key, Tasks] = {}
    alone: Tasks = {}
    # Results first: Dask's function marks a task that gathers several others as one that cannot
    # be in a chain, if it comes upon one of these before.
    for key, task in reversed(tasks.items()):
        if may_fuse(key):
            groups.setdefault(place[key], {})[key] = task
        else:
            alone[key] = task
    # Within one group a value looks as if it had only the consumers of this group.
    needed = keep.union(*(adapter.dependencies(task) for task in alone.values()))
    fused: Tasks = {}
    where: dict[Key, Key] = {}
    for pool, group in groups.items():
        members = adapter.fuse_linear(group, needed) if group else group
        fused.update(members)
        where.update(dict.fromkeys(members, pool))
    fused.update(alone)
    where.update({key: place[key] for key in alone})
    return fused, where
