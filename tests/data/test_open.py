"""Datasets are opened where they live, on a cluster whose pools do not see each other's data."""

from __future__ import annotations

import asyncio
import functools
import http.server
import pickle
import threading

import dask
import numpy as np
import pytest
import xarray as xr
from distributed import Client, get_worker

from dask_pools import (
    CoordinateLimitError,
    LocalPoolCluster,
    UnknownPoolError,
    get_pool,
    open_dataset,
    open_datatree,
    open_zarr,
    plan,
    pool,
    propagate_pools,
    set_locations,
)
from dask_pools.deploy import namespaces

pytest.importorskip("netCDF4")

# Where the kernel does not hide them, files that C opens are seen by all pools.
HIDDEN = namespaces.why_unavailable() is None


def example(seed=0):
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "t": (("time", "x"), rng.random((6, 10)).astype("f4"), {"units": "K"}),
            "crs": 4326 + seed,
        },
        {
            "time": np.datetime64("2024-01-01", "ns") + np.arange(6) * np.timedelta64(1, "D"),
            "lat": (("time", "x"), rng.random((6, 10))),
            "station": ("x", np.arange(10) * 7),
        },
        {"title": f"example {seed}"},
    )


def write(directory, seed):
    directory.mkdir()
    ds = example(seed)
    ds.to_netcdf(directory / "x.nc", encoding={"t": {"chunksizes": (2, 10)}})
    chunked = ds.chunk(time=2)
    chunked.to_zarr(directory / "v2.zarr", zarr_format=2)
    chunked.to_zarr(directory / "plain.zarr", zarr_format=2, consolidated=False)
    chunked.to_zarr(directory / "v3.zarr", zarr_format=3, consolidated=False)
    xr.DataTree.from_dict({"/": ds[["t"]], "/a/b": ds[["crs"]]}).to_zarr(
        directory / "tree.zarr", zarr_format=2
    )
    return directory


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    root = tmp_path_factory.mktemp("sites")
    return {name: write(root / name, i) for i, name in enumerate(("a", "b"))}


@pytest.fixture(scope="module")
def client(sites):
    with LocalPoolCluster({"a": 1, "b": 1}, data=sites) as cluster, cluster.get_client() as client:
        yield client


WAYS = {
    "netcdf4": (open_dataset, "x.nc", {"engine": "netcdf4"}),
    "guessed": (open_dataset, "x.nc", {}),
    "v2": (open_zarr, "v2.zarr", {"zarr_format": 2}),
    "not consolidated": (open_zarr, "plain.zarr", {"consolidated": False}),
    "v3": (open_zarr, "v3.zarr", {"consolidated": False}),
    "zarr by open_dataset": (open_dataset, "v2.zarr", {"engine": "zarr"}),
    "chunks": (open_zarr, "v2.zarr", {"chunks": {"time": 4}, "decode_times": False}),
}


@pytest.mark.parametrize("way", WAYS)
def test_result_is_that_of_xarray_and_is_read_at_home_only(client, sites, way):
    function, name, options = WAYS[way]
    ds = function(sites["a"] / name, pool="a", **options)
    plain = getattr(xr, function.__name__)(sites["a"] / name, **{"chunks": {}, **options})
    chunks = {n: v.chunks for n, v in plain.variables.items()}
    assert {n: v.chunks for n, v in ds.variables.items()} == chunks
    assert ds.attrs == plain.attrs
    assert {n: v.encoding.get("source") for n, v in ds.variables.items()} == {
        n: v.encoding.get("source") for n, v in plain.variables.items()
    }
    assert get_pool(ds) == "a"
    with propagate_pools():
        computed = ds.compute()
    xr.testing.assert_identical(computed, plain.compute(scheduler="synchronous"))
    ds.close()


def test_h5netcdf(client, sites):
    pytest.importorskip("h5netcdf")
    pytest.importorskip("h5py")
    ds = open_dataset(sites["b"] / "x.nc", pool="b", engine="h5netcdf")
    with propagate_pools():
        xr.testing.assert_identical(ds.compute(), example(1))


def test_everything_but_indexes_and_scalars_is_lazy(client, sites):
    ds = open_dataset(sites["a"] / "x.nc", pool="a")
    lazy = {name for name in ds.variables if dask.is_dask_collection(ds[name].variable)}
    assert lazy == {"t", "lat", "station"}
    assert ds.crs == 4326
    without = open_dataset(sites["a"] / "x.nc", pool="a", create_default_indexes=False)
    assert dask.is_dask_collection(without.time.variable)


def test_one_path_in_two_pools_is_two_keys(client, sites):
    a, b = (open_zarr(sites["a"] / "v2.zarr", pool=pools) for pools in ("a", ("a", "b")))
    assert a.t.data.name != b.t.data.name
    assert a.t.data.name == open_zarr(sites["a"] / "v2.zarr", pool="a").t.data.name
    assert get_pool(b) == ("a", "b")


def test_computation_over_two_pools_reads_each_at_home(client, sites):
    a, b = (open_zarr(sites[name] / "v2.zarr", pool=name) for name in ("a", "b"))
    with propagate_pools():
        planned = plan(a.t - b.t)
        result = (a.t - b.t).compute()
    xr.testing.assert_equal(result, example(0).t - example(1).t)
    # A field of one of the pools crosses, and nothing else.
    assert planned.nbytes == example().t.nbytes


def test_tree(client, sites):
    tree = open_datatree(sites["a"] / "tree.zarr", pool="a", engine="zarr")
    assert tree["/a/b"].crs == 4326
    assert get_pool(tree["t"]) == "a"
    with propagate_pools():
        xr.testing.assert_identical(
            tree["t"].compute().drop_vars("lat"), example().t.drop_vars("lat")
        )


def test_url_of_fsspec(client, sites):
    ds = open_zarr(f"file://{sites['a']}/v2.zarr", pool="a")
    with propagate_pools():
        xr.testing.assert_identical(ds.compute(), example())


@pytest.fixture
def http_url(sites):
    """The data of pool a on a web server."""
    handler = functools.partial(QuietHandler, directory=str(sites["a"]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_url_of_a_web_server(client, http_url):
    pytest.importorskip("aiohttp")
    ds = open_zarr(f"{http_url}/v2.zarr", pool="b")
    assert get_pool(ds) == "b"
    with propagate_pools():
        xr.testing.assert_identical(ds.compute(), example())


def test_icechunk(client, sites):
    icechunk = pytest.importorskip("icechunk")
    path = sites["b"] / "ice"
    storage = icechunk.local_filesystem_storage(str(path))
    if not path.exists():
        session = icechunk.Repository.create(storage).writable_session("main")
        example(1).to_zarr(session.store, consolidated=False)
        session.commit("data")

    def store():
        # What only the pool's workers see is opened there.
        there = icechunk.local_filesystem_storage(str(path))
        return icechunk.Repository.open(there).readonly_session("main").store

    ds = open_zarr(store, pool="b", consolidated=False)
    with propagate_pools():
        xr.testing.assert_identical(ds.compute(), example(1))
    ready = icechunk.Repository.open(storage).readonly_session("main").store
    assert open_zarr(ready, pool="b", consolidated=False).attrs == ds.attrs


@pytest.mark.parametrize("name", ["x.nc", "v2.zarr", "plain.zarr", "v3.zarr"])
def test_missing_file_names_path_and_pool(client, sites, name):
    path = sites["a"] / name
    if name == "x.nc" and not HIDDEN:
        pytest.skip("netCDF4 opens files in C")
    with pytest.raises(FileNotFoundError) as caught:
        open_dataset(path, pool="b", engine="netcdf4" if name == "x.nc" else "zarr")
    assert str(path) in str(caught.value)
    assert "pool 'b'" in str(caught.value)


def test_other_errors_arrive_as_they_are(client, sites):
    with pytest.raises(ValueError, match="unrecognized engine 'zar'"):
        open_dataset(sites["a"] / "v2.zarr", pool="a", engine="zar")
    with pytest.raises(TypeError, match="no_such_argument"):
        open_dataset(sites["a"] / "v2.zarr", pool="a", engine="zarr", no_such_argument=1)


def test_unknown_pool(client, sites):
    with pytest.raises(UnknownPoolError, match=r"pool 'aa'.*open_zarr-.*Did you mean 'a'"):
        open_zarr(sites["a"] / "v2.zarr", pool="aa")


def test_limit_of_what_is_sent(client, sites):
    with (
        dask.config.set({"dask_pools.coordinate-limit": 10}),
        pytest.raises(CoordinateLimitError, match=r"v2\.zarr.*coordinate time"),
    ):
        open_zarr(sites["a"] / "v2.zarr", pool="a")


def test_pool_in_force_and_location_say_where(client, sites):
    with pool("a"):
        assert get_pool(open_zarr(sites["a"] / "v2.zarr")) == "a"
    with set_locations({str(sites["b"]): "b"}):
        assert get_pool(open_zarr(sites["b"] / "v2.zarr")) == "b"
        with pool("a"):
            assert get_pool(open_zarr(sites["b"] / "v2.zarr", pool="b")) == "b"


def test_annotations_of_the_user_are_on_what_is_opened(client, sites):
    with dask.annotate(retries=2):
        ds = open_zarr(sites["a"] / "v2.zarr", pool="a")
    (read,) = (n for n in ds.t.data.dask.layers if n == ds.t.data.name)
    assert ds.t.data.dask.layers[read].annotations["retries"] == 2


def open_in_a_task(path, name):
    ds = open_zarr(path, pool=name)
    return get_pool(ds), float(ds.t.max().compute(scheduler="synchronous")), get_worker().name


def test_task_of_the_pool_opens_it_itself(client, sites):
    with pool("a"):
        found = client.submit(open_in_a_task, sites["a"] / "v2.zarr", "a", pure=False).result()
    assert found == ("a", float(example().t.max()), "a-0")


def test_arrays_of_ten_thousand_chunks_travel_without_their_tasks(client, sites):
    path = sites["a"] / "many.zarr"
    if not path.exists():
        field = xr.DataArray(dask.array.zeros((100, 100), chunks=1), dims=("x", "y"), name="f")
        field.to_dataset().to_zarr(path, compute=False, zarr_format=2)
    ds = open_zarr(path, pool="a")
    assert ds.f.data.npartitions == 10_000
    assert len(pickle.dumps(ds)) < 10_000


def test_opened_files_are_not_locked_through_the_scheduler(client, sites):
    ds = open_dataset(sites["a"] / "x.nc", pool="a")
    assert b"distributed.lock" not in pickle.dumps(ds)


async def _asynchronously(sites):
    async with (
        LocalPoolCluster({"a": 1, "b": 1}, asynchronous=True, data=sites) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        ds = await open_zarr(sites["a"] / "v2.zarr", pool="a")
        here = await open_zarr(sites["b"] / "v2.zarr")
        with pytest.raises(FileNotFoundError, match="pool 'a'"):
            await open_zarr(sites["b"] / "v2.zarr", pool="a")
        with propagate_pools():
            future = client.compute(ds.t)
        return get_pool(ds), get_pool(here), await future


def test_asynchronous_clients_await(sites):
    in_pool, here, values = asyncio.run(_asynchronously(sites))
    assert (in_pool, here) == ("a", None)
    xr.testing.assert_identical(values, example().t)
