"""Tasks that nothing needs any more, after others have been made in their place."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

from dask.typing import Key

from dask_pools.graph import adapter


def find_leftovers(
    tasks: Mapping[Key, adapter.GraphNode], candidates: Collection[Key], keep: Container[Key]
) -> set[Key]:
    """Find those of some tasks that no other task of a graph needs, directly or not.

    Parameters
    ----------
    tasks : mapping
        The graph.
    candidates : collection of Key
        The tasks that may have become superfluous.
    keep : container of Key
        Keys that are wanted from the graph.

    Returns
    -------
    set of Key
        The candidates that can be dropped.
    """
    left = {key for key in candidates if key in tasks}
    needed = {key for key in left if key in keep}
    for key, task in tasks.items():
        if key not in left:
            needed.update(left.intersection(adapter.dependencies(task)))
    stack = list(needed)
    while stack:
        for d in left.intersection(adapter.dependencies(tasks[stack.pop()])) - needed:
            needed.add(d)
            stack.append(d)
    return left - needed
