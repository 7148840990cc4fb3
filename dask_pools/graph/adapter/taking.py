"""Pins that tasks carry are taken off them, before they are placed.

Dask fuses expressions without asking for pools, so that one task may hold reads of two. Such a
task is taken apart again: reads, and what needs the values of one pool only, become tasks of that
pool; what needs values of several is left over.

What is relied on: `Task.fuse` keeps the tasks which it fuses, by their keys, in the first argument
of the fused one, and the key of its value in the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from dask._task_spec import Alias, GraphNode, Task
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.typing import Key

from dask_pools.graph.adapter.marks import layer_of, pins_of, read_nbytes, unmark
from dask_pools.model import Pin


@dataclass(frozen=True, slots=True)
class Taken:
    """What tasks have carried with them.

    Parameters
    ----------
    pins : dict
        The pin of each task that had one.
    nbytes : dict
        Bytes that tasks read, by key, as far as they are known.
    """

    pins: dict[Key, Pin]
    nbytes: dict[Key, float]

    def __bool__(self) -> bool:
        return bool(self.pins)


def take_pins(tasks: Mapping[Key, GraphNode]) -> tuple[dict[Key, GraphNode], Taken]:
    """Take off the pins that tasks carry; a task that was fused from several pools is split.

    Parameters
    ----------
    tasks : mapping
        The tasks.

    Returns
    -------
    tasks : dict
        The tasks without their pins, and the parts of those that were split; the tasks given if
        none has carried anything.
    taken : Taken
        What was taken off.
    """
    taken = Taken({}, {})
    found = {key: pins for key, task in tasks.items() if (pins := pins_of(task))}
    if not found:
        return cast("dict[Key, GraphNode]", tasks), taken
    left = dict(tasks)
    for key, pins in found.items():
        common = _common(pins)
        whole = [(tasks[key], common)] if common is not None else _Split(tasks[key]).parts()
        for part, pin in whole:
            left[part.key] = unmark(part)
            if pin is not None:
                taken.pins[part.key] = pin
            if (nbytes := read_nbytes(part)) is not None:
                taken.nbytes[part.key] = nbytes
    return left, taken


def take_layer_pins(graph: HighLevelGraph) -> tuple[HighLevelGraph, dict[str, Taken]]:
    """Take off the pins that tasks of layers carry.

    Returns
    -------
    graph : HighLevelGraph
        The graph; the one given if no task has carried anything.
    taken : dict
        What was taken off, by layer.
    """
    layers, found = dict(graph.layers), dict[str, Taken]()
    for name, layer in graph.layers.items():
        if isinstance(layer, MaterializedLayer):
            tasks, taken = take_pins(layer.mapping)
            if taken:
                layers[name] = layer_of(tasks, layer.annotations)
                found[name] = taken
    return (HighLevelGraph(layers, graph.dependencies), found) if found else (graph, found)


def _common(pins: Iterable[Pin]) -> Pin | None:
    """Name the pools that all pins have; None if there is none."""
    first, *others = dict.fromkeys(pins)
    return tuple(pool for pool in first if all(pool in other for other in others)) or None


class _Split:
    """A task that was fused from tasks of pools which have none in common.

    What needs the values of one pool only runs there, with all that it alone needs; so does what
    is pinned itself. What needs the values of several pools has no pin.
    """

    def __init__(self, fused: GraphNode) -> None:
        self.key = fused.key
        self.members = _flat(fused)
        self.out: Key = _last(fused)
        self.order = _inputs_first(self.members, self.out)
        self.pins: dict[Key, Pin | None] = {}
        #: Whether all that a member needs may run where it may.
        self.mixed: set[Key] = set()

    def parts(self) -> Iterable[tuple[GraphNode, Pin | None]]:
        """Yield the tasks into which it is split, with their pins."""
        for key in self.order:
            self._bind(key)
        heads = self._heads()
        groups: dict[Key, list[GraphNode]] = {}
        for key in self.order:
            groups.setdefault(heads[key], []).append(self.members[key])
        for head, group in groups.items():
            name = self.key if head == self.out else head
            yield Task.fuse(*group, key=name), self.pins[head]

    def _bind(self, key: Key) -> None:
        task = self.members[key]
        below = [d for d in sorted(task.dependencies, key=str) if d in self.members]
        own = pins_of(task)
        if own:
            self.pins[key] = _common(own)
            return
        said = [pin for d in below if (pin := self.pins[d])]
        common = _common(said) if said else None
        if self.mixed.intersection(below) or (said and common is None):
            self.mixed.add(key)
            common = None
        self.pins[key] = common

    def _heads(self) -> dict[Key, Key]:
        """Find for each member the one in whose task it is: its only user's, if that is alike."""
        users: dict[Key, set[Key]] = {key: set() for key in self.order}
        heads: dict[Key, Key] = {}
        for key in reversed(self.order):
            above = users[key]
            head = next(iter(above)) if len(above) == 1 else key
            # What is needed nowhere but in a task, and has no place of its own, is made there.
            alike = self.pins[key] == self.pins[head] or self._is_anywhere(key)
            heads[key] = head if alike else key
            for below in self.members[key].dependencies:
                if below in users:
                    users[below].add(heads[key])
        return heads

    def _is_anywhere(self, key: Key) -> bool:
        return self.pins[key] is None and key not in self.mixed


def _flat(task: GraphNode) -> dict[Key, GraphNode]:
    """List the tasks of which one was fused, so far that each has a pin at most."""
    if not isinstance(task, Task) or not task.has_subgraph():
        return {task.key: task}
    members: dict[Key, GraphNode] = {}
    for key, part in task.args[0].items():
        pins = pins_of(part)
        if pins and _common(pins) is None and part.has_subgraph():
            members |= _flat(part)
            if key != _last(part):
                members[key] = Alias(key, _last(part))
        else:
            members[key] = part
    return members


def _last(task: GraphNode) -> Key:
    """Name the member of a fused task whose value is its value, inside of fused members as well."""
    return cast(Key, task.args[1]) if isinstance(task, Task) and task.has_subgraph() else task.key


def _inputs_first(members: Mapping[Key, GraphNode], out: Key) -> list[Key]:
    order: list[Key] = []
    done: set[Key] = set()
    stack = [(out, False)]
    while stack:
        key, expanded = stack.pop()
        if expanded:
            order.append(key)
        elif key not in done:
            done.add(key)
            stack.append((key, True))
            below = sorted(members[key].dependencies, key=str, reverse=True)
            stack += [(d, False) for d in below if d in members and d not in done]
    return order
