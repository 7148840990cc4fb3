from __future__ import annotations

import dask.array as da
import pytest
from dask.delayed import delayed

from dask_pools import pool, propagate_pools
from dask_pools.graph.optimize import place_graph
from dask_pools.graph.pins import find_pins
from tests.computations import merge


def places(*collections, pin=None):
    """Place collections, and return the pools in which something is to run."""
    graph, keys = merge(collections)
    return set(place_graph(graph, keys, pin=pin, transfers=True).plan.tasks)


def test_mirrors_without_workers_are_left_out():
    with pool("gone", "a", "b"):
        x = da.ones(4)
    assert set(find_pins(x.dask, None, ["a", "b"]).layers.values()) == {("a", "b")}


def test_pin_whose_pools_have_all_gone_is_kept_for_the_error():
    with pool("gone", "lost"):
        x = da.ones(4)
    assert set(find_pins(x.dask, None, ["a", "b"]).layers.values()) == {("gone", "lost")}


@pytest.mark.parametrize(
    "disassemble",
    [lambda x: x.to_delayed().tolist(), lambda x: delayed(list)([x, 0])],
    ids=["to_delayed", "argument"],
)
def test_pins_are_kept_when_an_array_becomes_delayed_values(disassemble):
    with propagate_pools():
        with pool("a"):
            x = da.arange(4, chunks=2)
        total = delayed(sum)(disassemble(x + 1))
    assert places(total) == {"a"}


def test_what_blocks_pins_is_free_of_the_pin_of_the_whole():
    with pool("a"):
        x = da.arange(4, chunks=2)
        with pool(None):
            y = x + 1
    assert places(y, pin=("b",)) == {"a"}
    assert places(x + 1, pin=("b",)) == {"a", "b"}


def test_blocked_task_says_so():
    """Else Dask would annotate it with the pin of the whole, and the scheduler bind it."""
    with pool("a"):
        x = da.arange(4, chunks=2)
        with pool(None):
            y = x.sum()
    graph, keys = merge((y,))
    placed = place_graph(graph, keys, pin=("b",), transfers=True).graph
    said = [layer.annotations for layer in placed.layers.values()]
    assert {"pool": (), "placement": "a", "resources": {"pool-a": 0}} in said
