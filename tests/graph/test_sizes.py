"""Sizes that are known before anything runs, against those of the values themselves."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import execute_graph
from dask.delayed import delayed
from dask.sizeof import sizeof
from hypothesis import given, settings

from dask_pools.graph import adapter
from dask_pools.graph.sizes import (
    ASSUMED_NBYTES,
    ASSUMED_RATE,
    Blocks,
    Sizes,
    describe_blocks,
    estimate,
)
from dask_pools.graph.submission import Learned
from dask_pools.planning.basis import Basis
from tests.computations import Computation, merge
from tests.sized import SIZED, UNSURE, collection
from tests.strategies import computations

#: A number is an object of so many bytes, where an array of one number has eight.
SCALAR = 32


def tasks_of(graph: adapter.HighLevelGraph, keys: Any) -> Iterator[dict]:
    """Make the tasks of a graph as it was built, and as it is when it is placed."""
    yield adapter.as_tasks(dict(graph))
    outputs = adapter.flat_keys(keys)
    fused = adapter.fuse_blockwise(graph, outputs)
    raw: dict = {}
    for layer in adapter.cull(fused, outputs).values():
        raw.update(adapter.layer_tasks(layer))
    yield adapter.as_tasks(raw)


def sizes_of(x: Any) -> tuple[dict, dict, Sizes]:
    """Estimate sizes by key; return the tasks, too, and all that was estimated."""
    graph = adapter.as_graph(adapter.high_level_graph(x))
    tasks = adapter.as_tasks(dict(graph))
    sizes = estimate(tasks, describe_blocks(graph), {}, {})
    return dict(zip(tasks, sizes.nbytes.tolist(), strict=True)), tasks, sizes


def check_exact(tasks: dict, sizes: Sizes) -> None:
    """Check that what claims to be exact is."""
    values = execute_graph(tasks, keys=list(tasks))
    for (key, task), nbytes, basis in zip(tasks.items(), sizes.nbytes, sizes.basis, strict=True):
        if basis == Basis.EXACT:
            actual = sizeof(values[key])
            assert nbytes == pytest.approx(actual, rel=0.01, abs=SCALAR), (key, task)
        else:
            assert np.isfinite(nbytes)
            assert nbytes >= 0


@pytest.mark.filterwarnings("ignore")  # of Dask and xarray, about small chunks and full slices
@pytest.mark.parametrize("name", SIZED)
def test_what_claims_to_be_exact_is(name: str) -> None:
    x = collection(name)
    graph = adapter.as_graph(adapter.high_level_graph(x))
    blocks = describe_blocks(graph)
    for tasks in tasks_of(graph, x.__dask_keys__()):
        sizes = estimate(tasks, blocks, {}, {})
        check_exact(tasks, sizes)
        assert name in UNSURE or (sizes.basis == Basis.EXACT).all()


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=40)
@given(computations(("a",), most=6))
def test_what_claims_to_be_exact_in_random_computations_is(computation: Computation) -> None:
    with dask.config.set(scheduler="synchronous"):
        computation.results()
        graph, keys = merge(computation.build())
    graph = adapter.as_graph(graph)
    blocks = describe_blocks(graph)
    for tasks in tasks_of(graph, keys):
        check_exact(tasks, estimate(tasks, blocks, {}, {}))


def basis_of(sizes: Sizes, tasks: dict, key: Any) -> Basis:
    return Basis(int(sizes.basis[list(tasks).index(key)]))


def field() -> da.Array:
    return da.from_array(np.random.default_rng(0).random((40, 30), dtype="f4"), chunks=(20, 15))


def test_unknown_blocks_are_no_larger_than_what_they_come_from() -> None:
    x = field()
    y = x[x > 0.5] + 1
    sizes, tasks, found = sizes_of(y)
    for key in y.__dask_keys__():
        assert sizes[key] == 20 * 15 * 4
        assert basis_of(found, tasks, key) == Basis.ASSUMED


def test_delayed_value_is_as_large_as_the_array_made_of_it() -> None:
    value = delayed(np.ones)(1000)
    sizes, tasks, found = sizes_of(da.from_delayed(value, (1000,), "f8"))
    assert sizes[value.key] == 8000
    assert basis_of(found, tasks, value.key) == Basis.EXACT


def test_what_nothing_is_known_of_is_assumed() -> None:
    value = delayed(np.ones)(1000)
    both = delayed(np.add)(value, delayed(np.ones)(1000))
    sizes, tasks, found = sizes_of(both)
    assert sizes[value.key] == ASSUMED_NBYTES
    assert sizes[both.key] == 2 * ASSUMED_NBYTES
    assert {basis_of(found, tasks, key) for key in tasks} == {Basis.ASSUMED}


def test_store_returns_nothing_even_where_its_layers_are_lost() -> None:
    stored = da.store(field(), np.zeros((40, 30)), compute=False)
    sizes, _, _ = sizes_of(delayed(len)([stored]))
    found = [nbytes for key, nbytes in sizes.items() if "store-map" in adapter.layer_name(key)]
    assert len(found) >= 4
    assert max(found) < 100


def test_values_from_outside_are_exact_and_count() -> None:
    tasks = adapter.as_tasks({"x": 1, "y": (np.add, "x", 1), "z": "x"})
    tasks = {key: adapter.redirect(tasks[key], {"x": "there"}) for key in ("y", "z")}
    sizes = estimate(tasks, {}, {"there": 123.0}, {})
    assert sizes.nbytes.tolist() == [123.0, 123.0]
    assert sizes.basis.tolist() == [Basis.ASSUMED, Basis.EXACT]


def test_learned_sizes_are_better_than_assumed_ones_and_worse_than_exact_ones() -> None:
    x = field()
    y = x[x > 0.5]
    graph = adapter.high_level_graph(delayed(np.sum)([x + 1, y]))
    tasks = adapter.as_tasks(dict(graph))
    learned = {"sum": Learned(8.0, 2.0), "add": Learned(1.0, 3.0), "getitem": Learned(50.0, None)}
    blocks = describe_blocks(adapter.high_level_graph(x + y.sum()))
    sizes = estimate(tasks, blocks, {}, learned)
    by_kind = {
        adapter.kind_of(adapter.layer_name(key)): (nbytes, Basis(int(basis)), seconds)
        for key, nbytes, basis, seconds in zip(
            tasks, sizes.nbytes, sizes.basis, sizes.seconds, strict=True
        )
    }
    assert by_kind["sum"] == (8.0, Basis.LEARNED, 2.0)
    assert by_kind["getitem"][:2] == (50.0, Basis.LEARNED)


def test_exact_sizes_of_pieces_stay_when_something_was_learned_of_their_kind() -> None:
    x = field().rechunk((7, 30))
    graph = adapter.high_level_graph(x)
    tasks = adapter.as_tasks(dict(graph))
    learned = {"rechunk-split": Learned(1.0, 3.0), "rechunk-merge": Learned(1.0, 3.0)}
    sizes = estimate(tasks, describe_blocks(graph), {}, learned)
    assert (sizes.basis == Basis.EXACT).all()
    check_exact(tasks, sizes)


def test_exact_sizes_stay_when_something_was_learned() -> None:
    y = field() + 1
    graph = adapter.high_level_graph(y)
    tasks = adapter.as_tasks(dict(graph))
    sizes = estimate(tasks, describe_blocks(graph), {}, {"add": Learned(1.0, 3.0)})
    rows = [i for i, key in enumerate(tasks) if key[0] == y.name]
    assert (sizes.nbytes[rows] == 20 * 15 * 4).all()
    assert (sizes.basis[rows] == Basis.EXACT).all()
    assert (sizes.seconds[rows] == 3.0).all()


def test_seconds_are_assumed_from_bytes_in_and_out() -> None:
    tasks = adapter.as_tasks({"x": np.ones(1000), "y": (np.add, "x", 1), "z": "y"})
    sizes = estimate(tasks, {}, {}, {})
    assert sizes.seconds.tolist() == [0.0, (8000 + 8000) / ASSUMED_RATE, 0.0]
    needs = np.array([0, 1]), np.array([1, 2])
    assert estimate(tasks, {}, {}, {}, needs).seconds.tolist() == sizes.seconds.tolist()


def test_objects_are_not_exact() -> None:
    x = field().astype(object)
    _, tasks, found = sizes_of(x)
    assert {basis_of(found, tasks, key) for key in dask.core.flatten(x.__dask_keys__())} == {
        Basis.ASSUMED
    }


def test_long_literals_are_counted_without_dice() -> None:
    values = list(range(1000, 6000))
    state = np.random.get_state()[1].tolist()  # noqa: NPY002 - of whom somebody else may depend
    first, second = (adapter.literal_nbytes(adapter.as_tasks({"x": values})["x"]) for _ in "ab")
    assert (
        first == second == pytest.approx(sum(map(sizeof, values)) + values.__sizeof__(), rel=0.01)
    )
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_chain_of_slices_may_be_long() -> None:
    graph: dict = {("x", 0, 0): (np.negative, np.ones((2000, 3)))}
    last: Any = ("x", 0, 0)
    for i in range(1500):
        graph[f"slice-{i}"] = (operator.getitem, last, slice(1, None))
        last = f"slice-{i}"
    blocks = {"x": Blocks(((2000,), (3,)), 8.0)}
    for order in (graph, dict(reversed(graph.items()))):
        tasks = adapter.as_tasks(order)
        sizes = estimate(tasks, blocks, {}, {})
        assert sizes.nbytes[list(tasks).index(last)] == 500 * 3 * 8
        assert (sizes.basis == Basis.EXACT).all()


def test_functions_of_users_are_not_tried_out() -> None:
    called = []

    def chunk(block: Any, axis: Any, keepdims: bool) -> Any:
        called.append(block.size)
        return block.sum(axis=axis, keepdims=keepdims)

    x = da.reduction(field(), chunk, np.sum, axis=0, dtype="f4")
    called.clear()  # Dask tries it out itself
    describe_blocks(adapter.high_level_graph(x))
    vectorized = da.reduction(field(), np.vectorize(chunk, otypes="f"), np.sum, axis=0, dtype="f4")
    called.clear()
    describe_blocks(adapter.high_level_graph(vectorized))
    assert called == []


def test_blocks_of_a_layer_are_told_from_its_pieces() -> None:
    tasks = {("x", 0): (abs, -1), ("x", "piece", 0): (abs, -1), ("x", 7): (abs, -1)}
    sizes = estimate(adapter.as_tasks(tasks), {"x": Blocks(((2, 3),), 8.0)}, {}, {})
    assert sizes.nbytes[0] == 16
    assert sizes.basis.tolist() == [Basis.EXACT, Basis.ASSUMED, Basis.ASSUMED]


@pytest.mark.parametrize("axis", [0, (0, 1), ("a",), 5, None, 0.5, (0, 3)])
def test_arguments_called_axis_may_be_anything(axis: Any) -> None:
    x = field().map_blocks(lambda block, axis, keepdims: block, axis=axis, keepdims=True)
    sizes, _, _ = sizes_of(x)
    assert sizes[x.name, 0, 0] == 20 * 15 * 4
    y = da.from_array(np.float64(1)).map_blocks(lambda b, axis, keepdims: b, axis=0, keepdims=True)
    assert sizes_of(y)[0][y.name,] == 8


def test_nothing_is_no_mistake() -> None:
    sizes = estimate({}, {}, {}, {})
    assert sizes.nbytes.shape == sizes.basis.shape == sizes.seconds.shape == (0,)


def test_estimates_do_not_hang_on_the_order_of_layers() -> None:
    x = xr.DataArray(field(), dims=["y", "x"]).rolling(y=3).mean().data
    graph = adapter.high_level_graph(x)
    blocks = describe_blocks(graph)
    tasks = adapter.as_tasks(dict(graph))
    backwards = dict(reversed(tasks.items()))
    one, two = (estimate(t, blocks, {}, {}) for t in (tasks, backwards))
    assert one.nbytes.tolist() == two.nbytes[::-1].tolist()
    assert one.basis.tolist() == two.basis[::-1].tolist()
