"""Many files are opened as one dataset, on a cluster whose pools do not see each other's data."""

from __future__ import annotations

import os

import dask
import numpy as np
import pytest
import xarray as xr
from distributed import SchedulerPlugin

from dask_pools import (
    CoordinateLimitError,
    LocalPoolCluster,
    get_pool,
    open_mfdataset,
    plan,
    propagate_pools,
    set_locations,
)
from dask_pools.data.many import BATCH, Unopened, combine, expand

pytest.importorskip("netCDF4")

FILES = 100
#: Options with which xarray compares nothing, and the graph stays small.
QUICK = {"coords": "minimal", "compat": "override"}


def example(i):
    return xr.Dataset(
        {"t": (("time", "x"), np.full((2, 5), float(i)))},
        {"time": [2 * i, 2 * i + 1], "lat": ("x", np.arange(5.0)), "x": np.arange(5)},
        {"file": i},
    )


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    root = tmp_path_factory.mktemp("sites")
    for name in ("a", "b"):
        (root / name).mkdir()
        for i in range(FILES):
            example(i).to_netcdf(root / name / f"{i:03}.nc")
    return {name: root / name for name in ("a", "b")}


@pytest.fixture(scope="module")
def cluster(sites):
    with LocalPoolCluster({"a": 1, "b": 2}, data=sites) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster):
    with cluster.get_client() as client:
        yield client


class Counter(SchedulerPlugin):
    """Counts what is sent to the scheduler, and where tasks run."""

    name = "counter"

    def __init__(self, scheduler):
        self.scheduler, self.sent, self.tasks = scheduler, 0, {}

    def update_graph(self, scheduler, **_):
        self.sent += 1

    def transition(self, key, start, finish, *_, worker=None, **__):
        if start == "processing" and finish == "memory":
            self.tasks[str(key)] = self.scheduler.workers[worker].name


@pytest.fixture
def counter(cluster):
    counter = Counter(cluster.scheduler)
    cluster.scheduler.add_plugin(counter)
    yield counter
    cluster.scheduler.remove_plugin(counter.name)


def plain(paths, **options):
    with (
        dask.config.set(scheduler="synchronous"),
        xr.open_mfdataset(paths, **options) as ds,
    ):
        return ds.compute()


def in_pools(ds):
    with propagate_pools():
        return ds.compute()


def test_hundred_files_are_opened_in_batches_that_are_sent_at_once(client, sites, counter):
    paths = [sites["b"] / f"{i:03}.nc" for i in range(FILES)]
    ds = open_mfdataset(paths, pool="b", **QUICK)
    parts = [key for key in counter.tasks if "-part-" in key]
    assert len(parts) == FILES / BATCH
    assert len(counter.tasks) == len(parts) + 1
    # One message for the batches, one for the task that combines them.
    assert counter.sent == 2
    assert set(counter.tasks.values()) <= {"b-0", "b-1"}
    assert get_pool(ds) == "b"
    xr.testing.assert_identical(in_pools(ds), plain(paths, **QUICK))


def test_pattern_is_expanded_in_the_pool(client, sites, counter):
    ds = open_mfdataset(f"{sites['a']}/00*.nc", pool="a")
    assert ds.sizes["time"] == 20
    assert sorted(key.rsplit("-", 1)[0] for key in counter.tasks) == [
        "open_mfdataset",
        "open_mfdataset-list",
        "open_mfdataset-part-0",
    ]
    xr.testing.assert_identical(in_pools(ds), plain(f"{sites['a']}/00*.nc"))


def test_url_patterns_are_expanded(sites):
    assert expand(f"file://{sites['a']}/00[12].nc", None) == [
        f"file://{sites['a']}/00{i}.nc" for i in (1, 2)
    ]


def test_pattern_that_matches_nothing_names_path_and_pool(client, sites):
    with pytest.raises(FileNotFoundError, match=r"No file matches in pool 'b': '.*/a/\*\.nc'"):
        open_mfdataset(f"{sites['a']}/*.nc", pool="b")


def halved(ds):
    return ds.assign(t=ds.t / 2)


@pytest.mark.parametrize(
    "options",
    [
        {"combine": "nested", "concat_dim": "time"},
        {"combine": "nested", "concat_dim": "time", "parallel": True},
        {"preprocess": halved, "chunks": {"time": 1}},
        {"attrs_file": "003.nc"},
        {"combine_attrs": "drop_conflicts", "join": "outer"},
        {"coords": "different", "compat": "equals", "data_vars": "all"},
        {"coords": "minimal", "compat": "override", "data_vars": "minimal"},
        {"drop_variables": "lat", "decode_times": False},
    ],
    ids=str,
)
def test_arguments_are_those_of_xarray(client, sites, options):
    paths = [str(sites["a"] / f"{i:03}.nc") for i in range(12)]
    if "attrs_file" in options:
        options = {"attrs_file": paths[3]}
    ds = open_mfdataset(paths, pool="a", **options)
    expected = plain(paths, **options)
    assert ds.attrs == expected.attrs
    xr.testing.assert_identical(in_pools(ds), expected)


def test_nested_lists(client, sites):
    names = [[f"{2 * i + j:03}.nc" for j in range(2)] for i in range(3)]
    paths = [[str(sites["b"] / name) for name in row] for row in names]
    options = {"combine": "nested", "concat_dim": ["time", "x"], "join": "override"}
    ds = open_mfdataset(paths, pool="b", **options)
    xr.testing.assert_identical(in_pools(ds), plain(paths, **options))


def test_comparing_needs_no_computation_of_the_cluster(client, sites, counter):
    """A worker with one thread would wait for itself."""
    open_mfdataset(f"{sites['a']}/00*.nc", pool="a", coords="different", compat="equals")
    assert all(key.startswith("open_mfdataset") for key in counter.tasks)


def test_file_that_cannot_be_opened(client, sites):
    paths = [sites["a"] / "000.nc", sites["a"] / "none.nc", sites["a"] / "001.nc"]
    with pytest.raises(FileNotFoundError, match=r"none\.nc"):
        open_mfdataset(paths, pool="a")
    ds = open_mfdataset(paths, pool="a", errors="ignore")
    xr.testing.assert_identical(in_pools(ds), plain([paths[0], paths[2]]))
    with pytest.raises(ValueError, match="'errors' must be"):
        open_mfdataset(paths, pool="a", errors="maybe")


def test_limit_of_what_is_sent(client, sites):
    with (
        dask.config.set({"dask_pools.coordinate-limit": 1000}),
        pytest.raises(CoordinateLimitError, match="10 files"),
    ):
        open_mfdataset(f"{sites['a']}/00*.nc", pool="a")


def test_files_in_several_pools_are_read_where_they_are(client, sites):
    paths = [str(sites["ab"[i % 2]] / f"{i:03}.nc") for i in range(24)]
    options, equal = QUICK, {"coords": "different", "compat": "equals"}
    with set_locations({str(sites[name]): name for name in sites}):
        ds = open_mfdataset(paths, **options)
        with propagate_pools():
            compared = open_mfdataset(paths[:4], **equal)
    xr.testing.assert_identical(in_pools(ds), plain(paths, **options))
    xr.testing.assert_identical(in_pools(compared), plain(paths[:4], **equal))
    with propagate_pools():
        # The partial sum of one of the pools crosses, and no field.
        assert plan(ds.t.sum()).nbytes < example(0).t.nbytes


def test_one_function_makes_each_store(client, sites):
    def path(i):
        return lambda: os.fspath(sites["b"] / f"{i:03}.nc")

    ds = open_mfdataset([path(i) for i in range(3)], pool="b", combine="nested", concat_dim="time")
    assert in_pools(ds.t.mean()) == 1


def test_combining_what_is_open_is_combining_by_xarray():
    opened = [example(0), Unopened("why"), example(1)]
    ds = combine(["x", "y", "z"], opened, {})
    xr.testing.assert_equal(
        ds, xr.combine_by_coords([example(0), example(1)], combine_attrs="drop")
    )
    assert ds.attrs == {"file": 0}
    last = {"attrs_file": os.path.abspath("z")}  # noqa: PTH100 - as xarray writes it
    assert combine(["x", "y", "z"], [example(i) for i in range(3)], last).attrs == {"file": 2}
    xr.testing.assert_identical(combine("x", [example(0)], {}), example(0))
    xr.testing.assert_identical(opened[0], example(0))
