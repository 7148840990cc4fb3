"""What Dask's layers and tasks tell of sizes: each name breaks here when it moves."""

from __future__ import annotations

import functools
import re
from operator import getitem

import dask
import dask.array as da
import numpy as np
import pytest
import tlz
import xarray as xr
from dask._task_spec import DataNode, Task, TaskRef
from dask.delayed import delayed
from dask.sizeof import sizeof

from dask_pools.graph import adapter


def inc(x: int) -> int:
    return x + 1


def test_arrays_describe_their_layers() -> None:
    x = da.ones((4, 6), chunks=(2, 3), dtype="f4")
    record = adapter.array_record(x.dask.layers[x.name])
    assert record == adapter.ArrayRecord(((2, 2), (3, 3)), np.dtype("f4"), plain=True)
    for other in (x.astype(object), da.ma.masked_equal(x, 1)):
        record = adapter.array_record(other.dask.layers[other.name])
        assert record is not None
        assert not record.plain
    assert adapter.array_record(dask.delayed(inc)(1).dask.layers.popitem()[1]) is None


@pytest.mark.parametrize("method", ["sum", "mean", "var", "max"])
def test_reductions_are_recognised_and_tried_out(method: str) -> None:
    x = da.zeros((8, 6), chunks=4, dtype="f4")
    y = getattr(x, method)(axis=0)
    (found,) = (
        (name, r) for name, layer in y.dask.layers.items() if (r := adapter.reduction_of(layer))
    )
    name, reduction = found
    assert reduction == adapter.Reduction((0,), keep=1)
    value = adapter.sample(
        y.dask.layers[name], name, (2, 3), lambda source, shape: np.zeros(shape, "f4")
    )
    total = value["total"] if isinstance(value, dict) else value
    assert total.shape == (1, 3)
    (last,) = ((name, layer) for name, layer in y.dask.layers.items() if "-aggregate-" in name)
    assert adapter.sample(last[1], last[0], (2, 3), lambda *_: value).shape == (3,)


def test_number_of_elements_that_are_kept_is_recognised() -> None:
    x = da.zeros((8, 6), chunks=4)
    layers = da.topk(x, -3, axis=1).dask.layers.values()
    (found,) = (r for layer in layers if (r := adapter.reduction_of(layer)))
    assert found == adapter.Reduction((1,), keep=3, selects=True)


def chunk_of_somebody(x, axis, keepdims):
    if x.size:
        raise AssertionError("called")
    return x


@pytest.mark.parametrize(
    "function",
    [
        chunk_of_somebody,
        functools.partial(chunk_of_somebody),
        functools.partial(np.apply_over_axes, chunk_of_somebody),
        np.vectorize(chunk_of_somebody, otypes="f"),
        tlz.compose(chunk_of_somebody, np.negative),
        functools.lru_cache(chunk_of_somebody),
    ],
    ids=["plain", "partial", "argument", "vectorize", "composed", "cached"],
)
def test_functions_of_others_are_not_tried_out(function) -> None:
    x = da.zeros(8, chunks=4)
    y = da.blockwise(function, "i", x, "i", axis=(0,), keepdims=True, meta=x)
    with pytest.raises(adapter.NoSampleError) as caught:
        adapter.sample(y.dask.layers[y.name], y.name, (2,), lambda *_: np.zeros(2))
    assert not isinstance(caught.value.__cause__, AssertionError)


def test_layers_that_do_not_tell_the_truth_are_recognised() -> None:
    x = da.from_array(np.zeros((8, 6)), chunks=4)

    def layer(y):
        return y.dask.layers[y.name]

    stored = da.store(x, np.zeros((8, 6)), compute=False)
    assert adapter.returns_none(layer(stored))
    assert adapter.may_mistype(layer(stored))
    assert not adapter.returns_none(layer(x + 1))
    assert adapter.counts_by_data(layer(da.bincount(x[0].astype(int))))
    (masked,) = (x[x > 0]).dask.dependencies[(x[x > 0]).name]
    assert adapter.counts_by_data((x[x > 0]).dask.layers[masked])
    assert not adapter.counts_by_data(layer(x[1:]))
    assert adapter.is_astype(layer(x.astype("f4")))
    assert adapter.returns_new(layer(x + 1))
    assert adapter.returns_new(layer(da.where(x > 0, x, 0)))
    assert not adapter.returns_new(layer(x.T))


def test_outputs_of_one_function_are_recognised() -> None:
    x = da.zeros((8, 6), chunks=(4, 6))
    one = da.apply_gufunc(np.sort, "(i)->(i)", x, output_dtypes="f8")
    both = da.apply_gufunc(divmod, "(i),()->(i),(i)", x, 2, output_dtypes=("f8", "f8"))
    for y, several in ((one, False), (both[1], True)):
        (leaf,) = (name for name in y.dask.layers if re.search(r"_\d-", name))
        found = adapter.gathered_block(y.dask.layers[leaf], leaf)
        assert found is not None
        assert found[1] == (0,)
        assert adapter.makes_tuples(y.dask.layers[found[0]]) == several
    assert adapter.gathered_block(x.dask.layers[x.name], x.name) is None


def test_groups_are_recognised() -> None:
    pytest.importorskip("flox")
    x = xr.DataArray(da.zeros(8, chunks=2), {"g": ("t", [0, 1] * 4)}, "t")
    layers = x.groupby("g").mean().data.dask.layers
    told = {name.rpartition("-")[0]: adapter.is_untold(layer) for name, layer in layers.items()}
    assert told.pop("groupby_nanmean-chunk")
    assert told.pop("groupby_nanmean-simple-reduce-aggregate")
    (last,) = (name for name in layers if "-aggregate-" in name)
    assert adapter.combines_groups(layers[last])
    assert not told["groupby_nanmean"]


def test_broadcast_arrays_are_recognised() -> None:
    x = da.ones(4)
    assert adapter.is_broadcast_scalar(x.dask.layers[x.name])
    y = x + 1
    assert not adapter.is_broadcast_scalar(y.dask.layers[y.name])
    z = da.broadcast_to(y, (3, 4))
    assert adapter.is_broadcast_to(z.dask.layers[z.name])
    assert not adapter.is_broadcast_to(y.dask.layers[y.name])


def test_literals_and_aliases_are_found() -> None:
    tasks = adapter.as_tasks({"a": 1, "b": "a", "c": (inc, "b"), "d": [1, 2]})
    assert adapter.plain_nodes(tasks) == ([1], [0, 3])
    assert adapter.literal_nbytes(DataNode("x", np.ones(10))) == 80
    assert adapter.literal_nbytes(Task("x", inc, 1)) is None


@pytest.mark.parametrize(
    "value", [1, "text", [1, 2.0], {"a": np.ones(4)}, ({1, 2}, None), slice(3)]
)
def test_literals_are_counted_as_dask_counts_them(value) -> None:
    assert adapter.literal_nbytes(DataNode("x", value)) == pytest.approx(sizeof(value), abs=60)


def test_slices_are_recognised() -> None:
    task = Task("y", getitem, TaskRef("x"), (slice(0, 2), 3))
    assert adapter.slicing(task, {}) == ("x", (slice(0, 2), 3), False)
    assert adapter.slicing(Task("y", inc, TaskRef("x")), {}) is None
    by_other = Task("y", getitem, TaskRef("x"), TaskRef("i"))
    assert adapter.slicing(by_other, {"i": Task("i", inc, 1)}) is None
    assert adapter.slicing(by_other, {"i": DataNode("i", [1, 2])}) == ("x", [1, 2], False)
    x = da.zeros((8, 6), chunks=4)
    for y in (x[[5, 1, 0]], x.rechunk(3)):
        made = [
            adapter.slicing(t, tasks)
            for tasks in [adapter.as_tasks(dict(y.dask))]
            for t in tasks.values()
        ]
        copies = {found.copies for found in made if found is not None}
        assert copies == {True}


def test_what_dask_does_with_blocks_is_recognised() -> None:
    x = da.zeros((8, 6), chunks=4)
    tasks = adapter.as_tasks(dict(x.rechunk(3).dask))
    assert any(map(adapter.writes_out, tasks.values()))
    tasks = adapter.as_tasks(dict(x.cumsum(axis=0).dask))
    assert {adapter.filled_nbytes(task) for task in tasks.values()} == {None, 32.0, 16.0}
    assert any(map(adapter.adds_up, tasks.values()))
    tasks = adapter.as_tasks(dict(delayed(inc)(x).dask))
    assert sum(map(adapter.joins_blocks, tasks.values())) == 1
    tasks = adapter.as_tasks(dict(delayed([delayed(inc)(1), delayed(inc)(2)]).dask))
    gathered = [n for task in tasks.values() if (n := adapter.gathered_nbytes(task)) is not None]
    assert gathered == [sizeof([None] * 2) - 2 * sizeof(None)]
    stored = da.store(x, np.zeros((8, 6)), compute=False)
    for collection in (stored, delayed(len)([stored])):
        tasks = adapter.as_tasks(dict(collection.__dask_graph__()))
        assert sum(map(adapter.stores, tasks.values())) == 4
    assert (
        adapter.kind_of("mean_agg-aggregate-0123456789abcdef0123456789abcdef")
        == "mean_agg-aggregate"
    )
