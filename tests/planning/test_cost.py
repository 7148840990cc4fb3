"""The cost is what its definition says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.planning.cost import cost, crossings
from dask_pools.planning.problem import UNPLACED
from tests.planning.oracle import make, naive_cost, problems


def test_a_value_is_paid_for_once_for_each_receiving_pool():
    problem = make([5, 1, 1, 1, 1], {}, [(0, 1), (0, 2), (0, 3), (0, 4)], pools="abc")
    labels = np.array([0, 1, 1, 2, 0])
    values, targets = crossings(problem, labels)
    assert (values.tolist(), targets.tolist()) == ([0, 0], [1, 2])
    assert cost(problem, labels) == 10


def test_links_are_directed():
    problem = make([5, 1], {}, [(0, 1)], costs=np.array([[0.0, 2.0], [7.0, 0.0]]))
    assert cost(problem, np.array([0, 1])) == 10
    assert cost(problem, np.array([1, 0])) == 35


@pytest.mark.parametrize("size", [0, 5])
def test_what_may_not_cross_costs_more_than_anything(size):
    problem = make([size, 1], {}, [(0, 1)], costs=np.array([[0, np.inf], [7, 0]]))
    assert cost(problem, np.array([0, 1])) == np.inf
    assert cost(problem, np.array([1, 0])) == 7 * size
    assert cost(problem, np.array([0, 0])) == 0
    confined = np.array([[False, True], [True, True]])
    problem = replace(problem, confined=confined)
    assert cost(problem, np.array([1, 0])) == np.inf
    assert cost(problem, np.array([1, 1])) == 0


@pytest.mark.parametrize("labels", [[UNPLACED, 1], [0, UNPLACED]])
def test_what_is_unplaced_costs_nothing(labels):
    problem = make([5, 1], {}, [(0, 1)])
    assert cost(problem, np.array(labels)) == 0
    assert len(crossings(problem, np.array(labels))[0]) == 0


@given(problem=problems(pools=3), data=st.data())
def test_it_agrees_with_the_definition(problem, data):
    n = len(problem.sizes)
    labels = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n)))
    assert cost(problem, labels) == pytest.approx(naive_cost(problem, labels))
    values, targets = crossings(problem, labels)
    pairs = list(zip(values.tolist(), targets.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
