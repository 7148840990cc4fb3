"""One graph on its way to its places: each step of the optimiser, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.typing import Key

from dask_pools.graph import adapter, fusion
from dask_pools.graph.layers import annotated_graph
from dask_pools.graph.pins import Pins, find_pins
from dask_pools.graph.sizes import describe_blocks, estimate_nbytes
from dask_pools.graph.submission import Submission
from dask_pools.graph.zones import find_zones
from dask_pools.model import Link, Pin
from dask_pools.planning.cost import crossings
from dask_pools.planning.place import place
from dask_pools.planning.plan import Plan, Transfer
from dask_pools.planning.policies import Policy
from dask_pools.planning.problem import UNPLACED, PlacementProblem, uniform_costs


@dataclass(frozen=True, slots=True)
class PlacedGraph:
    """A graph whose tasks have their places, and what is known of its run.

    Parameters
    ----------
    graph : HighLevelGraph
        A layer for each pool, annotated.
    plan : Plan
        Tasks per pool, and the transfers with their bytes.
    """

    graph: adapter.HighLevelGraph
    plan: Plan


class Placing:
    """One graph on its way; each step leaves what the later ones need."""

    def __init__(self, dsk: Any, keys: Any, pin: Pin | None, submission: Submission | None) -> None:
        self.graph = adapter.as_graph(dsk)
        self.outputs = adapter.flat_keys(keys)
        self.submission = submission
        self.free_pin: Pin | None = None if pin is None else ()
        pools = None if submission is None else submission.topology.names
        self.pins: Pins = find_pins(self.graph, pin, pools)

    def run(self, policy: str | Policy, carry: bool) -> PlacedGraph:
        """Go all the way; ``carry`` says whether tasks are placed for good."""
        self.fuse_zones()
        labels, problem = self.label(policy)
        pool_of = self.pools(problem, labels)
        crossing = crossings(problem, labels)
        self.crossing: set[Key] = {self.names[v] for v in crossing[0].tolist()}
        moved = self._transfers(problem, labels, crossing) if carry else {}
        tasks, where = self._fuse(pool_of, moved)
        graph = annotated_graph(
            tasks,
            where=where,
            pin_of=self._pin_of(tasks),
            moved=moved,
            placed=carry,
            others=self._other_annotations(),
            output=adapter.layer_name(self.outputs[0]) if self.outputs else "nothing",
        )
        plan = Plan(
            tasks=Counter(where[key] for key in tasks if key not in moved),
            transfers=tuple(moved.values()),
        )
        return PlacedGraph(graph, plan)

    # ---- layers

    def fuse_zones(self, zones: dict[str, int] | None = None) -> None:
        """Fuse blockwise layers inside zones, cull, and make the tasks."""
        graph, pins = self.graph, self.pins
        blocks = describe_blocks(graph)
        mixed = pins.mixed | {n for n, layer in graph.layers.items() if adapter.has_futures(layer)}
        if zones is None:
            zones = find_zones(graph, pins.layers, mixed, blocks)
        self.zone_pin: dict[int, Pin] = {}
        for name, zone in zones.items():
            if pin := pins.layers[name]:
                self.zone_pin[zone] = pin
        annotations: dict[str, dict[str, Any] | None] = {
            name: {"zone": zone} for name, zone in zones.items()
        }
        fused = adapter.fuse_blockwise(adapter.with_annotations(graph, annotations), self.outputs)
        # What Dask would fuse if it knew of no pools; asked for only if zones made a difference.
        apart = len(set(zones.values())) > 1
        self.vanishing = adapter.fused_away(graph, self.outputs) if apart else set()
        raw: dict[Key, Any] = {}
        self.layer_of: dict[Key, str] = {}
        for name, layer in adapter.cull(fused, self.outputs).items():
            made = adapter.layer_tasks(layer)
            raw.update(made)
            self.layer_of.update(dict.fromkeys(made, name))
        tasks = adapter.as_tasks(raw)
        # What culling layers leaves of the tasks that nobody needs hangs on the hash seed.
        needed = adapter.needed(tasks, self.outputs)
        self.tasks = {key: task for key, task in tasks.items() if key in needed}
        self.zones, self.blocks = zones, blocks
        self.pinned_layers = self._layers_with_pins(set(fused.layers))

    def _layers_with_pins(self, left: set[str]) -> set[str]:
        """Layers that are pinned, or that a pinned layer has become a part of."""
        dependents = self.graph.dependents
        found: set[str] = set()
        for name, pin in self.pins.layers.items():
            stack = [name] if pin else []
            while stack:
                layer = stack.pop()
                if layer in left:
                    found.add(layer)
                else:
                    stack += dependents.get(layer, ())
        return found

    # ---- placement

    def _allowed(self, key: Key) -> Pin | None:
        return self.pins.keys.get(key) or self.zone_pin.get(self.zones[self.layer_of[key]])

    def _known(self, key: Key) -> Pin | None:
        """Tell where a free task is that an earlier submission has brought to the scheduler.

        It stays there, whatever would be better now: the scheduler would keep it anyway, with
        the inputs that it had.
        """
        residence = self.submission.residence(key) if self.submission else None
        if self.submission is None or residence is None:
            return None
        there = self.submission.topology.names
        return residence.pin if residence.pin and set(residence.pin).issubset(there) else None

    def label(self, policy: str | Policy) -> tuple[Any, PlacementProblem]:
        """Build the placement problem and have it solved."""
        tasks = self.tasks
        values, consumers, outside = self._arcs()
        residences = list(outside.values())
        sizes = estimate_nbytes(tasks, self.blocks, {k: r[1] for k, r in outside.items()})
        pins = [self._allowed(key) or self._known(key) for key in tasks]
        pins += [r[0] for r in residences]
        pools = tuple(sorted({name for pin in set(pins) if pin for name in pin}))
        allowed = np.ones((len(pins), len(pools)), dtype=np.bool_)
        rows: dict[Pin, Any] = {}
        for i, pin in enumerate(pins):
            if pin:
                if pin not in rows:
                    rows[pin] = np.isin(pools, pin)
                allowed[i] = rows[pin]
        problem = PlacementProblem(
            pools=pools,
            sizes=np.array([*sizes.values(), *(r[1] for r in residences)], dtype=np.float64),
            allowed=allowed,
            values=values,
            consumers=consumers,
            costs=uniform_costs(len(pools)),
            bound=np.array([pin is not None for pin in pins], dtype=np.bool_),
        )
        self.names: list[Key] = [*tasks, *outside]
        if not pools:
            return np.full(len(pins), UNPLACED, dtype=np.intp), problem
        labels = place(problem, policy)
        # The steps of a P2P shuffle stay unplaced: distributed binds them to workers of its own
        # choice, and knows them by what they need, so that no transfer may come between.
        shuffled = [i for i, task in enumerate(tasks.values()) if adapter.is_shuffle(task)]
        labels[shuffled] = UNPLACED
        return labels, problem

    def _arcs(self) -> tuple[Any, Any, dict[Key, tuple[Pin, float]]]:
        """Which task needs which value, as numbers; and the values made earlier."""
        index = {key: i for i, key in enumerate(self.tasks)}
        lookup = self.submission.residence if self.submission else _nowhere
        outside: dict[Key, tuple[Pin, float]] = {}
        values: list[int] = []
        consumers: list[int] = []
        for i, task in enumerate(self.tasks.values()):
            for d in adapter.dependencies(task):
                j = index.get(d)
                if j is None:
                    # A value of an earlier computation: its place is given, if it has one.
                    residence = lookup(d)
                    if residence is None or not residence.pin:
                        continue
                    j = index[d] = len(self.tasks) + len(outside)
                    outside[d] = (residence.pin, float(residence.nbytes or 0))
                values.append(j)
                consumers.append(i)
        v, c = np.array(values, dtype=np.intp), np.array(consumers, dtype=np.intp)
        order = np.lexsort((v, c))  # dependencies come in the order of a set
        return v[order], c[order], outside

    def pools(self, problem: PlacementProblem, labels: Any) -> dict[Key, str | None]:
        """Name the pool of each task, None if it is unplaced."""
        names = [*problem.pools, None]  # the label of an unplaced value is -1
        return {key: names[label] for key, label in zip(self.tasks, labels.tolist(), strict=False)}

    # ---- transfers and fusion

    def _transfers(
        self, problem: PlacementProblem, labels: Any, crossing: tuple[Any, Any]
    ) -> dict[Key, Transfer]:
        """Add a task for each value and pool that receives it, and have it used."""
        moved: dict[Key, Transfer] = {}
        carrier: dict[tuple[int, int], Key] = {}
        pools, names = problem.pools, self.names
        for v, q in zip(*(a.tolist() for a in crossing), strict=True):
            source, target = pools[labels[v]], pools[q]
            key = transfer_key(names[v], source, target)
            moved[key] = Transfer(names[v], Link(source, target), float(problem.sizes[v]))
            carrier[v, q] = key
        if not carrier:
            return moved
        at = labels.tolist()
        other: dict[Key, dict[Key, Key]] = {}
        arcs = np.flatnonzero(labels[problem.values] != labels[problem.consumers])
        for v, c in zip(
            problem.values[arcs].tolist(), problem.consumers[arcs].tolist(), strict=True
        ):
            if (v, at[c]) in carrier:
                other.setdefault(names[c], {})[names[v]] = carrier[v, at[c]]
        for key, instead in other.items():
            self.tasks[key] = adapter.redirect(self.tasks[key], instead)
        for (v, _), key in carrier.items():
            self.tasks[key] = adapter.transfer_task(key, names[v])
        return moved

    def _fuse(
        self, pool_of: dict[Key, str | None], moved: dict[Key, Transfer]
    ) -> tuple[fusion.Tasks, dict[Key, str | None]]:
        """Fuse inside each pool what Dask would have fused."""
        where: dict[Key, Any] = dict(pool_of)
        where.update({key: transfer.link.target for key, transfer in moved.items()})
        keep = self.crossing.union(self.outputs)
        layer_of, vanishing = self.layer_of, self.vanishing
        tasks = self.tasks
        if vanishing:
            tasks = fusion.fuse_into_consumers(
                tasks, keep, lambda key: layer_of.get(key) in vanishing
            )
            where = {key: where[key] for key in tasks}
        if adapter.wants_linear_fusion():
            apart = self._delayed_keys(tasks)
            tasks, where = fusion.fuse_chains(
                tasks, where, keep, lambda key: key not in moved and key not in apart
            )
            tasks = adapter.fuse_slices(tasks)
            tasks = {
                key: adapter.make_lazy(task) if adapter.makes_lists(task) else task
                for key, task in tasks.items()
            }
        return tasks, where

    def _delayed_keys(self, tasks: fusion.Tasks) -> set[Key]:
        """Keys that only delayed values need: Dask does not fuse these, unless asked to."""
        if adapter.wants_delayed_fusion():
            return set()
        fused = [key for key in self.outputs if not adapter.is_delayed_key(key)]
        if len(fused) == len(self.outputs):
            return set()
        return tasks.keys() - adapter.needed(tasks, fused)

    # ---- annotations

    def _pin_of(self, tasks: fusion.Tasks) -> Callable[[Key], Pin | None]:
        """Tell the pin of a task, fused or not; None or empty if it has only been placed."""
        pinned, layer_of, free = self.pinned_layers, self.layer_of, self.free_pin

        def pin_of(key: Key) -> Pin | None:
            for member in (key, *adapter.members(tasks[key])):
                if member in self.pins.keys or layer_of.get(member) in pinned:
                    return self._allowed(member)
            return free

        return pin_of if self.pins.any else _free

    def _other_annotations(self) -> Callable[[Key], dict[str, Any]]:
        """Tell the annotations of other kinds that a task has, as far as Dask keeps them.

        Dask drops those of arrays and bags when it fuses, and keeps those of delayed values.
        """
        layers, layer_of = self.graph.layers, self.layer_of

        def others(key: Key) -> dict[str, Any]:
            name = layer_of.get(key)
            if name is None or not adapter.is_delayed_key(key):
                return {}
            return adapter.annotations_of(layers[name], key)

        return others


def _nowhere(_: Key) -> None:
    """Look a value up where there is no scheduler."""


def _free(_: Key) -> None:
    """Tell the pin of a task where nothing is pinned."""


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
