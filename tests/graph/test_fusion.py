"""Fusion of placed tasks."""

from __future__ import annotations

from operator import add, mul

import numpy as np
from dask._task_spec import Task, TaskRef, execute_graph

from dask_pools.graph.fusion import Fused, fuse_chains, fuse_into_consumers
from dask_pools.graph.table import TaskTable


def task(key, function, *inputs):
    return Task(key, function, *(TaskRef(i) if isinstance(i, tuple) else i for i in inputs))


def graph(*tasks: Task) -> dict:
    return {t.key: t for t in tasks}


A, B, C, D = ("a", 0), ("b", 0), ("c", 0), ("d", 0)


def into_consumers(tasks: dict, vanishing: set) -> dict:
    table = TaskTable.of(tasks)
    return made(fuse_into_consumers(table, table.mask(vanishing)))


def made(fused: Fused) -> dict:
    return dict(zip(fused.keys, fused.nodes, strict=True))


def chains(table: TaskTable, fused: Fused) -> list:
    return sorted([table.keys[i] for i in rows] for rows in fused.members.values())


def values(tasks: dict, *keys) -> list:
    found = execute_graph(dict(tasks), keys=list(keys))
    return [found[key] for key in keys]


def test_a_task_becomes_a_part_of_its_consumer() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, 3, 4), task(C, mul, A, B))
    fused = into_consumers(tasks, {A, B})
    assert set(fused) == {C}
    assert values(fused, C) == [21]


def test_a_task_becomes_a_part_of_each_of_its_consumers() -> None:
    """As in Dask's blockwise fusion, where a step costs less than a task."""
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1), task(C, mul, A, 2))
    fused = into_consumers(tasks, {A})
    assert set(fused) == {B, C}
    assert values(fused, B, C) == [4, 6]


def test_a_task_is_once_in_a_task_that_needs_it_twice() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1), task(C, mul, A, 2), task(D, add, B, C))
    fused = into_consumers(tasks, {A, B, C})
    assert set(fused) == {D}
    assert values(fused, D) == [10]


def test_tasks_that_dask_would_not_fuse_stay() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1))
    assert into_consumers(tasks, set()) == tasks


def test_the_graph_that_is_given_stays_as_it_is() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1))
    before = dict(tasks)
    into_consumers(tasks, {A})
    table = TaskTable.of(tasks)
    no = table.mask([])
    fuse_chains(table, np.zeros(2, dtype=int), no, table.mask([B]))
    assert tasks == before


def test_chains_are_fused_inside_one_place_only() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1), task(C, add, B, 1), task(D, add, C, 1))
    table = TaskTable.of(tasks)
    place = np.array([0, 0, 1, 1])
    fused = fuse_chains(table, place, table.mask([]), table.mask([D, B]))
    assert chains(table, fused) == [[A, B], [C, D]]
    assert values(made(fused), D) == [6]


def test_a_value_needed_by_a_task_that_is_not_fused_keeps_its_key() -> None:
    tasks = graph(task(A, add, 1, 2), task(B, add, A, 1), task(C, add, B, 1))
    table = TaskTable.of(tasks)
    fused = made(fuse_chains(table, np.zeros(3, dtype=int), table.mask([C]), table.mask([C])))
    assert C in fused
    assert B in fused
    assert values(fused, C) == [5]


def test_a_chain_ends_where_several_need_its_value() -> None:
    """And both the chain before and the chains after it are fused."""
    e = ("e", 0)
    tasks = graph(
        task(A, add, 1, 2),
        task(B, add, A, 1),
        task(C, add, B, 1),
        task(D, add, C, 1),
        task(e, add, B, 2),
    )
    table = TaskTable.of(tasks)
    fused = fuse_chains(table, np.zeros(5, dtype=int), table.mask([]), table.mask([D, e]))
    assert chains(table, fused) == [[A, B], [C, D]]
    assert values(made(fused), D, e) == [6, 6]
