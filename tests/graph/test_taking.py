"""Pins that tasks carry with them: taken off, and what was fused from several pools taken apart."""

from __future__ import annotations

import operator
import pickle
from typing import Any

from dask._task_spec import Alias, DataNode, Task, TaskRef, execute_graph
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.graph import adapter
from dask_pools.graph.adapter.marks import InPool, mark

A, B, C = ("a",), ("b",), ("c",)


def source(key: str, value: int, pin: Any = None, nbytes: float | None = None) -> Any:
    task = Task(key, int, value)
    return mark(task, pin, nbytes) if pin else task


def add(key: str, *inputs: str) -> Task:
    return Task(key, total, *map(TaskRef, inputs))


def total(*values: int) -> int:
    return sum(values)


def value(tasks: Any, key: Any) -> Any:
    return execute_graph(dict(tasks), keys=[key])[key]


def test_unmarked_tasks_are_left_as_they_are() -> None:
    tasks = {"x": source("x", 1)}
    left, taken = adapter.take_pins(tasks)
    assert left is tasks
    assert not taken


def test_pin_and_size_are_taken_off() -> None:
    left, taken = adapter.take_pins({"x": source("x", 1, A, 8.0), "y": add("y", "x")})
    assert (taken.pins, taken.nbytes) == ({"x": A}, {"x": 8.0})
    assert left["x"].func is int
    assert value(left, "y") == 1


def test_literal_is_a_literal_again() -> None:
    marked = mark(DataNode("x", [1, 2]), A)
    assert marked.data_producer
    assert value({"x": marked}, "x") == [1, 2]
    left, taken = adapter.take_pins({"x": marked})
    assert left["x"] == DataNode("x", [1, 2])
    assert taken.pins == {"x": A}


def test_alias_is_not_marked_and_the_first_mark_counts() -> None:
    alias = Alias("x", "y")
    assert mark(alias, A) is alias
    marked = mark(source("x", 1), A)
    assert mark(marked, B) is marked


def test_marked_function_is_called_pickled_and_named_like_its_own() -> None:
    marked = InPool(operator.add, A)
    assert marked(1, 2) == pickle.loads(pickle.dumps(marked))(1, 2) == 3
    assert marked.__name__ == "add"
    assert (
        tokenize(marked) == tokenize(InPool(operator.add, A)) != tokenize(InPool(operator.add, B))
    )


def test_task_fused_inside_of_one_pool_stays_one() -> None:
    fused = Task.fuse(source("x", 1, A, 8.0), source("y", 2, A, 4.0), add("z", "x", "y"), key="f")
    left, taken = adapter.take_pins({"f": fused})
    assert list(left) == ["f"]
    assert (taken.pins, taken.nbytes) == ({"f": A}, {"f": 12.0})
    assert value(left, "f") == 3


def test_task_fused_of_two_pools_is_split() -> None:
    fused = Task.fuse(
        source("x", 1, A, 8.0), add("x2", "x"), source("y", 2, B), add("z", "x2", "y"), key="f"
    )
    left, taken = adapter.take_pins({"f": fused})
    assert taken.pins == {"x2": A, "y": B}
    assert taken.nbytes == {"x2": 8.0}
    assert left.keys() == {"f", "x2", "y"}
    assert left["f"].dependencies == {"x2", "y"}
    assert value(left, "f") == 3


def test_step_that_is_pinned_itself_takes_from_another_pool() -> None:
    fused = Task.fuse(source("x", 1, A), add("x2", "x"), mark(add("w", "x2"), B), key="f")
    left, taken = adapter.take_pins({"f": fused})
    assert taken.pins == {"x2": A, "f": B}
    assert value(left, "f") == 1


def test_fused_task_inside_of_a_fused_task_is_split_as_well() -> None:
    inner = Task.fuse(source("x", 1, A), source("y", 2, B), add("i", "x", "y"), key="inner")
    outer = Task.fuse(inner, source("z", 4, A), add("o", "inner", "z"), key="f")
    left, taken = adapter.take_pins({"f": outer})
    assert set(taken.pins.values()) == {A, B}
    assert value(left, "f") == 7


def test_mirrors_run_where_all_parts_may() -> None:
    fused = Task.fuse(
        source("x", 1, ("a", "b")), source("y", 2, ("b", "c")), add("z", "x", "y"), key="f"
    )
    assert adapter.take_pins({"f": fused})[1].pins == {"f": B}


def test_pins_of_layers_are_found_by_layer() -> None:
    layers = {
        "x": MaterializedLayer({"x": source("x", 1, A)}),
        "y": MaterializedLayer({"y": source("y", 1)}),
    }
    graph = HighLevelGraph(layers, {"x": set(), "y": set()})
    left, taken = adapter.take_layer_pins(graph)
    assert {name: found.pins for name, found in taken.items()} == {"x": {"x": A}}
    assert left.layers["y"] is layers["y"]


@st.composite
def fused_tasks(draw: st.DrawFn) -> Any:
    """Draw a fused task: steps that take some of those before them, some pinned."""
    n = draw(st.integers(2, 9))
    tasks: list[Any] = []
    for i in range(n):
        pin = draw(st.sampled_from([None, None, A, B, C, ("a", "b")]))
        below = draw(st.lists(st.sampled_from(range(i)), max_size=3, unique=True)) if i else []
        if i == n - 1:  # the value of the whole needs all others
            used = {d for task in tasks for d in task.dependencies}
            below = [j for j in range(i) if f"t{j}" not in used] or [i - 1]
        key = f"t{i}"
        task = add(key, *(f"t{j}" for j in below)) if below else Task(key, int, 2**i)
        tasks.append(mark(task, pin) if pin else task)
    return Task.fuse(*tasks, key="f")


@given(fused_tasks())
def test_split_tasks_compute_the_same_and_read_at_home(fused: Any) -> None:
    left, taken = adapter.take_pins({"f": fused})
    assert value(left, "f") == fused({})
    for key, task in left.items():
        own = [pin for pin in said(fused, task) if pin]
        if own:
            assert taken.pins[key]
            assert all(set(taken.pins[key]) <= set(pin) for pin in own)


def said(fused: Any, part: Any) -> list[Any]:
    """Find the pins of the steps that have come into a part."""
    steps = part.args[0] if adapter.is_fused(part) else [part.key]
    members = fused.args[0]
    out = fused.args[1]
    found = [members[out if key == "f" else key] for key in steps]
    return [task.func.pin if isinstance(task.func, InPool) else None for task in found]
