from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import dask
import pytest
from distributed import Client, Event, LocalCluster, Scheduler
from distributed.utils_test import async_poll_for, gen_cluster, inc

import dask_pools
from dask_pools.errors import PluginMissingError, SchedulerPackageError, UnknownPoolError
from dask_pools.graph.annotate import pool
from dask_pools.graph.submission import Submission
from dask_pools.model import Link
from dask_pools.scheduler.install import (
    install,
    install_on_client,
    remove_from,
    require_scheduler_package,
    schedulers_here,
    submission_here,
    uninstall,
)
from dask_pools.scheduler.plugin import NAME, PoolsPlugin, installed_on
from dask_pools.scheduler.telemetry import link_bytes
from dask_pools.scheduler.transfers import NAME as COUNTER
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.test_plugin import state_of

# A scheduler in a process of its own: it prints its address, and ends with its standard input.
SCHEDULER = """
import asyncio, sys
{first}
from distributed import Scheduler

async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""
# A worker in a process of its own, whose environment has no dask_pools.
WORKER = """
import asyncio, sys
sys.modules["dask_pools"] = None
from distributed import Worker

async def main(address):
    async with Worker(address, nthreads=1, resources={"pool-b": 1}, dashboard=False) as worker:
        await worker.finished()

asyncio.run(main(sys.argv[1]))
"""


@contextmanager
def scheduler_process(first: str = "") -> Iterator[str]:
    """Run a scheduler in another process, in which some lines are executed first."""
    with subprocess.Popen(
        [sys.executable, "-c", SCHEDULER.format(first=first)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(timeout=60)


@contextmanager
def local_cluster() -> Iterator[Client]:
    """Start a scheduler and a worker of pool a in this process, and a synchronous client."""
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address=":0",
            resources={"pool-a": 1},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@cluster_of(IN_A, IN_B)
async def test_installing_from_a_coroutine(c, s, a, b):
    plugin = install(s)
    assert installed_on(s) is plugin
    assert install(s) is plugin
    x = c.submit(bytes, 1000, workers=[a.address])
    await c.submit(len, x, workers=[b.address])
    assert await link_bytes(c) == {Link("a", "b"): 1000}
    remove_from(s)
    assert installed_on(s) is None
    await async_poll_for(lambda: COUNTER not in a.plugins, timeout=10)
    remove_from(s)


def test_installing_from_another_thread() -> None:
    with local_cluster() as client:
        scheduler = client.cluster.scheduler
        plugin = install(scheduler)
        worker = next(iter(client.cluster.workers.values()))
        assert COUNTER in worker.plugins
        assert install(scheduler) is plugin
        remove_from(scheduler)
        assert installed_on(scheduler) is None
        assert COUNTER not in worker.plugins


def test_uninstalling_through_a_client_leaves_a_stock_scheduler() -> None:
    with local_cluster() as client:
        scheduler = client.cluster.scheduler
        worker = next(iter(client.cluster.workers.values()))
        stock = state_of(scheduler)
        install_on_client(client)
        assert COUNTER in worker.plugins
        uninstall(client)
        assert state_of(scheduler) == stock
        assert COUNTER not in worker.plugins
        uninstall(client)
        assert client.submit(inc, 1).result() == 2


@cluster_of(IN_A, IN_B)
async def test_uninstalling_while_tasks_are_queued_runs_them_in_their_pool(c, s, a, b):
    stock = state_of(s)
    await c.register_plugin(PoolsPlugin())
    go = Event("go")
    with pool("a"):
        first = c.submit(go.wait, key="first")
        rest = c.map(inc, range(50), pure=False)
    await async_poll_for(lambda: len(s.tasks) == 51, timeout=10)
    await uninstall(c)
    assert state_of(s) == stock
    assert not s.queued
    await go.set()
    assert await c.gather(rest) == list(range(1, 51))
    assert await first
    assert not b.data


@gen_cluster(client=True, nthreads=[])
async def test_uninstalling_where_nothing_is_installed_is_harmless(c, s):
    stock = state_of(s)
    assert await uninstall(c) is None
    assert state_of(s) == stock


def test_uninstalling_from_a_scheduler_in_another_process() -> None:
    with scheduler_process() as address, Client(address) as client:
        install_on_client(client)
        assert link_bytes(client) == {}
        uninstall(client)
        with pytest.raises(PluginMissingError, match=r"Call propagate_pools\(\) first"):
            link_bytes(client)


def test_installing_through_a_client() -> None:
    with local_cluster() as client:
        install_on_client(client)
        install_on_client(client)
        assert installed_on(client.cluster.scheduler) is not None


@cluster_of(IN_A)
async def test_installing_through_an_asynchronous_client(c, s, a):
    install_on_client(c)
    assert installed_on(s) is not None


@cluster_of(IN_A)
async def test_running_schedulers_of_this_process_are_found(c, s, a):
    async with Scheduler(
        port=0, dashboard=False, dashboard_address=":0", host="127.0.0.1"
    ) as other:
        found = schedulers_here()
        assert {id(scheduler) for scheduler in found} == {id(s), id(other)}
        assert [x.address for x in found] == sorted(x.address for x in found)
    assert schedulers_here() == [s]


#: What optimisers on the scheduler, which is in this process, found out by themselves.
FOUND: list[Submission | None] = []


def finding_optimizer(dsk: object, keys: object, **kwargs: object) -> object:
    FOUND.append(submission_here())
    return dsk


@cluster_of(IN_A, IN_B)
async def test_optimiser_installs_the_plugin_for_its_own_submission(c, s, a, b):
    FOUND.clear()
    assert submission_here() is None
    with dask.annotate(pool=("c",)):
        x = dask.delayed(inc)(1)
    with (
        dask.config.set(delayed_optimize=finding_optimizer),
        pytest.raises(UnknownPoolError, match="'c'"),
    ):
        await c.compute(x)
    (submission,) = FOUND
    assert submission is not None
    assert submission.topology.names == ("a", "b")
    assert NAME in s.plugins


def test_optimiser_without_a_scheduler_finds_nothing() -> None:
    assert submission_here() is None


def test_package_of_the_scheduler_is_there() -> None:
    with scheduler_process() as address, Client(address) as client:
        require_scheduler_package(client)


def test_package_missing_on_the_scheduler_is_named_with_its_version() -> None:
    first = "sys.modules['dask_pools'] = None"
    with scheduler_process(first) as address, Client(address) as client:
        for ask in (require_scheduler_package, install_on_client):
            with pytest.raises(SchedulerPackageError) as caught:
                ask(client)
            message = str(caught.value)
            assert f"The scheduler at {address} cannot import dask_pools" in message
            assert f"Install dask_pools=={dask_pools.__version__}" in message


def test_other_version_on_the_scheduler_is_an_error() -> None:
    first = "import dask_pools; dask_pools.__version__ = '0.0.1'"
    with scheduler_process(first) as address, Client(address) as client:
        with pytest.raises(SchedulerPackageError) as caught:
            require_scheduler_package(client)
        message = str(caught.value)
        assert f"has dask_pools 0.0.1, this process has {dask_pools.__version__}" in message
        assert f"Install dask_pools=={dask_pools.__version__}" in message
        assert "or install dask_pools==0.0.1 here" in message


@gen_cluster(client=True, nthreads=[])
async def test_asynchronous_client_can_ask_for_the_package(c, s):
    assert await require_scheduler_package(c) is None


@contextmanager
def worker_process(address: str) -> Iterator[None]:
    """Run a worker of pool b in another process, whose environment has no dask_pools."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, address], stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


@cluster_of(IN_A)
async def test_worker_without_the_package_joins_and_is_counted(c, s, a):
    await c.register_plugin(PoolsPlugin())
    with worker_process(s.address):
        await c.wait_for_workers(2, timeout=20)
        (b,) = set(s.workers) - {a.address}
        x = c.submit(bytes, 1000, workers=[a.address])
        assert await c.submit(len, x, workers=[b]) == 1000
        assert await link_bytes(c) == {Link("a", "b"): 1000}
