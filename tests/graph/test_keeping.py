"""Pins are kept where Dask flattens graphs on the client; all else is as in stock Dask."""

from __future__ import annotations

import pickle
import subprocess
import sys

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
from dask.array.optimization import optimize as optimize_arrays
from dask.bag.core import optimize as optimize_bags

from dask_pools import get_pool, pool, propagate_pools
from dask_pools.graph.adapter.keeping import PinKeeper, has_pins
from dask_pools.graph.optimize import place_graph
from tests.computations import merge


def add(block, *, other):
    return block + other


def read(name=None, n=8):
    with pool(name):
        return da.from_array(np.arange(n, dtype=float), chunks=n // 2)


def both():
    return read("a") + read("b").mean()


def pools(*collections):
    """Place collections, and return by pool how many of their tasks are pinned there."""
    graph, keys = merge(collections)
    placed = place_graph(graph, keys, transfers=True).graph
    return {
        layer.annotations["pool"]: len(layer)
        for layer in placed.layers.values()
        if (layer.annotations or {}).get("pool")
    }


FLAT = {
    "argument": lambda x: dask.delayed(np.sum)(x),
    "arguments": lambda x: dask.delayed(sum)([x, {"x": x}]),
    "by-name": lambda x: dask.delayed(dict)(x=x),
    "delayed": lambda x: dask.delayed(x),
    "optimize": lambda x: dask.optimize(x)[0] + 1,
    "optimize-delayed": lambda x: dask.optimize(dask.delayed(np.sum)(x))[0],
    "option": lambda x: da.ones(4).map_blocks(add, other=x, dtype=float, meta=np.ones(1)),
    "pieces": lambda x: dask.delayed(sum)(x.to_delayed().tolist()),
    "piece": lambda x: x.to_delayed()[0],
    "scalar-piece": lambda x: x.sum().to_delayed()[()],
    "plain-piece": lambda x: x.to_delayed(optimize_graph=False)[0],
}


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("flatten", FLAT.values(), ids=FLAT)
def test_flat_graph_keeps_its_pins(flatten, inside):
    x = both()
    if inside:
        with propagate_pools():
            flat = flatten(x)
    else:
        flat = flatten(x)
    assert set(pools(flat)) == {("a",), ("b",)}


@pytest.mark.parametrize(
    "flatten",
    [
        lambda bag: bag.to_delayed(),
        lambda bag: [bag.count().to_delayed()],
        lambda bag: dask.optimize(bag, bag.count()),
        lambda bag: [dask.delayed(list)(bag)],
    ],
    ids=["to_delayed", "item", "optimize", "argument"],
)
def test_flat_bag_keeps_its_pins(flatten):
    parts = []
    for name in ("a", "b"):
        with pool(name):
            parts.append(db.from_sequence(range(4), npartitions=2))
    assert set(pools(*flatten(db.concat(parts).map(str)))) == {("a",), ("b",)}


def test_reads_of_two_pools_are_not_one_task():
    (piece, _) = (read("a") + read("b")).to_delayed()
    tasks = pools(piece)
    assert tasks == {("a",): 1, ("b",): 1}


def test_empty_array_is_one_pinned_piece():
    with pool("a"):
        x = da.ones((0, 2), chunks=2)
    assert [get_pool(piece) for piece in x.to_delayed().flat] == ["a"]


def test_pins_of_what_was_flattened_are_seen():
    x = read("a")
    assert get_pool(x.to_delayed()[0]) == "a"
    assert get_pool(dask.optimize(x)[0]) == "a"
    assert get_pool(dask.optimize(dask.delayed(x))[0]) is None


def test_pin_around_a_call_is_not_that_of_what_was_built_before():
    x = read("a")
    with pool("b"):
        assert get_pool(x.to_delayed()[0]) == "a"
        assert set(pools(dask.delayed(np.sum)(x))) == {("a",), ("b",)}
        assert set(pools(dask.optimize(x)[0])) == {("a",)}


def test_results_are_those_of_stock_dask():
    x, plain = both(), np.arange(8.0) + 3.5
    for flatten in (FLAT["argument"], FLAT["pieces"]):
        assert np.sum(flatten(x).compute(scheduler="synchronous")) == plain.sum()
    optimised, item = dask.optimize(x, {"x": x.sum()})
    np.testing.assert_array_equal(optimised.compute(scheduler="synchronous"), plain)
    assert item["x"].compute(scheduler="threads") == plain.sum()
    assert dask.optimize(1, []) == (1, [])


# ---- what is left to stock Dask


def test_graph_without_pins_is_optimised_by_stock_dask():
    with pool("a"):
        pass
    x = read() + 1
    assert not has_pins(x.dask)
    graph = x.__dask_optimize__(x.dask, x.__dask_keys__())
    assert graph == optimize_arrays(x.dask, x.__dask_keys__())
    assert type(graph) is dict
    (optimised,) = dask.optimize(x)
    assert [layer.annotations for layer in optimised.dask.layers.values()] == [None]


@pytest.mark.parametrize(
    ("kind", "stock"),
    [
        (da.Array, optimize_arrays),
        (db.Bag, optimize_bags),
        (db.Item, optimize_bags),
    ],
)
def test_what_is_sent_to_a_cluster_is_the_optimiser_of_dask(kind, stock):
    with pool("a"):
        pass
    keeper = kind.__dask_optimize__
    assert isinstance(keeper, PinKeeper)
    assert pickle.loads(pickle.dumps(keeper)) is stock


def test_flat_graph_of_arrays_has_no_restriction_that_stock_dask_understands():
    """It would wait for ever on a cluster without pools, where it was computed before."""
    x = both()
    pieces = dask.delayed(sum)(x.to_delayed().tolist())
    for flat in (dask.delayed(np.sum)(x), pieces, dask.optimize(x)[0], dask.delayed(sum)([x])):
        layers = flat.dask.layers.values()
        assert not any("resources" in (layer.annotations or {}) for layer in layers)


def test_pinned_delayed_values_keep_annotations_of_other_kinds():
    with dask.annotate(resources={"GPU": 1}, retries=2), pool("a"):
        value = dask.delayed(str)(1)
    said = dask.delayed(list)([value]).__dask_graph__().layers.values()
    (layer,) = [layer for layer in said if value.key in layer]
    found = {kind: layer.annotations[kind](value.key) for kind in layer.annotations}
    assert found == {"pool": ("a",), "resources": {"GPU": 1, "pool-a": 0}, "retries": 2}


def test_configuration_comes_first():
    x = read("a")
    with dask.config.set(array_optimize=optimize_bags):
        assert x.__dask_optimize__ is optimize_bags
    with dask.config.set(array_optimize=None):
        assert x.__dask_optimize__ is dask.base.dont_optimize
    assert "array_optimize" not in dask.config.config


def test_first_pin_changes_dask_once():
    with pool("a"):
        optimize = dask.optimize
        with pool("b"):
            assert dask.optimize is optimize is dask.base.optimize


def test_graph_built_here_can_be_read_by_a_scheduler_without_dask_pools():
    x = both()
    kept = dask.delayed(np.sum)(x, x.to_delayed()[0], dask.optimize(x)[0])
    sent = pickle.dumps(dask.base.collections_to_expr([x, kept, x.to_delayed()[0]]))
    code = (
        "import pickle, sys; sys.modules['dask_pools'] = None; "
        f"graph = pickle.loads({sent!r}).optimize().__dask_graph__(); print(len(graph) > 4)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
