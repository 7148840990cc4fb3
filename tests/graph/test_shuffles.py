"""P2P shuffles are placed as a whole."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask._task_spec import Alias, Task, TaskRef
from distributed.shuffle._core import p2p_barrier

from dask_pools import pool
from dask_pools.graph import adapter
from dask_pools.graph.optimize import place_graph
from dask_pools.graph.shuffles import Shuffles, find_shuffles
from dask_pools.graph.table import TaskTable
from dask_pools.planning.problem import UNPLACED, PlacementProblem, uniform_costs
from tests.graph.test_zones import read


def tasks(**needs: str) -> TaskTable:
    """Make tasks by the names of what they need; names that begin with `barrier` are such."""
    nodes: dict[Any, Any] = {}
    for name, inputs in needs.items():
        if inputs.startswith("="):
            nodes[name] = Alias(name, target=inputs[1:])
        else:
            function: Any = p2p_barrier if name.startswith("barrier") else max
            nodes[name] = Task(name, function, *map(TaskRef, inputs.split()))
    return TaskTable.of(nodes)


def found(table: TaskTable) -> Shuffles:
    return find_shuffles(
        table, [i for i, node in enumerate(table.nodes) if adapter.is_barrier(node)]
    )


def units(table: TaskTable) -> list[set[Any]]:
    shuffles = found(table)
    names: dict[int, set[Any]] = {}
    for step, unit in zip(shuffles.steps.tolist(), shuffles.unit.tolist(), strict=True):
        names.setdefault(unit, set()).add(table.keys[step])
    return sorted(names.values(), key=str)


RECHUNK = {"x": "", "y": "", "s": "x", "t": "y", "barrier": "s t", "u": "barrier", "v": "barrier"}


def test_steps_are_what_is_around_a_barrier() -> None:
    assert units(tasks(**RECHUNK, end="u v")) == [{"s", "t", "barrier", "u", "v"}]


def test_shuffles_are_apart_unless_they_share_outputs() -> None:
    apart = {f"barrier{i}": f"t{i}" for i in range(2)} | {f"u{i}": f"barrier{i}" for i in range(2)}
    assert len(units(tasks(t0="", t1="", **apart))) == 2
    merge = tasks(t0="", t1="", barrier0="t0", barrier1="t1", u="barrier0 barrier1")
    assert units(merge) == [{"t0", "t1", "barrier0", "barrier1", "u"}]


def test_steps_are_found_behind_aliases_and_done_ones_left_out() -> None:
    table = tasks(x="", s="x", alias="=s", barrier="alias done", u="barrier")
    assert units(table) == [{"s", "alias", "barrier", "u"}]
    sizes = found(table).weighed(np.array([8.0, 1, 1, 1, 4, 4]))
    assert sizes[table.index["s"]] == sizes[table.index["barrier"]] == 16


def test_steps_stand_for_their_data() -> None:
    table = tasks(**RECHUNK)
    sizes = found(table).weighed(np.array([10.0, 5, 1, 1, 1, 7, 8]))
    assert sizes.tolist() == [10, 5, 20, 10, 30, 7, 8]


def problem(table: TaskTable, **pins: str) -> PlacementProblem:
    allowed = np.ones((len(table), 2), dtype=np.bool_)
    for name, pool_ in pins.items():
        allowed[table.index[name]] = [pool_ == "a", pool_ == "b"]
    return PlacementProblem(
        pools=("a", "b"),
        sizes=np.ones(len(table)),
        allowed=allowed,
        values=table.values,
        consumers=table.consumers,
        costs=uniform_costs(2),
    )


@pytest.mark.parametrize(
    ("labels", "pins", "expected"),
    [
        ([0, 0, 1, 0, 1, 0, 0], {}, 1),  # to its barrier
        ([0, 0, 1, 0, 1, 0, 0], {"u": "a"}, 0),  # as far as it may go there
        ([0, 0, 1, 0, 1, 0, 0], {"u": "a", "v": "b"}, UNPLACED),  # nowhere together
        ([0, 0, -1, -1, -1, -1, -1], {}, UNPLACED),
    ],
)
def test_a_shuffle_is_placed_in_one_pool(
    labels: list[int], pins: dict[str, str], expected: int
) -> None:
    table = tasks(**RECHUNK)
    before = np.array(labels, dtype=np.intp)
    after = found(table).together(before, problem(table, **pins))
    assert after[:2].tolist() == labels[:2]
    assert set(after[2:].tolist()) == {expected}
    assert before.tolist() == labels


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("consumer", [None, "a", "b"])
def test_no_more_crosses_than_half_of_the_data_of_stock(share: float, consumer: str | None) -> None:
    """Stock sends half of everything to the other pool, before any output is carried on."""
    rows = 200
    other = int(rows * share)
    parts = [read("a", (rows - other, 40)), read("b", (other, 40))]
    with dask.config.set({"array.rechunk.method": "p2p"}):
        y = da.concatenate(parts).rechunk((-1, 1))
    if consumer is not None:
        with pool(consumer):
            y = y.map_blocks(np.negative)
    plan = place_graph(y.__dask_graph__(), y.__dask_keys__(), transfers=True).plan
    moved = sum(transfer.nbytes for transfer in plan.transfers)
    expected = rows - other if consumer == "b" else other
    assert moved == expected * 40 * 8


def test_shuffles_that_follow_each_other_stay_where_the_first_one_is() -> None:
    with dask.config.set({"array.rechunk.method": "p2p"}):
        y = read("a", (80, 40)).rechunk((-1, 1)).rechunk((2, -1)) + read("b", (80, 40), (2, 40))[:1]
    plan = place_graph(y.__dask_graph__(), y.__dask_keys__(), transfers=True).plan
    assert sum(transfer.nbytes for transfer in plan.transfers) <= 40 * 8 * 40
    assert {transfer.link.target for transfer in plan.transfers} == {"a"}


def test_outputs_are_not_fused_with_what_follows() -> None:
    with dask.config.set({"array.rechunk.method": "p2p"}):
        y = read("a", (80, 40)).rechunk((-1, 1)) + 1
    graph = place_graph(y.__dask_graph__(), y.__dask_keys__(), transfers=True).graph
    outputs = [task for task in graph.values() if adapter.is_shuffle_output(task)]
    assert len(outputs) == 40
    assert not any(task.has_subgraph() for task in outputs)
