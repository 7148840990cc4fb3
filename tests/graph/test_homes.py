"""Homes of values: the pool of the data they come from."""

from __future__ import annotations

from typing import Any

import dask.array as da
import pytest

from dask_pools import pool
from dask_pools.graph import adapter
from dask_pools.graph.homes import find_homes, pinned_ancestors, scattered_layers
from dask_pools.graph.pins import find_pins


def gather(*values: Any) -> None:
    """Be the function of a task that is never run."""


def graph(**inputs: str) -> dict[Any, Any]:
    """Make tasks, each from the letters that it needs."""
    return adapter.as_tasks({key: (gather, *needs) for key, needs in inputs.items()})


@pytest.mark.parametrize(
    ("pins", "home"),
    [
        ({}, ()),
        ({"a": ("x",)}, ("x",)),
        ({"a": ("x",), "b": ("x",)}, ("x",)),
        ({"a": ("x", "y"), "b": ("z", "y")}, ("y",)),
        ({"a": ("y", "x"), "b": ("x", "y")}, ("x", "y")),
        ({"c": ("z",), "a": ("x",)}, ("z",)),
    ],
)
def test_home_is_what_the_pinned_inputs_share(pins: dict[str, Any], home: Any) -> None:
    tasks = graph(a="", b="", c="ab")
    assert find_homes(tasks, ["c"], pins.get) == {"c": home}


def test_most_bytes_decide_where_inputs_share_no_pool() -> None:
    tasks = graph(a="", b="", c="ab")
    pins = {"a": ("x",), "b": ("y",)}
    assert find_homes(tasks, ["c"], pins.get, {"a": 1.0, "b": 2.0}) == {"c": ("y",)}
    assert find_homes(tasks, ["c"], pins.get, {"a": 2.0, "b": 2.0}) == {"c": ("x",)}


def test_input_that_many_need_weighs_less() -> None:
    tasks = graph(a="", b="", z="", c="az", d="bz")
    pins = {"a": ("q",), "b": ("r",), "z": ("p",)}
    assert find_homes(tasks, ["c", "d"], pins.get) == {"c": ("q",), "d": ("r",)}


def test_values_outside_of_the_graph_have_their_place() -> None:
    tasks = graph(a="", c="a")
    tasks["c"] = adapter.redirect(tasks["c"], {"a": "made earlier"})
    assert find_homes(tasks, ["c"], {"made earlier": ("x",)}.get) == {"c": ("x",)}


def test_deep_graphs_are_no_problem() -> None:
    tasks = adapter.as_tasks({i: (gather, i - 1) if i else (gather,) for i in range(5000)})
    assert find_homes(tasks, [4999], {0: ("x",)}.get) == {4999: ("x",)}


def test_layers_tell_the_nearest_pins_above_them() -> None:
    with pool("a"):
        x = da.ones(4)
    with pool("b"):
        y = x + 1
    z = x * 2 + y
    pins = find_pins(z.dask, None, None).layers
    assert pinned_ancestors(z.dask, pins, [z.name])[z.name] == {("a",), ("b",)}
    assert pinned_ancestors(z.dask, pins, [y.name])[y.name] == {("b",)}


def test_only_joined_arrays_have_blocks_of_different_pools() -> None:
    with pool("x"):
        a = da.zeros((4, 4), chunks=2)
    with pool("y"):
        b = da.zeros((4, 4), chunks=2)
    added, joined = a + b + 1, da.concatenate([a, b]) + 1
    for array, scattered in ((added, False), (joined, True), (da.concatenate([a, a]), False)):
        layers = array.dask
        above = pinned_ancestors(layers, find_pins(layers, None, None).layers, [array.name])
        assert (array.name in scattered_layers(layers, above)) is scattered
