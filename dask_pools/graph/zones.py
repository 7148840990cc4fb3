"""Zones: layers that may be fused before it is known where their tasks run.

Dask fuses neighbouring blockwise layers before it makes their tasks, which saves most of
the tasks of an array computation.  Fused tasks can only be placed together, so that a read
pinned to one pool must not be fused with a step that belongs elsewhere.  Two layers share a
zone if every pair of tasks in them that belong together can be in one pool *without loss*,
wherever the other tasks are placed.  Dask then fuses inside zones, and the policy decides
on what is left.  Tasks that end up in one pool can be fused afterwards (`fusion`).

The rules, each for a task t and the value d it needs, w(.) being sizes in bytes:

1. *Pull*: d is free, t alone needs it, and it is at least as large as all that it comes
   from.  Then d moves to t, since its inputs are cheaper to carry. A source without inputs
   always moves to its only consumer.
2. *Follow*: t is free, all it needs is in one zone, and it is at most as large as one of
   the values that it alone needs. Then t moves to its inputs.
3. *Nothing to decide*: layers that are connected with pins to one pool only.

What is without loss hangs on the costs (`Lossless`). The rules as they stand need a byte to
cost the same on every link. Where links differ in price, or some may not be used, a value could
go a roundabout way, and only sources move to their consumers (a part of rule 1), beside what
rule 3 says. Where time counts, work itself is to be divided, and every layer is a zone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum

from dask_pools.graph import adapter
from dask_pools.graph.sizes import Blocks
from dask_pools.model import Pin


class Lossless(IntEnum):
    """Which contractions lose nothing, whatever the placement of the rest will be."""

    #: None: each layer is to be placed on its own.
    NOTHING = 0
    #: Of sources with their consumers, and of what is connected with one pool only.
    SOURCES = 1
    #: All of the rules: a byte costs the same on every link.
    ALL = 2


def find_zones(
    graph: adapter.HighLevelGraph,
    pins: Mapping[str, Pin | None],
    mixed: set[str],
    blocks: Mapping[str, Blocks],
    lossless: Lossless = Lossless.ALL,
) -> dict[str, int]:
    """Find the zone of each layer of a graph.

    Parameters
    ----------
    graph : HighLevelGraph
        Layers, not fused and not culled.
    pins : mapping
        The pin of each layer, None if it is free.
    mixed : set of str
        Layers whose tasks have different pins.
    blocks : mapping
        Sizes of the blocks of array layers.
    lossless : Lossless, default Lossless.ALL
        Which contractions the costs allow.

    Returns
    -------
    dict
        The number of the zone of each layer.
    """
    zones = _Zones(graph, pins, mixed, blocks)
    order = adapter.sorted_layers(graph)
    if lossless >= Lossless.SOURCES:
        zones.join_undecided(order)
        # Sources first, so that they do not keep others from following; values that neither
        # grow nor shrink follow their inputs, which are more often all in one zone.
        for name in order:
            zones.pull_source(name)
    if lossless >= Lossless.ALL:
        for name in order:
            zones.follow(name)
        for name in reversed(order):
            zones.pull(name)
    numbers: dict[str, int] = {}
    return {name: numbers.setdefault(zones.find(name), len(numbers)) for name in order}


class _Zones:
    """A union-find structure over layers, with the rules that join them."""

    def __init__(
        self,
        graph: adapter.HighLevelGraph,
        pins: Mapping[str, Pin | None],
        mixed: set[str],
        blocks: Mapping[str, Blocks],
    ) -> None:
        self.graph = graph
        self.mixed = mixed
        self.blocks = blocks
        self.parent = {name: name for name in graph.layers}
        self.size = dict.fromkeys(graph.layers, 1)
        #: The pin of each zone, by its root.
        self.pin = {name: pins.get(name) for name in graph.layers}
        self.dependents: dict[str, set[str]] = {name: set() for name in graph.layers}
        for name, below in graph.dependencies.items():
            for d in below:
                if d in self.dependents:
                    self.dependents[d].add(name)

    def find(self, name: str) -> str:
        """Return the root of a layer's zone."""
        root = name
        while self.parent[root] != root:
            root = self.parent[root]
        while self.parent[name] != root:
            self.parent[name], name = root, self.parent[name]
        return root

    def join(self, a: str, b: str) -> None:
        """Make one zone of two."""
        a, b = self.find(a), self.find(b)
        if a != b:
            self.parent[b] = a
            self.size[a] += self.size[b]
            self.pin[a] = self.pin[a] or self.pin[b]

    def below(self, name: str) -> list[str]:
        """Layers that a layer depends on."""
        return [d for d in sorted(self.graph.dependencies.get(name, ())) if d in self.parent]

    def join_undecided(self, order: list[str]) -> None:
        """Join the layers of each connected part which has pins to one pool, or none."""
        seen: set[str] = set()
        for start in order:
            part, stack = [], [start]
            while stack:
                name = stack.pop()
                if name not in seen:
                    seen.add(name)
                    part.append(name)
                    stack += [*self.below(name), *self.dependents[name]]
            pins = {pin for name in part if (pin := self.pin[name])}
            if len(pins) <= 1 and not self.mixed.intersection(part):
                for name in part:
                    self.join(part[0], name)

    def free(self, name: str) -> bool:
        """Whether a layer is free, blockwise and in no zone with another one."""
        return (
            isinstance(self.graph.layers[name], adapter.Blockwise)
            and self.find(name) == name
            and self.size[name] == 1
            and self.pin[name] is None
            and name not in self.mixed
        )

    def pull_source(self, name: str) -> None:
        """Rule 1 for a layer without inputs."""
        if self.free(name) and not self.below(name) and (user := self._only_user(name)):
            self.join(user, name)

    def pull(self, name: str) -> None:
        """Rule 1: join a free layer to the only one that needs it."""
        inputs = self.below(name)
        if self.free(name) and len(inputs) == 1 and (user := self._only_user(name)):
            growth = self.growth(inputs[0], name)
            if growth is not None and growth >= 1.0:
                self.join(user, name)

    def _only_user(self, name: str) -> str | None:
        """Return the only layer that needs this one, each block in one task; None if none does."""
        if len(self.dependents[name]) != 1:
            return None
        (user,) = self.dependents[name]
        return None if user in self.mixed or self.growth(name, user) is None else user

    def follow(self, name: str) -> None:
        """Rule 2: join a free layer to the zone from which all it needs comes."""
        if not self.free(name) and not self._pulled_only_sources(name):
            return
        inputs = [d for d in self.below(name) if self.find(d) != self.find(name)]
        zones = {self.find(d) for d in inputs}
        if len(zones) != 1 or self.mixed.intersection(inputs):
            return
        (zone,) = zones
        # The tasks of a free zone may be in several pools, block by block: only tasks with
        # the same block can follow, which holds for a single input.
        if len(inputs) > 1 and len(self.pin[zone] or ()) != 1:
            return
        for d in inputs:
            growth = self.growth(d, name)
            if len(self.dependents[d]) == 1 and growth is not None and growth <= 1.0:
                self.join(zone, name)
                return

    def _pulled_only_sources(self, name: str) -> bool:
        """Whether a free layer shares its zone only with sources that were pulled to it."""
        root = self.find(name)
        if self.pin[root] is not None or name in self.mixed:
            return False
        mates = [d for d in self.below(name) if self.find(d) == root]
        return (
            isinstance(self.graph.layers[name], adapter.Blockwise)
            and self.size[root] == 1 + len(mates)
            and not any(self.below(d) for d in mates)
        )

    def growth(self, source: str, user: str) -> float | None:
        """Largest ratio of the size of a task's value to that of the block it needs.

        None unless both layers are blockwise and each block of ``source`` is needed by
        one task of ``user`` only, which needs no other block of it.
        """
        layers = self.graph.layers
        layer = layers[user]
        if not isinstance(layer, adapter.Blockwise) or not isinstance(
            layers[source], adapter.Blockwise
        ):
            return None
        # Beside names stand literals, among them arrays, whose comparison is no truth value.
        indices = [i for name, i in layer.indices if isinstance(name, str) and name == source]
        a, b = self.blocks.get(source), self.blocks.get(user)
        if len(indices) != 1 or indices[0] is None or a is None or b is None:
            return None
        index, output = indices[0], layer.output_indices
        ratio = b.itemsize / a.itemsize if a.itemsize else math.inf
        for axis, symbol in enumerate(output):
            made = b.chunks[axis]
            if symbol in index:
                used = a.chunks[index.index(symbol)]
                if len(used) != len(made):
                    return None  # broadcast: a block is needed many times
                ratio *= max((m / u if u else math.inf) for m, u in zip(made, used, strict=True))
            elif len(made) != 1:
                return None
            else:
                ratio *= made[0]
        for axis, symbol in enumerate(index):
            if symbol not in output:
                if len(a.chunks[axis]) != 1:
                    return None  # contraction: a task needs several blocks
                ratio /= a.chunks[axis][0] or math.nan
        return None if math.isnan(ratio) else ratio
