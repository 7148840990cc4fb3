from __future__ import annotations

import pickle
from typing import Any

import dask
import pytest
from distributed import Scheduler, Worker
from distributed.utils_test import gen_cluster, inc

from dask_pools.errors import UnknownPoolError
from dask_pools.scheduler.plugin import NAME, PoolsPlugin, installed_on
from dask_pools.scheduler.private.graphs import replace_update_graph, update_graph
from tests.scheduler.clusters import IN_A, IN_B, cluster_of


def state_of(scheduler: Scheduler) -> dict[str, Any]:
    """Collect everything that the plugin changes on a scheduler."""
    stealing = scheduler.extensions["stealing"]
    return {
        "handlers": dict(scheduler.handlers),
        "stream handlers": dict(scheduler.stream_handlers),
        "instance": {name for name, value in vars(scheduler).items() if callable(value)},
        "stealing": type(stealing),
        "stealing's attributes": set(vars(stealing)),
        "balance": scheduler.periodic_callbacks["stealing"].callback,
        "worker plugins": set(scheduler.worker_plugins),
        "plugins": set(scheduler.plugins),
    }


@cluster_of(IN_A, IN_B)
async def test_closing_leaves_a_stock_scheduler(c, s, a, b):
    stock = state_of(s)
    plugin = PoolsPlugin()
    await plugin.start(s)
    installed = state_of(s)
    changed = {name for name in stock if stock[name] != installed[name]}
    assert changed == set(stock)
    await plugin.close()
    assert state_of(s) == stock
    assert await c.submit(inc, 1) == 2


@cluster_of(IN_A)
async def test_installing_twice_is_harmless(c, s, a):
    stock = state_of(s)
    await c.register_plugin(PoolsPlugin())
    first = s.plugins[NAME]
    once = state_of(s)
    await c.register_plugin(PoolsPlugin())
    second = PoolsPlugin()
    await second.start(s)
    assert state_of(s) == once
    assert installed_on(s) is first
    await second.close()
    assert state_of(s) == once
    await first.close()
    assert state_of(s) == stock


@cluster_of(IN_A)
async def test_closing_twice_is_harmless(c, s, a):
    stock = state_of(s)
    plugin = PoolsPlugin()
    await plugin.start(s)
    await plugin.close()
    await plugin.close()
    assert state_of(s) == stock
    await plugin.start(s)
    assert installed_on(s) is plugin


@cluster_of(IN_A)
async def test_unregistered_plugin_leaves_at_the_next_submission(c, s, a):
    stock = state_of(s)
    await c.register_plugin(PoolsPlugin())
    await c.unregister_scheduler_plugin(NAME)
    with dask.annotate(pool=("nowhere",)):
        assert await c.submit(inc, 1) == 2
    assert state_of(s) == stock


@cluster_of(IN_A)
async def test_plugin_can_be_registered_again(c, s, a):
    stock = state_of(s)
    await c.register_plugin(PoolsPlugin())
    await c.unregister_scheduler_plugin(NAME)
    await c.register_plugin(PoolsPlugin())
    with dask.annotate(pool=("nowhere",)), pytest.raises(UnknownPoolError):
        await c.submit(inc, 1)
    await s.plugins[NAME].close()
    assert state_of(s) == stock


@cluster_of(IN_A)
async def test_wrapper_of_somebody_else_survives(c, s, a):
    plugin = PoolsPlugin()
    await plugin.start(s)
    ours = update_graph(s)
    seen = []

    async def theirs(**message: Any) -> None:
        seen.append(message["keys"])
        await ours(**message)

    replace_update_graph(s, theirs)
    await plugin.close()
    assert update_graph(s) is theirs
    assert await c.submit(inc, 1, key="x") == 2
    assert seen == [{"x"}]


@gen_cluster(nthreads=[], client=True, scheduler_kwargs={"plugins": [PoolsPlugin()]})
async def test_scheduler_can_be_started_with_the_plugin(c, s):
    plugin = installed_on(s)
    assert plugin is not None
    async with Worker(s.address, resources={"pool-a": 1}, nthreads=1):
        assert plugin.membership.topology.names == ("a",)
        with dask.annotate(pool=("b",)), pytest.raises(UnknownPoolError):
            await c.submit(inc, 1)


@cluster_of(IN_A)
async def test_membership_follows_the_workers(c, s, a):
    plugin = PoolsPlugin()
    await plugin.start(s)
    assert plugin.membership.topology.names == ("a",)
    async with Worker(s.address, resources={"pool-b": 1}, nthreads=1) as b:
        assert plugin.membership.topology.names == ("a", "b")
        address = b.address
    assert plugin.membership.topology.names == ("a",)
    assert plugin.membership.pools_of(address) == ("b",)


@cluster_of(IN_A)
async def test_worker_can_join_a_pool_later(c, s, a):
    plugin = PoolsPlugin()
    await plugin.start(s)
    await a.set_resources(**{"pool-b": 1})
    assert plugin.membership.pools_of(a.address) == ("a", "b")
    with dask.annotate(pool=("b",), resources={"pool-b": 0}):
        assert await c.submit(inc, 1) == 2


def test_plugin_is_pickled_as_it_is_before_it_is_installed() -> None:
    plugin = pickle.loads(pickle.dumps(PoolsPlugin()))
    assert type(plugin) is PoolsPlugin
    assert plugin.scheduler is None
    assert (plugin.name, plugin.idempotent) == ("dask-pools", True)
