from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from distributed import Worker
from distributed.core import Status
from distributed.utils_test import NO_AMM, BlockedGetData, async_poll_for
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.scheduler.plugin import installed_on
from dask_pools.scheduler.replicas.carriers import Carriers
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.replicated import fetched, make, take_care, use


class Fake(SimpleNamespace):
    """A worker, a task or a pool: hashable by identity."""

    __hash__ = object.__hash__  # type: ignore[assignment]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "leave", "arrive"]), st.integers(0, 3), st.integers(0, 9)
    )
)


@given(STEPS)
def test_one_worker_fetches_and_the_others_are_told(steps: list[tuple[str, int, int]]) -> None:
    """As long as no task leaves, at most one; and who waits is told when the value arrives."""
    workers = [Fake(name=i) for i in range(4)]
    pools: Any = [Fake(members={*workers[:3]}, running={*workers[:3]}), Fake()]
    pools[1].members = pools[1].running = {workers[3]}
    value, told = Fake(), []
    carriers = Carriers(lambda ws, _: told.append(ws))
    needing: list[Any] = []
    fetching: set[Fake] = set()
    waiting: set[Fake] = set()

    for what, i, j in steps:
        ws: Any = workers[i]
        pool = pools[i == 3]
        if what == "ask":
            needing.append(Fake(processing_on=ws, dependencies=[value]))
            waits = carriers.must_wait(value, needing[-1], ws, [pool])  # type: ignore[arg-type]
            (waiting if waits else fetching).add(ws)
            on_workers = {task.processing_on for task in needing}
            assert waits == bool((fetching - {ws}) & pool.members & on_workers) or ws in fetching
        elif what == "leave" and needing:
            task = needing.pop(j % len(needing))
            task.processing_on = None
            carriers.transitioned(task, "processing", "released")
            fetching.update(told)
        elif what == "arrive" and fetching & pool.members:
            carriers.arrived(value, [pool])  # type: ignore[arg-type]
            assert waiting & pool.members - fetching <= set(told)
            fetching -= pool.members
            waiting -= pool.members
        waiting -= fetching
        told.clear()
    carriers.transitioned(value, "memory", "released")  # type: ignore[arg-type]
    assert not carriers


def test_worker_of_two_pools_waits_if_the_value_comes_into_one() -> None:
    first, both = Fake(), Fake()
    pools: Any = [Fake(members={first, both}, running={first, both}), Fake(running={both})]
    value, told = Fake(), []
    carriers = Carriers(lambda ws, _: told.append(ws))

    def ask(ws: Any, pools: Any) -> bool:
        task: Any = Fake(processing_on=ws, dependencies=[value])
        return carriers.must_wait(value, task, ws, pools)  # type: ignore[arg-type]

    assert not ask(first, pools[:1])
    assert ask(both, pools)
    carriers.arrived(value, pools[:1])  # type: ignore[arg-type]
    assert told == [both]
    assert not carriers


async def in_motion(c: Any, s: Any, source: Any, b1: Any, b2: Any) -> tuple[Any, Any, Any]:
    """Have one worker fetch a value, which does not end, and another one wait for it.

    Returns the value, the task of the first and that of the second.
    """
    value = await make(c, source)
    carrying = use(c, value, b1)
    await source.in_get_data.wait()
    waiting = use(c, value, b2)
    await async_poll_for(lambda: value.key in b2.state.tasks, 5)
    assert b2.state.tasks[value.key].state == "missing"
    return value, carrying, waiting


def never_ask(worker: Any) -> None:
    """Have a worker that knows no holder wait until it is told of one."""
    worker.periodic_callbacks["find-missing"].stop()


@cluster_of(IN_B, IN_B)
async def test_second_worker_waits_for_the_first(c, s, b1, b2):
    part = await take_care(c, s)
    never_ask(b2)
    async with BlockedGetData(s.address, resources={"pool-a": 1}) as a:
        _value, carrying, waiting = await in_motion(c, s, a, b1, b2)
        carriers = part.sources.carriers
        assert [carriers.carries(s.tasks[f.key]) for f in (carrying, waiting)] == [True, False]
        a.block_get_data.set()
        assert await c.gather([carrying, waiting]) == [1_000_000] * 2
        assert (fetched(b1, "value"), fetched(b2, "value")) == ([a.address], [b1.address])
        assert not carriers
        assert not carriers.carries(s.tasks[carrying.key])


@cluster_of(IN_B, IN_B)
async def test_waiting_worker_takes_over_when_the_task_of_the_first_is_cancelled(c, s, b1, b2):
    await take_care(c, s)
    never_ask(b2)
    async with BlockedGetData(s.address, resources={"pool-a": 1}) as a:
        _value, carrying, waiting = await in_motion(c, s, a, b1, b2)
        await carrying.cancel()
        await async_poll_for(lambda: b2.state.tasks["value"].state == "flight", 5)
        a.block_get_data.set()
        await waiting
        assert fetched(b2, "value") == [a.address]


@cluster_of(IN_B)
async def test_waiting_worker_takes_over_when_the_first_is_lost(c, s, b2):
    await take_care(c, s)
    never_ask(b2)
    async with BlockedGetData(s.address, resources={"pool-a": 1}) as a:
        async with Worker(s.address, resources={"pool-b": 1}) as b1:
            _value, _carrying, waiting = await in_motion(c, s, a, b1, b2)
        await async_poll_for(lambda: b2.state.tasks["value"].state == "flight", 5)
        a.block_get_data.set()
        await waiting
        assert fetched(b2, "value") == [a.address]


@cluster_of(IN_B, IN_B, config={"distributed.worker.memory.pause": False, **NO_AMM})
async def test_nobody_goes_on_waiting_for_a_paused_worker(c, s, b1, b2):
    """A worker that is paused begins no fetch. Who waits asks by itself, again and again."""
    await take_care(c, s)
    async with BlockedGetData(s.address, resources={"pool-a": 1}) as a:
        _value, _carrying, waiting = await in_motion(c, s, a, b1, b2)
        b1.status = Status.paused
        await async_poll_for(lambda: b2.state.tasks["value"].state == "flight", 10)
        a.block_get_data.set()
        await waiting
        assert fetched(b2, "value") == [a.address]


@cluster_of(IN_B, IN_B)
async def test_worker_that_had_still_to_begin_its_fetch_can_be_told_to_wait(c, s, b1, b2):
    """A fetch without a holder would never begin, nor would the worker ask for one."""
    await take_care(c, s)
    never_ask(b2)
    async with BlockedGetData(s.address, resources={"pool-a": 1}) as a:
        value = await make(c, a)
        limit, b2.state.transfer_incoming_bytes_limit = b2.state.transfer_incoming_bytes_limit, 0
        s.request_acquire_replicas(b2.address, [value.key], stimulus_id="test")
        await async_poll_for(lambda: "value" in b2.state.tasks, 5)
        assert b2.state.tasks["value"].state == "fetch"
        carrying = use(c, value, b1)
        await a.in_get_data.wait()
        waiting = use(c, value, b2)
        await async_poll_for(lambda: b2.state.tasks["value"].state == "missing", 5)
        b2.state.transfer_incoming_bytes_limit = limit
        a.block_get_data.set()
        await c.gather([carrying, waiting])
        assert fetched(b2, "value") == [b1.address]


@cluster_of(IN_B, IN_B)
async def test_uninstalling_lets_nobody_wait_for_ever(c, s, b1, b2):
    await take_care(c, s)
    async with BlockedGetData(s.address, resources={"pool-a": 1}) as a:
        _value, carrying, waiting = await in_motion(c, s, a, b1, b2)
        installed_on(s).detach()
        a.block_get_data.set()
        await c.gather([carrying, waiting])


@cluster_of(IN_A, IN_B, IN_B)
async def test_nothing_is_kept_of_a_value_that_is_forgotten(c, s, a, b1, b2):
    part = await take_care(c, s)
    async with BlockedGetData(s.address, resources={"pool-a": 1}) as source:
        value, carrying, waiting = await in_motion(c, s, source, b1, b2)
        for future in (waiting, carrying, value):
            await future.cancel()
        await async_poll_for(lambda: not s.tasks, 5)
        assert not part.sources.carriers
        source.block_get_data.set()
