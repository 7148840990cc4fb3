"""Placed graphs: what must be true of each, and how to run one without a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dask.core import flatten
from dask.typing import Key

from dask_pools.graph.placing import PlacedGraph
from dask_pools.model import PIN, PLACEMENT, TRANSFER, pool_resource
from tests.sources import running_in

#: The annotations of a task.
Annotations = Mapping[str, Any]


def tasks_of(placed: PlacedGraph) -> dict[Key, tuple[Any, Annotations]]:
    """Return each task with its annotations."""
    found: dict[Key, tuple[Any, Annotations]] = {}
    for layer in placed.graph.layers.values():
        for key, task in layer.items():
            assert key not in found
            found[key] = task, layer.annotations or {}
    return found


def check_annotations(annotations: Annotations) -> None:
    """Check that the annotations of a task agree with each other."""
    place = annotations.get(PLACEMENT)
    assert annotations.get("resources", {}) == ({pool_resource(place): 0} if place else {})
    if annotations.get(PIN):
        assert place in annotations[PIN]
        assert TRANSFER not in annotations
    if TRANSFER in annotations:
        source, target = annotations[TRANSFER]
        assert source != target == place


def check(placed: PlacedGraph, keys: Any) -> None:
    """Check that values cross between pools by transfers only, each once for each pool."""
    tasks = tasks_of(placed)
    assert tasks.keys() >= set(flatten(keys))
    carried: list[tuple[Key, str, str]] = []
    for task, said in tasks.values():
        check_annotations(said)
        needed = {d: tasks[d][1].get(PLACEMENT) for d in task.dependencies}
        if TRANSFER in said:
            (value,) = needed
            source, target = said[TRANSFER]
            assert needed[value] == source
            carried.append((value, source, target))
        else:
            assert {*needed.values()} <= {said.get(PLACEMENT)}
    assert len({(value, target) for value, _, target in carried}) == len(carried)
    planned = [(t.key, t.link.source, t.link.target) for t in placed.plan.transfers]
    assert sorted(planned, key=str) == sorted(carried, key=str)


def run(placed: PlacedGraph) -> dict[Key, Any]:
    """Run all tasks, each knowing in which pool it is."""
    tasks = tasks_of(placed)
    found: dict[Key, Any] = {}
    for key in _order({key: task.dependencies for key, (task, _) in tasks.items()}):
        task, annotations = tasks[key]
        with running_in(annotations.get(PLACEMENT) or "nowhere"):
            found[key] = task({d: found[d] for d in task.dependencies})
    return found


def _order(dependencies: Mapping[Key, Any]) -> Iterator[Key]:
    done: set[Key] = set()
    for start in dependencies:
        stack = [start]
        while stack:
            key = stack[-1]
            missing = [d for d in dependencies[key] if d not in done]
            if missing:
                stack += missing
            elif stack.pop() not in done:
                done.add(key)
                yield key


def results(values: Mapping[Key, Any], collection: Any) -> Any:
    """Put a collection's result together."""
    finalize, arguments = collection.__dask_postcompute__()
    return finalize(_nested(values, collection.__dask_keys__()), *arguments)


def _nested(values: Mapping[Key, Any], keys: Any) -> Any:
    return [_nested(values, key) for key in keys] if isinstance(keys, list) else values[keys]
