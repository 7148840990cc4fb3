"""Sizes that are known before anything runs, against those of the values themselves."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import execute_graph
from dask.sizeof import sizeof

from dask_pools.graph import adapter
from dask_pools.graph.sizes import ASSUMED_NBYTES, describe_blocks, estimate_nbytes


def field(*shape: int, chunks=(200, 100)) -> da.Array:
    return da.from_array(np.random.default_rng(0).random(shape, dtype="f4"), chunks=chunks)


def estimated(x) -> tuple[dict, dict]:
    graph = adapter.high_level_graph(x)
    tasks = adapter.as_tasks(dict(graph))
    return estimate_nbytes(tasks, describe_blocks(graph), {}), tasks


def measured(tasks: dict) -> dict:
    values = execute_graph(tasks, keys=list(tasks))
    return {key: sizeof(values[key]) for key in tasks}


def overhead(nbytes: float) -> float:
    # A dictionary of arrays, as `mean` makes for each block, has some bytes of its own.
    return 0.01 * nbytes + 700


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x + 1,
        lambda x: (x > 0.5).astype("f8"),
        lambda x: x[10:50, 3],
        lambda x: x[::3][[5, 1, 70]],
        lambda x: x.sum(axis=0),
        lambda x: x.mean(axis=0),
        lambda x: x.var(axis=1),
        lambda x: x.max(),
        lambda x: x.argmax(axis=0),
        lambda x: x.mean(),
        lambda x: da.reduction(x, np.sum, np.sum, axis=0, dtype="f8", split_every=2),
        lambda x: x.rechunk((150, 150)),
        lambda x: x.rechunk((400, 10)),
        lambda x: da.concatenate([x, x]).mean(axis=0, split_every=2),
        lambda x: da.stack([x, x + 1]),
        lambda x: x.T,
        lambda x: da.overlap.overlap(x, depth=3, boundary="none"),
        lambda x: da.overlap.overlap(x, depth=(3, 0), boundary="periodic"),
        lambda x: da.map_overlap(lambda b: b, x, depth=2, boundary="reflect"),
        lambda x: da.tensordot(x, x.T, axes=1),
        lambda x: da.where(x > 0.5, x, 0),
        lambda x: x.reshape(-1),
        lambda x: da.ones((400, 300), chunks=100) + x.rechunk(100),
        lambda x: da.broadcast_to(x[:1], (50, 400, 300)[1:]).sum(axis=0),
        lambda x: x[[True] * 50 + [False] * 350],
    ],
)
def test_sizes_are_those_of_the_values(build) -> None:
    sizes, tasks = estimated(build(field(400, 300)))
    for key, actual in measured(tasks).items():
        assert sizes[key] == pytest.approx(actual, abs=overhead(actual)), key


def test_rolling_means_of_xarray() -> None:
    x = xr.DataArray(field(400, 300, chunks=(100, 300)), dims=["time", "x"])
    sizes, tasks = estimated(x.rolling(time=5).mean())
    for key, actual in measured(tasks).items():
        assert sizes[key] == pytest.approx(actual, abs=overhead(actual)), key


def test_every_size_is_finite_with_unknown_chunks() -> None:
    x = field(400, 300)
    y = x[x > 0.5]
    sizes, tasks = estimated(y + 1)
    assert set(sizes) == set(tasks)
    assert all(np.isfinite(size) and size >= 0 for size in sizes.values())


def test_a_delayed_value_is_as_large_as_the_array_made_of_it() -> None:
    value = dask.delayed(np.ones)(1000)
    sizes, _ = estimated(da.from_delayed(value, (1000,), "f8"))
    assert sizes[value.key] == 8000


def test_what_nothing_is_known_of_is_assumed() -> None:
    value = dask.delayed(np.ones)(1000)
    both = dask.delayed(np.add)(value, dask.delayed(np.ones)(1000))
    sizes, _ = estimated(both)
    assert sizes[value.key] == ASSUMED_NBYTES
    assert sizes[both.key] == 2 * ASSUMED_NBYTES


def test_values_from_outside_of_the_graph_count() -> None:
    tasks = adapter.as_tasks({"y": (np.add, "x", 1)})
    tasks["y"] = adapter.redirect(
        adapter.as_tasks({"x": 1, "y": (np.add, "x", 1)})["y"], {"x": "z"}
    )
    assert estimate_nbytes(tasks, {}, {"z": 123.0}) == {"y": 123.0}
