"""Whole computations that lose a pool, with the plugin and the optimiser."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Event, Worker, wait
from distributed.utils_test import async_poll_for, inc

from dask_pools import PoolLostError, UnknownPoolError, pool, propagate_pools
from dask_pools.scheduler.plugin import PoolsPlugin
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.loss.test_loss import IN_C, timeout_of, worker


def arrays(*pools: str) -> da.Array:
    """Make something of what is read in pool b, and in the first of some others."""
    with pool(*pools):
        x = da.random.default_rng(0).random((20, 500), chunks=(1, 500))
    with pool("b"):
        y = da.random.default_rng(1).random((20, 500), chunks=(1, 500))
    return ((x.mean(axis=0) - y.max(axis=0)) * y).sum()


def expected(*pools: str) -> np.float64:
    return arrays(*pools).compute(scheduler="synchronous")


@cluster_of(IN_A, IN_B, IN_C)
async def test_computation_with_a_mirror_goes_on_there(c, s, a, b, in_c):
    await c.register_plugin(PoolsPlugin())
    go = Event("go")
    with pool("a", "c"):
        hold = dask.delayed(go.wait)()
        x = da.from_delayed(hold, (), dtype=bool)
    with propagate_pools():
        future = c.compute(arrays("a", "c") + x)
    await async_poll_for(lambda: any(ts.state == "memory" for ts in s.tasks.values()), timeout=10)
    # It would wait until its task ends, so that it is closed from the scheduler's side first.
    await s.remove_worker(a.address, stimulus_id="test")
    await go.set()
    np.testing.assert_allclose(await future, expected("a", "c") + 1)
    await a.close()


@cluster_of(IN_A, IN_B)
async def test_result_that_was_lost_is_made_again_when_the_pool_is_back(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pool("a"):
        x = da.random.default_rng(0).random(1000, chunks=100)
    with propagate_pools():
        persisted = c.persist(x)
        await wait(persisted)
        await a.close()
        future = c.compute(persisted.sum())
        async with worker(s, "a"):
            np.testing.assert_allclose(await future, x.sum().compute(scheduler="synchronous"))


@cluster_of(IN_A, IN_B)
async def test_submission_to_a_pool_that_was_just_lost_waits_for_it(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    await a.close()
    with propagate_pools():
        future = c.compute(arrays("a"))
    with pool("a"):
        one = c.submit(inc, 1)
    with pool("a", "b"):
        assert await c.submit(inc, 1, key="mirrored") == 2
    assert "mirrored" in b.data
    async with worker(s, "a"):
        assert await one == 2
        np.testing.assert_allclose(await future, expected("a"))


@cluster_of(IN_A, IN_B)
async def test_pool_that_was_given_up_is_unknown(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    plugin.loss.expect({"a": 0})
    await a.close()
    with timeout_of("50 ms"):
        with propagate_pools():
            future = c.compute(arrays("a"))
        await async_poll_for(lambda: bool(s.unrunnable or s.queued), timeout=10)
        plugin.loss.expect({"a": None})
        with pytest.raises(PoolLostError, match=r"'a'.*'pool-a=1'"):
            await future
        await async_poll_for(lambda: not plugin.loss.awaited(), timeout=10)
        with propagate_pools(), pytest.raises(UnknownPoolError, match="'a'"):
            await c.compute(arrays("a"))
    with pool("b"):
        assert await c.submit(inc, 1) == 2


@cluster_of(IN_A, IN_B)
async def test_name_that_was_never_heard_is_an_error_at_once(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    await a.close()
    with pool("aa"), pytest.raises(UnknownPoolError, match="'aa'"):
        await c.submit(inc, 1)


@cluster_of(IN_A, IN_B)
async def test_pool_that_is_announced_is_waited_for(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    plugin.loss.expect({"new": 1})
    with pool("new"):
        future = c.submit(inc, 1)
    await async_poll_for(lambda: bool(s.unrunnable or s.queued), timeout=10)
    async with Worker(s.address, resources={"pool-new": 1}, nthreads=1):
        assert await future == 2
