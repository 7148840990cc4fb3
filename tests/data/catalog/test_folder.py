"""A folder of stores as a catalog."""

from __future__ import annotations

import warnings

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr

from dask_pools import Catalog, CatalogError, set_locations
from dask_pools.data.catalog.adapters import folder as module


def dataset():
    return xr.Dataset({"a": ("x", np.arange(4.0))})


@pytest.fixture
def stores(tmp_path):
    dataset().to_zarr(tmp_path / "ens.zarr", zarr_format=2, consolidated=True)
    dataset().to_zarr(tmp_path / "2024" / "without-suffix", zarr_format=3, consolidated=False)
    dataset().to_netcdf(tmp_path / "obs.nc")
    dataset().to_netcdf(tmp_path / "2024" / "obs.nc4")
    dataset().to_netcdf(tmp_path / "2024" / "ens.nc")
    for name in (".hidden.nc", "notes.txt", "x.nc.part"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".cache").mkdir()
    dataset().to_netcdf(tmp_path / ".cache" / "x.nc")
    return tmp_path


def test_stores_and_files_are_found(stores):
    catalog = Catalog.from_folder(stores)
    assert {name: (e.location, e.engine, e.options) for name, e in catalog.items()} == {
        "ens": (f"{stores}/ens.zarr", "zarr", {"consolidated": True}),
        "obs": (f"{stores}/obs.nc", None, {}),
        "2024/ens": (f"{stores}/2024/ens.nc", None, {}),
        "2024/obs": (f"{stores}/2024/obs.nc4", None, {}),
        "2024/without-suffix": (
            f"{stores}/2024/without-suffix",
            "zarr",
            {"consolidated": False},
        ),
    }


@pytest.mark.parametrize("name", ["ens", "obs", "2024/obs", "2024/without-suffix"])
def test_what_is_found_can_be_opened(stores, name):
    xr.testing.assert_equal(Catalog.from_folder(stores)[name].open().load(), dataset())


def test_same_names_keep_their_suffix(stores):
    dataset().to_netcdf(stores / "ens.nc")
    assert {"ens.zarr", "ens.nc"} <= set(Catalog.from_folder(stores))


def test_pools_are_those_said_or_of_the_location(stores):
    assert Catalog.from_folder(stores, pool="a")["ens"].pools == ("a",)
    assert Catalog.from_folder(stores)["ens"].pools == ()
    with set_locations({stores: "a", stores / "2024": ["b", "c"]}):
        catalog = Catalog.from_folder(stores)
        assert catalog["ens"].pin() == ("a",)
        assert catalog["2024/obs"].pin() == ("b", "c")


def test_any_file_system_will_do(stores):
    memory = fsspec.filesystem("memory")
    memory.put(f"{stores}/2024", "/bucket/2024", recursive=True)
    catalog = Catalog.from_folder("memory://bucket/")
    assert set(catalog) == {"2024/ens", "2024/obs", "2024/without-suffix"}
    assert catalog["2024/ens"].location == "memory://bucket/2024/ens.nc"
    xr.testing.assert_equal(catalog["2024/without-suffix"].open().load(), dataset())


def test_store_of_zarr_3_may_be_consolidated(tmp_path):
    dataset().to_zarr(tmp_path / "x.zarr", zarr_format=3, consolidated=False)
    with warnings.catch_warnings(action="ignore"):
        zarr.consolidate_metadata(tmp_path / "x.zarr", zarr_format=3)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "zarr.json").write_text("{")
    options = [entry.options for entry in Catalog.from_folder(tmp_path).values()]
    assert options == [{"consolidated": False}, {"consolidated": True}]


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Catalog.from_folder(tmp_path / "missing")


def test_folder_with_nothing_in_it(tmp_path):
    with pytest.raises(CatalogError, match="has nothing that can be opened"):
        Catalog.from_folder(tmp_path)


def test_listing_is_bounded(stores, monkeypatch):
    monkeypatch.setattr(module, "MOST_FOLDERS", 2)
    with pytest.raises(CatalogError, match="more than 2 folders"):
        Catalog.from_folder(stores)


def test_nothing_below_a_store_is_listed(stores, monkeypatch):
    from fsspec.implementations.local import LocalFileSystem

    listed = []
    there = LocalFileSystem.ls

    def counted(self, path, **more):
        listed.append(path)
        return there(self, path, **more)

    monkeypatch.setattr(LocalFileSystem, "ls", counted)
    Catalog.from_folder(stores)
    below = [path.removeprefix(str(stores)) for path in listed]
    assert sorted(below) == ["", "/2024", "/2024/without-suffix", "/ens.zarr"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_single_arrays_are_no_data_sets(tmp_path, zarr_format):
    zarr.create_array(tmp_path / "array", data=np.ones(4), zarr_format=zarr_format)
    dataset().to_netcdf(tmp_path / "x.nc")
    assert list(Catalog.from_folder(tmp_path)) == ["x"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_store_is_no_folder_of_stores(tmp_path, zarr_format):
    path = tmp_path / "x.zarr"
    dataset().to_zarr(path, zarr_format=zarr_format, consolidated=False)
    with pytest.raises(CatalogError, match="is a zarr store itself"):
        Catalog.from_folder(path)
