"""Fusion of placed tasks."""

from __future__ import annotations

from operator import add, mul

from dask._task_spec import Task, TaskRef, execute_graph

from dask_pools.graph import adapter
from dask_pools.graph.fusion import fuse_chains, fuse_into_consumers


def task(key, function, *inputs):
    return Task(key, function, *(TaskRef(i) if isinstance(i, tuple) else i for i in inputs))


def graph(*tasks: Task) -> dict:
    return {t.key: t for t in tasks}


A, B, C, D = ("a", 0), ("b", 0), ("c", 0), ("d", 0)


def values(tasks: dict, *keys) -> list:
    found = execute_graph(dict(tasks), keys=list(keys))
    return [found[key] for key in keys]


def test_a_task_becomes_a_part_of_its_consumer() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, 3, 4), task(C, mul, A, B))
    fused = fuse_into_consumers(tasks, {C}, lambda key: key != C)
    assert set(fused) == {C}
    assert values(fused, C) == [21]


def test_a_task_becomes_a_part_of_each_of_its_consumers() -> None:
    """As in Dask's blockwise fusion, where a step costs less than a task."""
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1), task(C, mul, A, 2))
    fused = fuse_into_consumers(tasks, {B, C}, lambda key: key == A)
    assert set(fused) == {B, C}
    assert values(fused, B, C) == [4, 6]


def test_a_task_is_once_in_a_task_that_needs_it_twice() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1), task(C, mul, A, 2), task(D, add, B, C))
    fused = fuse_into_consumers(tasks, {D}, lambda key: key != D)
    assert set(fused) == {D}
    assert values(fused, D) == [10]


def test_results_and_values_that_cross_keep_their_key() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1))
    assert set(fuse_into_consumers(tasks, {A, B}, lambda key: True)) == {A, B}


def test_tasks_that_dask_would_not_fuse_stay() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1))
    assert fuse_into_consumers(tasks, {B}, lambda key: False) == tasks


def test_the_graph_that_is_given_stays_as_it_is() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1))
    before = dict(tasks)
    fuse_into_consumers(tasks, {B}, lambda key: True)
    fuse_chains(tasks, dict.fromkeys(tasks, "x"), {B}, lambda key: True)
    assert tasks == before


def test_chains_are_fused_inside_one_place_only() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1), task(C, add, B, 1), task(D, add, C, 1))
    where = {A: "x", B: "x", C: "y", D: "y"}
    fused, places = fuse_chains(tasks, where, {D, B}, lambda key: True)
    assert places[D] == "y"
    assert places[B] == "x"
    assert {len(list(adapter.members(t))) for t in fused.values()} == {1, 2}
    for key, t in fused.items():
        assert {where[m] for m in adapter.members(t) if m in where} <= {places[key]}
    assert values(fused, D) == [6]


def test_a_value_needed_by_a_task_that_is_not_fused_keeps_its_key() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1), task(C, add, B, 1))
    fused, _ = fuse_chains(tasks, dict.fromkeys(tasks, "x"), {C}, lambda key: key != C)
    assert C in fused
    assert B in fused
    assert values(fused, C) == [5]
