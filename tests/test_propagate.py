"""The switch on real clusters: clients of all kinds, pins of all kinds, and clear errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
from distributed import Client, get_worker, wait

from dask_pools import (
    ExpressionArraysError,
    LocalPoolCluster,
    PinConflictError,
    SchedulerPackageError,
    UnknownPolicyError,
    UnknownPoolError,
    link_bytes,
    pool,
    propagate_pools,
)
from dask_pools.graph.optimize import PoolOptimizer
from dask_pools.model import Link
from dask_pools.scheduler.install import remove_from
from dask_pools.scheduler.plugin import installed_on
from dask_pools.scheduler.telemetry import crossings


def here(*_: Any) -> str:
    """Name the pool of the worker that runs this."""
    return str(get_worker().name).rpartition("-")[0]


def where(block: np.ndarray) -> np.ndarray:
    """Make a block that says where it was made."""
    return np.full(block.shape, here(), dtype="U9")


def places(n: int = 4) -> da.Array:
    """Make an array of the places where its blocks are made."""
    return da.zeros(n, chunks=1).map_blocks(where, dtype="U9")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalPoolCluster]:
    with LocalPoolCluster({"ecmwf": 2, "eumetsat": 2}) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalPoolCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


def test_tasks_of_client_submit_and_map_run_in_their_pool(client: Client) -> None:
    with pool("ecmwf"):
        one = client.submit(here, pure=False)
        many = client.map(here, range(6), pure=False)
    assert one.result() == "ecmwf"
    assert set(client.gather(many)) == {"ecmwf"}


def test_every_kind_of_collection_is_read_in_its_pool(client: Client) -> None:
    with pool("eumetsat"):
        array, value = places(), dask.delayed(here)()
        bag = db.from_sequence(range(4), npartitions=4).map(here)
    with propagate_pools():
        found = dask.compute(array, value, bag)
    assert set(found[0]) | {found[1]} | set(found[2]) == {"eumetsat"}


def test_several_kinds_in_one_compute_are_placed_together(client: Client) -> None:
    with pool("ecmwf"):
        array = da.random.default_rng(0).random(100_000, chunks=25_000)
    with pool("eumetsat"):
        value = dask.delayed(here)()
    before = link_bytes(client)
    with propagate_pools():
        total, found = dask.compute(array.sum(), value)
    assert found == "eumetsat"
    np.testing.assert_allclose(total, array.sum().compute(scheduler="synchronous"))
    assert sum(link_bytes(client).values()) - sum(before.values()) < 1000


def test_a_whole_computation_runs_in_the_pool_around_it(client: Client) -> None:
    x = places()
    with propagate_pools(), pool("eumetsat"):
        assert set(x.compute()) == {"eumetsat"}
    with pool("ecmwf"):
        assert set(x.compute()) == {"ecmwf"}


def test_reads_stay_where_their_data_is_inside_another_pool(client: Client) -> None:
    with pool("ecmwf"):
        read = places()
    both = da.stack([read, places()])
    with propagate_pools(), pool("eumetsat"):
        found = both.compute()
    assert set(found[0]) == {"ecmwf"}
    assert set(found[1]) == {"eumetsat"}


def test_mirrors_are_read_in_any_of_their_pools(client: Client) -> None:
    with pool("nowhere", "eumetsat"):
        mirrored = places()
        future = client.submit(here, pure=False)
    with propagate_pools():
        assert set(mirrored.compute()) == {"eumetsat"}
    assert future.result() == "eumetsat"


def test_persisted_values_stay_in_their_pool_and_are_used_there(client: Client) -> None:
    with pool("ecmwf"):
        x = da.random.default_rng(1).random((400, 400), chunks=100)
    with propagate_pools():
        persisted = x.persist()
        wait(persisted)
        before = link_bytes(client)
        mean = (persisted + 1).mean().compute()
    assert link_bytes(client) == before
    holders = set().union(*client.who_has(persisted).values())
    info = client.scheduler_info(n_workers=-1)["workers"]
    assert {info[address]["name"].rpartition("-")[0] for address in holders} == {"ecmwf"}
    np.testing.assert_allclose(mean, (x + 1).mean().compute(scheduler="synchronous"))


def test_persisted_values_cross_once(client: Client) -> None:
    with pool("ecmwf"):
        x = da.random.default_rng(2).random(50_000, chunks=50_000)
    with propagate_pools():
        persisted = x.persist()
        wait(persisted)
        before = link_bytes(client)
        with pool("eumetsat"):
            y = da.zeros((8, 50_000), chunks=(1, 50_000)) + persisted
            big = da.random.default_rng(3).random((8, 50_000), chunks=(1, 50_000))
        total = (y + big).sum().compute()
    after = link_bytes(client)
    link = Link("ecmwf", "eumetsat")
    assert after[link] - before.get(link, 0) == 400_000
    assert total > 0


def test_keys_that_are_known_from_before_stay_where_they_are(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The collection which was persisted is computed with, not what persist() returned."""
    with pool("ecmwf"):
        x = da.arange(10_000, chunks=10_000)
    y = da.concatenate([x] * 10).rechunk(-1)
    with pool("eumetsat"):
        others = [da.arange(i, 100_000 + i, chunks=100_000) for i in range(4)]
    with propagate_pools():
        persisted = y.persist()
        wait(persisted)
        before = Counter(crossings(client))
        found = dask.compute(*((y + other).sum() for other in others))
    crossed = Counter(crossings(client)) - before
    keys = set(dask.core.flatten(persisted.__dask_keys__()))
    assert sum(n for crossing, n in crossed.items() if crossing.key in keys) <= 1
    assert found[0] == 10 * 9_999 * 10_000 // 2 + 99_999 * 100_000 // 2
    assert "different `run_spec`" not in caplog.text


@pytest.mark.parametrize("around", [None, "ecmwf"])
@pytest.mark.parametrize("pools", [("ecmwf", "ecmwf"), ("ecmwf", "eumetsat")])
def test_p2p_rechunks_come_to_their_end(
    client: Client, pools: tuple[str, str], around: str | None
) -> None:
    """Bound to a pool and, by distributed, to a worker of another one, they would hang."""
    parts = []
    for i, name in enumerate(pools):
        with pool(name):
            parts.append(da.random.default_rng(i).random((40, 40), chunks=(10, 40)))
    x = da.concatenate(parts)
    with dask.config.set({"array.rechunk.method": "p2p"}):
        y = (x + 1).rechunk((80, 5)).sum(axis=0) * 2
    with propagate_pools(), pool(around):
        result = y.compute()
    np.testing.assert_allclose(result, ((x + 1).sum(axis=0) * 2).compute(scheduler="synchronous"))


def test_a_client_made_after_a_plain_call_is_served(cluster: LocalPoolCluster) -> None:
    remove_from(cluster.scheduler)
    with dask.config.set({}):
        switch = propagate_pools()
        try:
            with Client(cluster), pool("ecmwf"):
                assert set(places().compute()) == {"ecmwf"}
        finally:
            switch.__exit__(None, None, None)
    assert installed_on(cluster.scheduler) is not None


def test_an_asynchronous_client_is_served(cluster: LocalPoolCluster) -> None:
    async def compute() -> Any:
        address = cluster.scheduler_address
        async with Client(address, asynchronous=True) as client:
            with pool("eumetsat"):
                x = places()
            with propagate_pools():
                return await client.compute(x)

    import asyncio

    assert set(asyncio.run(compute())) == {"eumetsat"}


def test_the_plugin_is_there_once(client: Client, cluster: LocalPoolCluster) -> None:
    plugin = installed_on(cluster.scheduler)
    with propagate_pools(), propagate_pools():
        assert installed_on(cluster.scheduler) is plugin


def test_local_schedulers_need_no_pools() -> None:
    with pool("nowhere"):
        x = da.arange(10, chunks=5)
    with propagate_pools():
        assert x.sum().compute(scheduler="threads") == 45
        assert x.sum().compute(scheduler="synchronous") == 45


# ---- bad input: an error with a name, before anything runs


def ran(client: Client) -> set[str]:
    return {key for keys in client.has_what().values() for key in keys}


def test_an_unknown_pool_is_an_error_and_nothing_has_run(client: Client) -> None:
    with pool("ecmwf"):
        good = da.random.default_rng(4).random(10)
    with pool("eumesat"):
        bad = da.random.default_rng(5).random(10)
    before = ran(client)
    with (
        propagate_pools(),
        pytest.raises(
            UnknownPoolError,
            match=r"in pool 'eumesat', .*Pools with workers: 'ecmwf', 'eumetsat'\. "
            r"Did you mean 'eumetsat'\?.*Nothing has been run",
        ),
    ):
        (good + bad).compute()
    assert ran(client) == before
    with propagate_pools():
        assert good.sum().compute() > 0


def test_an_unknown_pool_in_submit_is_an_error(client: Client) -> None:
    with pool("ecwmf"):
        future = client.submit(here, pure=False)
    with pytest.raises(UnknownPoolError, match="Did you mean 'ecmwf'"):
        future.result()


def test_mirrors_that_do_not_exist_are_an_error(client: Client) -> None:
    with pool("here", "there"):
        x = da.ones(4)
    with (
        propagate_pools(),
        pytest.raises(UnknownPoolError, match="in any of the pools 'here', 'there'"),
    ):
        x.compute()


def test_contradicting_pins_of_one_key_are_an_error(
    client: Client, cluster: LocalPoolCluster
) -> None:
    """One client knows its own keys, and does not submit such a one again."""
    with pool("ecmwf"):
        first = client.submit(here, key="one-key")
    assert first.result() == "ecmwf"
    with Client(cluster, set_as_default=False) as other:
        with pool("eumetsat"):
            second = other.submit(here, key="one-key")
        with pytest.raises(PinConflictError, match=r"'one-key' is pinned to 'eumetsat'.*'ecmwf'"):
            second.result()


def test_the_same_key_in_two_computations_at_two_sites_is_an_error(client: Client) -> None:
    blocks = {}
    for name in ("ecmwf", "eumetsat"):
        with pool(name):
            blocks[name] = da.from_array(np.ones(8), chunks=4, name="one-name")
    with propagate_pools():
        first = blocks["ecmwf"].persist()
        wait(first)
        with pytest.raises(PinConflictError, match=r"pinned to 'eumetsat'.*Nothing"):
            blocks["eumetsat"].compute()


def test_an_unknown_policy_is_an_error() -> None:
    with pytest.raises(UnknownPolicyError, match=r"'mincat'.*Did you mean 'mincut'"):
        propagate_pools("mincat")
    assert not isinstance(dask.config.get("array_optimize", None), PoolOptimizer)


def test_expression_arrays_are_an_error() -> None:
    with (
        dask.config.set({"array.query-planning": True}),
        pytest.raises(ExpressionArraysError, match="query-planning: True"),
    ):
        propagate_pools()


def test_a_scheduler_without_the_package_is_an_error(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler which really has none is tried in tests/scheduler/test_install.py."""

    def missing(*_: Any) -> Any:
        raise ImportError("No module named 'dask_pools'")

    import pkgutil

    monkeypatch.setattr(pkgutil, "resolve_name", missing)
    with pytest.raises(SchedulerPackageError, match=r"Install dask_pools==\d.* scheduler's env"):
        propagate_pools()
    assert not isinstance(dask.config.get("array_optimize", None), PoolOptimizer)


def test_a_failing_task_is_reported_as_ever(client: Client) -> None:
    with pool("ecmwf"):
        x = da.ones(4).map_blocks(lambda b: 1 // 0, dtype=float, meta=np.empty(0))
    with propagate_pools(), pytest.raises(ZeroDivisionError):
        (x + 1).compute()
