"""A move is the best of its kind, and what may not cross does not."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dask_pools.planning.cost import cost
from dask_pools.planning.cuts import SOURCE
from dask_pools.planning.moves import best_move, ties
from dask_pools.planning.prices import Prices, score
from tests.planning.oracle import exact, make, seeded, varied


def extremes(problem):
    first = problem.allowed.argmax(axis=1)
    last = problem.allowed.shape[1] - 1 - problem.allowed[:, ::-1].argmax(axis=1)
    return first, last


def test_two_pools_are_exact_with_forbidden_links_and_confined_values():
    forbidding = 0
    for seed in range(60):
        problem = varied(seed, 2)
        forbidding += problem.forbids
        labels = best_move(problem, Prices.of(problem), *extremes(problem))
        assert cost(problem, labels) == pytest.approx(exact(problem), rel=1e-6, abs=1e-9)
    assert forbidding > 10


@pytest.mark.parametrize("pools", [3, 5])
def test_no_move_makes_a_placement_worse_or_lets_anything_cross_that_may_not(pools):
    rng = np.random.default_rng(0)
    for seed in range(40):
        problem = varied(seed, pools)
        prices = Prices.of(problem)
        labels, _ = extremes(problem)
        for _ in range(10):
            go = np.where(rng.random(len(labels)) < 0.5, labels, rng.integers(0, pools))
            go = np.where(problem.allowed[np.arange(len(go)), go], go, labels)
            moved = best_move(problem, prices, labels, go)
            assert ((moved == labels) | (moved == go)).all()
            before, after = score(problem, prices, labels), score(problem, prices, moved)
            assert after <= before if before[0] == 0 else after[0] <= before[0]
            labels = moved


def test_a_placement_that_is_impossible_has_as_few_forbidden_crossings_as_can_be():
    costs = np.array([[0, np.inf], [np.inf, 0]])
    # The value 4 is needed in both pools, whatever is done; the value 5 need not cross.
    pins = {0: "a", 1: "b", 2: "a", 3: "b"}
    problem = make([1, 1, 1, 1, 1, 9], pins, [(4, 0), (4, 1), (5, 2)], costs=costs)
    prices = Prices.of(problem)
    labels = best_move(problem, prices, *extremes(problem))
    assert score(problem, prices, labels)[0] == 1
    assert labels[5] == 0


def test_what_is_forbidden_takes_nothing_from_the_resolution_of_prices():
    size = 2.0**45
    costs = np.array([[0, 1, 1], [np.inf, 0, 1], [1, 1, 0]], dtype=float)
    for more, pool in ((size + 1, 2), (size - 1, 0)):
        problem = make([size, more, 1], {0: "a", 1: "c"}, [(0, 2), (1, 2)], "abc", costs)
        labels = best_move(problem, Prices.of(problem), np.array([0, 2, 0]), np.array([0, 2, 2]))
        assert labels[2] == pool


def test_ties_are_the_moves_that_cost_nothing():
    found = 0
    for seed in range(30):
        problem = seeded(seed, pools=2, free=7, directed=False)
        prices = Prices.of(problem)
        stay = best_move(problem, prices, *extremes(problem))
        go = np.where(problem.allowed[:, 1], 1, stay)
        node, cuts = ties(problem, prices, stay, go)
        assert (node[stay == go] == SOURCE).all()
        count, group = cuts.groups()
        own = np.where(stay != go, group[node], -1)
        found += count
        for choice in product([False, True], repeat=min(count, 6)):
            moving = np.isin(own, np.flatnonzero(choice))
            moved = np.where(moving, go, stay)
            assert score(problem, prices, moved)[1] == score(problem, prices, stay)[1]
        # What is in no group cannot go for nothing: neither alone nor with others.
        closed = (stay != go) & (own < 0)
        for value in np.flatnonzero(closed):
            assert least_with(problem, prices, stay, go, value) > score(problem, prices, stay)[1]
    assert found > 5


def least_with(problem, prices, stay, go, value):
    forced = stay.copy()
    forced[value] = go[value]
    forced = best_move(problem, prices, forced, np.where(np.arange(len(go)) == value, forced, go))
    return score(problem, prices, forced)[1]


def test_confined_values_do_not_leave():
    problem = make([1, 9, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2)])
    assert best_move(problem, Prices.of(problem), *extremes(problem))[2] == 1
    confined = np.array([[False, False], [False, True], [False, False]])
    problem = replace(problem, confined=confined)
    assert best_move(problem, Prices.of(problem), *extremes(problem))[2] == 1
    problem = replace(problem, confined=confined[[1, 0, 2], ::-1])
    assert best_move(problem, Prices.of(problem), *extremes(problem))[2] == 0
