"""What a scientist does in the benchmark of opening, timed: open a store, and reduce it.

    python -m tests.benchmarks.opening_client WAY HOST PLACE [MOUNT]

The ways are ``pool``, with workers at another site that connect to the scheduler made here on
HOST, and ``here``, with workers beside the client. PLACE is the folder of the stores, a path or a
URL; MOUNT is the server (``host:port``) from which it is mounted first.

This is a process of its own for each way, at one site of the bed in `tests.wan`, so that nothing is
in anybody's cache. It prints seconds, bytes on the links of its site, and the result, as JSON.
Everything is done before on a small store, so that imports and connections are not counted.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client, LocalCluster

import dask_pools
from tests.wan import counters

WORKERS, THREADS = 2, 4
POOL = "ecmwf"
PORT = 8786
#: The store that is measured, and the one with which everything is tried before.
STORE, SMALL = "field.zarr", "small.zarr"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one step took.

    Parameters
    ----------
    seconds : float
        By the wall.
    nbytes : int
        Bytes that came and went over the links of this site.
    """

    seconds: float
    nbytes: int


def measured(step: Callable[[], Any]) -> tuple[Measured, Any]:
    """Time a step, and count the bytes on the links of this site; return its value as well."""
    start, before = time.perf_counter(), on_links()
    value = step()
    return Measured(time.perf_counter() - start, on_links() - before), value


def on_links() -> int:
    """Return the bytes that this site has received and sent so far."""
    return sum(map(sum, counters().values()))


def in_pool(path: str) -> xr.Dataset:
    """Open a store in the pool that has it."""
    opened: xr.Dataset = dask_pools.open_zarr(path, pool=POOL)
    return opened


def mean(dataset: xr.Dataset) -> Any:
    """Reduce what was opened."""
    return dataset.t2m.mean("time").compute().values


@contextlib.contextmanager
def mounted(server: str, directory: str) -> Iterator[None]:
    """Mount the directory of another site in its own place, for this process and its children."""
    host, _, port = server.partition(":")
    command = [
        "sshfs",
        "-f",
        "-o",
        f"ro,max_conns=8,directport={port}",
        f"{host}:{directory}",
        directory,
    ]
    with subprocess.Popen(command) as mount:
        while not Path(directory, STORE).exists():
            if mount.poll() is not None:
                raise OSError(f"sshfs ended with {mount.returncode}")
            time.sleep(0.01)
        try:
            yield
        finally:
            mount.terminate()


@contextlib.contextmanager
def connected(host: str, *, elsewhere: bool) -> Iterator[Client]:
    """Start a scheduler, with workers here or waiting for those of another site."""
    with (
        LocalCluster(
            n_workers=0 if elsewhere else WORKERS,
            threads_per_worker=THREADS,
            host=host,
            scheduler_port=PORT,
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(WORKERS)
        yield client


def main(way: str, host: str, place: str, mount: str | None = None) -> None:
    """Open and reduce, first the small store, then the one that counts."""
    ours = way == "pool"
    opened_by = in_pool if ours else xr.open_zarr
    with contextlib.ExitStack() as stack:
        if mount is not None:
            stack.enter_context(mounted(mount, place))
        stack.enter_context(connected(host, elsewhere=ours))
        if ours:
            stack.enter_context(dask_pools.propagate_pools())
        mean(opened_by(f"{place}/{SMALL}"))
        opening, dataset = measured(lambda: opened_by(f"{place}/{STORE}"))
        reducing, result = measured(lambda: mean(dataset))
    found = {
        "opening": asdict(opening),
        "reducing": asdict(reducing),
        "chunks": int(np.prod(dataset.t2m.data.numblocks)),
        "result": float(result.sum(dtype=np.float64)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
