"""Single tasks, in the terms of the task specification of Dask."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from dask._task_spec import (
    Alias,
    DataNode,
    GraphNode,
    Task,
    TaskRef,
)
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.typing import Key
from tlz import identity


def dependencies(task: Any) -> Collection[Key]:
    """Keys of the values that a task needs."""
    return cast("Collection[Key]", task.dependencies)


def alias_target(task: Any) -> Key | None:
    """Return the key that an alias stands for; None if it is no alias."""
    return task.target if isinstance(task, Alias) else None


def is_source(task: Any) -> bool:
    """Whether a task makes a value out of nothing in the graph, as one that reads a file."""
    return isinstance(task, Task) and not task.dependencies


def is_fused(task: Any) -> bool:
    """Whether a task was fused of several."""
    return isinstance(task, Task) and task.has_subgraph()


def redirect(task: GraphNode, other: Mapping[Key, Key]) -> GraphNode:
    """Make a task take some of its inputs from other keys."""
    if isinstance(task, Alias):
        return Alias(task.key, target=other[task.target])
    return task.substitute(dict(other))


def transfer_task(key: Key, source: Key) -> GraphNode:
    """Make the task that carries the value of ``source``.

    It does nothing but to need the value: the worker that runs it fetches it.  The function
    is one of a library that every Dask worker has, so that workers need no dask_pools.
    """
    return Task(key, identity, TaskRef(source))


def graph_of(
    layers: Mapping[str, tuple[dict[Key, GraphNode], dict[str, Any] | None]],
) -> HighLevelGraph:
    """Build a graph of annotated, materialised layers."""
    made = {
        name: MaterializedLayer(tasks, annotations=annotations)
        for name, (tasks, annotations) in layers.items()
    }
    return HighLevelGraph(made, {name: set() for name in made})


def block_of(key: Key) -> tuple[str, tuple[Any, ...]] | None:
    """Split the key of a block into the name of its array and its index; None if it is none."""
    if isinstance(key, tuple) and key and isinstance(key[0], str):
        return key[0], key[1:]
    return None


def layer_name(key: Key) -> str:
    """Name the layer to which a key belongs, as Dask's collections expect it."""
    block = block_of(key)
    return str(key) if block is None else block[0]


def flat_keys(keys: Any) -> list[Key]:
    """Flatten the nested lists in which a collection names its keys."""
    return list(flatten(keys if isinstance(keys, (list, set)) else [keys]))


def is_shuffle(task: Any) -> bool:
    """Whether a task is, or holds, a step of a P2P shuffle."""
    return any(map(_is_step, _steps(task)))


def is_shuffle_output(task: Any) -> bool:
    """Whether a task is, or holds, an output of a P2P shuffle.

    The scheduler chooses the worker of each by itself, when the shuffle starts.
    """
    return any(_is_step(step) and step.func.__name__.endswith("_unpack") for step in _steps(task))


def _steps(task: Any) -> Iterator[Task]:
    """Go through the tasks of which a task was fused."""
    if isinstance(task, Task):
        if task.has_subgraph():
            for part in task.args[0].values():
                yield from _steps(part)
        else:
            yield task


def _is_step(task: Task) -> bool:
    return (getattr(task.func, "__module__", None) or "").startswith("distributed.shuffle")


def is_barrier(task: Any) -> bool:
    """Whether a task is the barrier of a P2P shuffle, which is never fused with others."""
    return (
        isinstance(task, Task)
        and getattr(task.func, "__name__", None) == "p2p_barrier"
        and is_shuffle(task)
    )


def plain_value(value: Any) -> Any:
    """Take a literal out of the container in which the task specification keeps it."""
    if isinstance(value, DataNode):
        return value.value
    if isinstance(value, GraphNode) and not value.dependencies:
        return value({})
    return value
