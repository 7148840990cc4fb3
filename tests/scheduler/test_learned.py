"""What the scheduler learns of kinds of tasks, and what a second plan makes of it."""

from __future__ import annotations

import time

import dask
import pytest
from dask.delayed import delayed
from distributed import wait

from dask_pools import pool, propagate_pools
from dask_pools.graph.optimize import place_graph
from dask_pools.graph.sizes import ASSUMED_NBYTES
from dask_pools.graph.submission import Learned
from dask_pools.model import TRANSFER
from dask_pools.planning.basis import Basis
from dask_pools.planning.plan import Plan
from dask_pools.scheduler.circumstances import circumstances
from dask_pools.scheduler.learned import MEMORY, SHORTEST, LearnedTable
from dask_pools.scheduler.plugin import PoolsPlugin
from tests.scheduler.clusters import IN_A, IN_B, cluster_of


def make(n: int, seconds: float = 0) -> bytes:
    """Work for some time on a value of so many bytes."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return bytes(n)


def test_means_of_few_tasks_are_plain_means() -> None:
    table = LearnedTable()
    for nbytes, seconds in [(10, 1.0), (20, None), (60, 4.0)]:
        table.add("read", nbytes, seconds)
    assert table.known["read"] == Learned(30.0, 2.5)


def test_kind_that_was_never_timed_has_no_seconds() -> None:
    table = LearnedTable()
    table.add("read", 10, None)
    table.add("read", 10, SHORTEST / 2)
    assert table.known["read"] == Learned(10.0, None)


def test_mean_follows_when_tasks_become_larger() -> None:
    table = LearnedTable()
    for _ in range(10 * MEMORY):
        table.add("read", 100, 1.0)
    for _ in range(10 * MEMORY):
        table.add("read", 1000, 3.0)
    found = table.known["read"]
    assert found.nbytes == pytest.approx(1000, rel=0.01)
    assert found.seconds == pytest.approx(3, rel=0.01)


def test_number_of_kinds_is_bounded_and_the_oldest_one_goes() -> None:
    table = LearnedTable(kinds=3)
    for kind in ["a", "b", "c", "a", "d", "e"]:
        table.add(kind, 1, None)
    assert list(table.known) == ["a", "d", "e"]
    for i in range(1000):
        table.add(f"kind-{i}", 1, None)
    assert len(table) == 3


def test_what_is_known_is_looked_up_as_the_table_is_by_then() -> None:
    table = LearnedTable()
    table.add("a", 1, None)
    known = table.known
    for kind in known:  # the table may change meanwhile
        table.add("b", 1, None)
        assert kind == "a"
    table.add("a", 3, None)
    assert dict(known) == {"a": Learned(2.0, None), "b": Learned(1.0, None)}
    assert len(known) == 2


@cluster_of(IN_A, IN_B)
async def test_kinds_are_learned_from_finished_tasks(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    futures = [c.submit(make, n, 0.01, key=f"make-{i}") for i, n in enumerate([1000, 3000])]
    await wait(futures)
    found = plugin.learned.known["make"]
    assert found.nbytes == 2000
    assert found.seconds == pytest.approx(
        s.task_prefixes["make"].all_durations["compute"] / 2, rel=0.01
    )


@cluster_of(IN_A, IN_B)
async def test_transfers_and_failures_teach_nothing(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    with dask.annotate(**{TRANSFER: ("a", "b")}):
        carried = c.submit(make, 1000, key="carried-1")
    failed = c.submit(make, "no number", key="failed-1")
    await wait([carried, failed])
    assert dict(plugin.learned.known) == {}


@cluster_of(IN_A, IN_B)
async def test_what_was_learned_outlives_workers_and_results(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    future = c.submit(make, 1000, key="make-1", workers=[a.address])
    await wait(future)
    before = dict(plugin.learned.known)
    await future.cancel()
    await a.close()
    assert dict(plugin.learned.known) == before == {"make": before["make"]}


@cluster_of(IN_A, IN_B)
async def test_size_of_a_delayed_value_is_assumed_at_first_and_learned_then(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    with pool("a"):
        value = delayed(make)(5000)
    with pool("b"):
        length = delayed(len)(value)

    def planned() -> Plan:
        now = plugin.submissions.describe()
        return place_graph(length.dask, length.__dask_keys__(), submission=now).plan

    before = planned()
    assert before.nbytes == ASSUMED_NBYTES
    assert before.shares == {Basis.ASSUMED: ASSUMED_NBYTES}
    with propagate_pools():
        assert await c.compute(length) == 5000
    after = planned()
    assert after.nbytes == 5000
    assert after.shares == {Basis.LEARNED: 5000.0}


@cluster_of(IN_A, IN_B)
async def test_a_client_that_plans_is_told(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    await c.submit(make, 1000, key="make-1")
    told = await circumstances(c, [])
    assert told.learned == dict(plugin.submissions.describe().learned)
    assert told.learned["make"].nbytes == 1000
