"""Running a computation in several ways on one cluster, and what crossed, by the logs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask
import numpy as np
from distributed import Client, wait

from dask_pools import LocalPoolCluster, propagate_pools
from dask_pools.scheduler.install import install, remove_from
from dask_pools.scheduler.telemetry import Crossing, crossings
from tests.benchmarks.greedy import greedy_by_layer

#: Runs a collection on the current client, and returns it persisted.
Way = Callable[[Any, LocalPoolCluster], Any]


@contextmanager
def cluster_of(pools: dict[str, int], **options: Any) -> Iterator[tuple[LocalPoolCluster, Client]]:
    """Start a cluster whose workers' logs hold all that they fetch."""
    with (
        dask.config.set({"distributed.admin.low-level-log-length": 1_000_000}),
        LocalPoolCluster(pools, dashboard_address=None, **options) as cluster,
        cluster.get_client() as client,
    ):
        yield cluster, client


def pooled(x: Any, _: LocalPoolCluster) -> Any:
    """Run as dask_pools does by default."""
    with propagate_pools():
        return finished(x)


def in_order(x: Any, _: LocalPoolCluster) -> Any:
    """Run with the reductions of the given graph."""
    with propagate_pools(exact_order=True):
        return finished(x)


def by_task(x: Any, _: LocalPoolCluster) -> Any:
    """Run every task where most of its inputs are."""
    with propagate_pools("majority", exact_order=True):
        return finished(x)


def by_layer(x: Any, _: LocalPoolCluster) -> Any:
    """Run every layer where most of its inputs are."""
    with propagate_pools(exact_order=True):
        return finished(greedy_by_layer(x))


def stock(x: Any, cluster: LocalPoolCluster) -> Any:
    """Run with Dask alone: reads are pinned by their resources, all else is where Dask has it.

    Linear fusion would drop the annotations. The setting reaches the scheduler because it is in
    this process; and the plugin is off it for the time.
    """
    remove_from(cluster.scheduler)
    try:
        with dask.config.set({"optimization.fuse.active": False}):
            return finished(x)
    finally:
        install(cluster.scheduler)


def finished(x: Any) -> Any:
    """Persist a collection, and wait for it."""
    persisted = x.persist()
    wait(persisted)
    return persisted


def crossed(
    way: Way, x: Any, cluster: LocalPoolCluster, client: Client, expected: Any
) -> list[Crossing]:
    """Run a collection in one way, check its result, and list what crossed until it was there."""
    forget(client)
    before = Counter(crossings(client))
    persisted = way(x, cluster)
    found = Counter(crossings(client)) - before
    # Gathered by the client, which no worker's log holds.
    np.testing.assert_allclose(persisted.compute(), expected, rtol=1e-5, atol=1e-5)
    return sorted(found.elements(), key=str)


def nbytes_of(found: list[Crossing]) -> int:
    """Add the bytes up."""
    return sum(crossing.nbytes for crossing in found)


def forget(client: Client, seconds: float = 30.0) -> None:
    """Wait until the tasks of the last way are gone: the same keys come again."""

    def count(dask_scheduler: Any) -> int:
        return len(dask_scheduler.tasks)

    end = time.monotonic() + seconds
    while client.run_on_scheduler(count):
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds} s the scheduler still holds tasks")
        time.sleep(0.02)
