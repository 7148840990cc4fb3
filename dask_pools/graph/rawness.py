"""Which values still contain the raw data of a pool.

What a pinned task reads is raw data of its pool, and so is all that is made of it, until a
reduction has made fewer elements of it. Nothing else is known to hide the data that it comes
from: no function of a user, no selection, no scaling.

Layers tell what their tasks do, from before Dask fuses them: afterwards one task may read a
block, reduce it and scale the result. So each fused layer is walked back, over the layers that
it has taken in, to those that it takes its values from. From a value from which every way leads
through a reduction, nothing raw comes::

    open_dataset --> mean_chunk --> scale      one task; what it reads is reduced on its way
    weights -----------------------^           but the weights are not

Over all other arcs raw data spreads from task to task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.adapter import reducing
from dask_pools.graph.pins import Pins
from dask_pools.graph.shrinking import Shrinking
from dask_pools.graph.sizes import Blocks
from dask_pools.graph.table import TaskTable
from dask_pools.model import Pin
from dask_pools.planning.arcs import Arcs
from dask_pools.planning.problem import PlacementProblem


@dataclass(frozen=True, slots=True)
class Made:
    """The tasks of a graph, and the layers that they are made of.

    Parameters
    ----------
    graph : HighLevelGraph
        The layers as the collections made them, neither fused nor culled.
    blocks : mapping of str to Blocks
        The blocks of its arrays.
    pins : Pins
        Its pins.
    table : TaskTable
        The tasks after the fusion; t of them.
    layers : ndarray of int, shape (t,)
        The layer of each task, an index into ``names``; -1 if it is of none.
    names : sequence of str
        The fused layers; each has the name of its last one before the fusion.
    """

    graph: adapter.HighLevelGraph
    blocks: Mapping[str, Blocks]
    pins: Pins
    table: TaskTable
    layers: NDArray[np.integer]
    names: Sequence[str]


def find_raw(made: Made, problem: PlacementProblem, pools: Sequence[int]) -> NDArray[np.bool_]:
    """Find the values that contain raw data of some pools.

    Parameters
    ----------
    made : Made
    problem : PlacementProblem
        Of these tasks, and after them of the values from outside. It is not known how these
        were made: they are raw data of the pools where they are.
    pools : sequence of int
        The pools that are asked for, as indices; R of them.

    Returns
    -------
    ndarray of bool, shape (n, R)
    """
    t = len(made.table)
    raw = np.zeros((len(problem.sizes), len(pools)), dtype=np.bool_)
    flow = _Flow(made, problem, [problem.pools[i] for i in pools])
    raw[:t] = flow.read
    raw[t:] = problem.allowed[t:, list(pools)] & problem.pinned[t:, np.newaxis]
    consumers = problem.consumers[flow.open]
    arcs = Arcs(replace(problem, values=problem.values[flow.open], consumers=consumers))
    changed = np.flatnonzero(raw.any(axis=1))
    while len(changed):
        found, which = arcs.needing(changed)
        users, coming = consumers[found], raw[changed][which]
        rows, columns = np.nonzero(coming & ~raw[users])
        raw[users[rows], columns] = True
        changed = np.flatnonzero(np.bincount(users[rows]))
    return raw


class _Flow:
    """How raw data flows: what each task reads, and the arcs over which it comes."""

    #: What each task reads itself; shape (t, R).
    read: NDArray[np.bool_]
    #: Whether raw data may come over each arc; shape (m,).
    open: NDArray[np.bool_]

    def __init__(self, made: Made, problem: PlacementProblem, pools: Sequence[str]) -> None:
        self.made, self.problem, self.pools = made, problem, pools
        self.shrinking = Shrinking(made.graph, made.blocks)
        self.inputs = np.bincount(problem.consumers, minlength=len(problem.sizes))
        self.read = np.zeros((len(made.table), len(pools)), dtype=np.bool_)
        self.open = np.ones(len(problem.values), dtype=np.bool_)
        self._follow_layers()
        self._follow_keys()
        combining = self._combining()
        self.read[combining] = False
        self.open[np.isin(problem.consumers, combining)] = False

    def _row(self, pin: Pin | None) -> NDArray[np.bool_]:
        return np.isin(self.pools, pin or ())

    # ---- layers

    def _follow_layers(self) -> None:
        """Find what each layer reads, and from which ones nothing raw comes."""
        made, problem = self.made, self.problem
        origin = [adapter.layer_name(key) for key in made.table.outside]
        names = ["", *made.names, *sorted(set(origin) - {*made.names})]  # the first for no layer
        number = {name: i for i, name in enumerate(names)}
        layer = np.concatenate([made.layers + 1, np.array([number[o] for o in origin], np.intp)])
        pairs = layer[problem.consumers] * len(names) + layer[problem.values]
        borders: dict[int, set[str]] = {}
        for pair in np.unique(pairs).tolist():
            borders.setdefault(pair // len(names), set()).add(names[pair % len(names)])
        present = np.unique(layer[: len(made.layers)]).tolist()
        rows = np.zeros((len(names), len(self.pools)), dtype=np.bool_)
        closed: list[int] = []
        for i in present:
            if names[i] in made.graph.layers:
                shut, rows[i] = self._walk(names[i], borders.get(i, set()))
                closed += [i * len(names) + number[name] for name in shut]
        self.read |= rows[layer[: len(self.read)]]
        self.open &= ~np.isin(pairs, closed)
        for i in present:
            if (grid := self.shrinking.of_some_blocks(names[i])) is not None:
                tasks = self._at(np.flatnonzero(layer[: len(self.read)] == i), grid)
                shut, self.read[tasks] = self._walk(names[i], borders.get(i, set()), shrunk=True)
                there = np.isin(pairs, [i * len(names) + number[name] for name in shut])
                self.open[there & np.isin(problem.consumers, tasks)] = False

    def _at(self, tasks: NDArray[np.intp], grid: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Choose the tasks of a layer whose blocks are marked in a grid of its blocks."""
        keys = [self.made.table.keys[i] for i in tasks.tolist()]
        indices = [key[1:] if isinstance(key, tuple) else () for key in keys]
        return tasks[np.array([bool(grid[index]) for index in indices], dtype=np.bool_)]

    def _walk(
        self, name: str, borders: set[str], *, shrunk: bool = False
    ) -> tuple[set[str], NDArray[np.bool_]]:
        """Walk back over the layers that a fused layer has taken in.

        Parameters
        ----------
        name : str
            The layer.
        borders : set of str
            The layers that its tasks take values from.
        shrunk : bool
            Whether to look at those of its blocks that are reduced, if only some are.

        Returns
        -------
        closed : set of str
            The borders from which nothing comes but what was reduced on every way.
        read : ndarray of bool, shape (R,)
            Raw data which is read on the way, and comes to the end without being reduced.
        """
        reached: set[str] = set()
        come: set[str] = set()
        read = np.zeros(len(self.pools), dtype=np.bool_)
        stack, seen = [(name, True)], {(name, True)}
        while stack:
            layer, raw = stack.pop()
            if raw:
                read |= self._reads(layer)
            for below in sorted(self.made.graph.dependencies.get(layer, ())):
                reduced = self.shrinking.reduces(layer, below, some=shrunk and layer == name)
                step = (below, raw and not reduced)
                if below in borders:
                    reached.add(below)
                    if step[1]:
                        come.add(below)
                elif step not in seen:
                    seen.add(step)
                    stack.append(step)
        return reached - come, read

    def _reads(self, name: str) -> NDArray[np.bool_]:
        """Tell the raw data that the tasks of a pinned layer read themselves."""
        graph = self.made.graph
        pin, layer = self.made.pins.layers.get(name), graph.layers.get(name)
        if not pin or layer is None or self.shrinking.is_reducing(name):
            return self._row(None)
        computes = isinstance(layer, adapter.Blockwise) and reducing.only_computes(layer.task)
        return self._row(None if computes and graph.dependencies.get(name) else pin)

    # ---- single tasks

    def _follow_keys(self) -> None:
        """Tell tasks that read from those that only compute, where layers do not say it."""
        made = self.made
        for key, pin in made.pins.keys.items():
            i = made.table.index.get(key)
            if i is not None:
                self.read[i] |= self._row(pin)
        asked = self.read.any(axis=1) & (self.inputs[: len(self.read)] > 0) & ~self._blockwise()
        for i in np.flatnonzero(asked).tolist():
            if reducing.only_computes(made.table.nodes[i]):
                self.read[i] = False

    def _combining(self) -> NDArray[np.intp]:
        """Find the tasks that combine several partial results of reductions."""
        several = (self.inputs[: len(self.read)] > 1) & ~self._blockwise()
        nodes = self.made.table.nodes
        found = [i for i in np.flatnonzero(several).tolist() if reducing.is_tree_step(nodes[i])]
        return np.array(found, dtype=np.intp)

    def _blockwise(self) -> NDArray[np.bool_]:
        """Mark the tasks of blockwise layers, of which the layers tell all."""
        layers = (self.made.graph.layers.get(name) for name in self.made.names)
        blockwise = [isinstance(layer, adapter.Blockwise) for layer in layers]
        of_layers = np.array([*blockwise, False], dtype=np.bool_)  # the last one for no layer, -1
        of_tasks: NDArray[np.bool_] = of_layers[self.made.layers]
        return of_tasks
