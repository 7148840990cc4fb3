"""Prices are whole numbers in proportion to the costs, and fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from dask_pools.planning.cost import cost
from dask_pools.planning.prices import Prices, score
from dask_pools.planning.problem import uniform_costs
from tests.planning.oracle import make, problems, rounding


def test_whole_bytes_stay_exact():
    odd = 2.0**40 + 1
    prices = Prices.of(make([odd, 3 * odd, 7 * odd], {}, []))
    assert prices.charge(np.arange(3), 0, 1).tolist() == [1, 3, 7]


def test_a_price_that_is_the_same_on_all_links_keeps_bytes_exact():
    prices = Prices.of(make([30, 50], {}, [], costs=0.02 * uniform_costs(2)))
    assert prices.charge(np.arange(2), 0, 1).tolist() == [3, 5]


@pytest.mark.parametrize("size", [1e-300, 0.1, 1e300])
def test_numbers_of_any_magnitude_fit(size):
    prices = Prices.of(make([size] * 1000, {}, [], costs=np.array([[0, 1e-9], [1e9, 0]])))
    charged = prices.charge(np.arange(1000), 1, 0)
    assert 2**54 <= charged.sum() <= 2**55
    assert (charged == charged[0]).all()


def test_nothing_costs_nothing():
    assert Prices.of(make([0, 0], {}, [])).charge(np.arange(2), 0, 1).tolist() == [0, 0]
    assert Prices.of(make([1.5], {}, [], costs=np.zeros((2, 2)))).charge(np.arange(1), 0, 1) == 0
    empty = make([], {}, [])
    assert score(empty, Prices.of(empty), np.array([], dtype=int)) == (0, 0, 0)


@given(problem=problems(pools=3))
def test_the_score_is_in_proportion_to_the_cost(problem):
    prices = Prices.of(problem)
    one, other = problem.allowed.argmax(1), 2 - problem.allowed[:, ::-1].argmax(1)
    everything = np.arange(len(problem.sizes))
    most = problem.costs.max()
    unit = prices.costs.max() * prices.sizes.sum() / max(most * problem.sizes.sum(), 1e-300)
    assert (prices.charge(everything, 0, 0) == 0).all()
    for labels in (one, other):
        _, charged, _ = score(problem, prices, labels)
        tolerance = (rounding(problem) + 1e-12 * cost(problem, labels)) * unit
        assert charged == pytest.approx(cost(problem, labels) * unit, abs=tolerance)


def test_what_may_not_cross_has_no_price_and_comes_first():
    costs = np.array([[0, np.inf], [2, 0]])
    problem = make([3, 5, 1], {}, [(0, 2), (1, 2)], costs=costs)
    prices = Prices.of(problem)
    assert prices.charge(np.arange(2), 1, 0).tolist() == [6, 10]
    assert score(problem, prices, np.array([1, 1, 0])) == (0, 16, 2)
    assert score(problem, prices, np.array([0, 1, 1])) == (1, 0, 1)


def test_prices_of_fewer_bits_are_coarser():
    problem = make([0.1] * 1000, {}, [])
    charged = Prices.of(problem, 28).charge(np.arange(1000), 1, 0)
    assert 2**27 <= charged.sum() <= 2**28 + 1000
    assert not Prices.of(problem).whole
    assert Prices.of(make([3, 6], {}, [])).whole
