from __future__ import annotations

from typing import Any

import pytest
from distributed import wait

from dask_pools.scheduler.plugin import installed_on
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.replicated import holders, take_care

#: By the bytes of the values alone, and however few they are.
EAGER: dict[str, Any] = {
    "config": {
        "distributed.worker.memory.rebalance.measure": "managed",
        "distributed.worker.memory.rebalance.sender-min": 0.0,
        "distributed.worker.memory.rebalance.sender-recipient-gap": 0.0,
    }
}


async def fill(c: Any, worker: Any, count: int = 10) -> list[Any]:
    """Make values on a worker."""
    values = [
        c.submit(bytes, 100_000 + i, key=f"value-{worker.address}-{i}", workers=[worker.address])
        for i in range(count)
    ]
    await wait(values)
    return values


@cluster_of(IN_A, IN_A, IN_B, IN_B, {}, {}, **EAGER)
async def test_each_pool_is_rebalanced_by_itself(c, s, *workers):
    a1, a2, b1, b2, x, y = workers
    await take_care(c, s)
    values = {w: await fill(c, w) for w in (a1, x)}
    await c.rebalance()
    assert [len(w.data) for w in (a1, a2, b1, b2, x, y)] == [5, 5, 0, 0, 5, 5]
    assert {w for v in values[a1] for w in holders(s, v)} == {a1.address, a2.address}


@cluster_of(IN_A, IN_B, **EAGER)
async def test_stock_dask_moves_data_across(c, s, a, b):
    """The test above could not fail otherwise."""
    values = await fill(c, a)
    await c.rebalance()
    assert len(values) == 10
    assert [len(w.data) for w in (a, b)] == [5, 5]


@cluster_of(IN_A, IN_A, IN_A, **EAGER)
async def test_keys_and_workers_are_those_asked_for(c, s, a1, a2, a3):
    await take_care(c, s)
    values = await fill(c, a1)
    await c.rebalance(values[:2], workers=[a1.address, a2.address])
    assert len(a3.data) == 0
    assert set(a2.data) <= {value.key for value in values[:2]}
    assert a2.data


@cluster_of(IN_A, IN_B, **EAGER)
async def test_missing_keys_are_named_once_and_nothing_is_moved(c, s, a, b):
    await take_care(c, s)
    (value,) = await fill(c, a, 1)
    answer = await s.rebalance(keys=["nowhere", value.key])
    assert answer == {"status": "partial-fail", "keys": ["nowhere"]}
    assert await s.rebalance(keys=[]) == {"status": "OK"}
    assert await s.rebalance(workers=[]) == {"status": "OK"}
    with pytest.raises(KeyError):
        await s.rebalance(workers=["tcp://nowhere:1"])


@cluster_of(IN_A, IN_B, **EAGER)
async def test_uninstalling_gives_the_stock_operation_back(c, s, a, b):
    await take_care(c, s)
    installed_on(s).detach()
    assert s.handlers["rebalance"] == s.rebalance
    assert "rebalance" not in vars(s)
