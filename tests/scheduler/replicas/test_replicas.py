from __future__ import annotations

from typing import Any

import dask
from distributed import Event, wait
from distributed.utils_test import async_poll_for
from tlz import identity

from dask_pools.scheduler.plugin import installed_on
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.replicated import fetched, make, take_care, use


async def carry(c: Any, value: Any) -> Any:
    """Carry a value from pool b into pool a."""
    with dask.annotate(placement="a", transfer=("b", "a"), resources={"pool-a": 0}):
        return c.submit(identity, value, key=f"transfer-b-a-{value.key}")


async def carried(c: Any, s: Any, home: Any) -> list[Any]:
    """Make values at home, and carry them into pool a."""
    values = [c.submit(bytes, 1000 + i, workers=[home.address], key=f"value-{i}") for i in range(5)]
    await wait(values)
    transfers = [await carry(c, value) for value in values]
    await wait(transfers)
    return [*values, *transfers]


def holders(s: Any, key: str) -> set[str]:
    return {ws.address for ws in s.tasks[key].who_has}


@cluster_of(IN_A, IN_B, IN_B)
async def test_value_is_not_kept_under_its_old_key_where_it_was_carried_to(c, s, a, b, other):
    """A worker at home could fetch it from there: it would cross back."""
    await take_care(c, s)
    futures = await carried(c, s, b)
    assert all(holders(s, f"value-{i}") == {b.address} for i in range(5))
    await async_poll_for(lambda: not any(f"value-{i}" in a.data for i in range(5)), timeout=10)
    needed = [c.submit(len, v, workers=[other.address]) for v in futures[:5]]
    assert await c.gather(needed) == [1000 + i for i in range(5)]
    assert {entry["who"] for entry in other.transfer_incoming_log} == {b.address}
    assert all(f"transfer-b-a-value-{i}" in a.data for i in range(5))


@cluster_of(IN_A, IN_B, IN_B)
async def test_stock_scheduler_keeps_the_copy(c, s, a, b, other):
    """The test above could not fail otherwise."""
    futures = await carried(c, s, b)
    assert futures
    assert all(holders(s, f"value-{i}") == {a.address, b.address} for i in range(5))


@cluster_of(IN_A, IN_A, IN_B)
async def test_copy_stays_under_its_old_key_as_long_as_the_pool_needs_it(c, s, a1, a2, b):
    await take_care(c, s)
    value = await make(c, b)
    gate = c.submit(lambda: Event("enough").wait(), workers=[b.address], key="gate")
    needs = c.submit(lambda data, gate: len(data), value, gate, resources={"pool-a": 0})
    await async_poll_for(lambda: len(s.tasks[value.key].waiters) == 1, 5)
    transfer = await carry(c, value)
    await wait(transfer)
    await Event("enough").set()
    assert await needs == 1_000_000
    assert [w for worker in (a1, a2) for w in fetched(worker, value.key)].count(b.address) == 1


@cluster_of(IN_B, IN_A, IN_A, IN_A)
async def test_worker_at_home_does_not_fetch_back_what_was_carried_away(c, s, b, home, other, more):
    """Not even in the moment before the value is forgotten under its old key."""
    await take_care(c, s)
    value = await make(c, home)
    await wait(use(c, value, b))
    assert holders(s, value.key) == {home.address, b.address}
    await c.gather([use(c, value, worker) for worker in (other, more)])
    assert b.address not in fetched(other, value.key) + fetched(more, value.key)


@cluster_of(IN_A, IN_B)
async def test_part_leaves_nothing_behind(c, s, a, b):
    before, handlers, messages = set(vars(s)), dict(s.handlers), dict(s.stream_handlers)
    await take_care(c, s)
    installed_on(s).detach()
    changed = {"_task_to_msg", "add_replica", "replicate", "rebalance", "retire_workers"}
    changed |= {"request_acquire_replicas", "gather_on_worker", "handle_request_refresh_who_has"}
    assert not changed & set(vars(s)) - before
    assert s.handlers == handlers
    assert s.stream_handlers == messages
