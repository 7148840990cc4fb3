"""What is left to do on a release of distributed that is not as we know it: plain restrictions."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from types import FunctionType
from typing import Any, NoReturn

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, Worker, get_worker
from distributed.utils_test import inc

from dask_pools import link_bytes, pool, propagate_pools, uninstall
from dask_pools.errors import UnknownPoolError
from dask_pools.scheduler import private
from dask_pools.scheduler.circumstances import circumstances
from dask_pools.scheduler.fallback import fallback_on
from dask_pools.scheduler.install import install, remove_from
from dask_pools.scheduler.plugin import PoolsPlugin, installed_on
from dask_pools.scheduler.private.base import changed
from dask_pools.scheduler.private.graphs import UPDATE_GRAPH
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.test_plugin import state_of

#: Functions whose failure costs nothing where every scheduler has the plugin already, and no
#: worker has secrets.
HARMLESS = {"graphs.is_updating", "processes.clients", "processes.workers"}


def checking_functions() -> Iterator[FunctionType]:
    """Find the functions which notice that a release does not have what they build on."""
    for info in pkgutil.iter_modules(private.__path__):
        module = importlib.import_module(f"{private.__name__}.{info.name}")
        for _, function in inspect.getmembers(module, inspect.isfunction):
            ours = function.__module__ == module.__name__ and info.name != "base"
            source = inspect.getsource(function) if ours else ""
            if any(f"{name}(" in source for name in ("changed", "override", "replace_entry")):
                yield function


def named(function: FunctionType) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


FUNCTIONS = list(checking_functions())


def take_away(monkeypatch: pytest.MonkeyPatch, function: FunctionType) -> None:
    """Let a function find that its name is not there, wherever it is called."""

    def missing(*_: Any, **__: Any) -> NoReturn:
        raise changed(named(function))

    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("dask_pools.scheduler"):
            for name, value in list(vars(module).items()):
                if value is function:
                    monkeypatch.setattr(module, name, missing)


def where(block: Any) -> Any:
    """Make a block that says in which pool it was made."""
    (resource,) = get_worker().state.total_resources
    return np.full(block.shape, resource.removeprefix("pool-"), dtype="U9")


def places(n: int = 4) -> da.Array:
    return da.zeros(n, chunks=1).map_blocks(where, dtype="U9")


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_computations_go_on_whatever_is_missing(
    function: FunctionType, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch, function)

    @cluster_of(IN_A, IN_B)
    async def compute(c, s, a, b):
        with pool("a"):
            x = da.random.default_rng(0).random((8, 1000), chunks=(1, 1000))
            in_a = places()
        with pool("b"):
            y = da.random.default_rng(1).random(1000, chunks=1000)
            in_b = places()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with propagate_pools():
                difference = c.compute((x.mean(axis=0) - y).sum())
                found = c.compute([in_a, in_b])
                with propagate_pools():
                    again = c.compute(x.sum())
            with pool("b"):
                submitted = c.submit(where, np.zeros(1))
            results = await c.gather([difference, *found, again, submitted])
        expected = (x.mean(axis=0) - y).sum().compute(scheduler="synchronous")
        np.testing.assert_allclose(results[0], expected)
        assert set(results[1]) == {"a"}
        assert set(results[2]) | set(results[4]) == {"b"}
        np.testing.assert_allclose(results[3], x.sum().compute(scheduler="synchronous"))
        told = [str(w.message) for w in caught if "dask_pools" in str(w.message)]
        assert len(told) == (named(function) not in HARMLESS), told
        for text in told:
            assert f"has no {named(function)} as dask_pools knows it" in text
            assert "plain restrictions" in text

    compute()


def test_what_is_looked_for_is_found() -> None:
    found = set(map(named, FUNCTIONS))
    assert found >= {"graphs.update_graph", "stealing.stealing", "loss.require_waiting"}
    assert found >= HARMLESS


@pytest.fixture
def changed_release(monkeypatch: pytest.MonkeyPatch) -> None:
    function = next(f for f in FUNCTIONS if named(f) == "workers.watch_workers")
    take_away(monkeypatch, function)


@pytest.mark.usefixtures("changed_release")
def test_failed_installation_changes_nothing_but_what_is_documented() -> None:
    @cluster_of(IN_A)
    async def check(c, s, a):
        stock = state_of(s)
        plugin = install(s)
        now = state_of(s)
        assert fallback_on(s) is not None
        assert installed_on(s) is plugin
        same = ("instance", "stealing", "stealing's attributes", "balance")
        assert {name: now[name] for name in same} == {name: stock[name] for name in same}
        assert set(now["handlers"]) > set(stock["handlers"])
        remove_from(s)
        assert state_of(s) == stock
        assert fallback_on(s) is None

    check()


@pytest.mark.usefixtures("changed_release")
def test_synchronous_client_is_warned_once() -> None:
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    with (
        LocalCluster(**options, dashboard_address=":0", resources={"pool-a": 1}) as cluster,
        Client(cluster) as client,
    ):
        with pytest.warns(RuntimeWarning, match="workers.watch_workers") as caught:
            propagate_pools().__exit__(None, None, None)
        assert len(caught) == 1
        assert "wait until some come back" in str(caught[0].message)
        with propagate_pools(), pool("a"):
            assert set(places().compute()) == {"a"}
        uninstall(client)
        assert installed_on(cluster.scheduler) is None


@pytest.mark.usefixtures("changed_release")
def test_placement_needs_to_know_the_pools_and_does() -> None:
    """The free task goes to its input, one transfer carries what is small."""

    @cluster_of(IN_A, IN_B)
    async def check(c, s, a, b):
        with pool("a"):
            x = da.random.default_rng(0).random((8, 1000), chunks=(1, 1000))
        with pool("b"):
            y = da.random.default_rng(1).random(1000, chunks=1000)
        with pytest.warns(RuntimeWarning, match="plain restrictions"), propagate_pools():
            await c.compute((x.mean(axis=0) - y).sum())
        assert {(link.source, link.target): n for link, n in (await link_bytes(c)).items()} == {
            ("a", "b"): 8000
        }
        assert (await circumstances(c, [])).topology.names == ("a", "b")

    check()


@pytest.mark.usefixtures("changed_release")
def test_mirror_is_chosen_among_the_pools_that_have_workers() -> None:
    @cluster_of(IN_A, IN_B)
    async def check(c, s, a, b):
        install(s)
        with pool("gone", "b"):
            assert await c.submit(inc, 1, key="x") == 2
        assert s.tasks["x"].resource_restrictions == {"pool-b": 0}
        await b.close()
        async with Worker(s.address, resources={"pool-c": 1}, nthreads=1):
            with pool("b", "c"):
                assert await c.submit(inc, 1, key="y") == 2

    check()


@pytest.mark.usefixtures("changed_release")
def test_preference_for_workers_does_not_lead_out_of_the_pool() -> None:
    @cluster_of(IN_A, IN_B)
    async def check(c, s, a, b):
        install(s)
        with pool("a"):
            x = c.submit(inc, 1, key="x", workers=[b.address], allow_other_workers=True)
        assert await x == 2
        assert "x" in a.data

    check()


@pytest.mark.usefixtures("changed_release")
def test_unknown_pool_is_an_error_and_no_wait() -> None:
    @cluster_of(IN_A, IN_B)
    async def check(c, s, a, b):
        install(s)
        with pool("bb"), pytest.raises(UnknownPoolError, match="Did you mean 'b'"):
            await c.submit(inc, 1)
        assert await c.submit(inc, 1) == 2

    check()


@pytest.mark.usefixtures("changed_release")
def test_scheduler_without_the_handler_of_graphs_binds_what_is_pinned() -> None:
    @cluster_of(IN_A, IN_B)
    async def check(c, s, a, b):
        stock = s.stream_handlers.pop(UPDATE_GRAPH)
        install(s)
        assert UPDATE_GRAPH not in s.stream_handlers
        s.stream_handlers[UPDATE_GRAPH] = stock
        with pool("a"):
            x = places()
        with pytest.warns(RuntimeWarning, match="plain restrictions"), propagate_pools():
            assert set(await c.compute(x)) == {"a"}

    check()


@pytest.mark.usefixtures("changed_release")
def test_p2p_in_a_pool_comes_to_its_end() -> None:
    @cluster_of(IN_A, IN_B)
    async def check(c, s, a, b):
        with pool("a"), dask.config.set({"array.rechunk.method": "p2p"}):
            x = da.random.default_rng(0).random((40, 40), chunks=(10, 40))
            total = x.rechunk((40, 10)).sum()
        with pytest.warns(RuntimeWarning, match="plain restrictions"), propagate_pools():
            result = await c.compute(total)
        np.testing.assert_allclose(result, x.sum().compute(scheduler="synchronous"))

    check()


@pytest.mark.usefixtures("changed_release")
def test_registering_and_closing_the_plugin_falls_back_too() -> None:
    @cluster_of(IN_A)
    async def check(c, s, a):
        stock = state_of(s)
        await c.register_plugin(PoolsPlugin())
        assert fallback_on(s) is not None
        await c.register_plugin(PoolsPlugin())
        await uninstall(c)
        assert state_of(s) == stock

    check()
