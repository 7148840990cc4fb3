"""Nothing is lost over a slow and faulty link (distributed#8426 reports that rows were).

Shuffles are kept in pools here as far as that goes, but nothing plans: pieces have to cross.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, Nanny, Scheduler, SpecCluster, wait

from tests.scheduler.shuffled import install
from tests.scheduler.slow_link import SlowLink

pd = pytest.importorskip("pandas")
dd = pytest.importorskip("dask.dataframe")
pytestmark = pytest.mark.slow

ROWS = 20_000
PARTS = 10
HOST = "127.0.0.1"
#: Parts in the pool a; the others are in b.
IN_A = 7
P2P = {"array.rechunk.method": "p2p", "dataframe.shuffle.method": "p2p"}


def worker(name: str) -> dict[str, Any]:
    """Specify a worker in a process of its own, which is started anew when it was killed."""
    resources = {f"pool-{name[0]}": 1}
    return {"cls": Nanny, "options": {"nthreads": 1, "resources": resources, "host": HOST}}


@pytest.fixture
def cluster() -> Iterator[SpecCluster]:
    scheduler = {"cls": Scheduler, "options": {"host": HOST, "dashboard_address": None}}
    with (
        dask.config.set({"distributed.p2p.comm.retry.delay.min": "10ms"}),
        SpecCluster(
            workers={name: worker(name) for name in ("a-0", "a-1", "b-0", "b-1")},
            scheduler=scheduler,
            silence_logs=logging.ERROR,
        ) as cluster,
    ):
        cluster.sync(_install, cluster)
        yield cluster


async def _install(cluster: SpecCluster) -> None:
    install(cluster.scheduler)


@pytest.fixture
def client(cluster: SpecCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        pools = {address: str(info["name"])[0] for address, info in workers.items()}
        client.register_plugin(SlowLink(pools, rate=4e6, lost=0.2))
        yield client


def in_pools(client: Client, function: Any, *args: Any) -> list[Any]:
    """Make the parts in their pools."""
    return [
        client.submit(function, i, *args, resources={"pool-a" if i < IN_A else "pool-b": 0})
        for i in range(PARTS)
    ]


def part(i: int, column: str) -> Any:
    """Make a part of a frame, of which every row is another one."""
    rows = np.arange(ROWS) + i * ROWS
    return pd.DataFrame({"x": rows * 7919 % 9973, column: rows})


def frame(client: Client, column: str) -> Any:
    parts = in_pools(client, part, column)
    return dd.from_delayed(parts, meta=part(0, column), verify_meta=False)


def block(i: int) -> Any:
    return np.arange(400 * 100, dtype=float).reshape(400, 100) + i


def shuffled(client: Client) -> tuple[Any, Any]:
    df = frame(client, "y").shuffle("x", npartitions=12)
    n = ROWS * PARTS
    squares = int((np.arange(n) % 1009).sum())
    return [df.y.count(), df.y.sum(), (df.y % 1009).sum()], [n, n * (n - 1) // 2, squares]


def merged(client: Client) -> tuple[Any, Any]:
    left, right = frame(client, "y"), frame(client, "z")
    df = left.merge(right, left_on="y", right_on="z", shuffle_method="p2p")
    n = ROWS * PARTS
    found = [df.y.count(), df.y.sum(), (df.y - df.z).abs().sum()]
    return found, [n, n * (n - 1) // 2, 0]


def rechunked(client: Client) -> tuple[Any, Any]:
    blocks = in_pools(client, block)
    wait(blocks)
    lazy = [da.from_delayed(dask.delayed(one), (400, 100), float) for one in blocks]
    x = da.concatenate(lazy).rechunk((-1, 10), block_size_limit=400 * 100 * 8)
    expected = np.concatenate([block(i) for i in range(PARTS)])
    weights = np.arange(1, 101)
    return [x.sum(axis=1), (x * weights).sum()], [expected.sum(axis=1), (expected * weights).sum()]


def check(client: Client, computation: Any) -> None:
    with dask.config.set(P2P):
        lazy, expected = computation(client)
        futures = client.compute(lazy)
    for found, wanted in zip(client.gather(futures), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("computation", [shuffled, merged, rechunked])
def test_every_row_arrives_once(client: Client, computation: Any) -> None:
    check(client, computation)
    sent = client.run(lambda dask_worker: dask_worker.pieces_sent_far)
    assert sum(sent.values()) > 0, "nothing crossed, so nothing could be lost"


@pytest.mark.parametrize("lost", ["a-1", "b-1"])
@pytest.mark.parametrize("computation", [shuffled, merged, rechunked])
def test_every_row_arrives_once_although_a_worker_is_killed(
    cluster: SpecCluster, client: Client, computation: Any, lost: str
) -> None:
    processes = client.run(lambda dask_worker: (dask_worker.name, os.getpid()))
    pid = dict(processes.values())[lost]
    shuffles = cluster.scheduler.plugins["shuffle"]
    with dask.config.set(P2P):
        lazy, expected = computation(client)
        futures = client.compute(lazy)
    deadline = time.monotonic() + 30
    while not shuffles.active_shuffles:
        assert time.monotonic() < deadline
        client.sync(_turn)
    os.kill(pid, signal.SIGKILL)
    for found, wanted in zip(client.gather(futures), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


async def _turn() -> None:
    """Let the event loop go round once."""
