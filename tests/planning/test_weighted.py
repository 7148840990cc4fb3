"""One cut finds the least weighted time."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dask_pools.planning.loads import loads
from dask_pools.planning.problem import PlacementProblem
from dask_pools.planning.weighted import WeightedTimes
from dask_pools.planning.work import Work
from tests.planning.oracle import make, seeded


def weighted_time(problem, links, pools, labels):
    on_links, on_pools = loads(problem, labels)
    return (links * on_links).sum() + (pools * on_pools).sum()


def timed(seed: int, *, confined: bool = False) -> PlacementProblem:
    problem = seeded(seed, 2, 7, directed=True)
    rng = np.random.default_rng(seed)
    n = len(problem.sizes)
    work = Work(rng.integers(0, 9, n).astype(float), rng.uniform(1, 4, 2), problem.costs)
    held = rng.random((n, 2)) < 0.15 if confined else None
    return replace(problem, work=work, confined=held)


@pytest.mark.parametrize("seed", range(25))
def test_two_pools_get_the_least_weighted_time_of_all_placements(seed):
    problem = timed(seed)
    rng = np.random.default_rng(seed)
    links, pools = rng.uniform(0, 1, (2, 2)), rng.uniform(0, 1, 2)
    choices = [np.flatnonzero(row) for row in problem.allowed]
    every = [np.array(labels) for labels in product(*choices)]
    best = min(weighted_time(problem, links, pools, labels) for labels in every)
    first, last = problem.allowed.argmax(axis=1), 1 - problem.allowed[:, ::-1].argmax(axis=1)
    found = WeightedTimes.of(problem).move(links, pools, first, last)
    assert weighted_time(problem, links, pools, found) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(10))
def test_no_move_makes_a_placement_of_many_pools_slower(seed):
    problem = seeded(seed, 4, 20, directed=True)
    rng = np.random.default_rng(seed)
    n = len(problem.sizes)
    problem = replace(problem, work=Work(rng.uniform(0, 9, n), np.ones(4), problem.costs))
    links, pools = rng.uniform(0, 1, (4, 4)), rng.uniform(0, 1, 4)
    weighted, labels = WeightedTimes.of(problem), problem.allowed.argmax(axis=1)
    for pool in range(4):
        go = np.where(problem.allowed[:, pool], pool, labels)
        moved = weighted.move(links, pools, labels, go)
        before = weighted_time(problem, links, pools, labels)
        assert weighted_time(problem, links, pools, moved) <= before * (1 + 1e-9)
        labels = moved


def test_what_must_not_leave_does_not_whatever_it_weighs():
    problem = make([8, 8, 8], {0: "a"}, [(0, 1), (1, 2)])
    confined = np.array([[True, False], [False, False], [False, False]])
    work = Work(np.full(3, 100.0), np.array([1.0, 100.0]), problem.costs)
    problem = replace(problem, confined=confined, work=work)
    stay, go = np.array([0, 0, 0]), np.array([0, 1, 1])
    moved = WeightedTimes.of(problem).move(np.zeros((2, 2)), np.ones(2), stay, go)
    assert moved.tolist() == [0, 0, 1]
    closed = replace(problem, confined=None, costs=np.array([[0, np.inf], [1, 0]]))
    moved = WeightedTimes.of(closed).move(np.zeros((2, 2)), np.ones(2), stay, go)
    assert moved.tolist() == [0, 0, 0]
