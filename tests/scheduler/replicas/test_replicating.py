from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from distributed import Event, Worker
from distributed.utils_test import NO_AMM, async_poll_for

from dask_pools.model import Link
from dask_pools.scheduler.plugin import installed_on
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.replicated import holders, make, take_care

IN_C = {"resources": {"pool-c": 1}}
CALM: dict[str, Any] = {"config": NO_AMM}


def links(s: Any, *workers: Any) -> Counter[tuple[Any, Link]]:
    """Count how often each value has crossed each link, by what the workers have sent.

    What they have fetched for `replicate`, they do not log.
    """
    membership = installed_on(s).membership  # type: ignore[union-attr]
    return Counter(
        (key, link)
        for worker in workers
        for entry in worker.transfer_outgoing_log
        if entry["who"] in s.workers
        if (link := membership.link(worker.address, entry["who"])) is not None
        for key in entry["keys"]
    )


@cluster_of(*[IN_A] * 3, *[IN_B] * 4, **CALM)
async def test_values_reach_a_pool_once_and_all_its_workers(c, s, *workers):
    await take_care(c, s)
    values = [await make(c, workers[i], key=f"value-{i}") for i in range(3)]
    await c.replicate(values)
    assert all(len(holders(s, value)) == 7 for value in values)
    assert links(s, *workers) == {(f"value-{i}", Link("a", "b")): 1 for i in range(3)}


@cluster_of(*[IN_A] * 2, *[IN_B] * 4, **CALM)
async def test_stock_dask_crosses_more_often(c, s, *workers):
    """The test above could not fail otherwise."""
    b = {worker.address for worker in workers[2:]}
    value = await make(c, workers[0])
    await c.replicate(value, branching_factor=10)
    sent = [entry["who"] for w in workers[:2] for entry in w.transfer_outgoing_log]
    assert len(b.intersection(sent)) > 1


@pytest.mark.parametrize("direct", [False, True], ids=["by the scheduler", "by the client"])
def test_broadcast_crosses_once(direct: bool) -> None:
    @cluster_of(*[IN_A] * 2, *[IN_B] * 3, *[IN_C] * 3, **CALM)
    async def check(c, s, *workers):
        await take_care(c, s)
        values = await c.scatter(
            [b"x" * 1000 * i for i in (1, 2, 3)], broadcast=True, direct=direct
        )
        assert all(len(holders(s, value)) == 8 for value in values)
        counted = links(s, *workers)
        assert len(counted) == 6  # two of three pools, for each of three values
        assert set(counted.values()) == {1}

    check()


@cluster_of(*[IN_A] * 3, *[IN_B] * 3, **CALM)
async def test_few_replicas_stay_in_the_pool(c, s, *workers):
    await take_care(c, s)
    value = await make(c, workers[0])
    await c.replicate(value, n=3)
    assert holders(s, value) == {worker.address for worker in workers[:3]}
    await c.replicate(value, n=4)
    assert len(holders(s, value)) == 4
    assert links(s, *workers) == {(value.key, Link("a", "b")): 1}
    await c.replicate(value, n=1)
    assert len(holders(s, value)) == 1


@cluster_of(*[IN_A] * 3, *[IN_B] * 3, IN_C, **CALM)
async def test_pool_that_needs_the_value_comes_first(c, s, *workers):
    await take_care(c, s)
    value = await make(c, workers[0])
    gate = c.submit(lambda: Event("enough").wait(), workers=[workers[0].address], key="gate")
    needs = c.submit(lambda data, gate: len(data), value, gate, resources={"pool-b": 0})
    await async_poll_for(lambda: len(s.tasks[value.key].waiters) == 1, 5)
    await c.replicate(value, n=2)
    assert links(s, *workers) == {(value.key, Link("a", "b")): 1}
    await c.replicate(value, n=1)
    assert holders(s, value) <= {worker.address for worker in workers[3:6]}
    await Event("enough").set()
    await needs


@cluster_of(*[IN_A] * 2, *[IN_B] * 2, **CALM)
async def test_workers_are_those_asked_for(c, s, *workers):
    await take_care(c, s)
    value = await make(c, workers[0])
    await c.replicate(value, workers=[worker.address for worker in workers[2:]])
    assert holders(s, value) == {workers[i].address for i in (0, 2, 3)}
    assert links(s, *workers) == {(value.key, Link("a", "b")): 1}


@cluster_of(IN_A, IN_B, **CALM)
async def test_what_cannot_be_done_is_said(c, s, a, b):
    await take_care(c, s)
    value = await make(c, a)
    with pytest.raises(ValueError, match="release the futures"):
        await s.replicate(keys=[value.key], n=0)
    with pytest.raises(KeyError):
        await s.replicate(keys=["nowhere"])
    late = c.submit(lambda: Event("enough").wait(), key="late")
    await async_poll_for(lambda: "late" in s.tasks, 5)
    answer = await s.replicate(keys=[value.key, "late"])
    assert answer == {"status": "partial-fail", "keys": ["late"]}
    assert holders(s, value) == {a.address}
    await Event("enough").set()
    await late


class Unreachable(Worker):
    """Cannot get anything."""

    async def gather(self, who_has: Any) -> Any:
        return {"status": "partial-fail", "keys": list(who_has)}


@cluster_of(IN_A, IN_B, **CALM)
async def test_worker_that_gets_nothing_is_replaced_by_another_one(c, s, a, b):
    await take_care(c, s)
    async with Unreachable(s.address, resources={"pool-a": 1}) as broken:
        value = await make(c, a)
        await c.replicate(value, n=2)
        assert holders(s, value) == {a.address, b.address}
        await c.replicate(value)
        assert broken.address not in holders(s, value)


@cluster_of({}, {}, {}, **CALM)
async def test_without_pools_it_is_what_dask_does(c, s, *workers):
    part = await take_care(c, s)
    value = await make(c, workers[0])
    await c.replicate(value)
    assert len(holders(s, value)) == 3
    assert not part.replicating.kept


@cluster_of(IN_A, IN_B, **CALM)
async def test_uninstalling_gives_the_stock_operation_back(c, s, a, b):
    await take_care(c, s)
    installed_on(s).detach()
    assert s.handlers["replicate"] == s.replicate
    assert "replicate" not in vars(s)
