"""Where values would best be made: in the pool that has the data they come from.

A home is a guess made before any placement, for steps that change a graph by the place of its
data (`regroup`). It decides how a graph is arranged, never what is computed, nor where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from dask.typing import Key

from dask_pools.graph import adapter
from dask_pools.model import Pin

#: Tells the pools to which a task, or a value made earlier, is bound; None if it is free.
PinOf = Callable[[Key], Pin | None]


def pinned_ancestors(
    graph: adapter.HighLevelGraph, pins: Mapping[str, Pin | None], names: Iterable[str]
) -> dict[str, frozenset[Pin]]:
    """Collect the pins of the nearest pinned layers that each of some layers comes from.

    Parameters
    ----------
    graph : HighLevelGraph
        The graph.
    pins : mapping
        The pin of each layer, None if it is free.
    names : iterable of str
        The layers to start from.

    Returns
    -------
    dict
        The pins of these layers, and of all that they come from. What is behind a pinned layer
        does not count: its tasks run where they are pinned.
    """
    below = graph.dependencies
    found: dict[str, frozenset[Pin]] = {}
    stack = list(names)
    while stack:
        name = stack[-1]
        if name in found:
            stack.pop()
        elif pin := pins.get(name):
            found[name] = frozenset({pin})
        elif missing := [d for d in below.get(name, ()) if d not in found]:
            stack += missing
        else:
            found[name] = frozenset().union(*(found[d] for d in below.get(name, ())))
    return found


def scattered_layers(
    graph: adapter.HighLevelGraph, above: Mapping[str, frozenset[Pin]]
) -> set[str]:
    """Find the layers whose blocks may come from different pools.

    Where all steps are blockwise, each block comes from the same pools as every other one. Only
    other layers, such as those that join arrays, make one block of this and one of that pool.

    Parameters
    ----------
    graph : HighLevelGraph
        The graph.
    above : mapping
        What `pinned_ancestors` has found; a pin that begins with an empty name stands for a
        layer whose tasks differ in their pins.
    """
    scattered: set[str] = set()
    # As it was found: layers come after those that they depend on.
    for name, pins in above.items():
        joins = len(pins) > 1 and not isinstance(graph.layers[name], adapter.Blockwise)
        mixed = any(not pin[0] for pin in pins)
        if joins or mixed or not scattered.isdisjoint(graph.dependencies.get(name, ())):
            scattered.add(name)
    return scattered


def find_homes(
    tasks: Mapping[Key, adapter.GraphNode],
    keys: Iterable[Key],
    pin_of: PinOf,
    nbytes: Mapping[Key, float] | None = None,
) -> dict[Key, Pin]:
    """Find the home of some values: the pools where they can be made for the fewest bytes.

    A pinned task is at home where it is pinned, a free one in the pools that all its inputs
    share. If there is no such pool, its inputs vote by their bytes; one that several tasks need
    has to cross but once, so that each of them gets its share of the votes only.

    Parameters
    ----------
    tasks : mapping
        The graph.
    keys : iterable of Key
        The values.
    pin_of : callable
        Tells the pools to which a key is bound, also one that is not in the graph (a value made
        earlier, where it is); None if it is free.
    nbytes : mapping or None
        Bytes of the values; all are taken to be equal if it is None.

    Returns
    -------
    dict
        The pools of each of the keys, sorted; empty if its value comes from nothing pinned.
    """
    pins, order = _ancestry(tasks, keys, pin_of)
    homes: dict[Key, Pin] = {}
    users: Counter[Key] | None = None
    for key in order:
        pin = pins[key]
        if pin is None:
            inputs = adapter.dependencies(tasks[key]) if key in tasks else ()
            found = {homes[d] for d in inputs} - {()}
            pin = _shared(found)
            if found and not pin:
                users = _users(tasks, order, pins) if users is None else users
                pin = _elected(homes, inputs, users, nbytes)
        homes[key] = pin
    return {key: homes[key] for key in keys}


def _ancestry(
    tasks: Mapping[Key, adapter.GraphNode], keys: Iterable[Key], pin_of: PinOf
) -> tuple[dict[Key, Pin | None], list[Key]]:
    """Walk up to the nearest pinned values: the pins on the way, and its order, inputs first."""
    pins: dict[Key, Pin | None] = {}
    order: list[Key] = []
    for start in keys:
        stack = [(start, False)]
        while stack:
            key, done = stack.pop()
            if done:
                order.append(key)
            elif key not in pins:
                pin = pin_of(key)
                if pin or key not in tasks:
                    pins[key] = tuple(sorted(pin)) if pin else None
                    order.append(key)
                else:
                    pins[key] = None
                    stack.append((key, True))
                    stack += [(d, False) for d in adapter.dependencies(tasks[key])]
    return pins, order


def _users(
    tasks: Mapping[Key, adapter.GraphNode], order: Iterable[Key], pins: Mapping[Key, Pin | None]
) -> Counter[Key]:
    """Count by how many of some tasks each value is needed."""
    free = (tasks[key] for key in order if pins[key] is None and key in tasks)
    return Counter(d for task in free for d in adapter.dependencies(task))


def _shared(homes: Collection[Pin]) -> Pin:
    """Return the pools that all homes share."""
    first, *others = homes or [()]
    return tuple(pool for pool in first if all(pool in home for home in others))


def _elected(
    homes: Mapping[Key, Pin],
    inputs: Iterable[Key],
    users: Mapping[Key, int],
    nbytes: Mapping[Key, float] | None,
) -> Pin:
    """Return the pool that has the most bytes of the inputs; the first by name among equals."""
    votes: dict[str, float] = {}
    # Dependencies come in the order of a set, and sums of floats hang on theirs.
    for key in sorted((key for key in inputs if homes[key]), key=str):
        for pool in homes[key]:
            share = (1.0 if nbytes is None else nbytes.get(key, 0.0)) / users[key]
            votes[pool] = votes.get(pool, 0.0) + share
    return (min(votes, key=lambda pool: (-votes[pool], pool)),) if votes else ()
