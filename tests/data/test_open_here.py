"""Without a cluster, data is opened by xarray in this process, and pinned for later."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

from dask_pools import get_pool, open_dataset, open_mfdataset, open_zarr, pool, set_locations
from dask_pools.data.open import find_pin
from dask_pools.errors import LocationError, PoolNameError


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("netCDF4")
    for i in range(3):
        ds = xr.Dataset({"t": ("x", np.arange(3.0))}, {"x": np.arange(3) + 3 * i}, {"i": i})
        ds.to_netcdf(tmp_path / f"{i}.nc")
    return tmp_path


def test_it_is_that_of_xarray_with_a_pin(path):
    ds = open_dataset(path / "0.nc", pool="a")
    assert get_pool(ds) == "a"
    with xr.open_dataset(path / "0.nc") as plain:
        xr.testing.assert_identical(ds.compute(), plain.compute())
    ds.close()


def test_it_is_lazy_unless_somebody_says_otherwise_outside_of_pools(path):
    with open_dataset(path / "0.nc") as ds:
        assert dask.is_dask_collection(ds)
        assert get_pool(ds) is None
    with open_dataset(path / "0.nc", chunks=None) as ds:
        assert not dask.is_dask_collection(ds)
    with pytest.raises(ValueError, match=r"open_dataset\(\) in a pool cannot have chunks=None"):
        open_dataset(path / "0.nc", pool="a", chunks=None)


def test_function_makes_what_is_opened(path):
    with open_dataset(lambda: path / "0.nc") as ds:
        assert ds.i == 0


def test_many_files(path):
    with open_mfdataset(str(path / "*.nc"), pool="a") as ds:
        assert get_pool(ds) == "a"
        assert ds.sizes["x"] == 9
    with open_mfdataset([path / "0.nc", path / "1.nc"]) as ds:
        assert get_pool(ds) is None


def test_many_files_of_several_pools(path):
    with set_locations({str(path / "0.nc"): "a", str(path / "1.nc"): ["b", "c"]}):
        ds = open_mfdataset([path / "0.nc", path / "1.nc"])
        layers = ds.t.data.dask.layers.values()
        pins = {layer.annotations["pool"] for layer in layers if layer.annotations}
        assert pins == {("a",), ("b", "c")}
        assert ds.t.compute().values.tolist() == [0, 1, 2, 0, 1, 2]
        with pytest.raises(LocationError, match=r"2\.nc' is in no location, while 2 of 3 files"):
            open_mfdataset([path / f"{i}.nc" for i in range(3)])


def test_missing_file_is_an_error():
    with pytest.raises(FileNotFoundError, match="/not/there"):
        open_dataset(Path("/not/there.nc"), pool="a")
    with pytest.raises(FileNotFoundError, match="/not/there"):
        open_zarr("/not/there.zarr")


def test_who_says_where_data_is():
    with set_locations({"/data/b": "b"}):
        assert find_pin("/data/b/x.nc", None) == ("b",)
        assert find_pin(Path("/data/b/x.nc"), None) == ("b",)
        assert find_pin(object(), None) is None
        with pool("a"):
            assert find_pin("/data/b/x.nc", None) == ("a",)
            assert find_pin("/data/b/x.nc", ("c", "d")) == ("c", "d")
    with pytest.raises(PoolNameError):
        find_pin("/data/b/x.nc", "not a name")
