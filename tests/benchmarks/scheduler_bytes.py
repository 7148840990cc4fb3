"""The bytes that workers hold at most: reads that are reduced, and a join over a slow link.

Values claim their sizes and take no memory, so that the numbers are those of the scheduler's
books, and a small machine can run them. What a worker sends to another pool waits as long as the
bytes would take over the link.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask
import dask.array as da
import numpy as np
from distributed import Client, SchedulerPlugin, Worker, WorkerPlugin, wait

from dask_pools import LocalPoolCluster, pool, propagate_pools
from dask_pools.scheduler.install import install, remove_from
from tests.benchmarks.running import forget
from tests.benchmarks.table import print_table

#: Bytes of a read.
READ = 20_000_000
#: Seconds of a read, and of what reduces it.
READING, REDUCING = 0.02, 0.01
#: Threads of each worker, and its memory in bytes.
THREADS, MEMORY = 4, 750_000_000
#: Bytes per second of the link between the pools.
LINK = 250e6
SPILLING = ("target", "spill", "pause")
#: Runs of each way, of which the median counts; a few reads more or less are chance.
RUNS = 7


class Claim:
    """A value that says how large it is."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    def __sizeof__(self) -> int:
        return self.nbytes


def read(block_info: Any = None) -> Claim:
    time.sleep(READING)
    return Claim(READ)


def reduced(*_: Claim) -> np.ndarray:
    time.sleep(REDUCING)
    return np.zeros(1)


class PeakBytes(SchedulerPlugin):
    """Notes how many bytes the workers hold at most, all together."""

    name = "peak-bytes"

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.peak = 0

    def transition(self, *_: Any, **more: Any) -> None:
        self.peak = max(self.peak, sum(ws.nbytes for ws in self.scheduler.workers.values()))


class SlowLink(WorkerPlugin):
    """Delays what a worker sends to other pools; its part of the link is its own."""

    name = "slow-link"

    def __init__(self, pools: dict[str, str], bytes_per_second: float) -> None:
        self.pools = pools
        self.bytes_per_second = bytes_per_second

    def setup(self, worker: Worker) -> None:
        stock = worker.handlers["get_data"]
        free = asyncio.Lock()

        async def get_data(comm: Any, keys: Any, who: Any = None, **more: Any) -> Any:
            if self.pools.get(who) != self.pools[worker.address]:
                async with free:
                    sizes = (worker.state.tasks[key].nbytes or 0 for key in keys)
                    await asyncio.sleep(sum(sizes) / self.bytes_per_second)
            return await stock(comm, keys=keys, who=who, **more)

        worker.handlers["get_data"] = get_data


def reads(name: str, pool_name: str | None, number: int) -> da.Array:
    """Make an array of so many reads."""
    with pool(pool_name):
        return da.map_blocks(
            read,
            chunks=((READ // 8,) * number,),
            dtype=float,
            meta=np.empty(0),
            name=f"read-{name}",
        )


def reduction(name: str, pool_name: str | None, *inputs: da.Array) -> da.Array:
    """Reduce arrays block by block."""
    with pool(pool_name):
        return da.map_blocks(
            reduced,
            *inputs,
            chunks=((1,) * inputs[0].numblocks[0],),
            dtype=float,
            meta=np.empty(0),
            name=f"reduced-{name}",
        )


@contextmanager
def two_pools() -> Iterator[tuple[LocalPoolCluster, Client]]:
    """Start two pools of two workers, which do not spill what takes no memory."""
    with (
        dask.config.set({f"distributed.worker.memory.{limit}": False for limit in SPILLING}),
        LocalPoolCluster(
            {"a": 2, "b": 2},
            threads_per_worker=THREADS,
            memory_limit=MEMORY,
            dashboard_address=None,
        ) as cluster,
        cluster.get_client() as client,
    ):
        yield cluster, client


def measured(
    cluster: LocalPoolCluster, client: Client, compute: Callable[[], Any], *, ours: bool
) -> tuple[int, float]:
    """Run something, with the plugin or without; return the peak in bytes, and seconds."""
    (install if ours else remove_from)(cluster.scheduler)
    runs = []
    for _ in range(RUNS):
        forget(client)
        peak = PeakBytes(cluster.scheduler)
        client.sync(_added, cluster.scheduler, peak)
        start = time.perf_counter()
        done = compute()
        wait(done)
        runs.append((peak.peak, time.perf_counter() - start))
        del done
    install(cluster.scheduler)
    return tuple(sorted(column)[RUNS // 2] for column in zip(*runs, strict=True))


async def _added(scheduler: Any, peak: PeakBytes) -> None:
    scheduler.plugins.pop(peak.name, None)
    scheduler.add_plugin(peak)


def roots(scale: float) -> None:
    """Print what 200 reads hold that are each reduced as soon as they are there."""
    each = max(int(100 * scale), 1)

    def halves(*pools: str | None) -> list[da.Array]:
        return [reduction(n, p, reads(n, p, each)) for n, p in zip("ab", pools, strict=True)]

    rows = []
    with two_pools() as (cluster, client):
        for way, pools, ours in (
            ("stock, nothing pinned", (None, None), False),
            ("stock, pinned to two pools", ("a", "b"), False),
            ("dask_pools, nothing pinned", (None, None), True),
            ("dask_pools, pinned to two pools", ("a", "b"), True),
        ):
            # Not optimised: a read and its reduction would become one task.
            both = halves(*pools)
            nbytes, seconds = measured(
                cluster, client, lambda x=both: client.persist(x, optimize_graph=False), ours=ours
            )
            rows.append([way, f"{nbytes / 1e9:.2f}", f"{seconds:.1f}"])
    first = float(rows[0][1])
    rows = [[way, peak, f"{float(peak) / first:.2f}", s] for way, peak, s in rows]
    heads = f"{2 * each} reads of {READ / 1e6:.0f} MB, 4 workers", "peak, GB", "of stock", "seconds"
    print_table(heads, rows)


def join(scale: float) -> None:
    """Print what two pools hold whose reads are joined in one of them, over a slow link."""
    each = max(int(100 * scale), 1)
    rows = []
    with two_pools() as (cluster, client):
        info = client.scheduler_info(n_workers=-1)["workers"]
        home = {address: w["name"].rpartition("-")[0] for address, w in info.items()}
        client.register_plugin(SlowLink(home, LINK / 2))
        for way, ours in ("stock, pinned", False), ("dask_pools", True):
            here, there = (reads(name, name, each) for name in "ab")
            # Reads are used twice, so that nobody makes one task of a read and its join.
            both = [reduction(f"{n}-{way}", "a", here, there) for n in ("sum", "difference")]

            def compute(both: list[da.Array] = both, ours: bool = ours) -> Any:
                if ours:
                    with propagate_pools():
                        return client.persist(both)
                with dask.config.set({"optimization.fuse.active": False}):
                    return client.persist(both, optimize_graph=False)

            nbytes, seconds = measured(cluster, client, compute, ours=ours)
            rows.append([way, f"{nbytes / 1e9:.2f}", f"{seconds:.1f}"])
    first, ours = (float(row[1]) for row in rows)
    rows[0].insert(2, "1.00")
    rows[1].insert(2, f"{ours / first:.2f}")
    total = 2 * each * READ / 1e9
    heads = f"join of {total:.1f} GB of two pools", "peak, GB", "of stock", "seconds"
    print_table(heads, rows)
    print(f"\nThe link carries {LINK / 1e6:.0f} MB/s: {each * READ / LINK:.1f} s at least.")
