from __future__ import annotations

from unittest import mock

from distributed import Event
from distributed.utils_test import async_poll_for
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.scheduler.replicas import needs
from dask_pools.scheduler.replicas.needs import droppable, pools_in_need
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.replicated import make, take_care

#: The pools of each worker.
POOLS = {"a0": "a", "a1": "a", "b0": "b", "b1": "b", "ab": "ab", "-": ""}


@given(
    st.sets(st.sampled_from(list(POOLS)), min_size=1),
    st.sets(st.sampled_from(list(POOLS))),
    st.sets(st.sampled_from("ab")),
    st.sets(st.sampled_from(list(POOLS))),
)
def test_no_pool_loses_what_it_needs_by_any_drop(holders, going, needing, running) -> None:
    going &= holders
    free = droppable(holders, holders, going, POOLS.__getitem__, needing, running)

    def served(left: set[str]) -> set[str]:
        return {pool for ws in left & running for pool in POOLS[ws]} & needing

    before = served(holders - going)
    for ws in holders:
        last = served(holders - going - {ws}) != before
        # Who is about to leave is not counted on, but goes only after another one has come.
        leaving = ws not in running and not needing.intersection(POOLS[ws]) <= before
        assert (ws in free) == (not last and not leaving) or ws in going


@cluster_of(IN_A, IN_B, {})
async def test_pools_of_unfinished_tasks_need_a_value(c, s, a, b, nowhere):
    part = await take_care(c, s)
    value = await make(c, nowhere)
    ts = s.tasks[value.key]
    assert not pools_in_need(ts, part.roster)

    def work(data: bytes, name: str) -> None:
        Event(name).wait()

    bound = c.submit(work, value, "bound", resources={"pool-b": 0})
    unplaced = c.submit(work, value, "unplaced", workers=[a.address])
    await async_poll_for(lambda: len(ts.waiters) == 2, 5)
    assert {pool.name for pool in pools_in_need(ts, part.roster)} == {"a", "b"}
    await Event("unplaced").set()
    await unplaced
    assert {pool.name for pool in pools_in_need(ts, part.roster)} == {"b"}
    await Event("bound").set()
    await bound
    assert not pools_in_need(ts, part.roster)


@cluster_of(IN_A, IN_B)
async def test_with_very_many_waiting_tasks_nobody_asks_each(c, s, a, b):
    part = await take_care(c, s)
    value = await make(c, a)
    ts = s.tasks[value.key]
    gate = Event("gate")
    tasks = [
        c.submit(lambda data, i: Event("gate").wait(), value, i, workers=[a.address])
        for i in range(3)
    ]
    await async_poll_for(lambda: len(ts.waiters) == 3, 5)
    assert {pool.name for pool in pools_in_need(ts, part.roster)} == {"a"}
    with mock.patch.object(needs, "LOOKED_AT", 2):
        assert {pool.name for pool in pools_in_need(ts, part.roster)} == {"a", "b"}
    await gate.set()
    await c.gather(tasks)
