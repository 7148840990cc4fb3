"""Reductions over blocks in several pools: the same results, and one partial result per pool."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import execute_graph

from dask_pools import pool
from dask_pools.graph import adapter
from dask_pools.graph.block_trees import regroup_key
from dask_pools.graph.homes import find_homes
from dask_pools.graph.pins import find_pins
from dask_pools.graph.regroup import Regrouped, Trees, find_trees, regroup
from dask_pools.graph.table import TaskTable

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::FutureWarning")


class Case:
    """A lazy array, its tasks, and their pins."""

    def __init__(self, x: Any) -> None:
        self.array = x
        graph = x.__dask_graph__()
        self.keys = adapter.flat_keys(x.__dask_keys__())
        raw: dict[Any, Any] = {}
        self.pin: dict[Any, Any] = {}
        self.pins = find_pins(graph, None, None)
        for name in adapter.sorted_layers(graph):
            made = adapter.layer_tasks(graph.layers[name])
            raw.update(made)
            self.pin.update(dict.fromkeys(made, self.pins.layers[name]))
        self.pin.update(self.pins.keys)
        self.tasks = adapter.as_tasks(raw)
        self.trees = find_trees(graph, self.pins.layers, self.pins.mixed)

    def regrouped(self, **options: Any) -> Regrouped:
        return regroup(self.tasks, self.trees, self.pin.get, keep=self.keys, **options)

    def run(self, tasks: Any) -> list[Any]:
        done = execute_graph(dict(tasks), keys=set(self.keys))
        return [done[key] for key in self.keys]

    def crossings(self, tasks: Any) -> Counter[Any]:
        """Count the values that cross, of each result, if each task runs where it is at home."""
        homes = find_homes(tasks, tasks, self.pin.get)
        crossing: Counter[Any] = Counter()
        for key in self.keys:
            for user in needed(tasks, [key]):
                for d in adapter.dependencies(tasks[user]):
                    a, b = homes[d], homes[user]
                    if a and b and not set(a) & set(b):
                        crossing[key] += 1
        return crossing


def members(count: int, pools: str, **options: Any) -> da.Array:
    """Stack the members of an ensemble that pools hold in turn."""
    made = []
    for i in range(count):
        with pool(pools[i % len(pools)]):
            made.append(source(i, (4, 6), chunks=(2, 3), **options))
    return da.stack(made)


def source(seed: int, shape: Any, chunks: Any, kind: str = "f8", nan: bool = False) -> da.Array:
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 5, shape).astype(kind)
    if np.dtype(kind).kind in "fc":
        values = (values + rng.random(shape)).astype(kind)
        if nan:
            values[rng.random(shape) < 0.3] = np.nan
    # Not a literal, which would be merged with equal ones of other pools.
    return da.from_array(values, chunks=chunks)


def assert_same(found: list[Any], expected: list[Any], kind: str = "f8") -> None:
    for a, b in zip(found, expected, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        assert np.shape(a) == np.shape(b)
        if np.asarray(b).dtype.kind in "iub":
            np.testing.assert_array_equal(a, b)
        else:
            eps = 1e-4 if "f4" in (kind, np.asarray(b).dtype.str[1:]) else 1e-9
            np.testing.assert_allclose(a, b, rtol=eps, atol=eps)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(da, name) for name in ("sum", "prod", "min", "max", "any", "all")},
    **{name: getattr(da, name) for name in ("mean", "var", "std", "nansum", "nanprod", "nanmin")},
    **{name: getattr(da, name) for name in ("nanmax", "nanmean", "nanvar", "nanstd")},
    "third moment": partial(da.moment, order=3),
    "fourth moment": partial(da.moment, order=4),
    "count": lambda x, **options: da.sum(x != 0, **options),
    "ddof": partial(da.var, ddof=1),
    "sum in f4": partial(da.sum, dtype="f4"),
    "first block": lambda x, **options: da.reduction(
        x, chunk=first_chunk, aggregate=first, dtype=x.dtype, concatenate=False, **options
    ),
}


def first_chunk(x: Any, axis: Any, keepdims: bool) -> Any:
    return x[tuple(slice(1) if i in axis else slice(None) for i in range(x.ndim))]


def first(x: Any, axis: Any, keepdims: bool) -> Any:
    while isinstance(x, list):
        x = x[0]
    return x if keepdims else x.squeeze(axis)


def random_chunks(rng: Any, n: int) -> tuple[int, ...]:
    cuts = np.unique(rng.integers(1, n, rng.integers(0, n)))
    return tuple(np.diff([0, *cuts.tolist(), n]).tolist())


def patchwork(rng: Any, kind: str, nan: bool) -> da.Array:
    """Make an array whose blocks lie in random pools."""
    pools = "abcd"[: rng.integers(2, 5)]
    shape = tuple(rng.integers(2, 6, rng.integers(1, 4)).tolist())
    parts = []
    for i, n in enumerate(rng.integers(1, 4, rng.integers(6, 16)).tolist()):
        chunks = ((n,), *(random_chunks(rng, m) for m in shape[1:]))
        block = (n, *shape[1:])
        seed = int(rng.integers(100))
        if rng.random() < 0.1:
            parts.append(source(seed + i, block, chunks, kind, nan))
        else:
            with pool(pools[rng.integers(len(pools))]):
                parts.append(source(seed + i, block, chunks, kind, nan))
    return da.concatenate(parts) + 0


@pytest.mark.parametrize("name", REDUCTIONS)
def test_random_reductions_give_the_same_results(name: str) -> None:
    regrouped = 0
    for seed in range(15):
        rng = np.random.default_rng([seed, *map(ord, name)])
        kind = str(rng.choice(["f8", "f4", "i8", "i4", "c16", "u1"]))
        x = patchwork(rng, kind, nan=seed % 2 == 0)
        axes = rng.permutation(x.ndim)[: rng.integers(1, x.ndim + 1)].tolist()
        options = {
            "axis": None if len(axes) == x.ndim else tuple(axes),
            "keepdims": bool(rng.integers(2)),
            "split_every": [None, 2, 3, 4, 8][rng.integers(5)],
        }
        case = Case(REDUCTIONS[name](x, **options))
        found = case.regrouped(nbytes=dict.fromkeys(case.tasks, 8.0))
        assert_same(case.run(found.tasks), case.run(case.tasks), kind)
        check_graph(case, found)
        regrouped += found.count
    assert (regrouped == 0) == (name == "first block")


def needed(tasks: Any, keys: Any) -> set[Any]:
    """Find all that some keys come from."""
    table = TaskTable.of(tasks)
    return {key for key, wanted in zip(table.keys, table.needed(keys), strict=True) if wanted}


def check_graph(case: Case, found: Regrouped) -> None:
    """Nothing is lost, nothing is left over, and no value crosses that did not before."""
    assert set(needed(found.tasks, case.keys)) == set(found.tasks)
    assert set(found.like) == set(found.tasks) - set(case.tasks)
    assert set(found.like.values()) <= set(case.tasks)
    assert found.part_of.keys() == found.like.keys()
    assert all(key in needed(found.tasks, [end]) for key, end in found.part_of.items())
    before, after = case.crossings(case.tasks), case.crossings(found.tasks)
    assert all(after[key] <= before[key] for key in case.keys)


GROUPED = ["sum", "mean", "std", "var", "max", "min", "count", "prod", "any", "all"]


@pytest.mark.parametrize("flox", [True, False])
@pytest.mark.parametrize("name", [*GROUPED, "first"])
def test_groups_of_xarray_give_the_same_results(name: str, flox: bool) -> None:
    if flox:
        pytest.importorskip("flox")
    count = 0
    for seed in range(4):
        rng = np.random.default_rng([seed, len(name)])
        x = members(12, "abc", nan=seed % 2 == 0)
        labels = rng.integers(0, 4, 12)
        array = xr.DataArray(x, dims=("member", "y", "x")).assign_coords(group=("member", labels))
        with xr.set_options(use_flox=flox), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = getattr(array.groupby("group"), name)()
        case = Case(result.data)
        found = case.regrouped()
        assert_same(case.run(found.tasks), case.run(case.tasks))
        count += found.count
    # Without flox xarray gathers groups first; here, in blocks of one member each.
    assert (count > 0) == (name in GROUPED)


@pytest.mark.parametrize("method", ["map-reduce", "cohorts"])
@pytest.mark.parametrize("dims", [("member",), ("member", "x")])
@pytest.mark.parametrize("function", ["nansum", "nanmean", "nanvar", "max", "count", "argmax"])
def test_methods_of_flox_give_the_same_results(method: str, dims: Any, function: str) -> None:
    flox = pytest.importorskip("flox.xarray")
    if function == "argmax" and len(dims) > 1:
        pytest.skip("flox takes one dimension only")
    array = xr.DataArray(members(12, "aabbc", nan=True), dims=("member", "y", "x"))
    labels = xr.DataArray(np.arange(12) // 2 % 4, dims="member").expand_dims(x=6).transpose()
    labels = (labels + (labels["x"] > 2 if "x" in labels.coords else 0)).rename("group")
    by = labels if len(dims) > 1 else labels.isel(x=0)
    result = flox.xarray_reduce(
        array, by, func=function, method=method, dim=dims, expected_groups=np.arange(4)
    )
    case = Case(result.data)
    found = case.regrouped()
    assert (found.count > 0) == (function != "argmax")
    assert_same(case.run(found.tasks), case.run(case.tasks))


@pytest.mark.parametrize("name", ["mean", "std", "max", "sum"])
def test_one_partial_result_of_each_pool_crosses(name: str) -> None:
    case = Case(getattr(members(18, "abc"), name)(axis=0))
    before = case.crossings(case.tasks)
    found = case.regrouped()
    assert found.count == 4
    (partials,) = {n for key, n in case.crossings(found.tasks).items()}
    assert partials == 2
    assert min(before.values()) > 2


def test_mean_and_spread_of_xarray_cross_with_two_partial_results_each() -> None:
    array = xr.DataArray(members(18, "abc"), dims=("member", "y", "x"))
    for statistic in (array.mean("member"), array.std("member")):
        case = Case(statistic.data)
        assert set(case.crossings(case.regrouped().tasks).values()) == {2}


def test_many_pools_are_combined_in_levels() -> None:
    case = Case(members(40, "abcdefghij").sum(axis=0))
    found = case.regrouped()
    assert max(len(task.dependencies) for task in found.tasks.values()) <= 4
    assert set(case.crossings(found.tasks).values()) == {9}
    assert_same(case.run(found.tasks), case.run(case.tasks))


def test_tree_that_is_as_good_as_it_can_be_stays_as_it_is() -> None:
    with pool("a"):
        one = da.from_array(np.arange(4.0), chunks=1)
    with pool("b"):
        other = da.from_array(np.arange(4.0) + 1, chunks=1)
    case = Case(da.concatenate([one, other]).sum())
    assert case.trees
    found = case.regrouped()
    assert found.count == 0
    assert found.tasks == case.tasks


def test_graph_of_one_pool_has_no_trees_to_look_at() -> None:
    assert not Case(members(8, "a").mean(axis=0)).trees
    assert not Case(members(8, "ab").mean(axis=1)).regrouped().count


def test_reduction_inside_each_pool_is_left_alone() -> None:
    with pool("a"):
        one = da.ones(8, chunks=1).sum()
    with pool("b"):
        other = da.zeros(8, chunks=1).sum()
    assert not Case(one + other).trees


def test_partial_results_that_others_need_stay() -> None:
    x = members(18, "abc")
    total = x.sum(axis=0)
    (name,) = [n for n in total.dask.dependencies[total.name] if "-partial-" in n]
    block = (name, 0, 0, 0)
    partial_result = da.Array(total.dask, name, chunks=((1,) * 2, (2, 2), (3, 3)), dtype="f8")
    case = Case(total + partial_result[0])
    found = case.regrouped()
    assert found.count == 4
    assert block in found.tasks
    assert_same(case.run(found.tasks), case.run(case.tasks))


def test_reductions_that_share_partial_results_still_do() -> None:
    x = members(18, "abc")
    one, other = x.sum(axis=0), x.sum(axis=0, keepdims=True)
    alone = Case(one).regrouped()
    both = Case(da.concatenate([one[None], other])).regrouped()
    assert both.count == 2 * alone.count
    assert set(both.like) == set(alone.like)


def test_keys_tell_one_arrangement_of_pools_from_another() -> None:
    x = members(12, "ab").sum(axis=0)
    one = Case(x)
    other = Case(x)
    other.pin = {key: ("ab"["ba".index(pin[0])],) if pin else None for key, pin in one.pin.items()}
    a, b = one.regrouped(), other.regrouped()
    assert a.count == b.count == 4
    shared = set(a.like) & set(b.like)
    assert not shared
    assert set(one.regrouped().like) == set(a.like)


def test_key_of_a_partial_result_does_not_grow_with_the_levels() -> None:
    first = regroup_key([("sum-1", 0, 3), ("sum-1", 2, 3)], "a", "sum-partial-2")
    second = regroup_key([first, ("sum-1", 4, 3)], "a", "sum-partial-2")
    assert first[:3] == second[:3] == ("regroup-a-/sum-partial-2", 0, 3)
    assert len(first) == len(second)
    assert first != second


def test_block_with_mirrors_joins_a_pool_that_has_it() -> None:
    parts = []
    for pins in [("a",), ("b",), ("a", "c"), ("b",), ("a", "c"), ("b", "d")]:
        with pool(*pins):
            parts.append(source(len(parts), (4,), chunks=4))
    case = Case(da.stack(parts).sum(axis=0))
    found = case.regrouped()
    assert sorted(key[0][:9] for key in found.like) == ["regroup-a", "regroup-b"]
    assert_same(case.run(found.tasks), case.run(case.tasks))


def test_members_compared_with_one_field_elsewhere_are_at_home_where_they_are() -> None:
    x = members(12, "abc")
    with pool("d"):
        reference = source(99, (4, 6), chunks=(2, 3))
    case = Case((abs(x - reference)).mean(axis=0))
    found = case.regrouped()
    assert {key[0].partition("/")[0] for key in found.like} == {
        "regroup-a-",
        "regroup-b-",
        "regroup-c-",
    }


def test_values_made_earlier_are_at_home_where_they_are() -> None:
    x = da.from_array(np.arange(12.0), chunks=1).sum()
    case = Case(x)
    where = {("persisted", i): ("ab"[i % 2],) for i in range(12)}
    tasks = {k: t for k, t in case.tasks.items() if t.dependencies}
    sources = sorted({d for t in tasks.values() for d in t.dependencies} - set(tasks))
    tasks = {
        key: adapter.redirect(task, dict(zip(sources, where, strict=True)))
        if task.dependencies & set(sources)
        else task
        for key, task in tasks.items()
    }
    pins = dict.fromkeys(x.dask.layers)
    trees = find_trees(x.dask, pins, {n for n in pins if n.startswith("array-")})
    found = regroup(tasks, trees, where.get, keep=case.keys)
    assert found.count == 1
    done = execute_graph(
        {**found.tasks, **adapter.as_tasks({k: np.array([float(k[1])]) for k in where})},
        keys=set(case.keys),
    )
    assert done[case.keys[0]] == 66


def custom_sum(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.sum(x, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize(
    "reduce",
    [
        lambda x: x.argmax(axis=0),
        lambda x: da.topk(x, 2, axis=0),
        lambda x: x.cumsum(axis=0),
        lambda x: da.median(x, axis=0),
        lambda x: da.reduction(x, np.sum, custom_sum, axis=0, dtype="f8"),
        lambda x: da.reduction(x, np.sum, np.sum, combine=custom_sum, axis=0, dtype="f8"),
        lambda x: da.reduction(x, np.sum, np.max, combine=np.sum, axis=0, dtype="f8"),
        lambda x: da.reduction(x, keep_block, np.sum, dtype="f8"),
        lambda x: x.map_blocks(np.asarray, dtype=object).sum(axis=0),
    ],
)
def test_what_is_not_known_to_be_associative_keeps_its_order(reduce: Any) -> None:
    case = Case(reduce(members(18, "abc")))
    assert case.regrouped().count == 0


def keep_block(x: Any, axis: Any, keepdims: bool) -> Any:
    return x


def test_own_step_over_blocks_may_be_summed_along_one_axis() -> None:
    x = members(18, "abc")
    case = Case(da.reduction(x, custom_sum, np.sum, axis=0, dtype="f8"))
    found = case.regrouped()
    assert found.count == 4
    assert_same(case.run(found.tasks), case.run(case.tasks))


def test_products_of_matrices_are_regrouped() -> None:
    x = members(8, "ab").reshape(8 * 4, 6)
    y = da.from_array(np.arange(32.0 * 3).reshape(32, 3), chunks=(2, 3))
    for product in (x.T @ y, da.tensordot(x, y, axes=[[0], [0]])):
        case = Case(product)
        found = case.regrouped()
        assert found.count
        assert_same(case.run(found.tasks), case.run(case.tasks))


def test_order_of_tasks_is_that_of_the_original() -> None:
    case = Case(members(18, "abc").mean(axis=0))
    found = case.regrouped()
    order = list(found.tasks)
    for key in case.keys:
        for d in found.tasks[key].dependencies:
            assert order.index(d) < order.index(key)


def test_nothing_is_read_of_a_graph_without_reductions(monkeypatch: pytest.MonkeyPatch) -> None:
    x = members(4, "ab") + 1
    monkeypatch.setattr(dask.blockwise.Blockwise, "_dict", property(lambda self: 1 / 0))
    pins = find_pins(x.dask, None, None)
    assert find_trees(x.dask, pins.layers, pins.mixed) == Trees()
