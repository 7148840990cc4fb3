"""Random work on pools whose processes are killed: right results, in their pools, nothing left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from random import Random

import dask
import numpy as np
import pytest
from distributed import Client, Nanny
from distributed.core import Status
from distributed.shuffle._exceptions import P2PConsistencyError
from distributed.utils_test import async_poll_for

from dask_pools import LocalPoolCluster, propagate_pools
from tests.benchmarks.running import forget
from tests.scheduler.leftovers import leftovers
from tests.scheduler.test_chaos import Watcher
from tests.scheduler.workload import ExpectedError, Work, Workload

POOLS = {"a": 2, "b": 2, "c": 1}
ROUNDS, WORKS = 5, 20


@pytest.fixture
def cluster() -> Iterator[LocalPoolCluster]:
    settings = {
        # A task that was on a killed worker by chance is not to blame.
        "distributed.scheduler.allowed-failures": 1000,
        # Dask's clusters give up what is away after this time, even if it was back meanwhile.
        "distributed.deploy.lost-worker-timeout": "1 hour",
    }
    with (
        dask.config.set(settings),
        LocalPoolCluster(POOLS, dashboard_address=None) as cluster,
    ):
        yield cluster


def is_up(nanny: Nanny) -> bool:
    """Ask whether a nanny knows that its worker runs: a worker that dies before is not replaced."""
    return nanny.status is Status.running and nanny.process.status is Status.running


def kill(client: Client, random: Random) -> str:
    """Kill the process of a worker, or all of a pool; nannies start them anew."""
    names = {w["name"]: a for a, w in client.scheduler_info(n_workers=-1)["workers"].items()}
    pids = client.run(os.getpid)
    pool = random.choice(list(POOLS))
    victims = sorted(name for name in names if name.startswith(f"{pool}-"))
    for name in victims[: random.choice((1, len(victims)))]:
        os.kill(pids[names[name]], signal.SIGKILL)
    return pool


def check(work: Work) -> None:
    """Compare a result with what it has to be."""
    try:
        found = work.future.result(timeout=120)
    except ExpectedError:
        assert work.expected is ExpectedError, work
    except P2PConsistencyError:
        assert work.kind == "p2p", work  # as in test_chaos
    else:
        np.testing.assert_array_equal(found, work.expected, err_msg=str(work))
    finally:
        work.future.release()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_killed_processes(seed: int, cluster: LocalPoolCluster) -> None:
    random = Random(seed)  # noqa: S311 - no secret
    with cluster.get_client() as client, propagate_pools():
        watcher = Watcher(cluster.scheduler)
        cluster.scheduler.add_plugin(watcher)
        workload = Workload(client, tuple(POOLS), random, stalls=0)
        for _ in range(ROUNDS):
            client.sync(
                async_poll_for, lambda: all(map(is_up, cluster.workers.values())), timeout=60
            )
            works = [workload.submit() for _ in range(WORKS)]
            # Submitted before: a pin to a pool that has no workers then would be refused.
            first, *others = works
            check(first)
            kill(client, random)
            for work in others:
                check(work)
        workload.persisted.clear()
        forget(client, 60)
        assert not watcher.outside
        assert not leftovers(cluster.scheduler, watcher.keys)
