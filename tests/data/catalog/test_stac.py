"""Assets of STAC: items, collections and catalogs, in files and as objects of pystac."""

from __future__ import annotations

import builtins
import json
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr

from dask_pools import Catalog, CatalogError, set_locations
from dask_pools.data.catalog.adapters import stac as module

pystac = pytest.importorskip("pystac")

ZARR, NETCDF = "application/vnd+zarr", "application/netcdf"


def item(name, **assets):
    made = pystac.Item(
        name, None, None, datetime(2024, 6, 21, tzinfo=UTC), {"title": f"Item {name}"}
    )
    for key, asset in assets.items():
        made.add_asset(key, asset)
    return made


def asset(href, media, **more):
    return pystac.Asset(href, media_type=media, **more)


def example():
    """Make a collection with an asset of its own, two items, and things that are no data."""
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]),
        pystac.TemporalExtent([[datetime(2024, 1, 1, tzinfo=UTC), None]]),
    )
    collection = pystac.Collection(
        "era", "Reanalysis", extent, title="ERA", keywords=["reanalysis"]
    )
    collection.add_asset(
        "all",
        asset(
            "s3://bucket/all.zarr",
            "application/vnd.zarr; version=2",
            title="Everything",
            roles=["data"],
            extra_fields={
                "xarray:open_kwargs": {
                    "engine": "zarr",
                    "chunks": {"time": 1},
                    "consolidated": True,
                },
                "xarray:storage_options": {"anon": True},
            },
        ),
    )
    collection.add_asset("thumbnail", asset("s3://bucket/x.png", "image/png"))
    collection.add_item(
        item(
            "day-1",
            data=asset("./day-1.nc", NETCDF),
            grib=asset("x.grib", "application/wmo-GRIB2"),
            untyped=asset("../other.zarr", None),
        )
    )
    collection.add_item(
        item(
            "day-2",
            data=asset("s3://bucket/day-2.nc", NETCDF),
            kerchunk=asset(
                "s3://bucket/k.json",
                "application/json",
                extra_fields={"xarray:open_kwargs": {"engine": "kerchunk", "chunks": {}}},
            ),
            secret=asset(
                "s3://bucket/s.zarr",
                ZARR,
                extra_fields={"xarray:storage_options": {"secret": "hunter2"}},
            ),
        )
    )
    return collection


@pytest.fixture
def saved(tmp_path):
    collection = example()
    collection.normalize_and_save(str(tmp_path / "stac"), pystac.CatalogType.SELF_CONTAINED)
    return tmp_path / "stac" / "collection.json"


def read(source, **more):
    with pytest.warns(UserWarning, match="left out") as caught:
        catalog = Catalog.from_stac(source, **more)
    assert "'day-2/secret': options: storage_options: secret" in str(caught[0].message)
    assert "hunter2" not in str(caught[0].message)
    return catalog


NAMES = {"era/all", "day-1/data", "day-1/untyped", "day-2/data", "day-2/kerchunk"}


def test_assets_of_a_collection_and_its_items(saved):
    catalog = read(saved)
    assert set(catalog) == NAMES
    whole = catalog["era/all"]
    assert (whole.location, whole.engine) == ("s3://bucket/all.zarr", "zarr")
    assert whole.options == {
        "chunks": {"time": 1},
        "consolidated": True,
        "storage_options": {"anon": True},
    }
    assert (whole.description, whole.tags) == ("Everything", ("reanalysis", "data"))
    day = catalog["day-1/data"]
    assert (day.engine, day.options, day.description) == (None, {}, "Item day-1")
    assert catalog["day-1/untyped"].engine == "zarr"
    assert catalog["day-2/kerchunk"].engine == "kerchunk"


def test_relative_links_lead_from_the_file_that_has_them(saved):
    catalog = read(saved)
    assert catalog["day-1/data"].location == f"{saved.parent}/day-1/day-1.nc"
    assert catalog["day-1/untyped"].location == f"{saved.parent}/other.zarr"
    assert catalog["day-2/data"].location == "s3://bucket/day-2.nc"


def test_objects_are_read_like_files(saved):
    from_file = read(saved)
    assert read(pystac.Collection.from_file(str(saved))) == from_file
    items = list(pystac.Collection.from_file(str(saved)).get_items())
    assert set(read(items)) == NAMES - {"era/all"}
    assert set(read(pystac.ItemCollection(items))) == NAMES - {"era/all"}
    assert set(Catalog.from_stac(items[0])) == {"day-1/data", "day-1/untyped"}
    assert set(read(example())) == NAMES


def test_single_item_and_catalogs_above_can_be_read(saved, tmp_path):
    one = Catalog.from_stac(saved.parent / "day-1" / "day-1.json")
    assert set(one) == {"day-1/data", "day-1/untyped"}
    root = pystac.Catalog("root", "Everything")
    root.add_child(example())
    root.normalize_and_save(str(tmp_path / "root"), pystac.CatalogType.SELF_CONTAINED)
    assert set(read(tmp_path / "root" / "catalog.json")) == NAMES


def test_feature_collection_is_several_items(tmp_path):
    items = pystac.ItemCollection([item("a", data=asset("s3://b/a.nc", NETCDF))])
    path = tmp_path / "found.json"
    path.write_text(json.dumps(items.to_dict()))
    assert list(Catalog.from_stac(path)) == ["a/data"]


def test_items_of_one_name_are_told_apart_by_their_collection():
    items = []
    for name in ("one", "two"):
        made = item("day", data=asset(f"s3://{name}/day.nc", NETCDF))
        made.collection_id = name
        items.append(made)
    assert list(Catalog.from_stac(items)) == ["one/day/data", "two/day/data"]


def test_field_of_the_zarr_extension(tmp_path):
    store = asset("s3://b/x.zarr", ZARR, extra_fields={"zarr:consolidated": False})
    assert Catalog.from_stac(item("x", z=store))["x/z"].options == {"consolidated": False}


def test_pools_are_those_of_the_files_or_of_the_location(saved):
    catalog = read(saved, pool="a")
    assert catalog["day-1/data"].pools == ("a",)
    assert catalog["day-2/data"].pools == ()
    with set_locations({saved.parent: "b", "s3://bucket": ["c", "d"]}):
        catalog = read(saved)
        assert catalog["day-1/data"].pin() == ("b",)
        assert catalog["era/all"].pin() == ("c", "d")


def test_asset_is_opened(tmp_path):
    dataset = xr.Dataset({"a": ("x", np.arange(4.0))})
    dataset.to_zarr(tmp_path / "x.zarr", zarr_format=2, consolidated=True)
    made = item("x", z=asset("./x.zarr", ZARR))
    made.save_object(dest_href=str(tmp_path / "x.json"), include_self_link=False)
    xr.testing.assert_equal(Catalog.from_stac(tmp_path / "x.json")["x/z"].open().load(), dataset)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no STAC"),
        ("[1]", "not an object of JSON"),
        ('{"type": "Feature"}', "is no STAC"),
        ('{"type": "Topology"}', "is no STAC"),
        ("[" * 100_000, "is no STAC"),
        ('{"type": "FeatureCollection", "features": []}', "has nothing that can be opened"),
    ],
)
def test_what_is_no_stac_is_refused(tmp_path, text, said):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(CatalogError) as caught:
        Catalog.from_stac(path)
    assert said in str(caught.value)


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match="not as int"):
        Catalog.from_stac([3])


def test_files_that_lead_to_each_other_are_read_once(saved, monkeypatch):
    there, files = module.read_text, []
    monkeypatch.setattr(module, "read_text", lambda url: (files.append(url), there(url))[1])
    link = {"rel": "child", "href": "./collection.json"}
    data = json.loads(saved.read_text())
    saved.write_text(json.dumps({**data, "links": [*data["links"], link, link]}))
    read(saved)
    assert len(files) == len(set(files)) == 3


def test_files_are_bounded(saved, monkeypatch):
    monkeypatch.setattr(module, "MOST_FILES", 2)
    with pytest.raises(CatalogError, match="leads to more than 2 files"):
        Catalog.from_stac(saved)


def test_without_pystac_the_extra_is_named(saved, monkeypatch):
    there = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "pystac":
            raise ImportError(name)
        return there(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"dask_pools\[catalogs\]"):
        Catalog.from_stac(saved)
