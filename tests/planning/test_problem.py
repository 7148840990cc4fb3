"""A placement problem says what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dask_pools.errors import PlacementError
from tests.planning.oracle import make

GOOD = make([1, 2, 3], {0: "a", 1: "b"}, [(0, 2), (1, 2)])


def test_a_good_problem_passes():
    GOOD.validate()


def test_a_link_that_nothing_may_cross_passes():
    replace(GOOD, costs=np.array([[0.0, np.inf], [np.inf, 0.0]])).validate()


def test_links_and_confined_values_forbid():
    problem = replace(GOOD, confined=np.zeros((3, 2), bool))
    assert not GOOD.forbids
    assert not problem.forbids
    problem.confined[1, 1] = True
    assert problem.forbids
    values, ways = np.array([0, 1, 1, 1]), (np.array([0, 0, 1, 1]), np.array([1, 1, 0, 1]))
    assert problem.forbidden(values, *ways).tolist() == [False, False, True, False]
    closed = replace(GOOD, costs=np.array([[0.0, np.inf], [1.0, 0.0]]))
    assert closed.forbids
    assert closed.forbidden(values, *ways).tolist() == [True, True, False, False]
    assert closed.forbidden(values, 0, 1).tolist() == [True] * 4


def test_a_problem_without_values_passes():
    make([], {}, []).validate()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pools": ()}, "without pools"),
        ({"pools": ("b", "a")}, "sorted and named once"),
        ({"sizes": np.ones((3, 1))}, r"sizes .* shape \(3, 1\)"),
        ({"allowed": np.ones((3, 3), bool)}, r"allowed .* shape \(3, 3\).*\(3, 2\)"),
        ({"values": np.array([0])}, r"consumers .* shape \(2,\).*\(1,\)"),
        ({"values": np.array([[0], [1]]), "consumers": np.array([[2], [2]])}, r"one for each arc"),
        ({"values": np.array([0.0, 1.0])}, "dtype float64"),
        ({"costs": np.zeros((3, 3))}, r"costs .* shape \(3, 3\)"),
        ({"sizes": np.array([1.0, -2.0, 3.0])}, r"sizes\[1\] is -2.0"),
        ({"sizes": np.array([1.0, 2.0, np.nan])}, r"sizes\[2\] is nan"),
        ({"costs": np.array([[0.0, np.nan], [1.0, 0.0]])}, r"costs\[0, 1\] is nan"),
        ({"costs": np.array([[0.0, -np.inf], [1.0, 0.0]])}, r"costs\[0, 1\] is -inf"),
        ({"costs": np.array([[0.0, 1.0], [1.0, np.inf]])}, r"costs\[1, 1\] is inf.*'b'"),
        ({"sizes": np.array([1.0, np.inf, 3.0])}, r"sizes\[1\] is inf"),
        ({"costs": np.array([[0.0, 1.0], [-1.0, 0.0]])}, r"costs\[1, 0\] is -1.0"),
        ({"costs": np.array([[0.0, 1.0], [1.0, 2.0]])}, r"costs\[1, 1\] is 2.0.*'b'"),
        ({"values": np.array([0, 3])}, r"values\[1\] is 3.*0 to 2"),
        ({"consumers": np.array([-1, 2])}, r"consumers\[0\] is -1"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(PlacementError, match=message):
        replace(GOOD, **change).validate()


def test_a_value_allowed_nowhere_is_named():
    problem = make([1, 2], {1: ""}, [(0, 1)])
    with pytest.raises(PlacementError, match=r"Value 1 is allowed in no pool"):
        problem.validate()


def test_a_mirrored_value_is_pinned_as_long_as_one_pool_is_refused():
    problem = make([1, 1, 1], {0: "ab", 1: "abc"}, [], pools="abc")
    assert problem.pinned.tolist() == [True, False, False]


def test_a_value_bound_to_all_pools_is_pinned():
    problem = replace(make([1, 1], {}, []), bound=np.array([False, True]))
    problem.validate()
    assert problem.pinned.tolist() == [False, True]
    assert problem.restricted(np.array([False, True])).pinned.tolist() == [True]


def test_restricted_keeps_the_arcs_between_what_is_kept():
    part = GOOD.restricted(np.array([False, True, True]))
    assert part.sizes.tolist() == [2, 3]
    assert (part.values.tolist(), part.consumers.tolist()) == ([0], [1])
    part.validate()
