from __future__ import annotations

from typing import Any

import dask
from distributed import Event, wait
from distributed.utils_test import async_poll_for

from dask_pools.scheduler.plugin import PoolsPlugin
from tests.scheduler.clusters import IN_A, IN_B, cluster_of

# No round of balancing but those that a test asks for, and all tasks worth stealing.
CALM: dict[str, Any] = {
    "config": {
        "distributed.scheduler.work-stealing-interval": "1 hour",
        "distributed.scheduler.default-task-durations": {"work": "10s"},
        "distributed.scheduler.worker-saturation": float("inf"),
    }
}


def work(data: object, name: str) -> None:
    """Wait for an event: a task that is there to be stolen, or not."""
    Event(name).wait()


async def crowd(c: Any, s: Any, worker: Any, **annotations: Any) -> list[Any]:
    """Put ten tasks on one worker, which needs the value that lies there."""
    data = c.submit(bytes, 10, workers=[worker.address], key="data")
    await data
    with dask.annotate(**annotations):
        futures = [
            c.submit(work, data, "go", workers=[worker.address], key=f"work-{i}", pure=False)
            for i in range(10)
        ]
    await async_poll_for(
        lambda: len(s.workers[worker.address].processing) == len(futures), timeout=10
    )
    # The first choice of a worker is the test's; it is the thief's turn now.
    for future in futures:
        s.tasks[future.key].worker_restrictions = None
    return futures


async def stolen(s: Any, worker: Any) -> int:
    """Balance once; return how many tasks are on another worker afterwards."""
    stealing = s.extensions["stealing"]
    stealing.balance()
    await async_poll_for(lambda: not stealing.in_flight, timeout=10)
    others = [ws for ws in s.workers.values() if ws.address != worker.address]
    return sum(len(ws.processing) for ws in others)


@cluster_of(IN_A, IN_B, **CALM)
async def test_free_task_is_not_stolen_from_its_pool(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    futures = await crowd(c, s, a)
    assert await stolen(s, a) == 0
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_B, **CALM)
async def test_stock_steals_it(c, s, a, b):
    """The test above could not fail if nobody would steal anyway."""
    futures = await crowd(c, s, a)
    assert await stolen(s, a) > 0
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_A, IN_B, **CALM)
async def test_free_task_is_stolen_inside_of_its_pool(c, s, a1, a2, b):
    await c.register_plugin(PoolsPlugin())
    futures = await crowd(c, s, a1)
    assert await stolen(s, a1) > 0
    assert not s.workers[b.address].processing
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_A, **CALM)
async def test_transfer_is_not_stolen(c, s, a1, a2):
    """A value would cross the link twice."""
    await c.register_plugin(PoolsPlugin())
    futures = await crowd(c, s, a1, transfer=("b", "a"), placement="a")
    assert await stolen(s, a1) == 0
    await Event("go").set()
    await wait(futures)


@cluster_of({}, IN_A, IN_B, **CALM)
async def test_worker_without_a_pool_can_be_relieved_by_any(c, s, nowhere, a, b):
    await c.register_plugin(PoolsPlugin())
    futures = await crowd(c, s, nowhere)
    assert await stolen(s, nowhere) > 0
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_A, IN_B, **CALM)
async def test_bound_task_is_stolen_by_its_pool_only_even_if_its_restrictions_are_loose(
    c, s, a1, a2, b
):
    await c.register_plugin(PoolsPlugin())
    futures = await crowd(c, s, a1, pool=("a",), resources={"pool-a": 0})
    for future in futures:
        s.tasks[future.key].loose_restrictions = True
    assert await stolen(s, a1) > 0
    assert not s.workers[b.address].processing
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_B, **CALM)
async def test_loose_task_is_not_stolen_when_nobody_of_its_pool_is_idle(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    futures = await crowd(c, s, a, pool=("a",), resources={"pool-a": 0})
    for future in futures:
        s.tasks[future.key].loose_restrictions = True
    assert await stolen(s, a) == 0
    await Event("go").set()
    await wait(futures)


@cluster_of({"resources": {"pool-a": 1, "pool-b": 1}}, IN_B, {"resources": {"pool-c": 1}}, **CALM)
async def test_bound_task_on_a_worker_of_two_pools_stays_in_its_own(c, s, both, b, other):
    await c.register_plugin(PoolsPlugin())
    futures = await crowd(c, s, both, pool=("a",), resources={"pool-a": 0})
    assert await stolen(s, both) == 0
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_B, **CALM)
async def test_round_ends_early_when_no_pool_has_both_work_and_a_thief(c, s, a, b, monkeypatch):
    """Stock would ask of every task of the full pool who may run it."""
    await c.register_plugin(PoolsPlugin())
    futures = await crowd(c, s, a, pool=("a",), resources={"pool-a": 0})
    asked: list[object] = []

    def thieves_for(ts: object, thieves: object) -> set[object]:
        asked.append(ts)
        return set()

    monkeypatch.setattr(s.extensions["stealing"], "thieves_for", thieves_for)
    assert await stolen(s, a) == 0
    assert not asked
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_B)
async def test_periodic_round_is_ours_from_installation_to_removal(c, s, a, b):
    """The periodic callback was given the method of the stock class when it was made."""
    stealing = s.extensions["stealing"]
    stock = type(stealing)
    plugin = PoolsPlugin()
    await plugin.start(s)
    balance = s.periodic_callbacks["stealing"].callback
    assert balance.__func__ is type(stealing).balance
    assert type(stealing) is not stock
    await plugin.close()
    assert s.periodic_callbacks["stealing"].callback.__func__ is stock.balance
    assert type(stealing) is stock


@cluster_of(IN_A, config={"distributed.scheduler.work-stealing": False})
async def test_stealing_may_be_switched_off(c, s, a):
    await c.register_plugin(PoolsPlugin())
    assert "stealing" not in s.extensions
    assert await c.submit(int) == 0
