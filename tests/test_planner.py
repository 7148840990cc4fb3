"""`plan`: the same as what then happens, and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster, wait

from dask_pools import (
    BudgetError,
    Link,
    LocalPoolCluster,
    Pool,
    ResidencyError,
    Topology,
    UnknownPolicyError,
    UnknownPoolError,
    plan,
    pool,
    propagate_pools,
)
from dask_pools.scheduler.telemetry import crossings

SHAPE, CHUNKS = (40, 40), (20, 20)


def read(name: str | None, *, members: int = 0, seed: int = 0) -> da.Array:
    """Make an array of whole numbers that is read in a pool."""
    shape, chunks = ((members, *SHAPE), (1, *CHUNKS)) if members else (SHAPE, CHUNKS)

    def block(block_info=None):
        where = block_info[None]["array-location"]
        generator = np.random.default_rng([seed, *(start for start, _ in where)])
        return generator.integers(-9, 9, [stop - start for start, stop in where]).astype(float)

    with pool(name):
        return da.map_blocks(
            block,
            chunks=da.core.normalize_chunks(chunks, shape),
            dtype=float,
            meta=np.empty((0,) * len(shape)),
            name=f"read-{name}-{members}-{seed}",
        )


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        dask.config.set({"distributed.admin.low-level-log-length": 100_000}),
        LocalPoolCluster({"a": 1, "b": 1, "c": 1}) as cluster,
        cluster.get_client() as client,
    ):
        yield client


def crossed(client: Client, x, **options) -> list:
    """Persist something, and list what crossed a link."""
    before = crossings(client)
    with propagate_pools(**options):
        persisted = x.persist()
    wait(persisted)
    found = list(crossings(client))
    for crossing in before:
        found.remove(crossing)
    np.testing.assert_allclose(
        persisted.compute(), x.compute(scheduler="synchronous"), rtol=1e-12, atol=1e-12
    )
    return found


def test_a_plan_needs_no_cluster() -> None:
    said = plan(read("a", members=4).sum(axis=0) - read("b"))
    assert len(said.links) == 1
    assert said.nbytes == said.bound == 8 * 40 * 40


def test_a_plan_says_what_then_happens(client: Client) -> None:
    x = read("a", members=4).sum(axis=0) - read("b")
    with propagate_pools():
        said = plan(x, persist=True)
        found = crossed(client, x)
    assert sum(c.nbytes for c in found) == said.nbytes
    assert len(found) == len(said.transfers)


def test_any_cluster_can_be_asked() -> None:
    """Also one that nobody has told of pools before."""
    cluster = LocalCluster(
        n_workers=1, processes=False, dashboard_address=None, resources={"pool-a": 1}
    )
    with cluster, Client(cluster) as client:
        assert plan(read("a").sum(), client=client).tasks.keys() == {"a"}
        with pytest.raises(UnknownPoolError, match="'b'"):
            plan(read("b"), client=client)


def test_an_asynchronous_client_is_refused() -> None:
    class Asynchronous:
        asynchronous = True

    with pytest.raises(TypeError, match="asynchronous client"):
        plan(read("a"), client=cast(Client, Asynchronous()))


def test_compute_gathers_the_result_in_one_pool() -> None:
    x = read("a") + read("b")
    gathered, kept = plan(x), plan(x, persist=True)
    assert set(gathered.links) == {Link("a", "b")} or set(gathered.links) == {Link("b", "a")}
    assert set(kept.links) == {Link("a", "b"), Link("b", "a")}
    assert gathered.nbytes == kept.nbytes


def test_equal_fields_of_two_pools_are_added_in_both(client: Client) -> None:
    found = crossed(client, read("a") + read("b"))
    there = [c.nbytes for c in found if c.link == Link("a", "b")]
    back = [c.nbytes for c in found if c.link == Link("b", "a")]
    assert sum(there) == sum(back) == 2 * 8 * 20 * 20


def members() -> da.Array:
    """Twelve members of an ensemble, held in turn in three pools."""
    return da.stack([read("abc"[i % 3], seed=i) for i in range(12)])


@pytest.mark.parametrize("statistic", ["mean", "std"])
def test_one_partial_result_of_each_pool_crosses(client: Client, statistic: str) -> None:
    x = getattr(members(), statistic)(axis=0)
    blocks = 4
    found = crossed(client, x)
    assert len(found) == 2 * blocks
    in_order = plan(x, persist=True, exact_order=True)
    assert len(in_order.transfers) > 2 * blocks
    assert plan(x, persist=True).regrouped == blocks


def test_exact_order_keeps_the_order_of_blocks(client: Client) -> None:
    x = members().mean(axis=0)
    with propagate_pools(exact_order=True):
        result = x.compute()
    np.testing.assert_array_equal(result, x.compute(scheduler="synchronous"))


def test_a_source_that_two_pools_need_is_made_in_both(client: Client) -> None:
    weights = da.random.default_rng(0).random(SHAPE, chunks=CHUNKS)
    x = da.stack([(read("a") * weights).sum(), (read("b", seed=1) * weights).sum()])
    said = plan(x, persist=True)
    assert said.copies == 4
    found = crossed(client, x)
    assert sum(c.nbytes for c in found) == said.nbytes < 8 * 20 * 20


def test_persisted_values_are_where_they_are(client: Client) -> None:
    with propagate_pools():
        there = read("a").persist()
        wait(there)
        said = plan((there + read("b", members=4)).sum(), persist=True)
    assert said.nbytes == 8 * 40 * 40
    assert set(said.links) == {Link("a", "b")}


def test_another_policy_is_compared_with_the_default() -> None:
    coarse, fine = read("a"), da.concatenate([read("b"), read("b", seed=1)])
    grown = da.concatenate([coarse, coarse]).rechunk(CHUNKS)
    said = plan((grown * 2 - fine).sum(), policy="majority")
    assert said.policy == "majority"
    assert list(said.alternatives) == ["mincut"]
    assert "mincut" in repr(said)
    assert said.alternatives["mincut"].nbytes <= said.nbytes


def test_variables_have_their_names_in_a_plan() -> None:
    temperature = xr.DataArray(read("a"), dims=["y", "x"], name="t2m")
    observed = xr.DataArray(read("b", members=2).sum(axis=0), dims=["y", "x"], name="obs")
    said = plan((temperature - observed).rename("bias"), persist=True)
    assert "bias" in repr(said)
    assert json.loads(json.dumps(said.to_dict()))


def test_objective_money_takes_the_cheaper_way() -> None:
    prices = Topology(
        (Pool("a"), Pool("b")), (Link("a", "b", price=0.09), Link("b", "a", price=0.02))
    )
    x = read("a") + read("b")
    said = plan(x, objective="money", topology=prices, persist=True)
    assert set(said.links) == {Link("b", "a")}
    assert said.money == pytest.approx(0.02 * said.nbytes / 1e9)


def test_objective_time_lets_a_large_site_help(client: Client) -> None:
    """Of two pools the one without data has work to do as well, if the link is quick."""
    quick = Topology(
        (Pool("a"), Pool("b"), Pool("c")),
        tuple(Link(p, q, bandwidth=1e12) for p in "abc" for q in "abc" if p != q),
    )
    x = (read("a", members=6) * 2).sum()
    assert set(plan(x, client=client).tasks) == {"a"}
    said = plan(x, objective="time", topology=quick, client=client)
    assert len(set(said.tasks)) > 1


def test_data_that_must_not_leave_is_refused_with_the_way(client: Client) -> None:
    closed = Topology((Pool("a", egress="aggregates"), Pool("b", egress="none")))
    with pytest.raises(ResidencyError, match="read-a") as refused:
        plan(read("a") + read("b"), topology=closed)
    assert "'a'" in str(refused.value)
    assert plan(read("a", members=4).sum(), topology=closed).nbytes == 0
    with propagate_pools(topology=closed), pytest.raises(ResidencyError, match="read-a"):
        (read("a") + read("b")).compute()


def test_rules_and_budgets_are_of_no_concern_without_a_cluster() -> None:
    closed = Topology((Pool("a", egress="none"), Pool("b", egress="none")))
    x = read("a") + read("b")
    expected = x.compute(scheduler="synchronous")
    with propagate_pools(topology=closed, budget="1 B"):
        found = x.compute(scheduler="synchronous")
    np.testing.assert_array_equal(found, expected)


def test_reduced_data_may_leave(client: Client) -> None:
    closed = Topology((Pool("a", egress="aggregates"), Pool("b", egress="none")))
    x = read("a", members=4).mean(axis=0) + read("b")
    said = plan(x, topology=closed)
    assert set(said.links) == {Link("a", "b")}
    assert {c.link for c in crossed(client, x, topology=closed)} == {Link("a", "b")}


def test_a_computation_over_its_budget_is_refused(client: Client) -> None:
    x = read("a") + read("b")
    with propagate_pools(budget="10 kB"), pytest.raises(BudgetError, match=r"(?s)12\.8 kB.*Links"):
        x.compute()
    with propagate_pools(budget="13 kB"):
        x.compute()


def test_a_budget_in_another_currency_is_an_error_at_once() -> None:
    prices = Topology((Pool("a"), Pool("b")), currency="EUR")
    with pytest.raises(BudgetError, match="EUR"):
        propagate_pools(budget="2 USD", topology=prices)


def test_a_typo_in_the_name_of_a_pool_is_seen_before_anything_runs(client: Client) -> None:
    with pool("a1"):
        x = da.ones(4)
    with pytest.raises(UnknownPoolError, match="Did you mean 'a'"):
        plan(x, client=client)


def test_typos_of_settings_are_errors() -> None:
    with pytest.raises(UnknownPolicyError, match="Did you mean 'mincut'"):
        plan(read("a"), policy="mincat")
    with pytest.raises(TypeError, match="got nothing to plan"):
        plan()
    with pytest.raises(TypeError, match="Dask collection"):
        plan(3)


def test_a_p2p_shuffle_where_data_may_not_cross_is_refused(client: Client) -> None:
    closed = Topology((Pool("a", egress="none"), Pool("b")))
    x = read("a").rechunk((40, 4), method="p2p") + 1
    with pytest.raises(ResidencyError, match="method"):
        plan(da.concatenate([x, read("b").rechunk((40, 4), method="tasks")]), topology=closed)
