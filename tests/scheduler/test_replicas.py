from __future__ import annotations

from typing import Any

import dask
from distributed import wait
from distributed.utils_test import async_poll_for
from tlz import identity

from dask_pools.scheduler.plugin import PoolsPlugin
from tests.scheduler.clusters import IN_A, IN_B, cluster_of


async def carried(c: Any, s: Any, home: Any) -> list[Any]:
    """Make values at home, and carry them into pool a."""
    values = [c.submit(bytes, 1000 + i, workers=[home.address], key=f"value-{i}") for i in range(5)]
    await wait(values)
    with dask.annotate(placement="a", transfer=("b", "a"), resources={"pool-a": 0}):
        transfers = [c.submit(identity, v, key=f"transfer-b-a-{v.key}") for v in values]
    await wait(transfers)
    return [*values, *transfers]


def holders(s: Any, key: str) -> set[str]:
    return {ws.address for ws in s.tasks[key].who_has}


@cluster_of(IN_A, IN_B, IN_B)
async def test_value_is_not_kept_under_its_old_key_where_it_was_carried_to(c, s, a, b, other):
    """A worker at home could fetch it from there: it would cross back."""
    await c.register_plugin(PoolsPlugin())
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
