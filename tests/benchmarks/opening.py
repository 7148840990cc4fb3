"""Opening a zarr of 10,000 chunks at another site and reducing it, in its pool and from afar.

    python -m tests.benchmarks.opening [--chunks NUMBER] [--side NUMBER]

A link of 50 Mbit/s and 20 ms round trip joins two sites: that of the scientist, with the scheduler,
and the one that has the data. The same two lines are run in four ways, each with as many workers
and in new processes:

in its pool           `dask_pools.open_zarr`, workers at the site of the data, `propagate_pools`
HTTP, plain fsspec    stock Dask at the scientist's site, to which the other one serves its files
mounted directory     the same, and the directory of the other site is mounted, by sshfs
at the site itself    all of it where the data is, which nothing can beat

Bytes are those on the link in both directions, by the counters of its interfaces. With workers at
the other site, the tasks that are sent to them are among these. Chunks hold random numbers, so that
nothing is gained by compression.

The bed is `tests.wan`, and needs root. The mount stands for the network file systems of real sites.
Where this was written, the kernel has no client of NFS, CIFS or 9p (/proc/filesystems lists none,
and there are no modules to load), but FUSE, which sshfs needs. It talks SFTP without ssh around it,
so that nothing is lost to encryption, over eight connections. Unlike NFS, it looks up the files of
one directory one after the other. Without sshfs, /dev/fuse or an SFTP server this way is left out,
and a line says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tests.benchmarks.opening_client import POOL, PORT, SMALL, STORE, THREADS, WORKERS
from tests.benchmarks.opening_servers import sftp_server
from tests.benchmarks.table import print_table
from tests.wan import Wan, why_unavailable

HOME, SITE = "home", POOL
#: Bytes per second, and seconds, of the link.
RATE, ROUND_TRIP = 50e6 / 8, 0.02
HTTP, SFTP = 8000, 8022
#: Chunks of the store with which everything is tried before.
FEW = 16


def write(path: Path, chunks: int, side: int) -> float:
    """Write a field with a chunk for each step in time; return the sum of its mean in time."""
    values = np.random.default_rng(0).random((chunks, side, side), dtype=np.float32)
    coordinates = {"time": np.arange(chunks), "y": np.arange(side), "x": np.arange(side)}
    xr.Dataset({"t2m": (("time", "y", "x"), values)}, coordinates).to_zarr(
        path, zarr_format=2, encoding={"t2m": {"chunks": (1, side, side), "compressors": None}}
    )
    return float(values.mean(axis=0, dtype=np.float64).sum())


def why_not_mounted() -> str | None:
    """Say why no directory of another site can be mounted here; None if one can."""
    if shutil.which("sshfs") is None:
        return "sshfs is not installed"
    if not Path("/dev/fuse").exists():
        return "/dev/fuse is missing"
    return None if sftp_server() else "there is no SFTP server (openssh-sftp-server)"


@contextlib.contextmanager
def served(wan: Wan, kind: str, port: int, directory: str) -> Iterator[str]:
    """Serve a directory from the site of the data; yields ``host:port``."""
    host = wan.address(SITE)
    command = [*module("opening_servers"), kind, host, str(port), directory]
    with wan.run(SITE, command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            yield f"{host}:{port}"
        finally:
            server.terminate()


@contextlib.contextmanager
def workers(wan: Wan) -> Iterator[None]:
    """Run the workers of the pool, which find their scheduler as soon as there is one."""
    options = ["--no-nanny", "--no-dashboard", "--nthreads", str(THREADS), "--nworkers", "1"]
    resources = ["--resources", f"pool-{POOL}=1", "--host", wan.address(SITE)]
    scheduler = f"tcp://{wan.address(HOME)}:{PORT}"
    command = [sys.executable, "-m", "dask", "worker", scheduler, *options, *resources]
    running = [wan.run(SITE, command, stderr=subprocess.DEVNULL) for _ in range(WORKERS)]
    try:
        yield
    finally:
        for worker in running:
            worker.terminate()
            worker.wait()


def module(name: str) -> list[str]:
    return [sys.executable, "-m", f"tests.benchmarks.{name}"]


def measure(
    wan: Wan, way: str, site: str, place: str, *mount: str, hidden: Sequence[str] = ()
) -> dict[str, Any]:
    """Open and reduce at a site, in processes of their own."""
    command = [*module("opening_client"), way, wan.address(site), place, *mount]
    with wan.run(site, command, hidden=hidden, stdout=subprocess.PIPE, text=True) as client:
        printed, _ = client.communicate()
    if client.returncode:
        raise RuntimeError(f"opening from {place} ended with {client.returncode}")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def measurements(wan: Wan, directory: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run every way that there is here."""
    with workers(wan):
        yield "in its pool", measure(wan, "pool", HOME, directory, hidden=[directory])
    with served(wan, "http", HTTP, directory) as server:
        found = measure(wan, "here", HOME, f"http://{server}", hidden=[directory])
        yield "HTTP, plain fsspec", found
    if reason := why_not_mounted():
        print(f"No directory is mounted: {reason}.\n")
    else:
        with served(wan, "sftp", SFTP, directory) as server:
            found = measure(wan, "here", HOME, directory, server, hidden=[directory])
            yield "mounted directory", found
    yield "at the site itself", measure(wan, "here", SITE, directory)


def as_row(name: str, found: dict[str, Any], first: dict[str, Any]) -> list[str]:
    """Make the row of a way, with its ratios to the first one."""
    row = [name]
    for step in "opening", "reducing":
        seconds, nbytes = (found[step][unit] for unit in ("seconds", "nbytes"))
        row += [f"{seconds:.2f}", f"{nbytes:,}", f"{seconds / first[step]['seconds']:.2f}"]
        row.append(f"{nbytes / first[step]['nbytes']:.2f}")
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=100, help="of a chunk, in numbers of 4 bytes")
    given = parser.parse_args(arguments)
    if reason := why_unavailable():
        raise SystemExit(f"This benchmark needs network namespaces: {reason}.")
    with (
        tempfile.TemporaryDirectory() as directory,
        Wan((HOME, SITE), rate=RATE, round_trip=ROUND_TRIP) as wan,
    ):
        write(Path(directory, SMALL), FEW, given.side)
        expected = write(Path(directory, STORE), given.chunks, given.side)
        found = dict(measurements(wan, directory))
    for way, one in found.items():
        if one["chunks"] != given.chunks or abs(one["result"] - expected) > 1e-4 * expected:
            raise RuntimeError(f"{way}: {one} is not the mean of the data, {expected}")
    first = next(iter(found.values()))
    heads = [f"{given.chunks:,} chunks", "open, s", "bytes", "times", "times bytes"]
    heads += ["reduce, s", "bytes", "times", "times bytes"]
    print_table(heads, [as_row(way, one, first) for way, one in found.items()])


if __name__ == "__main__":
    main()
