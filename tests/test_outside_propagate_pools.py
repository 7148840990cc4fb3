"""What is computed without `propagate_pools`: data is read where it lives all the same."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import get_worker

from dask_pools import LocalPoolCluster, open_zarr, pool

POOLS = ("ecmwf", "eumetsat")


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for number, name in enumerate(POOLS):
        values = np.arange(400.0).reshape(20, 20) + number
        data = xr.Dataset({"t": (("x", "y"), values)}).chunk(x=2)
        data.to_zarr(root / name / "t.zarr", consolidated=False)
    return {name: root / name for name in POOLS}


@pytest.fixture(scope="module")
def client(homes):
    with (
        LocalPoolCluster({"ecmwf": 1, "eumetsat": 2}, data=homes) as cluster,
        cluster.get_client() as client,
    ):
        yield client


def here(_: object) -> np.ndarray:
    return np.array([POOLS.index(get_worker().name.rpartition("-")[0])])


def test_pinned_blocks_run_in_their_pools(client):
    """Dask's own optimisation would fuse them, and drop their pins."""
    with pool("ecmwf"):
        a = da.ones(20, chunks=1).map_blocks(here, dtype=int)
    with pool("eumetsat"):
        b = da.ones(20, chunks=1).map_blocks(here, dtype=int)
    both = da.stack([a, b])
    assert both.compute().tolist() == [[0] * 20, [1] * 20]
    found = dask.compute(a, b + 1, xr.DataArray(b))
    assert [set(np.asarray(each).tolist()) for each in found] == [{0}, {2}, {1}]


def test_data_is_read_where_it_was_opened(client, homes):
    """Elsewhere zarr finds no chunks, and takes all values for missing."""
    a, b = (open_zarr(homes[name] / "t.zarr", pool=name, consolidated=False) for name in POOLS)
    expected = np.arange(400.0).reshape(20, 20)
    for _ in range(3):
        np.testing.assert_array_equal(a.t.compute().values, expected)
        np.testing.assert_array_equal((b - a).t.persist().compute().values, np.ones((20, 20)))
    assert float(b.t.mean().compute()) == expected.mean() + 1
