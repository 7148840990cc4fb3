"""Paths are found in what reads lazily, as it is pickled, and nothing is opened for it."""

from __future__ import annotations

import functools
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import dask
import dask.array as da
import dask.bag as db
import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from dask._task_spec import DataNode, List, Task, TaskRef
from fsspec.implementations.dirfs import DirFileSystem
from xarray.backends.common import BackendArray

from dask_pools.graph import adapter
from dask_pools.graph.adapter.paths import LARGEST, finder_of, held, paths_of
from dask_pools.model.locations import place_of


def places(value, **options):
    """Find the places of a value and of its pickle, which are the same."""
    found = [place_of(path) for path in paths_of(value, **options)]
    sent = [place_of(path) for path in paths_of(pickle.loads(pickle.dumps(value)), **options)]
    assert found == sent
    return found


@pytest.fixture
def dataset():
    scaled = {"scale_factor": 0.5, "dtype": "i2", "_FillValue": -1}
    return xr.Dataset({"t": (("y", "x"), np.arange(12.0).reshape(3, 4), {}, scaled)})


# ---- xarray


@pytest.mark.parametrize("engine", ["zarr", "netcdf4", "h5netcdf", "scipy"])
@pytest.mark.parametrize("inline", [True, False])
def test_variable_of_xarray_leads_to_its_file(tmp_path, dataset, engine, inline):
    if engine == "netcdf4":
        pytest.importorskip("netCDF4")
    if engine == "h5netcdf":
        pytest.importorskip("h5py")
    path = tmp_path / "x"
    if engine == "zarr":
        dataset.to_zarr(path, consolidated=False)
    else:
        dataset.to_netcdf(path, engine=engine)
    options = {"engine": engine} | ({"consolidated": False} if engine == "zarr" else {})
    chunks = {} if engine == "zarr" else {"y": 1}
    lazy = xr.open_dataset(path, chunks=chunks, inline_array=inline, **options)
    sent = pickle.loads(pickle.dumps(lazy.t.data.dask))
    plain = xr.open_dataset(path, **options)
    expected = str(path / "t" if engine == "zarr" else path)
    assert places(plain.t.variable, plain=False) == [expected]
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for graph in (lazy.t.data.dask, sent):
        found = dict(adapter.origins(graph))
        assert found.keys() == graph.layers.keys()
        for origins in found.values():
            (paths,) = [origins.shared] if origins.shared else origins.keys.values()
            assert [place_of(p) for p in paths] == [expected]


def test_backend_of_others_leads_to_what_it_names():
    class Backend(BackendArray):
        shape, dtype = (2,), np.dtype("f8")

        def __init__(self):
            self.filename_or_obj = Path("/data/x.grib")

        def __getitem__(self, key):
            raise AssertionError

    lazy = xr.Variable("x", xr.core.indexing.LazilyIndexedArray(Backend()))
    assert paths_of(lazy) == ["/data/x.grib"]


def test_file_object_leads_to_its_file(tmp_path, dataset):
    pytest.importorskip("h5py")
    path = tmp_path / "x.nc"
    dataset.to_netcdf(path, engine="h5netcdf")
    with fsspec.open(path) as file, xr.open_dataset(file, engine="h5netcdf") as lazy:
        assert places(lazy.t.variable) == [str(path)]


# ---- zarr


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_array_and_group_of_zarr_lead_to_their_store(tmp_path, scheme):
    zarr.create_group(tmp_path / "x").create_array("in/t", shape=2, dtype="f8")
    url = f"{scheme}{tmp_path / 'x'}"
    assert places(zarr.open_array(url, path="in/t")) == [f"{tmp_path}/x/in/t"]
    assert places(zarr.open_group(url)["in"]) == [f"{tmp_path}/x/in"]
    assert places(da.from_zarr(url, "in/t").dask["original-" + da.from_zarr(url, "in/t").name])


def test_stores_lead_to_their_place(tmp_path):
    local = zarr.storage.LocalStore(tmp_path)
    assert places(local) == places(zarr.storage.LoggingStore(local)) == [str(tmp_path)]
    with zarr.storage.ZipStore(tmp_path / "x.zip", mode="w") as packed:
        zarr.create_array(packed, shape=1, dtype="f8")
    assert places(zarr.storage.ZipStore(tmp_path / "x.zip")) == [f"{tmp_path}/x.zip"]
    assert paths_of(zarr.storage.MemoryStore()) == []


def test_store_of_obstore_leads_to_its_bucket(tmp_path):
    obstore = pytest.importorskip("obstore.store")
    s3 = obstore.S3Store("bucket", prefix="in", region="x", skip_signature=True)
    local = obstore.LocalStore(tmp_path)
    assert paths_of(zarr.storage.ObjectStore(s3)) == ["s3://bucket/in"]
    assert places(zarr.storage.ObjectStore(local)) == [str(tmp_path)]


@pytest.mark.parametrize(
    ("kind", "config", "url"),
    [
        ("S3Store", {"bucket": "b"}, "s3://b/in"),
        ("GCSStore", {"bucket": "b"}, "gs://b/in"),
        ("AzureStore", {"container_name": "c", "account_name": "a"}, "abfs://c/in"),
    ],
)
def test_bucket_is_found_in_the_settings_of_obstore(kind, config, url):
    """As obstore 0.12 has them, which need not be installed for this."""
    store = object.__new__(zarr.storage.ObjectStore)
    store.store = type(kind, (), {"config": config, "prefix": "in"})()
    assert paths_of(store) == [url]


# ---- fsspec


def test_open_files_lead_to_their_url(tmp_path):
    pytest.importorskip("s3fs")
    assert places(fsspec.open("s3://bucket/x.nc", anon=True)) == ["s3://bucket/x.nc"]
    cached = fsspec.open("simplecache::s3://bucket/x.nc", s3={"anon": True})
    assert places(cached) == ["s3://bucket/x.nc"]
    assert places(fsspec.get_mapper("s3://bucket/x", anon=True)) == ["s3://bucket/x"]
    store = zarr.storage.FsspecStore.from_url("s3://bucket/x", storage_options={"anon": True})
    assert places(store) == ["s3://bucket/x"]
    inside = DirFileSystem("/data", fsspec.filesystem("file"))
    assert places(fsspec.core.OpenFile(inside, "x/y.txt")) == ["/data/x/y.txt"]
    assert paths_of(fsspec.filesystem("file")) == []


def test_file_over_http_leads_to_its_url():
    pytest.importorskip("aiohttp")
    assert places(fsspec.open("https://host/x.nc")) == ["https://host/x.nc"]


def test_archive_and_references_lead_to_the_file_that_holds_them(tmp_path):
    packed, references = tmp_path / "x.zip", tmp_path / "x.json"
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("in.txt", "text")
    references.write_text(json.dumps({"in.txt": "text"}))
    assert places(fsspec.open(f"zip://in.txt::file://{packed}")) == [str(packed)]
    fs = fsspec.filesystem("reference", fo=str(references))
    assert places(fsspec.core.OpenFile(fs, "in.txt")) == [str(references)]
    loose = fsspec.filesystem("reference", fo={"in.txt": "text"})
    assert paths_of(fsspec.core.OpenFile(loose, "in.txt")) == []


# ---- plain values and tasks


def test_plain_strings_count_where_it_is_said():
    value = [{"a": "/data/a", "b": (Path("/data/b"), 3)}, functools.partial(len, "/data/c")]
    assert paths_of(value) == ["/data/a", "/data/b", "/data/c"]
    assert paths_of(value, plain=False) == []
    file = fsspec.core.OpenFile(fsspec.filesystem("file"), "/data/x")
    assert paths_of(["/data/a", file], plain=False) == ["file:///data/x"]


def test_tasks_are_looked_into():
    task = Task("x", functools.partial(print, "/a"), DataNode(None, "/b"), List("/c"), sep="/d")
    assert sorted(paths_of(task)) == ["/a", "/b", "/c", "/d"]
    fused = Task.fuse(task, Task("y", print, TaskRef("x"), "/e"))
    assert {"/a", "/b", "/c", "/d", "/e"} <= set(paths_of(fused))


def test_only_what_objects_hold_is_looked_at():
    class Held:
        __slots__ = ("empty", "here")

        @property
        def path(self):
            raise AssertionError("a property may open a file")

        def __getattr__(self, name):
            raise AssertionError(name)

    value = Held()
    value.here = "/data"
    assert held(value, "here") == "/data"
    assert held(value, "path") is held(value, "empty") is held(value, "none") is None


def test_nothing_in_a_graph_makes_it_fail():
    class Meta(type):
        __hash__ = None

    class Strange(metaclass=Meta):
        pass

    class Proxy:
        @property
        def __class__(self):
            raise AssertionError("a proxy may be made when it is asked")

    class Unreadable:
        def __fspath__(self):
            raise ValueError

    class Lies(dict):
        def values(self):
            raise RuntimeError

    store = zarr.storage.LocalStore("/data")
    store.root = 3
    for value in (Strange(), Proxy(), Unreadable(), Lies(a="/x"), store, object, ..., np.ones(3)):
        assert paths_of(value) == []
    assert finder_of(Strange) is None
    circle = ["/data"]
    circle.append(circle)
    assert paths_of(circle) == ["/data"]


def test_work_is_bounded():
    assert len(paths_of([f"/data/{i}" for i in range(3 * LARGEST)])) < LARGEST
    assert len(paths_of([[f"/data/{i}/{j}" for j in range(1000)] for i in range(1000)])) < LARGEST


# ---- layers


def origins_of(collection):
    graph = adapter.as_graph(collection.__dask_graph__())
    return dict(adapter.origins(graph))


def read(path, *_, **__):
    return path


def test_text_leads_to_its_files(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.txt").write_text("a\nb\n")
    for options in ({}, {"blocksize": 2}, {"files_per_partition": 2}):
        bag = db.read_text(str(tmp_path / "*.txt"), **options)
        found = origins_of(bag)
        paths = {place_of(p) for o in found.values() for ps in o.keys.values() for p in ps}
        assert paths == {f"{tmp_path}/0.txt", f"{tmp_path}/1.txt"}


def test_what_takes_in_an_iterator_reads_for_it(tmp_path):
    """Generators cannot be sent to another worker."""
    for i in range(2):
        (tmp_path / f"{i}.txt").write_text("a\nb\n")
    for options, kinds in (
        ({}, {"file_to_blocks", "list"}),
        ({"files_per_partition": 2}, {"map", "concat", "bag-from-delayed"}),
    ):
        found = origins_of(db.read_text(str(tmp_path / "*.txt"), **options).map(len))
        assert {adapter.kind_of(name) for name in found} == kinds


def test_numpy_stack_leads_to_its_files(tmp_path):
    da.to_npy_stack(tmp_path / "x", da.ones(4, chunks=2))
    x = da.from_npy_stack(tmp_path / "x")
    ((_, origins),) = origins_of(x).items()
    assert [len(paths_of_key) for paths_of_key in origins.keys.values()] == [2, 2]  # with "r"
    assert origins.keys[x.name, 1][0] == str(tmp_path / "x" / "1.npy")


def test_strings_count_in_what_needs_nothing_else():
    source = dask.delayed(read)("/data/x", option="/data/y", dask_key_name="source")
    after = dask.delayed(read)(source, "/data/out", dask_key_name="after")
    found = origins_of(after)
    assert found.keys() == {"source"}
    assert found["source"].keys == {"source": ["/data/x", "/data/y"]}
    blocks = da.map_blocks(read, "/data/x", chunks=((1, 1),), dtype=float)
    assert origins_of(blocks)[blocks.name].shared == ["/data/x"]
    assert origins_of(da.ones(2).map_blocks(read, "/data/x", dtype=float)) == {}


def test_strings_that_are_values_lead_nowhere():
    assert origins_of(db.from_sequence(["/data/x", "/data/y"]).map(read)) == {}
    assert origins_of(dask.delayed("/data/x")) == {}


def test_opened_object_counts_whatever_else_a_task_needs(tmp_path):
    target = zarr.create_array(tmp_path / "x", shape=4, chunks=2, dtype="f8")
    stored = da.store(da.ones(4, chunks=2), target, compute=False)
    paths = [place_of(p) for o in origins_of(stored).values() for p in o.shared]
    assert set(paths) <= {str(tmp_path / "x")}
    x = da.map_blocks(read, da.ones(4, chunks=2), target, dtype=float)
    assert [place_of(p) for p in origins_of(x)[x.name].shared] == [str(tmp_path / "x")]
    total = dask.delayed(read)(dask.delayed(1), target, dask_key_name="total")
    assert origins_of(total)["total"].keys.keys() == {"total"}
