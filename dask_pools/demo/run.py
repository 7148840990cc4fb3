"""Run the demo's computation in each way on one cluster, and measure."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from dask_pools.demo.data import (
    FORECAST_POOL,
    OBSERVATIONS_POOL,
    VARIABLE,
    FloatField,
    forecast_path,
    observations_path,
)
from dask_pools.demo.reads import take_reads, watch_reads
from dask_pools.demo.ways import CLIENT_POOL, WAYS, Way
from dask_pools.deploy.local import LocalPoolCluster
from dask_pools.model import Link
from dask_pools.scheduler.telemetry import link_bytes

#: Kelvin. The mean of float32 numbers near 300 K depends on the order of summation by less.
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one way did.

    Parameters
    ----------
    way : str
        Its name.
    seconds : float
        How long it took.
    links : dict of Link to int
        Bytes that crossed each link, as the workers saw them.
    reads, astray : int
        Number of tasks that read data, and of those which ran where the data is not.
    field : ndarray of shape (latitude, longitude) or None
        The result; None if it failed.
    failure : str
        The error, empty if there was none.
    """

    way: str
    seconds: float
    links: dict[Link, int]
    reads: int
    astray: int
    field: FloatField | None
    failure: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes that crossed any link."""
        return sum(self.links.values())

    def is_correct(self, expected: FloatField) -> bool:
        """Whether the result is the expected one, in every point."""
        return self.field is not None and np.allclose(self.field, expected, rtol=0, atol=TOLERANCE)


def start_cluster(directory: Path, workers: int = 2) -> LocalPoolCluster:
    """Start two data centres, each with its own data, and the client's site with none.

    Parameters
    ----------
    directory : Path
        Where the demo's data is.
    workers : int
        Number of workers of each data centre; the client's site has one.
    """
    return LocalPoolCluster(
        {FORECAST_POOL: workers, OBSERVATIONS_POOL: workers, CLIENT_POOL: 1},
        data={pool: str(directory / pool) for pool in (FORECAST_POOL, OBSERVATIONS_POOL)},
        dashboard_address=None,
        # What fails is a line of the table; the workers' tracebacks would bury it.
        silence_logs=logging.CRITICAL,
    )


def run_ways(
    client: Client,
    directory: Path,
    ways: Iterable[Way] = WAYS,
    on_start: Callable[[str], object] = lambda _: None,
) -> Iterator[Outcome]:
    """Run each way, one after the other, and measure it.

    Parameters
    ----------
    client : Client
        Of a cluster with the pools of `start_cluster`.
    directory : Path
        Where the demo's data is.
    ways : iterable of Way
        What to run. Default: all.
    on_start : callable
        Called with the name of each way before it is run.

    Yields
    ------
    Outcome
        As soon as each has been measured.
    """
    files = {
        FORECAST_POOL: forecast_path(directory).name,
        OBSERVATIONS_POOL: observations_path(directory).name,
    }
    watch_reads(client, files)
    for name in ("xarray", "zarr", "netCDF4"):  # or the first way would pay for all of them
        client.run(import_module, name)
    for way in ways:
        on_start(way.name)
        yield _measure(client, directory, way)


def _measure(client: Client, directory: Path, way: Way) -> Outcome:
    _wait_until_idle(client)
    lazy = way.prepare(directory)
    take_reads(client)
    before = link_bytes(client)
    field, failure = None, ""
    start = time.perf_counter()
    try:
        field = np.asarray(
            way.compute(lazy)[VARIABLE].transpose("latitude", "longitude"), "float64"
        )
    except Exception as error:  # noqa: BLE001 one way may fail; it is a line of the table
        failure = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    after = link_bytes(client)
    reads = take_reads(client)
    return Outcome(
        way=way.name,
        seconds=seconds,
        links={
            link: nbytes - before.get(link, 0)
            for link, nbytes in sorted(after.items())
            if nbytes > before.get(link, 0)
        },
        reads=len(reads),
        astray=sum(read.astray for read in reads),
        field=field,
        failure=failure,
    )


def _wait_until_idle(client: Client, seconds: float = 10.0) -> None:
    """Wait until the tasks of the last way are forgotten: their keys may come again."""

    def count_tasks(dask_scheduler: Any) -> int:
        return len(dask_scheduler.tasks)

    end = time.monotonic() + seconds
    while client.run_on_scheduler(count_tasks) and time.monotonic() < end:
        time.sleep(0.02)
