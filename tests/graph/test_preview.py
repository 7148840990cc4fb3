"""Plans of placements: counted by NumPy here, by hand in the tests."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.graph.preview import explain_plan, make_plan
from dask_pools.model import Link, Pool, Topology
from dask_pools.planning.basis import Basis
from dask_pools.planning.plan import SHOWN, Transfer
from dask_pools.planning.problem import UNPLACED, PlacementProblem, uniform_costs
from dask_pools.planning.work import Work

POOLS = ("a", "b", "c")
#: A read of a, its mean, a read of b, and their difference; then a task of no pool.
NAMES = [("read-0123456789abcdef", 0), ("mean-0123456789abcdef", 0), ("obs", 0), ("sub", 0), "free"]
LABELS = np.array([0, 0, 1, 1, UNPLACED])
TASKS = {"a": 1, "b": 2, None: 1}
TOPOLOGY = Topology(
    (Pool("a", nthreads=4), Pool("b", nthreads=2), Pool("c")),
    (Link("a", "b", bandwidth=100.0, price=5.0),),
    currency="EUR",
)


def problem(work: bool = False) -> PlacementProblem:
    allowed = np.ones((5, 3), dtype=bool)
    allowed[0], allowed[2] = [True, False, False], [False, True, False]
    durations = np.array([8.0, 4.0, 1.0, 1.0, 99.0])
    return PlacementProblem(
        pools=POOLS,
        sizes=np.array([8e9, 2e9, 8e9, 8e9, 1.0]),
        allowed=allowed,
        values=np.array([0, 1, 2]),
        consumers=np.array([1, 3, 3]),
        costs=uniform_costs(3),
        work=Work(durations, np.array([4.0, 2.0, 1.0]), uniform_costs(3)) if work else None,
    )


def test_counts_and_bytes():
    plan = make_plan(problem(), LABELS, tasks=TASKS)
    assert plan.links == {Link("a", "b"): 2e9}
    assert [(p.name, p.tasks) for p in plan.by_pool] == [("a", 1), ("b", 2), ("c", 0)]
    assert plan.unplaced == 1
    assert (plan.cost, plan.shares) == (2e9, {Basis.ASSUMED: 2e9})
    assert (plan.seconds, plan.money, plan.currency) == (None, None, "USD")


def test_speeds_prices_and_threads_are_those_of_the_topology():
    plan = make_plan(problem(), LABELS, tasks=TASKS, topology=TOPOLOGY)
    (link,) = plan.by_link
    assert (link.transfers, link.seconds, link.money) == (1, 2e7, 10.0)
    assert [pool.threads for pool in plan.by_pool] == [4, 2, 0]
    assert (plan.money, plan.currency, plan.seconds) == (10.0, "EUR", 2e7)


def test_seconds_of_pools_are_those_of_their_tasks_on_all_threads():
    plan = make_plan(problem(work=True), LABELS, tasks=TASKS)
    assert [pool.seconds for pool in plan.by_pool] == [3.0, 1.0, 0.0]
    assert plan.by_link[0].seconds is None


def test_an_assumed_speed_is_shown_only_if_time_was_the_objective():
    plan = make_plan(problem(work=True), LABELS, tasks=TASKS, objective="time")
    assert plan.by_link[0].seconds == 2e9
    assert plan.cost == 2e9


@pytest.mark.parametrize(("objective", "cost"), [("bytes", 2e9), ("money", 10.0), ("time", 2e7)])
def test_cost_is_in_the_unit_of_the_objective(objective, cost):
    plan = make_plan(
        problem(), LABELS, tasks=TASKS, topology=TOPOLOGY, objective=objective, bound=cost / 2
    )
    assert plan.cost == cost
    assert plan.excess == 1.0


def test_what_costs_nothing_is_optimal():
    labels = np.zeros(5, dtype=int)
    assert make_plan(problem(), labels, tasks=TASKS).excess == 0.0
    free = Topology((Pool("a"), Pool("b"), Pool("c")))
    plan = make_plan(problem(), LABELS, tasks=TASKS, topology=free, objective="money", bound=1e9)
    assert (plan.cost, plan.bound, plan.excess) == (0.0, 0.0, 0.0)


def test_sizes_of_values_from_outside_are_exact():
    known = np.array([0, Basis.LEARNED], dtype=np.int8)
    assert make_plan(problem(), LABELS, tasks=TASKS, basis=known).shares == {Basis.LEARNED: 2e9}
    short = known[:1]
    assert make_plan(problem(), LABELS, tasks=TASKS, basis=short).shares == {Basis.EXACT: 2e9}


def test_an_explained_plan_names_what_crosses_and_says_why():
    known = np.array([0, Basis.LEARNED, 0, 0, 0], dtype=np.int8)
    plan = explain_plan(
        make_plan(problem(), LABELS, tasks=TASKS, basis=known),
        problem(),
        LABELS,
        names=NAMES,
        basis=known,
        nbytes_read=np.array([1.0, 2.0, 4.0, 8.0, 16.0]),
        variables={"mean-0123456789abcdef": "t2m"},
    )
    because = ("comes from read, pinned to a", "needed by sub with obs, pinned to b")
    link = Link("a", "b")
    assert plan.transfers == (Transfer(NAMES[1], link, 2e9, Basis.LEARNED, "mean (t2m)", because),)
    (array,) = plan.by_array
    assert (array.name, array.transfers, array.nbytes) == ("mean (t2m)", 1, 2e9)
    assert (array.basis, array.because) == (Basis.LEARNED, because)
    assert [pool.nbytes_read for pool in plan.by_pool] == [3.0, 12.0, 0.0]


def fan(sizes: list[float], names: list) -> tuple[PlacementProblem, np.ndarray]:
    """Values of a, each of which one and the same task of b needs."""
    n = len(sizes)
    allowed = np.zeros((n + 1, 3), dtype=bool)
    allowed[:n, 0], allowed[n, 1] = True, True
    values, consumers = np.arange(n), np.full(n, n)
    costs = uniform_costs(3)
    made = PlacementProblem(POOLS, np.array([*sizes, 0.0]), allowed, values, consumers, costs)
    return made, np.array([0] * n + [1])


def explained(sizes: list[float], names: list):
    made, labels = fan(sizes, names)
    return explain_plan(
        make_plan(made, labels, tasks={"a": len(sizes), "b": 1}),
        made,
        labels,
        names=[*names, "end"],
    )


def test_blocks_of_an_array_are_one_row_and_results_of_a_function_as_well():
    names = [("x", 0), ("x", 1), "load-" + "0" * 32, "load-" + "1" * 32, ("y", 0)]
    plan = explained([1.0, 3.0, 5.0, 7.0, 100.0], names)
    assert [(a.name, a.transfers, a.nbytes) for a in plan.by_array] == [
        ("y", 1, 100.0),
        ("load", 2, 12.0),
        ("x", 2, 4.0),
    ]
    assert [t.because is not None for t in plan.transfers] == [False, True, False, True, True]


def test_arrays_of_one_name_are_told_of_as_one():
    names = [("mean-" + "0" * 32, 0), ("mean-" + "1" * 32, 0)]
    (array,) = explained([1.0, 2.0], names).by_array
    assert (array.name, array.transfers, array.nbytes) == ("mean", 2, 3.0)


def test_the_largest_arrays_are_explained():
    sizes = np.random.default_rng(0).permutation(50).astype(float).tolist()
    plan = explained(sizes, [(f"x{i}", 0) for i in range(50)])
    assert [a.nbytes for a in plan.by_array] == sorted(sizes, reverse=True)[:SHOWN]
    assert all(a.because for a in plan.by_array)
    assert sum(t.because is not None for t in plan.transfers) == SHOWN


def test_values_of_the_same_size_are_explained_in_their_order():
    plan = explained([1.0] * 12, [(f"x{i}", 0) for i in range(12)])
    assert [a.name for a in plan.by_array] == [f"x{i}" for i in range(SHOWN)]


@given(st.integers(0, 2**32 - 1))
def test_numbers_are_those_of_a_count_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 12)), int(rng.integers(0, 25))
    ends = np.sort(rng.integers(0, n, (m, 2)), axis=1)
    ends = np.unique(ends[ends[:, 0] < ends[:, 1]], axis=0)
    labels = rng.integers(-1, 3, n)
    allowed = np.ones((n, 3), dtype=bool)
    pinned = (rng.random(n) < 0.4) & (labels >= 0)
    allowed[pinned] = np.arange(3) == labels[pinned, None]
    basis = rng.integers(0, 3, n).astype(np.int8)
    made = PlacementProblem(POOLS, rng.random(n), allowed, ends[:, 0], ends[:, 1], uniform_costs(3))
    names = [(f"x{i % 3}", i) for i in range(n)]
    tasks = Counter(POOLS[label] if label >= 0 else None for label in labels.tolist())
    plan = make_plan(made, labels, tasks=tasks, basis=basis)
    full = explain_plan(plan, made, labels, names=names, basis=basis, nbytes_read=made.sizes)

    crossing = {
        (v, labels[c])
        for v, c in ends.tolist()
        if labels[v] != labels[c] and labels[v] >= 0 and labels[c] >= 0
    }
    links: dict[Link, float] = {}
    shares: dict[Basis, float] = {}
    for v, q in crossing:
        link = Link(POOLS[labels[v]], POOLS[q])
        links[link] = links.get(link, 0.0) + made.sizes[v]
        shares[Basis(basis[v])] = shares.get(Basis(basis[v]), 0.0) + made.sizes[v]
    assert plan.links == pytest.approx(links)
    assert list(plan.links) == sorted(links)
    assert plan.shares == pytest.approx(shares)
    assert plan.cost == pytest.approx(sum(links.values()))
    assert len(full.transfers) == len(crossing)
    assert sum(t.nbytes for t in full.transfers) == pytest.approx(plan.nbytes)
    assert sum(a.nbytes for a in full.by_array) == pytest.approx(plan.nbytes)
    assert [pool.nbytes_read for pool in full.by_pool] == pytest.approx(
        [made.sizes[labels == i].sum() for i in range(3)]
    )
    assert full.links == plan.links


def test_what_has_no_known_price_is_not_called_free():
    plan = make_plan(problem(), LABELS, tasks=TASKS, objective="money", bound=1.0)
    assert (plan.money, plan.cost, plan.excess) == (None, None, None)
