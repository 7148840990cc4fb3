"""One graph on its way to its places: each step of the optimiser, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.carrying import Carried, carry
from dask_pools.graph.fusion import Fused, fuse_chains, fuse_into_consumers
from dask_pools.graph.layers import Marks, annotated_graph
from dask_pools.graph.options import Options
from dask_pools.graph.pins import Pins, find_pins
from dask_pools.graph.sizes import describe_blocks, estimate_nbytes
from dask_pools.graph.submission import Submission
from dask_pools.graph.table import TaskTable
from dask_pools.graph.zones import find_zones
from dask_pools.model import Pin
from dask_pools.planning.place import place
from dask_pools.planning.plan import Plan
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

    def __init__(
        self,
        dsk: Any,
        keys: Any,
        options: Options,
        pin: Pin | None = None,
        submission: Submission | None = None,
    ) -> None:
        self.graph = adapter.as_graph(dsk)
        self.outputs = adapter.flat_keys(keys)
        self.options = options
        self.submission = submission
        self.free_pin: Pin | None = None if pin is None else ()
        pools = None if submission is None else submission.topology.names
        self.pins: Pins = find_pins(self.graph, pin, pools)

    def run(self, *, for_good: bool) -> PlacedGraph:
        """Go all the way; ``for_good`` says whether tasks are placed, and values carried."""
        self.make_tasks()
        labels, problem = self.label()
        carried = (carry if for_good else Carried.nothing)(self.table, labels, problem)
        fused, rows, pins = self._fuse(carried)
        graph = self._annotated(fused, rows, pins, carried, problem.pools, for_good)
        plan = Plan(
            tasks=_counted(carried.labels[rows[rows < len(self.table)]], problem.pools),
            transfers=tuple(carried.moved.values()),
        )
        return PlacedGraph(graph, plan)

    # ---- layers

    def make_tasks(self, zones: dict[str, int] | None = None) -> None:
        """Fuse blockwise layers inside zones, cull, and make the tasks."""
        graph, pins = self.graph, self.pins
        self.blocks = describe_blocks(graph)
        mixed = pins.mixed | {n for n, layer in graph.layers.items() if adapter.has_futures(layer)}
        if zones is None:
            zones = find_zones(graph, pins.layers, mixed, self.blocks)
        annotations: dict[str, dict[str, Any] | None] = {
            name: {"zone": zone} for name, zone in zones.items()
        }
        fused = adapter.fuse_blockwise(adapter.with_annotations(graph, annotations), self.outputs)
        # What Dask would fuse if it knew of no pools; asked for only if zones made a difference.
        apart = len(set(zones.values())) > 1
        vanishing = adapter.fused_away(graph, self.outputs) if apart else set()
        raw: dict[Key, Any] = {}
        runs: list[tuple[str, int]] = []
        for name, layer in adapter.cull(fused, self.outputs).items():
            before = len(raw)
            raw.update(adapter.layer_tasks(layer))
            runs.append((name, len(raw) - before))
        made_by = np.repeat(np.arange(len(runs), dtype=np.int32), [count for _, count in runs])
        tasks = adapter.as_tasks(raw)
        if len(tasks) < len(raw):
            made_by = made_by[np.fromiter((key in tasks for key in raw), np.bool_, len(raw))]
        # What culling layers leaves of the tasks that nobody needs hangs on the hash seed.
        table = TaskTable.of(tasks)
        needed = table.needed(self.outputs)
        self.table, self.layer = table.only(needed), made_by[needed]
        self.layer_names = [name for name, _ in runs]
        self._pins_of_layers(zones, set(fused.layers))
        self.vanishing = self._by_layer([name in vanishing for name in self.layer_names], np.bool_)

    def _by_layer(self, values: list[Any], dtype: Any) -> NDArray[Any]:
        """Spread what is known of each layer over its tasks."""
        return np.array(values, dtype=dtype)[self.layer]

    # ---- pins

    def _pins_of_layers(self, zones: dict[str, int], left: set[str]) -> None:
        """Find the pin of each task, by its layer or its key, as a number in a table of pins.

        The task of a zone is bound as the zone is; it *has* the pin only if it, or a layer that
        became a part of it, was pinned by the user.
        """
        zone_pin = {zone: pin for name, zone in zones.items() if (pin := self.pins.layers[name])}
        bound = [zone_pin.get(zones[name]) for name in self.layer_names]
        self.pin_table: list[Pin | None] = [None]
        codes: dict[Pin, int] = {}

        def code(pin: Pin | None) -> int:
            if not pin:
                return 0
            if pin not in codes:
                codes[pin] = len(self.pin_table)
                self.pin_table.append(pin)
            return codes[pin]

        self.code_of_pin = code
        self.bound = self._by_layer([code(pin) for pin in bound], np.intp)
        pinned = self._layers_with_pins(left)
        self.has_pin = self._by_layer([name in pinned for name in self.layer_names], np.bool_)
        for key, pin in self.pins.keys.items():
            i = self.table.index.get(key)
            if i is not None:
                self.bound[i] = code(pin)
                self.has_pin[i] = True

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

    def _bind_known(self) -> None:
        """Bind free tasks that an earlier submission has brought to the scheduler.

        They stay where they are, whatever would be better now: the scheduler would keep them
        anyway, with the inputs that they had.
        """
        if self.submission is None:
            return
        there = set(self.submission.topology.names)
        known = self.submission.known
        for i in [i for i, key in enumerate(self.table.keys) if key in known]:
            if not self.bound[i]:
                key = self.table.keys[i]
                residence = self.submission.residence(key)
                if residence is not None and residence.pin and there.issuperset(residence.pin):
                    self.bound[i] = self.code_of_pin(residence.pin)

    # ---- placement

    def label(self) -> tuple[NDArray[np.intp], PlacementProblem]:
        """Build the placement problem and have it solved; labels of the tasks, and outsiders."""
        table = self.table
        self._bind_known()
        outside = self._outside()
        sizes = estimate_nbytes(
            dict(zip(table.keys, table.nodes, strict=True)),
            self.blocks,
            {key: size for key, (_, size) in outside.items()},
        )
        codes = [*self.bound.tolist(), *(self.code_of_pin(pin) for pin, _ in outside.values())]
        pools = tuple(sorted({name for i in set(codes) for name in self.pin_table[i] or ()}))
        rows = np.array([np.isin(pools, pin or pools) for pin in self.pin_table], dtype=np.bool_)
        pin = np.array(codes, dtype=np.intp)
        problem = PlacementProblem(
            pools=pools,
            sizes=np.array([*sizes.values(), *(s for _, s in outside.values())], dtype=np.float64),
            allowed=rows[pin],
            values=table.values,
            consumers=table.consumers,
            costs=uniform_costs(len(pools)),
            bound=pin > 0,
        )
        if not pools:
            return np.full(len(pin), UNPLACED, dtype=np.intp), problem
        # Values made earlier without a place take no part: what needs them can be anywhere.
        part = (pin > 0) | (np.arange(len(pin)) < len(table))
        labels = np.full(len(pin), UNPLACED, dtype=np.intp)
        whole = problem if part.all() else problem.restricted(part)
        labels[part] = place(whole, self.options.policy)
        # The steps of a P2P shuffle stay unplaced: distributed binds them to workers of its own
        # choice, and knows them by what they need, so that no transfer may come between.
        labels[self._shuffles()] = UNPLACED
        return labels, problem

    def _outside(self) -> dict[Key, tuple[Pin | None, float]]:
        """Tell where the values of earlier computations are, and how large."""
        residence = self.submission.residence if self.submission else _nowhere
        found: dict[Key, tuple[Pin | None, float]] = {}
        for key in self.table.outside:
            known = residence(key)
            found[key] = (known.pin, float(known.nbytes or 0)) if known else (None, 0.0)
        return found

    def _shuffles(self) -> list[int]:
        """Find the steps of P2P shuffles; the tasks of a blockwise layer are all of a kind."""
        nodes = self.table.nodes
        starts = np.searchsorted(self.layer, np.arange(len(self.layer_names) + 1)).tolist()
        found: list[int] = []
        for name, start, stop in zip(self.layer_names, starts, starts[1:], strict=False):
            if start == stop:
                continue
            if isinstance(self.graph.layers.get(name), adapter.Blockwise):
                if adapter.is_shuffle(nodes[start]):
                    found += range(start, stop)
            else:
                found += [i for i in range(start, stop) if adapter.is_shuffle(nodes[i])]
        return found

    # ---- fusion

    def _fuse(self, carried: Carried) -> tuple[Fused, NDArray[np.intp], NDArray[np.intp]]:
        """Fuse inside each pool what Dask would have fused; tell rows and pins of what is left."""
        table, labels = carried.table, carried.labels
        added = np.zeros(len(table) - len(self.table), dtype=np.intp)
        keep = carried.crossing | table.mask(self.outputs)
        vanishing = np.concatenate([self.vanishing, added > 0]) & ~keep
        pins = np.concatenate([np.where(self.has_pin, self.bound, 0), added])
        fused = fuse_into_consumers(table, vanishing)
        rows, pins = fused.rows, _joined(fused, pins)
        if adapter.wants_linear_fusion():
            table = fused.table() if fused.members else table
            alone = table.mask([*carried.moved, *self._delayed_keys(table)])
            fused = fuse_chains(table, labels[rows], alone, keep[rows])
            rows, pins = rows[fused.rows], _joined(fused, pins)
        return fused, rows, pins

    def _delayed_keys(self, table: TaskTable) -> list[Key]:
        """Keys that only delayed values need: Dask does not fuse these, unless asked to."""
        if adapter.wants_delayed_fusion():
            return []
        fused = [key for key in self.outputs if not adapter.is_delayed_key(key)]
        if len(fused) == len(self.outputs):
            return []
        return [table.keys[i] for i in np.flatnonzero(~table.needed(fused)).tolist()]

    # ---- annotations

    def _annotated(
        self,
        fused: Fused,
        rows: NDArray[np.intp],
        pins: NDArray[np.intp],
        carried: Carried,
        pools: tuple[str, ...],
        for_good: bool,
    ) -> adapter.HighLevelGraph:
        """Gather the tasks in layers, each annotated."""
        names: list[str | None] = [*pools, None]  # the label of an unplaced value is -1
        free_pin = self.free_pin if self.pins.any else None
        shape = (len(names), len(self.pin_table), len(names))
        sources = np.concatenate([np.full(len(self.table), UNPLACED), carried.sources])
        # Numbers from 0 to the count of pools, for where it is and from where it comes.
        kinds = np.ravel_multi_index(
            (carried.labels[rows] % len(names), pins, sources[rows] % len(names)), shape
        )

        def marks(kind: int) -> Marks:
            label, pin, source = (int(i) for i in np.unravel_index(kind, shape))
            said = None if names[source] else self.pin_table[pin] or free_pin
            return Marks(names[label], said, names[source])

        return annotated_graph(
            fused.keys,
            fused.nodes,
            kinds,
            marks,
            placed=for_good,
            others=self._other_annotations(),
            output=adapter.layer_name(self.outputs[0]) if self.outputs else "nothing",
        )

    def _other_annotations(self) -> Callable[[Key], dict[str, Any]]:
        """Tell the annotations of other kinds that a task has, as far as Dask keeps them.

        Dask drops those of arrays and bags when it fuses, and keeps those of delayed values.
        """
        layers, index, layer = self.graph.layers, self.table.index, self.layer

        def others(key: Key) -> dict[str, Any]:
            i = index.get(key) if adapter.is_delayed_key(key) else None
            if i is None:
                return {}
            return adapter.annotations_of(layers[self.layer_names[layer[i]]], key)

        return others


def _joined(fused: Fused, pins: NDArray[np.intp]) -> NDArray[np.intp]:
    """Tell the pins of fused tasks: a task has a pin if any of its parts has one."""
    joined = pins[fused.rows]
    for at, rows in fused.members.items():
        joined[at] = next((pin for pin in pins[rows[::-1]].tolist() if pin), 0)
    return joined


def _counted(labels: NDArray[np.intp], pools: tuple[str, ...]) -> dict[str | None, int]:
    """Count the tasks in each pool, None for those which are unplaced; only where there are any."""
    counts = np.bincount(labels + 1, minlength=len(pools) + 1).tolist()
    return {name: count for name, count in zip([None, *pools], counts, strict=True) if count}


def _nowhere(_: Key) -> None:
    """Look a value up where there is no scheduler."""
