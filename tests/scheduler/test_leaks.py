"""However much was computed, the plugin holds no more than after a part of it."""

from __future__ import annotations

import asyncio
from random import Random

from distributed import Scheduler
from distributed.utils_test import async_poll_for, gen_cluster

from dask_pools import propagate_pools
from dask_pools.scheduler.plugin import PoolsPlugin
from tests.scheduler.churn import Churn
from tests.scheduler.leftovers import REMEMBERING, entries, leftovers
from tests.scheduler.workload import Work, Workload

POOLS = ("a", "b")
#: Computations before what the plugin holds is weighed first, and altogether.
FIRST, ALL = 200, 1000
#: So many are submitted at once.
BATCH = 20


async def ended(work: Work, *, cancel: bool) -> None:
    """Wait for some work, whatever comes out of it, or cancel it."""
    if cancel:
        await work.future.client.cancel([work.future])
    else:
        await asyncio.wait([asyncio.ensure_future(work.future._state.wait())])
    work.future.release()


async def compute(workload: Workload, scheduler: Scheduler, computations: int) -> None:
    """Run so much random work, and wait until it is forgotten."""
    random = workload.random
    with propagate_pools():
        for _ in range(computations // BATCH):
            works = [workload.submit() for _ in range(BATCH)]
            workload.open_gates()
            for work in works:
                await ended(work, cancel=random.random() < 0.1)
    workload.persisted.clear()
    await async_poll_for(lambda: not scheduler.tasks, timeout=60)


@gen_cluster(
    client=True,
    nthreads=[],
    # To validate every transition would take most of the time.
    config={"distributed.scheduler.validate": False, "distributed.worker.validate": False},
    timeout=100,
)
async def test_plugin_holds_no_more_after_1000_computations_than_after_200(c, s):
    await c.register_plugin(PoolsPlugin())
    random = Random(0)  # noqa: S311 - no secret
    churn = Churn(s, POOLS, random)
    for pool in POOLS:
        await churn.grow(pool)
    workload = Workload(c, POOLS, random, chunks=(8, 3))
    await compute(workload, s, FIRST)
    first = entries(s)
    await compute(workload, s, ALL - FIRST)
    grown = entries(s) - first
    left = leftovers(s, set())
    await churn.close()
    assert not left
    for name in REMEMBERING:
        grown.pop(name, None)
    # Some tables have an entry for each pool or worker, from when it is first needed; but a
    # computation has dozens of tasks.
    assert grown.total() <= 20, grown
