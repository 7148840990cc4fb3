from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from distributed import Client, LocalCluster, Scheduler, Worker, wait

from dask_pools.errors import PluginMissingError
from dask_pools.model import Link
from dask_pools.scheduler.plugin import PoolsPlugin
from dask_pools.scheduler.telemetry import Crossing, crossings, link_bytes
from dask_pools.scheduler.transfers import NAME, CountingLog, TransferCounter
from tests.scheduler.clusters import IN_A, IN_B, cluster_of

A_TO_B, B_TO_A = Link("a", "b"), Link("b", "a")


def entry(who: str, **sizes: int) -> dict[str, Any]:
    return {"who": who, "keys": sizes, "total": sum(sizes.values())}


async def fetch(c: Client, source: Any, target: Any, key: str) -> int:
    """Make a value on one worker, have another one fetch it, and return its size."""
    value = c.submit(bytes, 10_000, workers=[source.address], key=key)
    copy = c.submit(len, value, workers=[target.address], key=f"len-{key}")
    await wait([value, copy])
    return source.state.tasks[key].nbytes


def test_log_counts_entries_it_has_dropped() -> None:
    log = CountingLog([entry("x", k=1)], maxlen=2)
    for _ in range(5):
        log.append(entry("y", k=10, l=1))
    assert len(log) == 2
    assert log.bytes_from == {"x": 1, "y": 55}


def test_log_of_a_worker_may_be_unlimited() -> None:
    log = CountingLog([entry("x", k=1)] * 3, maxlen=None)
    assert (len(log), log.bytes_from) == (3, {"x": 3})


@cluster_of(IN_A, IN_A, IN_B)
async def test_bytes_are_counted_by_directed_link(c, s, a1, a2, b):
    await c.register_plugin(PoolsPlugin())
    assert await link_bytes(c) == {}
    first = await fetch(c, a1, b, "x")
    second = await fetch(c, b, a2, "y")
    await fetch(c, a1, a2, "z")
    third = await fetch(c, a2, b, "w")
    assert first == 10_000
    assert await link_bytes(c) == {A_TO_B: first + third, B_TO_A: second}


@cluster_of(IN_A, IN_B)
async def test_what_was_fetched_before_the_plugin_counts(c, s, a, b):
    nbytes = await fetch(c, a, b, "x")
    await c.register_plugin(PoolsPlugin())
    assert await link_bytes(c) == {A_TO_B: nbytes}


@cluster_of(IN_A, IN_B, config={"distributed.admin.low-level-log-length": 2})
async def test_nothing_is_lost_when_the_log_overflows(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    total = sum([await fetch(c, a, b, f"x{i}") for i in range(5)])
    assert len(b.transfer_incoming_log) == 2
    assert await link_bytes(c) == {A_TO_B: total}


@cluster_of(IN_A, IN_B, {})
async def test_single_crossings(c, s, a, b, nowhere):
    await c.register_plugin(PoolsPlugin())
    nbytes = await fetch(c, a, b, "x")
    await fetch(c, a, nowhere, "out")
    assert await crossings(c) == [Crossing("x", A_TO_B, nbytes)]


@cluster_of(IN_A, IN_B)
async def test_keys_of_crossings_arrive_as_they_are(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    await fetch(c, a, b, ("x", 0, 1))  # type: ignore[arg-type]
    assert [crossing.key for crossing in await crossings(c)] == [("x", 0, 1)]


@cluster_of(IN_A, IN_B)
async def test_bytes_from_a_worker_that_has_left_count(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    nbytes = await fetch(c, a, b, "x")
    await a.close()
    assert await link_bytes(c) == {A_TO_B: nbytes}


@cluster_of(IN_A, IN_B)
async def test_counts_of_a_worker_that_has_left_are_those_of_the_last_question(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    nbytes = await fetch(c, a, b, "x")
    await link_bytes(c)
    await fetch(c, a, b, "y")
    await b.close()
    assert await link_bytes(c) == {A_TO_B: nbytes}


@cluster_of(IN_A)
async def test_worker_that_comes_later_is_counted(c, s, a):
    await c.register_plugin(PoolsPlugin())
    async with Worker(s.address, resources={"pool-b": 1}, nthreads=1) as b:
        nbytes = await fetch(c, a, b, "x")
        assert await link_bytes(c) == {A_TO_B: nbytes}


@cluster_of(IN_A, IN_B)
async def test_worker_which_the_plugin_has_not_reached_is_given_it(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    await b.plugin_remove(NAME)
    nbytes = await fetch(c, a, b, "x")
    assert await link_bytes(c) == {A_TO_B: nbytes}


@cluster_of(IN_A)
async def test_scheduler_without_the_plugin_is_an_error(c, s, a):
    for ask in (link_bytes, crossings):
        with pytest.raises(PluginMissingError, match=r"propagate_pools\(\) first"):
            await ask(c)


@cluster_of(IN_A)
async def test_worker_gets_its_plain_log_back(c, s, a):
    before = a.transfer_incoming_log
    plugin = TransferCounter()
    plugin.setup(a)
    a.transfer_incoming_log.append(entry("x", k=1))
    assert type(a.transfer_incoming_log) is CountingLog
    plugin.teardown(a)
    log = a.transfer_incoming_log
    assert (type(log), log.maxlen, len(log)) == (deque, before.maxlen, 1)
    assert "dask_pools_transfers" not in a.handlers


def test_synchronous_client_gets_the_numbers_themselves() -> None:
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
        assert isinstance(cluster.scheduler, Scheduler)
        client.register_plugin(PoolsPlugin())
        assert link_bytes(client) == {}
        assert crossings(client) == []
