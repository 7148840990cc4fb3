"""The greedy of the origin does what it says, also where that is not clever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.errors import PlacementError
from dask_pools.planning.policies.majority import majority
from tests.planning.oracle import make, problems, shuffled


def test_most_bytes_win():
    problem = make([5, 3, 3, 1], {0: "a", 1: "b", 2: "b"}, [(0, 3), (1, 3), (2, 3)])
    assert majority(problem)[3] == 1


def test_most_inputs_win_between_equal_bytes():
    problem = make([6, 3, 3, 1], {0: "a", 1: "b", 2: "b"}, [(0, 3), (1, 3), (2, 3)])
    assert majority(problem)[3] == 1


def test_the_first_pool_wins_between_equals():
    problem = make([3, 3, 1], {0: "b", 1: "a"}, [(0, 2), (1, 2)])
    assert majority(problem)[2] == 0


def test_a_repeated_arc_counts_once():
    problem = make([5, 6, 1], {0: "a", 1: "b"}, [(0, 2), (0, 2), (1, 2)])
    assert majority(problem)[2] == 1


def test_a_mirrored_value_takes_its_first_pool():
    problem = make([1, 1], {0: "bc", 1: "c"}, [(0, 1)], pools="abc")
    assert majority(problem).tolist() == [1, 2]


def test_it_moves_the_big_result():
    problem = make([1, 100, 90, 1], {0: "a", 2: "b"}, [(0, 1), (1, 3), (2, 3)])
    assert majority(problem).tolist() == [0, 0, 1, 0]


def test_an_input_without_a_home_goes_to_most_of_its_consumers():
    pins = {1: "a", 2: "b", 3: "b"}
    assert majority(make([1, 1, 1, 1], pins, [(0, 1), (0, 2), (0, 3)]))[0] == 1


def test_a_home_is_found_along_a_zigzag():
    arcs = [(0, 4), (0, 5), (1, 5), (1, 6), (2, 6), (2, 7)]
    assert majority(make([1] * 8, {4: "b"}, arcs))[[0, 5, 1, 6, 2, 7]].tolist() == [1] * 6


@pytest.mark.parametrize("arcs", [[(0, 1), (1, 2), (2, 1)], [(1, 1)]])
def test_a_cycle_is_refused(arcs):
    with pytest.raises(PlacementError, match="cycle, on which value 1 depends"):
        majority(make([1, 1, 1], {0: "a"}, arcs))


@given(problem=problems(pools=3), data=st.data())
def test_the_order_of_values_does_not_matter(problem, data):
    order = np.array(data.draw(st.permutations(range(len(problem.sizes)))))
    assert (majority(shuffled(problem, order)) == majority(problem)[order]).all()
