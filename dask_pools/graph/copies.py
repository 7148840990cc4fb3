"""Values that are made anew in each pool that needs them, because that costs less than a transfer.

An array of ones, a range of numbers, seeded random numbers, a small array of the user's: they
come from nothing, are the same wherever they are made, and no pool has them more than another.
A placement takes them as values of no bytes, which draw no task anywhere; where one of them
would have to cross, the receiving pool makes a copy of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from dask.typing import Key

from dask_pools.graph import adapter
from dask_pools.graph.adapter.sources import is_repeatable, written_nbytes

Tasks = Mapping[Key, adapter.GraphNode]

#: Bytes of literals, at most, that are sent to the workers once more with a copy.
LARGEST_LITERAL = 1_000_000
#: Tasks, at most, that a copy repeats.
LONGEST_COPY = 8


def find_copyable(tasks: Tasks, is_bound: Callable[[Key], object]) -> dict[Key, tuple[Key, ...]]:
    """Find the values that can be made anew wherever they are needed.

    Parameters
    ----------
    tasks : mapping
        The graph, blockwise-fused and culled.
    is_bound : callable
        Tells of a key whether its task has a place already: is pinned, or known to the
        scheduler from an earlier submission.

    Returns
    -------
    dict
        The keys, each with the keys of all tasks that a copy of it repeats, itself last.
    """
    found: dict[Key, tuple[Key, ...]] = {}
    ready = [key for key, task in tasks.items() if not adapter.dependencies(task)]
    while ready:
        new: set[Key] = set()
        for key in ready:
            if not is_repeatable(tasks[key]) or _is_delayed(tasks[key]) or is_bound(key):
                continue
            parts = _parts(tasks, key, found)
            if _is_small(tasks, parts):
                found[key] = parts
                new.add(key)
        ready = [key for key, task in tasks.items() if _has_become_ready(task, new, found)]
    return found


def _has_become_ready(task: adapter.GraphNode, new: set[Key], found: Mapping[Key, object]) -> bool:
    """Whether all that a task needs can be copied, since the last round."""
    inputs = adapter.dependencies(task)
    return not new.isdisjoint(inputs) and all(d in found for d in inputs)


def _is_delayed(task: adapter.GraphNode) -> bool:
    """Whether a task is a delayed function: its user may count on its being called once."""
    return adapter.is_delayed_key(task.key) and adapter.literal_nbytes(task) is None


def _parts(tasks: Tasks, key: Key, found: Mapping[Key, tuple[Key, ...]]) -> tuple[Key, ...]:
    """List the tasks that a copy of a value repeats, inputs first."""
    inputs = sorted(adapter.dependencies(tasks[key]), key=str)
    return (*dict.fromkeys(part for d in inputs for part in found[d]), key)


def _is_small(tasks: Tasks, parts: Collection[Key]) -> bool:
    written = sum(written_nbytes(tasks[part]) for part in parts)
    return len(parts) <= LONGEST_COPY and written < LARGEST_LITERAL


def copy_key(key: Key, pool: str) -> Key:
    """Name the copy of a value that a pool makes for itself.

    Examples
    --------
    >>> copy_key(("arange-1f", 3), "ecmwf")
    ('copy-ecmwf-/arange-1f', 3)
    """
    block = adapter.block_of(key)
    prefix = f"copy-{pool}-/"
    return prefix + str(key) if block is None else (prefix + block[0], *block[1])


def copy_task(tasks: Tasks, parts: Iterable[Key], key: Key) -> adapter.GraphNode:
    """Make the task of a copy, which needs nothing.

    Parameters
    ----------
    tasks : mapping
        The graph that `find_copyable` was given.
    parts : iterable of Key
        What `find_copyable` tells of the value.
    key : Key
        The key of the copy.
    """
    return adapter.fuse_group([tasks[part] for part in parts], key)
