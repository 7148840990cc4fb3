"""Bounds are never above the optimum, and say so where the optimum is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from dask_pools.planning import closing
from dask_pools.planning.bound import lower_bound
from dask_pools.planning.cost import cost
from dask_pools.planning.policies.majority import majority
from dask_pools.planning.policies.mincut import mincut
from dask_pools.planning.problem import UNPLACED, uniform_costs
from tests.benchmarks.placement import archives
from tests.planning.oracle import exact, make, optimum, problems, rounding, seeded, varied


@given(problem=problems(pools=2))
def test_two_pools_are_bounded_by_their_optimum(problem):
    labels = mincut(problem)
    assert lower_bound(problem, labels) == cost(problem, labels)
    first = problem.allowed.argmax(axis=1)
    assert lower_bound(problem, first) <= optimum(problem) + rounding(problem)


@settings(max_examples=60)
@given(problem=problems(pools=3, free=6))
def test_three_pools_are_bounded_by_no_more_than_their_optimum(problem):
    for labels in (mincut(problem), majority(problem)):
        assert 0 <= lower_bound(problem, labels) <= optimum(problem) + rounding(problem)


@pytest.mark.parametrize("pools", [3, 4, 5, 6])
@pytest.mark.parametrize("size", [0, 6000])
def test_bounds_are_close_with_and_without_exact_solutions(pools, size, monkeypatch):
    monkeypatch.setattr(closing, "_EXACT", size)
    shares = []
    for seed in range(12):
        problem = varied(seed, pools)
        best, bound = exact(problem), lower_bound(problem, mincut(problem))
        assert bound <= best * (1 + 1e-9)
        shares.append(bound / best if best else 1)
    assert np.mean(shares) >= (0.999 if size else 0.9)


@pytest.mark.parametrize("directed", [False, True])
def test_trees_of_reductions_are_known_to_be_optimal(directed, monkeypatch):
    monkeypatch.setattr(closing, "_EXACT", 0)
    problem = archives(3000, 5)
    if directed:
        costs = np.random.default_rng(0).integers(1, 9, (5, 5)) * uniform_costs(5)
        problem = replace(problem, costs=costs)
    labels = mincut(problem)
    assert lower_bound(problem, labels) == cost(problem, labels)


def test_what_is_unplaced_is_left_out():
    problem = make([5, 3, 1, 7], {0: "a", 1: "b"}, [(0, 2), (1, 2)], pools="abc")
    assert lower_bound(problem, np.array([0, 1, 0, UNPLACED])) == 3


def test_nothing_to_cross_is_bounded_by_nothing():
    assert lower_bound(make([], {}, [], pools="abc"), np.array([], dtype=int)) == 0
    problem = make([1e300, 1e300], {}, [(0, 1)], pools="abc")
    assert lower_bound(problem, np.array([2, 2])) == 0


def test_forbidden_links_raise_the_bound():
    costs = np.array([[0, np.inf, 1], [1, 0, 1], [1, 5, 0]])
    problem = make([5, 3, 1], {0: "a", 1: "b", 2: "b"}, [(0, 2), (1, 2)], "abc", costs)
    labels = np.array([0, 1, 1])
    # There is no placement; there may be no bound, but it must not be wrong.
    assert cost(problem, labels) == np.inf
    assert lower_bound(problem, labels) >= 0
    problem = make([5, 3, 1, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2), (2, 3)], "abc", costs)
    assert lower_bound(problem, np.array([0, 1, 0, 0])) == 3


def test_bounds_are_reproducible():
    problem = seeded(3, 4, 20, directed=True)
    labels = mincut(problem)
    assert lower_bound(problem, labels) == lower_bound(problem, labels)
