"""Two archives at two sites: opened there, joined, and the result written home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, SchedulerPlugin

import dask_pools
from dask_pools import LocalPoolCluster, get_pool, link_bytes, propagate_pools, set_locations
from dask_pools.demo.reads import take_reads, watch_reads

pytest.importorskip("netCDF4")

DAYS, STEPS, LAT, LON = 100, 2, 6, 8
#: What the names of the files of a site begin with; it is in whatever reads them.
MARKS = {"ecmwf": "hindcast-of-day", "eumetsat": "observed-everywhere"}
#: 100 files are opened by tasks of ten files each, one to list them, one to combine them.
OPENING_TASKS = DAYS // 10 + 2

ENGINES: dict[str, Callable[[xr.Dataset, Path], Any]] = {
    "netcdf4": lambda ds, path: ds.to_netcdf(path, engine="netcdf4"),
    "zarr": lambda ds, path: ds.to_zarr(path, zarr_format=2),
}


def field(seed: int, time: np.ndarray) -> xr.Dataset:
    values = np.random.default_rng(seed).random((len(time), LAT, LON))
    return xr.Dataset({"t2m": (("time", "lat", "lon"), values)}, {"time": time})


class Opening(SchedulerPlugin):
    """Counts what is asked of the scheduler: graphs from clients, and tasks that ran."""

    name = "opening"

    def __init__(self) -> None:
        self.graphs, self.tasks = 0, 0

    def update_graph(self, *_: Any, **more: Any) -> None:
        self.graphs += 1

    def transition(self, key: Any, start: str, finish: str, *_: Any, **more: Any) -> None:
        self.tasks += (start, finish) == ("processing", "memory")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A hindcast of a file a day at one site, in two formats; observations at the other one."""
    found = {pool: tmp_path_factory.mktemp(pool) for pool in MARKS}
    for engine, write in ENGINES.items():
        for day in range(DAYS):
            name = f"{MARKS['ecmwf']}-{day:03d}.{engine}"
            write(field(day, day * STEPS + np.arange(STEPS)), found["ecmwf"] / name)
    observed = field(DAYS, np.arange(DAYS * STEPS)).chunk(time=50)
    observed.to_zarr(found["eumetsat"] / MARKS["eumetsat"], zarr_format=2)
    return found


@pytest.fixture(scope="module")
def cluster(sites: dict[str, Path]) -> Iterator[LocalPoolCluster]:
    with LocalPoolCluster(dict.fromkeys(MARKS, 1), data=sites, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalPoolCluster) -> Iterator[Client]:
    with cluster.get_client() as client:
        watch_reads(client, MARKS)
        take_reads(client)
        yield client


def by_name(sites: dict[str, Path]) -> tuple[AbstractContextManager[Any], dict[str, Any]]:
    return nullcontext(), {pool: {"pool": pool} for pool in sites}


def by_location(sites: dict[str, Path]) -> tuple[AbstractContextManager[Any], dict[str, Any]]:
    locations = {str(path): pool for pool, path in sites.items()}
    return set_locations(locations), {pool: {} for pool in sites}


@pytest.mark.parametrize(("engine", "told"), [("netcdf4", by_name), ("zarr", by_location)])
def test_archives_are_opened_joined_and_written_at_their_homes(
    cluster: LocalPoolCluster, client: Client, sites: dict[str, Path], engine: str, told: Any
) -> None:
    home, away = sites["ecmwf"], sites["eumetsat"]
    result = home / f"bias-{engine}-{told.__name__}.zarr"
    opening = Opening()
    client.sync(_watch, cluster, opening)
    context, where = told(sites)
    with context:
        hindcast = dask_pools.open_mfdataset(
            f"{home}/{MARKS['ecmwf']}-*.{engine}", engine=engine, **where["ecmwf"]
        )
        assert opening.tasks <= OPENING_TASKS
        assert opening.graphs <= 3
        observed = dask_pools.open_zarr(away / MARKS["eumetsat"], **where["eumetsat"])
        assert get_pool(hindcast.t2m) == "ecmwf"
        assert get_pool(observed.t2m) == "eumetsat"
        assert dict(hindcast.sizes) == dict(observed.sizes)
        take_reads(client)  # of opening: what was read is asked for below
        before = sum(link_bytes(client).values())
        difference = hindcast - observed
        bias = xr.Dataset({"mean": difference.t2m.mean("time"), "error": abs(difference.t2m).max()})
        with propagate_pools():
            dask_pools.to_zarr(bias, result, zarr_format=2, **where["ecmwf"])
            written = dask_pools.open_zarr(result, **where["ecmwf"]).load()
    xr.testing.assert_allclose(written, expected())
    reads = take_reads(client)
    assert [read for read in reads if read.astray] == []
    assert sum(read.home == "ecmwf" for read in reads) >= DAYS
    assert {read.home for read in reads} == set(MARKS)
    crossed = sum(link_bytes(client).values()) - before
    # All steps of one archive meet those of the other one, and no more has to cross.
    assert 0 < crossed <= 1.2 * observed.t2m.nbytes


def expected() -> xr.Dataset:
    days = [field(day, day * STEPS + np.arange(STEPS)) for day in range(DAYS)]
    difference = xr.concat(days, "time") - field(DAYS, np.arange(DAYS * STEPS))
    return xr.Dataset({"mean": difference.t2m.mean("time"), "error": abs(difference.t2m).max()})


async def _watch(cluster: LocalPoolCluster, opening: Opening) -> None:
    cluster.scheduler.plugins.pop(opening.name, None)
    cluster.scheduler.add_plugin(opening)
