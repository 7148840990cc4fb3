"""The last step of the optimiser: a graph of one annotated layer for each pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.model import (
    PIN,
    PLACEMENT,
    RESOURCE_PREFIX,
    TRANSFER,
    Pin,
    restriction,
)

#: The tasks of a layer and its annotations.
_Part: TypeAlias = tuple[dict[Key, adapter.GraphNode], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Marks:
    """How a task is to be annotated.

    Parameters
    ----------
    pool : str or None
        The pool in which it is placed, None if it is unplaced.
    pin : tuple of str or None
        Its pin; None if it is free, empty if it is free although the whole computation has a
        pin (`pool(None)`).
    source : str or None
        The pool from which it carries a value; None if it is no transfer.
    """

    pool: str | None
    pin: Pin | None
    source: str | None

    def __str__(self) -> str:
        # With signs that names of pools do not have, so that a pool may have any name.
        name = self.pool or "(unplaced)"
        if self.source:
            return f"{self.source} > {name}"
        if self.pin:
            several = len(self.pin) > 1
            return f"{name} (pinned to {' '.join(self.pin)})" if several else f"{name} (pinned)"
        return name if self.pin is None else f"{name} (free)"


def annotated_graph(
    keys: Sequence[Key],
    nodes: Sequence[adapter.GraphNode],
    kinds: NDArray[np.intp],
    marks: Callable[[int], Marks],
    *,
    placed: bool,
    others: Callable[[Key], dict[str, Any]],
    output: str,
) -> adapter.HighLevelGraph:
    """Gather tasks in layers, one for each way in which they are to be annotated.

    Parameters
    ----------
    keys, nodes : sequence
        The tasks.
    kinds : ndarray of intp, shape (n,)
        A number for the way in which each is to be annotated.
    marks : callable
        Tells what such a number stands for.
    placed : bool
        Whether to annotate placements; otherwise only pins are.
    others : callable
        Annotations of other kinds that a task of a delayed value has.
    output : str
        The name of the layer, if it is only one: on the client.
    """
    extras = {
        i: extra for i, key in enumerate(keys) if isinstance(key, str) and (extra := others(key))
    }
    layers: dict[str, _Part] = {}
    for kind, rows in _groups(kinds):
        mark = marks(kind)
        plain = [i for i in rows if i not in extras] if extras else rows
        if plain:
            part = {keys[i]: nodes[i] for i in plain}
            layers[str(mark)] = part, _annotations(mark, placed, {})
        for i in (row for row in rows if row in extras) if extras else ():
            name = f"{mark} {sorted(extras[i].items(), key=str)}"
            if name not in layers:
                layers[name] = {}, _annotations(mark, placed, extras[i])
            layers[name][0][keys[i]] = nodes[i]
    if adapter.wants_linear_fusion():
        layers = {name: (_polished(tasks), said) for name, (tasks, said) in layers.items()}
    return adapter.graph_of(layers if placed else {output: _one_layer(layers)})


def _groups(kinds: NDArray[np.intp]) -> Iterator[tuple[int, list[int]]]:
    """Group the positions of equal numbers."""
    order = np.argsort(kinds, kind="stable")
    distinct, starts = np.unique(kinds[order], return_index=True)
    for kind, rows in zip(distinct.tolist(), np.split(order, starts[1:]), strict=False):
        yield kind, rows.tolist()


def _polished(tasks: dict[Key, adapter.GraphNode]) -> dict[Key, adapter.GraphNode]:
    """Do to single tasks what Dask does after it has fused them."""
    tasks = adapter.fuse_slices(tasks)
    lazy = {
        key: adapter.make_lazy(task) for key, task in tasks.items() if adapter.makes_lists(task)
    }
    return {**tasks, **lazy} if lazy else tasks


def _one_layer(layers: Mapping[str, _Part]) -> _Part:
    """Make one layer of several, its annotations differing from key to key.

    What stays on the client may be culled and built upon, for which layers would have to
    tell what they depend on; gathered by annotation, they depend on each other.
    """
    tasks = {key: task for part, _ in layers.values() for key, task in part.items()}
    by_kind: dict[str, dict[Key, Any]] = {}
    for part, said in layers.values():
        for kind, value in (said or {}).items():
            by_kind.setdefault(kind, {}).update(dict.fromkeys(part, value))
    return tasks, {kind: adapter.ByKey(values) for kind, values in by_kind.items()} or None


def _annotations(mark: Marks, placed: bool, extra: dict[str, Any]) -> dict[str, Any] | None:
    annotations = dict(extra)
    bound = (mark.pool if placed else None) or (mark.pin[0] if mark.pin else None)
    if mark.pin is not None:
        # Of a task that says nothing, or None, Dask would say the pin of the whole.
        annotations[PIN] = mark.pin
    if placed and mark.pool:
        annotations[PLACEMENT] = mark.pool
    if mark.source:
        annotations[TRANSFER] = (mark.source, mark.pool)
    if bound:
        own = {
            name: quantity
            for name, quantity in (extra.get("resources") or {}).items()
            if not name.startswith(RESOURCE_PREFIX)
        }
        annotations["resources"] = {**own, **restriction(bound)}
    return annotations or None
