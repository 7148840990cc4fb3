from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Event, Worker, wait
from distributed.core import Status
from distributed.utils_test import NO_AMM, BlockedGetData, async_poll_for
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.model import Link
from dask_pools.scheduler.replicas.sources import choose_holders
from dask_pools.scheduler.telemetry import crossings, link_bytes
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.replicated import fetched, holders, make, take_care, use

A_TO_B = Link("a", "b")
WORKERS = "abcdef"


@given(
    st.sets(st.sampled_from(WORKERS), min_size=1),
    st.lists(
        st.tuples(st.sets(st.sampled_from(WORKERS)), st.sets(st.sampled_from(WORKERS))), max_size=3
    ),
)
def test_holders_are_those_of_the_pools_if_one_runs_there_else_all(held, drawn) -> None:
    pools: list[Any] = [SimpleNamespace(members=m, running=m & r) for m, r in drawn]
    members = {ws for pool in pools for ws in pool.members}
    running = {ws for pool in pools for ws in pool.running}
    expected = held & members if held & running else held
    assert choose_holders(held, pools) == expected


@cluster_of(IN_A, *[IN_B] * 4)
async def test_value_with_many_consumers_crosses_once(c, s, a, *bs):
    """In stock Dask it crosses four times, once for each worker."""
    part = await take_care(c, s)
    value = await make(c, a)
    await c.gather([use(c, value, b, f"-{i}") for b in bs for i in range(4)])
    assert [crossing.link for crossing in await crossings(c)] == [A_TO_B]
    assert (await link_bytes(c))[A_TO_B] == s.tasks[value.key].nbytes
    assert sum(len(fetched(b, value.key)) for b in bs) == 4
    await c.gather([use(c, value, b, "-later") for b in bs])
    assert len(await crossings(c)) == 1
    assert not part.sources.carriers


@cluster_of(IN_B, IN_B)
async def test_in_stock_dask_every_worker_fetches_it_over_the_link(c, s, b1, b2):
    """The test above could not fail otherwise."""
    async with BlockedGetData(s.address, resources={"pool-a": 1}) as a:
        value = await make(c, a)
        tasks = [use(c, value, b) for b in (b1, b2)]
        for b in (b1, b2):
            await async_poll_for(lambda b=b: value.key in b.state.tasks, 5)
            assert b.state.tasks[value.key].coming_from == a.address
        a.block_get_data.set()
        await c.gather(tasks)


async def by_replicate(c: Any, value: Any, b: Any) -> None:
    await c.replicate(value, workers=[b.address], n=1)


async def by_another_fetch(c: Any, value: Any, b: Any) -> None:
    await use(c, value, b)


@pytest.mark.parametrize("bring", [by_replicate, by_another_fetch], ids=lambda f: f.__name__)
def test_worker_takes_a_value_from_its_own_pool(bring: Any) -> None:
    @cluster_of(IN_A, IN_A, IN_B, IN_B)
    async def check(c, s, a, other, b1, b2):
        await take_care(c, s)
        value = await make(c, a)
        await use(c, value, other)  # more holders outside than in the pool
        await bring(c, value, b1)
        assert holders(s, value) == {a.address, other.address, b1.address}
        await use(c, value, b2)
        assert fetched(b2, value.key) == [b1.address]

    check()


@cluster_of(IN_A, IN_B, IN_B)
async def test_worker_takes_what_was_scattered_into_its_pool(c, s, a, b1, b2):
    await take_care(c, s)
    (value,) = await c.scatter([b"x" * 1000], workers=[b1.address])
    await c.replicate(value, workers=[a.address, b1.address])
    await use(c, value, b2)
    assert fetched(b2, value.key) == [b1.address]


@cluster_of(IN_A, IN_B, IN_B)
async def test_copy_for_no_task_is_taken_from_the_own_pool(c, s, a, b1, b2):
    """Those of the active memory manager come by this message."""
    await take_care(c, s)
    value = await make(c, a)
    await use(c, value, b1)
    s.request_acquire_replicas(b2.address, [value.key], stimulus_id="test")
    await async_poll_for(lambda: b2.address in holders(s, value), 5)
    assert fetched(b2, value.key) == [b1.address]


@cluster_of(IN_A, {}, {})
async def test_worker_without_a_pool_takes_a_value_from_anybody(c, s, a, x, y):
    part = await take_care(c, s)
    value = await make(c, a)
    ts = s.tasks[value.key]
    tasks = [use(c, value, w) for w in (x, y)]
    await c.gather(tasks)
    assert part.sources.for_task(s.tasks[tasks[0].key]) == {}
    assert set(part.sources.for_question(s.workers[x.address], ts, missing=True)) == holders(
        s, value
    )


@cluster_of(IN_A, IN_B, IN_B)
async def test_thief_takes_a_value_from_its_own_pool(c, s, a, b1, b2):
    await take_care(c, s)
    value = await make(c, a)
    await use(c, value, b1)
    block = c.submit(lambda: Event("block").wait(), workers=[b1.address], key="block")
    await async_poll_for(lambda: b1.state.executing_count == 1, 5)
    stolen = c.submit(len, value, key="stolen", resources={"pool-b": 0}, workers=[b1.address])
    await async_poll_for(lambda: "stolen" in b1.state.tasks, 5)
    ts = s.tasks["stolen"]
    s.set_restrictions({"stolen": None})
    s.extensions["stealing"].move_task_request(ts, s.workers[b1.address], s.workers[b2.address])
    await stolen
    assert fetched(b2, value.key) == [b1.address]
    await Event("block").set()
    await block


@cluster_of(IN_A, IN_B)
async def test_value_comes_from_elsewhere_when_the_holder_in_the_pool_is_lost(c, s, a, b):
    await take_care(c, s)
    async with BlockedGetData(s.address, resources={"pool-b": 1}, nthreads=1) as lost:
        value = await make(c, a)
        await wait(use(c, value, lost))
        task = use(c, value, b)
        await lost.in_get_data.wait()
        assert fetched(b, value.key) == []
        await lost.close()
        await task
    assert fetched(b, value.key) == [a.address]


class Withholding(Worker):
    """Answers whoever wants a value, but not with the value."""

    async def get_data(self, comm: Any, keys: Any, **more: Any) -> Any:
        return await super().get_data(comm, keys=[], **more)


@cluster_of(IN_A, IN_B, config=NO_AMM)
async def test_value_comes_from_elsewhere_when_its_holder_in_the_pool_withholds_it(c, s, a, b):
    """The holder is named once more when the worker asks; when it asks again, all are."""
    await take_care(c, s)
    async with Withholding(s.address, resources={"pool-b": 1}, nthreads=1) as holder:
        value = await make(c, a)
        await wait(use(c, value, holder))
        await use(c, value, b)
    assert fetched(b, value.key)[-1] == a.address


@cluster_of(IN_A, IN_B, IN_B, config={"distributed.worker.memory.pause": False})
async def test_value_that_only_a_paused_worker_holds_in_the_pool_comes_from_anybody(
    c, s, a, b1, b2
):
    part = await take_care(c, s)
    value = await make(c, a)
    await use(c, value, b1)
    task = use(c, value, b2)
    await task
    ws = s.workers[b2.address]
    await c.cancel(task)
    s.remove_replica(s.tasks[value.key], ws)
    near = part.sources.for_copy(ws, s.tasks[value.key])
    assert near == [b1.address]
    b1.status = Status.paused
    await async_poll_for(lambda: s.workers[b1.address].status == Status.paused, 5)
    assert set(part.sources.for_copy(ws, s.tasks[value.key])) == {a.address, b1.address}
    s.add_replica(s.tasks[value.key], ws)


@cluster_of(IN_A, IN_A, IN_B, IN_B)
async def test_proxies_of_actors_are_left_to_dask(c, s, a1, a2, b1, b2):
    await take_care(c, s)

    class Counter:
        def count(self) -> int:
            return 1

    actor = c.submit(Counter, actor=True, workers=[a1.address], key="actor")
    await wait(actor)
    tasks = [
        c.submit(lambda counter: counter.count().result(), actor, workers=[w.address], pure=False)
        for w in (b1, b2)
    ]
    assert await c.gather(tasks) == [1, 1]
