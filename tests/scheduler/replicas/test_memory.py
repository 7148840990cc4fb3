from __future__ import annotations

from typing import Any

from distributed import Event, wait
from distributed.active_memory_manager import (
    ActiveMemoryManagerExtension,
    ActiveMemoryManagerPolicy,
    Suggestion,
)
from distributed.utils_test import NO_AMM, async_poll_for, captured_logger

from dask_pools.scheduler.plugin import installed_on
from dask_pools.scheduler.telemetry import crossings
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.replicated import fetched, holders, make, take_care, use

#: The active memory manager is there, and runs when a test has it run.
BY_HAND: dict[str, Any] = {"config": NO_AMM}


async def spread(c: Any, value: Any, *workers: Any) -> None:
    """Have more workers hold a value."""
    await wait([use(c, value, worker) for worker in workers])


class DropAll(ActiveMemoryManagerPolicy):
    """Suggests to drop every replica of every value, again and again."""

    def run(self) -> Any:
        for ts in list(self.manager.scheduler.tasks.values()):
            for _ in range(10):
                yield Suggestion("drop", ts)


class Multiply(ActiveMemoryManagerPolicy):
    """Suggests to make more replicas of a value."""

    def __init__(self, key: str, count: int, candidates: Any = None) -> None:
        self.key, self.count, self.candidates = key, count, candidates

    def run(self) -> Any:
        for _ in range(self.count):
            yield Suggestion("replicate", self.manager.scheduler.tasks[self.key], self.candidates)


def run_once(s: Any, policy: Any) -> None:
    manager = s.extensions["amm"]
    manager.add_policy(policy)
    manager.run_once()
    manager.policies.remove(policy)


@cluster_of(IN_A, IN_A, IN_B, IN_B, **BY_HAND)
async def test_pool_keeps_one_replica_of_what_its_tasks_wait_for(c, s, a1, a2, b1, b2):
    await take_care(c, s)
    value = await make(c, a1)
    await spread(c, value, a2, b1, b2)
    gate = c.submit(lambda: Event("enough").wait(), workers=[a1.address], key="gate")
    needs = c.submit(lambda data, gate: len(data), value, gate, resources={"pool-b": 0})
    await async_poll_for(lambda: len(s.tasks[value.key].waiters) == 1, 5)
    run_once(s, DropAll())
    assert len(holders(s, value)) == 1
    assert holders(s, value) < {b1.address, b2.address}
    await Event("enough").set()
    await needs
    run_once(s, DropAll())
    assert len(holders(s, value)) == 1


@cluster_of(IN_A, IN_B, **BY_HAND)
async def test_in_stock_dask_the_pool_may_lose_it(c, s, a, b):
    """The test above could not fail otherwise."""
    value = await make(c, a)
    await spread(c, value, b)
    gate = c.submit(lambda: Event("enough").wait(), workers=[a.address], key="gate")
    needs = c.submit(lambda data, gate: len(data), value, gate, resources={"pool-b": 0})
    await async_poll_for(lambda: len(s.tasks[value.key].waiters) == 1, 5)
    s.extensions["amm"].workers_memory = {s.workers[a.address]: 1, s.workers[b.address]: 2}
    ts = s.tasks[value.key]
    assert s.extensions["amm"]._find_dropper(ts, None, set()).address == b.address
    await Event("enough").set()
    await needs


@cluster_of(IN_A, IN_B, IN_B, **BY_HAND)
async def test_what_was_replicated_on_purpose_stays_in_each_pool(c, s, a, b1, b2):
    part = await take_care(c, s)
    value = await make(c, a)
    await c.replicate(value)
    run_once(s, DropAll())
    assert len(holders(s, value)) == 2
    assert a.address in holders(s, value)
    await value.cancel()
    await async_poll_for(lambda: not s.tasks, 5)
    assert not part.replicating.kept


@cluster_of(IN_A, IN_A, IN_B, **BY_HAND)
async def test_copies_are_made_in_the_pool(c, s, a1, a2, b):
    await take_care(c, s)
    value = await make(c, a1)
    with captured_logger("dask_pools.scheduler.replicas.memory") as log:
        run_once(s, Multiply(value.key, 1))
        await async_poll_for(lambda: len(holders(s, value)) == 2, 5)
    assert holders(s, value) == {a1.address, a2.address}
    assert log.getvalue() == ""


@cluster_of(IN_A, IN_A, IN_B, **BY_HAND)
async def test_policy_that_wants_a_copy_elsewhere_gets_it(c, s, a1, a2, b):
    await take_care(c, s)
    value = await make(c, a1)
    run_once(s, Multiply(value.key, 1, {s.workers[b.address]}))
    await async_poll_for(lambda: len(holders(s, value)) == 2, 5)
    assert holders(s, value) == {a1.address, b.address}


async def retire(c: Any, s: Any, worker: Any) -> str:
    """Retire a worker, and return what was logged of it."""
    with captured_logger("dask_pools.scheduler.replicas.memory") as log:
        assert await c.retire_workers([worker.address])
    assert worker.address not in s.workers
    return log.getvalue()


@cluster_of(IN_A, IN_A, IN_B, IN_B)
async def test_data_of_a_retiring_worker_stays_in_its_pool(c, s, a1, a2, b1, b2):
    await take_care(c, s)
    values = [await make(c, a1, key=f"value-{i}", nbytes=1000) for i in range(20)]
    assert await retire(c, s, a1) == ""
    assert all(holders(s, value) == {a2.address} for value in values)
    assert await crossings(c) == []


@cluster_of(IN_A, IN_A, IN_B, IN_B, **BY_HAND)
async def test_it_stays_there_also_where_the_memory_manager_is_off(c, s, a1, a2, b1, b2):
    await take_care(c, s)
    manager = s.extensions["amm"]
    values = [await make(c, a1, key=f"value-{i}", nbytes=1000) for i in range(20)]
    assert await retire(c, s, a1) == ""
    assert all(holders(s, value) == {a2.address} for value in values)
    assert s.extensions["amm"] is manager
    assert not manager.running
    assert not any(name.startswith("amm") for name in s.periodic_callbacks)


@cluster_of(IN_A, IN_B, IN_B)
async def test_data_leaves_a_pool_without_other_workers_and_that_is_logged(c, s, a, b1, b2):
    await take_care(c, s)
    value = await make(c, a)
    log = await retire(c, s, a)
    assert "1 values" in log
    assert "out of their pools" in log
    assert holders(s, value) <= {b1.address, b2.address}
    assert await value == bytes(1_000_000)


@cluster_of(IN_A, IN_B, IN_B)
async def test_what_a_pool_needs_is_copied_there_although_others_hold_it(c, s, a, b1, b2):
    """Else it would cross the link again."""
    await take_care(c, s)
    value = await make(c, a)
    await spread(c, value, b1)
    gate = c.submit(lambda: Event("enough").wait(), workers=[a.address], key="gate")
    needs = c.submit(lambda data, gate: len(data), value, gate, resources={"pool-b": 0})
    await async_poll_for(lambda: len(s.tasks[value.key].waiters) == 1, 5)
    assert await retire(c, s, b1) == ""
    assert holders(s, value) >= {b2.address}
    await Event("enough").set()
    await needs
    assert fetched(b2, value.key) == [b1.address]


@cluster_of(IN_A, IN_A, IN_A, IN_B, **BY_HAND)
async def test_several_workers_retire_at_a_time(c, s, a1, a2, a3, b):
    await take_care(c, s)
    manager = s.extensions["amm"]
    values = [await make(c, a, key=f"value-{i}") for i, a in enumerate((a1, a2))]
    first = c.retire_workers([a1.address])
    second = c.retire_workers([a2.address])
    assert len(await first) + len(await second) == 2
    assert all(holders(s, value) == {a3.address} for value in values)
    assert s.extensions["amm"] is manager


@cluster_of(IN_A, IN_A)
async def test_uninstalling_gives_the_stock_manager_back(c, s, a1, a2):
    manager = s.extensions["amm"]
    before = dict(vars(manager))
    await take_care(c, s)
    assert type(manager) is not ActiveMemoryManagerExtension
    installed_on(s).detach()
    assert type(manager) is ActiveMemoryManagerExtension
    assert vars(manager) == before
    assert s.handlers["retire_workers"] == s.retire_workers
    assert "retire_workers" not in vars(s)
