"""What a lazy dataset brings along is kept small."""

from __future__ import annotations

import math
import pickle

import dask
import numpy as np
import pytest
import xarray as xr

from dask_pools.data.moved import coordinate_limit, pack_opened
from dask_pools.data.parcel import unpack
from dask_pools.errors import ConfigurationError, CoordinateLimitError

MB = 1_000_000


def lazy(**extra):
    fields = {"t": ("x", np.arange(1000.0)), **extra}
    return xr.Dataset(fields).chunk(x=100)


def test_indexes_below_the_limit_pass():
    ds = lazy().assign_coords(x=np.arange(1000))
    xr.testing.assert_identical(unpack(pack_opened(ds, 20_000, "'x.nc'")), ds)


def test_large_index_is_named_with_its_size_and_what_to_do():
    ds = lazy().assign_coords(x=np.arange(1000), y=("y", np.arange(100)))
    with pytest.raises(CoordinateLimitError) as caught:
        pack_opened(ds, 5_000, "'/data/x.nc'")
    text = str(caught.value)
    assert "'/data/x.nc'" in text
    assert "The largest: coordinate x (8." in text
    assert "drop_variables" in text
    assert "create_default_indexes=False" in text
    assert "dask_pools.coordinate-limit" in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_text_counts_with_all_its_letters():
    ds = lazy().assign_coords(x=np.array(["x" * 500 + str(i) for i in range(1000)], dtype=object))
    with pytest.raises(CoordinateLimitError, match="coordinate x"):
        pack_opened(ds, MB / 4, "'x.nc'")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("attributes of the dataset", lambda ds: ds.assign_attrs(a=np.zeros(MB))),
        ("variable t", lambda ds: ds.assign(t=ds.t.assign_attrs(a="a" * MB))),
        # An engine that is not lazy: its values are in the graph.
        ("variable u", lambda ds: ds.assign(u=("y", np.zeros(MB))).chunk(y=100)),
        ("variable u", lambda ds: ds.assign(u=("y", ["text" + str(i) for i in range(MB // 4)]))),
        (
            "variable o",
            lambda ds: ds.assign(
                o=("y", np.array([f"t{i}" for i in range(MB // 2)], dtype=object))
            ).chunk(y=-1),
        ),
    ],
)
def test_whatever_is_large_and_not_lazy_is_caught(name, change):
    with pytest.raises(CoordinateLimitError, match=f"The largest: {name}"):
        pack_opened(change(lazy()), MB, "'x.nc'")


def test_lazy_data_does_not_count():
    ds = xr.Dataset({"t": ("x", dask.array.zeros(10**9, chunks=10**6))})
    assert unpack(pack_opened(ds, 5000, "'x.nc'")).chunks == ds.chunks


def test_every_node_of_a_tree_counts():
    tree = xr.DataTree.from_dict({"/": lazy(), "/a/b": xr.Dataset(coords={"y": np.arange(MB)})})
    assert unpack(pack_opened(tree, 10 * MB, "'x'")).identical(tree)
    with pytest.raises(CoordinateLimitError, match="coordinate /a/b/y"):
        pack_opened(tree, MB, "'x'")


def test_scalar_of_a_file_is_loaded(tmp_path):
    lazy(crs=3).to_netcdf(tmp_path / "x.nc")
    with xr.open_dataset(tmp_path / "x.nc", chunks={}) as ds:
        moved = unpack(pack_opened(ds, MB, "'x.nc'"))
    (tmp_path / "x.nc").unlink()
    assert moved.crs == 3


def test_variable_that_is_not_lazy_is_not_read_if_it_is_too_large(tmp_path):
    xr.Dataset({"t": ("x", np.zeros(10_000))}).to_netcdf(tmp_path / "x.nc")
    with (
        xr.open_dataset(tmp_path / "x.nc") as ds,  # without chunks
        pytest.raises(CoordinateLimitError, match=r"variable t \(80 kB\)"),
    ):
        pack_opened(ds, 50_000, "'x.nc'")


def test_large_graphs_of_lazy_data_pass():
    ds = lazy(t=("x", np.zeros(1000))).chunk(x=1)
    graph = xr.concat([ds + i for i in range(20)], "y")
    assert len(pack_opened(graph, 30_000, "'x.nc'")) > 30_000


@pytest.mark.parametrize(
    ("said", "limit"), [("1 kB", 1000), (5, 5), ("5", 5), (None, math.inf), (0, 0)]
)
def test_limit_is_read_from_the_configuration(said, limit):
    with dask.config.set({"dask_pools.coordinate-limit": said}):
        assert coordinate_limit() == limit


def test_default_limit():
    assert coordinate_limit() == 64 * 2**20


@pytest.mark.parametrize("said", [-1, "much", [], "nan"])
def test_limit_that_is_none_is_refused(said):
    with (
        dask.config.set({"dask_pools.coordinate-limit": said}),
        pytest.raises(ConfigurationError, match=r"dask_pools\.coordinate-limit"),
    ):
        coordinate_limit()
