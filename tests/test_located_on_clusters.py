"""Two archives, each visible in its own pool only, which nobody has pinned: found by their paths.

Each computation is compared with its result on threads, before the cluster starts. The files that
workers open are counted: a worker that looks for one of another site is counted too, though
it does not find it.
"""

from __future__ import annotations

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
import xarray as xr
from dask.delayed import delayed

from dask_pools import (
    LocalPoolCluster,
    UnknownPoolError,
    plan,
    pool,
    propagate_pools,
    set_locations,
)
from tests import homes, opened

SITES = ("a", "b")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sites")
    for i, name in enumerate(SITES):
        here = homes.write(directory / name, i)
        values = np.random.default_rng(i).integers(0, 99, (12, 6)).astype("f8")
        for part in range(2):
            rows = slice(6 * part, 6 * part + 6)
            field = xr.Dataset({"t": (("y", "x"), values[rows])}, {"y": np.arange(12)[rows]})
            chunks = {"t": {"chunks": (2, 6)}}
            field.to_zarr(here / f"{part}.zarr", consolidated=False, encoding=chunks)
            field.to_netcdf(here / f"{part}.nc", engine="scipy")
        da.to_npy_stack(here / "stack", da.from_array(values, chunks=(3, 6)))
    return directory


@pytest.fixture(scope="module")
def client(data):
    cluster = LocalPoolCluster(
        {"a": 1, "b": 2}, data={name: data / name for name in SITES}, dashboard_address=None
    )
    with cluster, cluster.get_client() as client:
        client.run(opened.watch, data)
        yield client


@pytest.fixture(autouse=True)
def known(data):
    with set_locations({data / name: name for name in SITES}):
        yield


def opened_zarr(path):
    return xr.open_zarr(path, chunks={}, consolidated=False)


def from_zarr(data):
    a, b = (opened_zarr(data / name / "0.zarr") for name in SITES)
    return (a - b.mean("y")).t


def from_netcdf(data):
    a, b = (xr.open_dataset(data / n / "0.nc", engine="scipy", chunks={"y": 3}) for n in SITES)
    return a.t.T @ b.t


def from_many_files(data):
    paths = [[data / name / f"{part}.zarr" for part in range(2)] for name in SITES]
    options = {"engine": "zarr", "chunks": {}, "consolidated": False}
    a, b = (xr.open_mfdataset(found, **options) for found in paths)
    return xr.concat([a, b], "site").t.groupby("y").mean().sum("x")


def from_stores(data):
    a, b = (da.from_zarr(str(data / name / "0.zarr"), "t") for name in SITES)
    return da.concatenate([a, b]).rechunk((4, 3)).sum(axis=0)


def from_stacks(data):
    a, b = (da.from_npy_stack(data / name / "stack", mmap_mode=None) for name in SITES)
    return (a - b).std(axis=1)


def from_text(data):
    paths = [str(data / name / f"{part}.txt") for name in SITES for part in range(2)]
    return db.read_text(paths).map(len).sum()


def from_functions(data):
    a, b = (delayed(homes.lines)(str(data / name / "0.txt")) for name in SITES)
    return delayed(sorted)(a + b)


def as_argument(data):
    a, b = (da.from_zarr(str(data / name / "0.zarr"), "t") for name in SITES)
    return delayed(np.dot)(a.T, b)


@pytest.mark.parametrize(
    "made",
    [
        from_zarr,
        from_netcdf,
        from_many_files,
        from_stores,
        from_stacks,
        from_text,
        from_functions,
        as_argument,
    ],
    ids=lambda function: function.__name__,
)
def test_every_read_is_at_home_and_the_result_is_the_plain_one(client, data, made):
    expected = dask.compute(made(data), scheduler="threads")[0]
    opened.take_opened(client)
    with propagate_pools(locate=True):
        collection = made(data)
        result = collection.compute()
    if isinstance(expected, list):
        assert result == expected
    else:
        np.testing.assert_allclose(result, expected)
    found = opened.take_opened(client)
    assert {(name, name) for name in SITES} == found.keys()


def test_reads_that_are_pinned_stay_where_they_are_pinned(client, data):
    with pool("a"):
        pinned = delayed(homes.here)()
    with pool(None):
        free = delayed(len)(str(data / "a"))
    at_b = delayed(homes.lines)(str(data / "b" / "0.txt"))
    with propagate_pools(locate=True):
        assert dask.compute(pinned, free, at_b)[0] == "a"
        assert plan(pinned, at_b, locate=True).tasks == {"a": 1, "b": 1}
        assert plan(free, locate=True).tasks == {None: 1}


def test_writes_to_a_located_store_are_made_there(client, data):
    with propagate_pools(locate=True):
        field = opened_zarr(data / "a" / "0.zarr")
        field.to_zarr(data / "b" / "copy.zarr", consolidated=False)
    copy = opened_zarr(data / "b" / "copy.zarr")
    xr.testing.assert_equal(copy.load(scheduler="sync"), field.load(scheduler="sync"))


def test_pool_without_workers_is_an_error_before_anything_runs(client, data):
    opened.take_opened(client)
    a, b = (da.from_zarr(str(data / name / "0.zarr"), "t") for name in SITES)
    with (
        set_locations({data / "a": "a", data / "b": "c"}),
        propagate_pools(locate=True),
        pytest.raises(UnknownPoolError, match=rf"pool 'c', where .*{data}/b/0.zarr.*'{data}/b'"),
    ):
        (a - b).sum().compute()
    assert not opened.take_opened(client)


def test_plan_on_a_cluster_tells_the_same(client, data):
    assert plan(from_zarr(data), locate=True).tasks.keys() == set(SITES)
    with (
        set_locations({data / "b": "c"}),
        pytest.raises(UnknownPoolError, match=rf"'{data}/b'"),
    ):
        plan(from_zarr(data), locate=True)
