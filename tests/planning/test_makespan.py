"""The policy for time: links and pools are done early, and never later than with fewest bytes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dask_pools.planning.cost import cost
from dask_pools.planning.loads import link_times, makespan, pool_times
from dask_pools.planning.place import place
from dask_pools.planning.policies.makespan import makespan as policy
from dask_pools.planning.policies.mincut import mincut
from dask_pools.planning.problem import PlacementProblem, uniform_costs
from dask_pools.planning.work import Work
from tests.planning.oracle import make, seeded

GBIT = 125e6


def site(blocks: int, bandwidth: float, *, threads: tuple[float, ...] = (1.0, 16.0)):
    """Make the problem of a small site, the first, which has blocks of 100 MB.

    Each takes five seconds to work on, and is then reduced to 1 MB; all of that is added up.
    """
    n, pools = 3 * blocks + 1, len(threads)
    block = np.arange(blocks)
    allowed = np.ones((n, pools), dtype=bool)
    allowed[:blocks] = np.arange(pools) == 0
    seconds = uniform_costs(pools) / bandwidth
    return PlacementProblem(
        pools=tuple("abcdefghij"[:pools]),
        sizes=np.concatenate([np.full(2 * blocks, 1e8), np.full(blocks + 1, 1e6)]),
        allowed=allowed,
        values=np.arange(3 * blocks),
        consumers=np.concatenate([block + blocks, block + 2 * blocks, np.full(blocks, n - 1)]),
        costs=seconds,
        work=Work(
            np.concatenate([np.repeat([0.1, 5.0, 0.1], blocks), [0.1]]), np.array(threads), seconds
        ),
    )


def test_a_small_site_lets_work_go_over_a_fast_link():
    problem = site(40, 10 * GBIT)
    labels = policy(problem)
    assert np.bincount(labels[40:80]).tolist() == [1, 39]
    assert makespan(problem, labels) < makespan(problem, mincut(problem)) / 15


def test_a_slower_link_takes_as_much_as_the_site_can_do_meanwhile():
    problem = site(40, GBIT)
    labels = policy(problem)
    here, there = np.bincount(labels[40:80]).tolist()
    # 36 blocks of 0.8 s on the link, four of about 5 s in place, each with its reading
    assert (here, there) == (4, 36)
    assert makespan(problem, labels) == pytest.approx(28.8)


def test_nothing_goes_over_a_slow_link():
    problem = site(40, GBIT / 1000)
    assert not policy(problem).any()


def test_a_site_that_is_fast_enough_keeps_its_work():
    assert not policy(site(40, GBIT, threads=(64.0, 1.0)))[:80].any()


def test_several_other_sites_take_their_share():
    problem = site(120, GBIT, threads=(1.0, 16.0, 16.0, 16.0))
    shares = np.bincount(policy(problem)[120:240])
    assert shares[0] < 10
    assert shares[1:].max() - shares[1:].min() <= 2


@pytest.mark.parametrize("blocks", [33_000])
def test_a_hundred_thousand_values_are_shared_within_a_percent(blocks):
    problem = site(blocks, GBIT)
    labels = policy(problem)
    link, pool = link_times(problem, labels).max(), pool_times(problem, labels).max()
    assert link == pytest.approx(pool, rel=0.01)


def test_work_that_nothing_holds_in_place_is_spread_when_place_asks():
    """A component that is pinned to one pool may profit from another one."""
    problem = site(40, GBIT)
    assert len(np.unique(place(problem, "makespan")[40:80])) == 2
    assert not place(problem, "mincut").any()


def small(seed: int, pools: int) -> PlacementProblem:
    rng = np.random.default_rng(seed)
    free = int(rng.integers(2, 9 if pools == 2 else 7))
    problem = seeded(seed, pools, free, directed=True)
    n = len(problem.sizes)
    seconds = problem.costs * rng.choice([0.1, 1.0, 3.0])
    work = Work(rng.integers(0, 10, n) * 1.0, rng.integers(1, 5, pools) * 1.0, seconds)
    costs = seconds if rng.random() < 0.5 else uniform_costs(pools)
    return replace(problem, costs=costs, work=work)


def least(problem: PlacementProblem) -> float:
    choices = [np.flatnonzero(row) for row in problem.allowed]
    return min(makespan(problem, np.array(labels)) for labels in product(*choices))


@pytest.mark.parametrize("pools", [2, 3])
def test_small_problems_are_solved_almost_as_well_as_possible(pools):
    ratios = []
    for seed in range(25):
        problem = small(seed, pools)
        best = least(problem)
        ratios.append(makespan(problem, policy(problem)) / best if best else 1.0)
    assert min(ratios) >= 1 - 1e-9
    assert np.mean(ratios) <= 1.05
    assert max(ratios) <= 1.5


@pytest.mark.parametrize("seed", range(20))
def test_it_is_never_slower_than_the_placement_of_fewest_bytes(seed):
    problem = small(seed, 2 + seed % 3)
    labels = policy(problem)
    assert problem.allowed[np.arange(len(labels)), labels].all()
    assert makespan(problem, labels) <= makespan(problem, mincut(problem)) * (1 + 1e-9)
    assert (labels == policy(problem)).all()


def test_what_must_not_leave_stays_however_busy_its_site_is():
    problem = site(20, 10 * GBIT)
    confined = np.zeros_like(problem.allowed)
    confined[:20, 0] = True
    labels = policy(replace(problem, confined=confined))
    assert not labels[:40].any()
    closed = replace(problem, costs=np.array([[0, np.inf], [1, 0]]))
    assert cost(closed, policy(closed)) == 0


def test_work_that_is_not_known_is_in_proportion_to_bytes():
    # Twenty blocks of one pool, each worked on: a link takes as long for a byte as a task.
    problem = make([8] * 40, dict.fromkeys(range(20), "a"), [(i, 20 + i) for i in range(20)])
    here, there = np.bincount(policy(problem)[20:]).tolist()
    # reading takes 8, working 16, the link 8: 160 + 16 * here = 16 * there
    assert (here, there) == (5, 15)


@pytest.mark.parametrize("pools", ["a", "ab", "abc"])
def test_nothing_and_one_value_are_placed(pools):
    assert policy(make([], {}, [], pools=pools)).tolist() == []
    assert policy(make([3], {0: "a"}, [], pools=pools)).tolist() == [0]
