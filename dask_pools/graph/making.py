"""From the layers of a graph to its tasks, and to what is known of each: its layer, its pin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.copies import LONGEST_COPY, find_copyable
from dask_pools.graph.locating import locate, refuse_missing
from dask_pools.graph.pins import Pins, find_pins
from dask_pools.graph.regroup import Regrouped, find_trees, regroup
from dask_pools.graph.shuffles import Shuffles, find_shuffles
from dask_pools.graph.sizes import ASSUMED_NBYTES, Told, describe_blocks
from dask_pools.graph.submission import Residence, Submission
from dask_pools.graph.table import TaskTable
from dask_pools.graph.zones import Lossless, find_zones
from dask_pools.model import Locations, Pin


class Making:
    """The tasks of one graph.

    Parameters
    ----------
    graph : HighLevelGraph
        The graph, as the collections made it.
    outputs : list of keys
        What is wanted of it.
    pin : tuple of str or None
        The pin of what has no pin of its own.
    submission : Submission or None
        The circumstances; None if there is no scheduler.
    locations : Locations, optional
        Where data lives that nobody has pinned.

    Raises
    ------
    UnknownPoolError
        In `make`, if no pool of a location has workers.
    """

    #: The tasks, blockwise-fused inside zones, and culled.
    table: TaskTable
    #: The layer of each task, an index into `layer_names`.
    layer: NDArray[np.int32]
    layer_names: list[str]
    #: Pins by number; 0 stands for none.
    pin_table: list[Pin | None]
    #: The pin to which each task is bound, as a number.
    bound: NDArray[np.intp]
    #: Whether the user pinned the task, or a part of it.
    has_pin: NDArray[np.bool_]
    #: Tasks that Dask would fuse into those that need them, were there no pools.
    vanishing: NDArray[np.bool_]
    #: For each task made by regrouping, the row of one whose value has the same size.
    like: dict[int, int]
    #: Number of regrouped blocks of reductions.
    regrouped: int

    def __init__(
        self,
        graph: adapter.HighLevelGraph,
        outputs: list[Key],
        pin: Pin | None,
        submission: Submission | None,
        locations: Locations | None = None,
    ) -> None:
        graph, carried = adapter.take_layer_pins(graph)
        #: What is known of data frames.
        self.told = Told({key: n for taken in carried.values() for key, n in taken.nbytes.items()})
        self.graph = graph
        self.outputs = outputs
        self.submission = submission
        pools = None if submission is None else submission.topology.names
        self.located = locate(graph, locations or Locations())
        self.pins: Pins = find_pins(graph, pin, pools, carried, self.located)
        self.blocks = describe_blocks(graph)
        futures = {name for name, layer in graph.layers.items() if adapter.has_futures(layer)}
        self.mixed = self.pins.mixed | futures
        self._codes: dict[Pin, int] = {}
        self.pin_table = [None]

    def make(
        self, *, lossless: Lossless, reorder: bool, zones: dict[str, int] | None = None
    ) -> None:
        """Fuse blockwise layers inside zones, cull, and make the tasks.

        Parameters
        ----------
        lossless : Lossless
            What may be fused before it is known where tasks run.
        reorder : bool
            Whether reductions may be regrouped.
        zones : dict, optional
            The zones of the layers, if they are given.
        """
        graph, outputs = self.graph, self.outputs
        if zones is None:
            zones = find_zones(graph, self.pins.layers, self.mixed, self.blocks, lossless)
        annotations: dict[str, dict[str, Any] | None] = {
            name: {"zone": zone} for name, zone in zones.items()
        }
        fused = adapter.fuse_blockwise(adapter.with_annotations(graph, annotations), outputs)
        # What Dask would fuse if it knew of no pools; asked for only if zones made a difference.
        apart = len(set(zones.values())) > 1
        vanishing = adapter.fused_away(graph, outputs) if apart else set()
        raw: dict[Key, Any] = {}
        counts: dict[str, int] = {}
        for name, layer in adapter.cull(fused, outputs).items():
            before = len(raw)
            raw.update(adapter.layer_tasks(layer))
            counts[name] = len(raw) - before
        made_by = np.repeat(np.arange(len(counts), dtype=np.int32), list(counts.values()))
        tasks = adapter.as_tasks(raw)
        if len(tasks) < len(raw):
            made_by = made_by[np.fromiter((key in tasks for key in raw), np.bool_, len(raw))]
        # What culling layers leaves of the tasks that nobody needs hangs on the hash seed.
        table = TaskTable.of(tasks)
        needed = table.needed(outputs)
        self.table, self.layer = table.only(needed), made_by[needed]
        self.layer_names = list(counts)
        self._bind(zones, set(fused.layers))
        self.like, self.regrouped = {}, 0
        if reorder and (trees := find_trees(graph, self.pins.layers, self.mixed)):
            self._take(regroup(self.table.tasks(), trees, self._pin_of, keep=outputs))
        names = [name in vanishing for name in self.layer_names]
        self.vanishing = self._spread(names, np.bool_) & ~self.table.mask(
            self.table.keys[i] for i in self.like
        )

    def _spread(self, values: list[Any], dtype: Any) -> NDArray[Any]:
        """Spread what is known of each layer over its tasks."""
        return np.array(values, dtype=dtype)[self.layer]

    # ---- pins

    def code(self, pin: Pin | None) -> int:
        """Give a pin its number."""
        if not pin:
            return 0
        if pin not in self._codes:
            self._codes[pin] = len(self.pin_table)
            self.pin_table.append(pin)
        return self._codes[pin]

    def joined(
        self, rows: NDArray[np.intp], members: Mapping[int, list[int]], pins: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """Tell the pins of fused tasks: the pools in which all of their parts may run.

        Parameters
        ----------
        rows : ndarray of intp, shape (n,)
            The row of each task, or of its last part.
        members : mapping of int to list of int
            The rows of all parts of those that were fused, by position.
        pins : ndarray of intp
            The number of the pin of each row.
        """
        joined = pins[rows]
        for at, parts in members.items():
            said = list(dict.fromkeys(pin for pin in pins[parts[::-1]].tolist() if pin))
            if len(said) > 1:
                first, *others = (self.pin_table[pin] or () for pin in said)
                common = tuple(pool for pool in first if all(pool in other for other in others))
                # Of tasks that were placed, one pool at least is common to all.
                joined[at] = self.code(common) or said[0]
            elif said:
                joined[at] = said[0]
        return joined

    def _bind(self, zones: dict[str, int], left: set[str]) -> None:
        """Find the pin of each task, by its layer or its key.

        The task of a zone is bound as the zone is; it *has* the pin only if it, or a layer that
        became a part of it, was pinned by the user.
        """
        zone_pin = {zone: pin for name, zone in zones.items() if (pin := self.pins.layers[name])}
        bound = [self.code(zone_pin.get(zones[name])) for name in self.layer_names]
        pinned = self._layers_with_pins(left)
        self.bound = self._spread(bound, np.intp)
        self.has_pin = self._spread([name in pinned for name in self.layer_names], np.bool_)
        for key, pin in self.pins.keys.items():
            i = self.table.index.get(key)
            if i is not None:
                self.bound[i] = self.code(pin)
                self.has_pin[i] = True
        if (there := self.submission) is not None:
            used = [self.pin_table[code] or () for code in np.unique(self.bound).tolist()]
            refuse_missing(self.located, used, there.topology.names, there.awaited)
        self._bind_known()

    def _layers_with_pins(self, left: set[str]) -> set[str]:
        """Layers that are pinned, or that a pinned layer has become a part of."""
        dependents = self.graph.dependents
        found: set[str] = set()
        # Each layer once: where it is used twice over and over (`x.fillna(y).fillna(z)`), the
        # ways from a read to the result double at every step.
        seen: set[str] = set()
        stack = [name for name, pin in self.pins.layers.items() if pin]
        while stack:
            layer = stack.pop()
            if layer in seen:
                continue
            seen.add(layer)
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
            residence = None if self.bound[i] else self.submission.residence(self.table.keys[i])
            if residence is not None and residence.pin and there.issuperset(residence.pin):
                self.bound[i] = self.code(residence.pin)

    def outside(self) -> dict[Key, tuple[Pin | None, float]]:
        """Tell where the values of earlier computations are, and how large."""
        residence = self.submission.residence if self.submission else _nowhere
        found: dict[Key, tuple[Pin | None, float]] = {}
        for key in self.table.outside:
            known = residence(key)
            found[key] = (known.pin, self._nbytes(key, known)) if known else (None, 0.0)
        return found

    def _nbytes(self, key: Key, known: Residence) -> float:
        """Tell the size of a value from outside; one that is still being made has none yet."""
        if known.nbytes is not None:
            return float(known.nbytes)
        learned = self.submission.learned.get(adapter.kind_of(key)) if self.submission else None
        seen = None if learned is None else learned.nbytes
        return ASSUMED_NBYTES if seen is None else seen

    # ---- regrouping

    def _pin_of(self, key: Key) -> Pin | None:
        """Tell the pools to which a task, or a value made earlier, is bound."""
        i = self.table.index.get(key)
        if i is not None:
            return self.pin_table[int(self.bound[i])]
        residence = None if self.submission is None else self.submission.residence(key)
        return residence.pin or None if residence is not None else None

    def _take(self, new: Regrouped) -> None:
        """Take the tasks of regrouped reductions in the place of the old ones."""
        if not new.count:
            return
        before, table = self.table, TaskTable.of(new.tasks)
        # What is true of the layer of a result is true of the tasks which it is made of now.
        rows = np.array(
            [before.index[new.part_of.get(key, key)] for key in table.keys], dtype=np.intp
        )
        self.layer, self.bound, self.has_pin = (
            self.layer[rows],
            self.bound[rows],
            self.has_pin[rows],
        )
        self.like = {table.index[key]: table.index[other] for key, other in new.like.items()}
        self.table, self.regrouped = table, new.count

    # ---- what needs care

    def copyable(self) -> dict[int, dict[Key, adapter.GraphNode]]:
        """Find values that can be made anew in any pool, by row, with the tasks to repeat."""
        table, known = self.table, self.submission.known if self.submission else ()
        free = (self.bound == 0) & ~self.has_pin
        # Sources, and what is made of nothing but them.
        candidate = free & (np.bincount(table.consumers, minlength=len(table)) == 0)
        inside = np.append(candidate, np.zeros(len(table.outside), dtype=np.bool_))
        for _ in range(LONGEST_COPY if candidate.any() else 0):
            others = np.bincount(table.consumers[~inside[table.values]], minlength=len(table))
            inside[: len(table)] = free & (others == 0)
        rows = np.flatnonzero(inside[: len(table)]).tolist()
        tasks = {table.keys[i]: table.nodes[i] for i in rows}
        found = find_copyable(tasks, lambda key: key in known) if tasks else {}
        return {
            table.index[key]: {part: tasks[part] for part in parts} for key, parts in found.items()
        }

    def shuffles(self) -> Shuffles:
        """Find the P2P shuffles. Their barriers are in no blockwise layer."""
        nodes, layers = self.table.nodes, self.graph.layers
        blockwise = [isinstance(layers.get(name), adapter.Blockwise) for name in self.layer_names]
        rows = np.flatnonzero(~self._spread(blockwise, np.bool_)).tolist()
        return find_shuffles(self.table, [i for i in rows if adapter.is_barrier(nodes[i])])


def _nowhere(_: Key) -> None:
    """Look a value up where there is no scheduler."""
