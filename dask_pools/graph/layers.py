"""The last step of the optimiser: a graph of one annotated layer for each pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dask.typing import Key

from dask_pools.graph import adapter
from dask_pools.model import (
    PIN,
    PLACEMENT,
    RESOURCE_PREFIX,
    TRANSFER,
    Pin,
    restriction,
)
from dask_pools.planning.plan import Transfer


def annotated_graph(
    tasks: Mapping[Key, adapter.GraphNode],
    *,
    where: Mapping[Key, str | None],
    pins: Mapping[Key, Pin | None],
    free_pin: Pin | None,
    moved: Mapping[Key, Transfer],
    placed: bool,
    others: Callable[[Key], dict[str, Any]],
    output: str,
) -> adapter.HighLevelGraph:
    """Gather tasks in layers, one for each way in which they are to be annotated.

    Parameters
    ----------
    tasks : mapping
        The tasks by key.
    where : mapping
        The pool of each task, None if it is unplaced.
    pins : mapping
        The pin of each task, None if it is free.
    free_pin : tuple or None
        The pin of a free task: None, or empty if it is free although the whole computation has
        a pin (`pool(None)`).
    moved : mapping
        The transfers by the key of their task.
    placed : bool
        Whether to annotate placements; otherwise only pins are.
    others : callable
        Annotations of other kinds that a task has.
    output : str
        The name of the layer, if it is only one: on the client.
    """
    layers: dict[str, tuple[dict[Key, adapter.GraphNode], dict[str, Any] | None]] = {}
    for key, task in tasks.items():
        pool = where[key]
        transfer = moved.get(key)
        pin = None if transfer else pins[key] or free_pin
        extra = others(key)
        # With signs that names of pools do not have, so that a pool may have any name.
        name = pool or "(unplaced)"
        if transfer:
            name = f"{transfer.link.source} > {transfer.link.target}"
        elif pin:
            name += " (pinned)" if len(pin) == 1 else f" (pinned to {' '.join(pin)})"
        elif pin is not None:
            name += " (free)"
        if extra:
            name += f" {sorted(extra.items(), key=str)}"
        if name not in layers:
            layers[name] = ({}, _annotations(pool, pin, transfer, placed, extra))
        layers[name][0][key] = task
    return adapter.graph_of(layers if placed else {output: _one_layer(layers)})


def _one_layer(
    layers: Mapping[str, tuple[dict[Key, adapter.GraphNode], dict[str, Any] | None]],
) -> tuple[dict[Key, adapter.GraphNode], dict[str, Any] | None]:
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


def _annotations(
    pool: str | None,
    pin: Pin | None,
    transfer: Transfer | None,
    placed: bool,
    extra: dict[str, Any],
) -> dict[str, Any] | None:
    annotations = dict(extra)
    bound = (pool if placed else None) or (pin[0] if pin else None)
    if pin is not None:
        # Of a task that says nothing, or None, Dask would say the pin of the whole.
        annotations[PIN] = pin
    if placed and pool:
        annotations[PLACEMENT] = pool
    if transfer:
        annotations[TRANSFER] = (transfer.link.source, transfer.link.target)
    if bound:
        own = {
            name: quantity
            for name, quantity in (extra.get("resources") or {}).items()
            if not name.startswith(RESOURCE_PREFIX)
        }
        annotations["resources"] = {**own, **restriction(bound)}
    return annotations or None
