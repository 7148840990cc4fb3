"""An entry: what it may say, how it is shown, and which pools it means."""

from __future__ import annotations

import pickle

import pytest

from dask_pools import CatalogError, pool, set_locations
from dask_pools.data.catalog.entry import Entry


def test_fields_are_brought_into_one_form():
    entry = Entry("ens", ["/a.nc", "/b.nc"], pools=["a", "b"], tags="x", description=" E \n")
    assert entry.location == ("/a.nc", "/b.nc")
    assert (entry.pools, entry.tags, entry.description) == (("a", "b"), ("x",), "E")


def test_entry_is_a_value():
    entry = Entry("ens", "/x.zarr", options={"chunks": {}}, pools="a")
    assert entry == Entry("ens", "/x.zarr", options={"chunks": {}}, pools=("a",))
    assert hash(entry) == hash(Entry("ens", "/x.zarr", options={"chunks": {}}, pools="a"))
    assert pickle.loads(pickle.dumps(entry)) == entry


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"location": ""}, "location: a location is a URL or a path"),
        ({"location": 3}, "not 3 of type int"),
        ({"location": []}, "not an empty list"),
        ({"location": ["/x", None]}, "location: 1: a location is a URL"),
        ({"location": "https://me:hunter2@host/x.nc"}, "the password in this URL is a secret"),
        ({"engine": 3}, "engine: the engine is a name"),
        ({"options": ["chunks"]}, "options are a mapping"),
        ({"options": {"engine": "zarr"}}, "use the field 'engine'"),
        ({"options": {"pool": "a"}}, "use the field 'pools'"),
        ({"options": {3: 1}}, "the name of an argument is a text"),
        ({"options": {"storage_options": {"secret": "hunter2"}}}, "credentials belong to the work"),
        ({"pools": "no pool"}, "'no pool' is not a name for a pool"),
        ({"pools": ["a", False]}, "pools: 1: the name of a pool is a string"),
        ({"pools": ["a", "a"]}, "'a' is there twice"),
        ({"pools": {"a": 1}}, "not a mapping"),
        ({"description": ["x"]}, "a description is a text"),
        ({"tags": {"a": 1}}, "tags are a text"),
        ({"tags": ["a", 3]}, "tags: 1: a tag is a text"),
        ({"name": " x"}, "begins and ends with no space"),
        ({"name": "a\nb"}, "the name of an entry"),
    ],
)
def test_wrong_field_is_told(fields, said):
    with pytest.raises(CatalogError) as caught:
        Entry(**{"name": "ens", "location": "/x.zarr", **fields})
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(CatalogError) as caught:
        Entry("ens", 3, engine=4, tags=[5])
    assert len(str(caught.value).splitlines()) == 4


def test_pools_of_the_entry_come_before_those_of_its_location():
    with set_locations({"/data": ["a", "b"]}):
        assert Entry("x", "/data/x.nc").pin() == ("a", "b")
        assert Entry("x", "/data/x.nc", pools="c").pin() == ("c",)
    assert Entry("x", "/data/x.nc").pin() == ()


def test_pools_of_several_files_hold_all_of_them():
    with set_locations({"/one": ["a", "b"], "/two": ["b", "c"], "/three": "d"}):
        assert Entry("x", ["/one/x.nc", "/two/x.nc"]).pin() == ("b",)
        assert Entry("x", ["/one/x.nc", "/three/x.nc"]).pin() == ()
        assert Entry("x", ["/one/x.nc", "/elsewhere/x.nc"]).pin() == ()


class Calls:
    """Stands for the functions of `dask_pools.data.open` and `many`."""

    def __init__(self, monkeypatch):
        self.calls = []
        for module, name in (("open", "open_dataset"), ("many", "open_mfdataset")):
            home = f"dask_pools.data.{module}.{name}"
            monkeypatch.setattr(home, lambda paths, name=name, **more: self.note(name, paths, more))

    def note(self, name, paths, more):
        self.calls.append((name, paths, more))


def test_open_says_everything_to_xarray(monkeypatch):
    calls = Calls(monkeypatch)
    entry = Entry("x", "/x.zarr", "zarr", {"chunks": {"a": 1}, "group": "g"}, pools="a")
    entry.open(group="h", decode_cf=False)
    own = {"pool": ("a",), "engine": "zarr"}
    options = {"chunks": {"a": 1}, "group": "h", "decode_cf": False}
    assert calls.calls == [("open_dataset", "/x.zarr", {**own, **options})]


def test_several_files_and_patterns_are_opened_as_one(monkeypatch):
    calls = Calls(monkeypatch)
    Entry("x", ["/a.nc", "/b.nc"]).open()
    Entry("x", "/data/*.nc").open(pool="b")
    assert calls.calls == [
        ("open_mfdataset", ["/a.nc", "/b.nc"], {"pool": None}),
        ("open_mfdataset", "/data/*.nc", {"pool": "b"}),
    ]


def test_open_leaves_the_entry_as_it_was(monkeypatch):
    Calls(monkeypatch)
    entry = Entry("x", "/x.zarr", options={"chunks": {}})
    with pool("b"):
        entry.open(engine="h5netcdf", chunks="auto")
    assert entry == Entry("x", "/x.zarr", options={"chunks": {}})
