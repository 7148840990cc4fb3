"""Placing asks the policy only for what needs a decision, and checks the answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from dask_pools.errors import PlacementError, ResidencyError, UnknownPolicyError
from dask_pools.planning.cost import cost
from dask_pools.planning.place import place
from dask_pools.planning.policies import with_traits
from dask_pools.planning.problem import UNPLACED
from tests.planning.oracle import make, optimum, problems, rounding


def refuse(problem):
    raise AssertionError("the policy was asked although there is nothing to decide")


def test_components_without_a_pin_stay_unplaced():
    problem = make([1, 1, 1, 1], {0: "a"}, [(0, 1), (2, 3)])
    assert place(problem, refuse).tolist() == [0, 0, UNPLACED, UNPLACED]


def test_an_unpinned_input_is_placed_with_those_who_need_it():
    problem = make([1, 9, 1], {0: "b"}, [(0, 2), (1, 2)])
    assert place(problem, refuse).tolist() == [1, 1, 1]


def test_mirrors_which_have_a_pool_in_common_need_no_policy():
    problem = make([1, 1, 1], {0: "ab", 1: "bc"}, [(0, 2), (1, 2)], pools="abc")
    assert place(problem, refuse).tolist() == [1, 1, 1]


def test_the_policy_sees_only_what_is_undecided():
    seen = []

    def policy(problem):
        seen.append(problem)
        return problem.allowed.argmax(axis=1)

    problem = make([1, 2, 3, 4, 5, 6], {1: "a", 2: "b", 4: "b"}, [(1, 3), (2, 3), (4, 5)])
    assert place(problem, policy).tolist() == [UNPLACED, 0, 1, 0, 1, 1]
    assert seen[0].sizes.tolist() == [2, 3, 4]
    assert (seen[0].values.tolist(), seen[0].consumers.tolist()) == ([0, 1], [2, 2])


def test_nothing_to_place():
    assert place(make([], {}, []), refuse).tolist() == []


def test_one_pool_only():
    problem = make([1, 1], {}, [(0, 1)], pools="a")
    assert place(problem, refuse).tolist() == [UNPLACED, UNPLACED]


@pytest.mark.parametrize("pools", ["a", "ab"])
def test_a_value_bound_to_all_pools_there_are_gets_a_place(pools):
    problem = make([1, 1, 1], {}, [(0, 1)], pools=pools)
    problem = replace(problem, bound=np.array([True, False, False]))
    assert place(problem, refuse).tolist() == [0, 0, UNPLACED]


def test_a_value_bound_to_all_pools_follows_its_neighbours():
    problem = make([9, 1, 5, 5], {0: "a", 1: "b", 3: "b"}, [(0, 2), (1, 2), (2, 3)])
    problem = replace(problem, bound=np.array([False, False, True, False]))
    for policy in ("majority", "mincut"):
        assert place(problem, policy).tolist() == [0, 1, 0, 1]


def test_a_wrong_problem_is_refused():
    with pytest.raises(PlacementError, match="allowed in no pool"):
        place(make([1], {0: ""}, []))


def test_an_unknown_policy_is_refused_even_if_it_is_not_needed():
    with pytest.raises(UnknownPolicyError, match="'mincut'"):
        place(make([1], {}, []), "mincutt")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([0, 1, 0], "returned list"),
        (np.array([0.0, 1.0, 0.0]), "dtype float64"),
        (np.array([0, 1]), r"shape \(2,\) for 3 values"),
        (np.array([0, 1, 2]), r"label 2 for value 3: labels are 0 to 1.*'a', 'b'"),
        (np.array([0, 1, UNPLACED]), "label -1 for value 3"),
        (np.array([0, 0, 0]), r"value 2 in pool 'a'.*allowed for it: \('b',\)"),
    ],
)
def test_an_answer_which_is_no_placement_is_refused(answer, message):
    # Value 0 is not part of the problem that the policy gets: messages name the caller's values.
    problem = make([1, 1, 1, 1], {1: "a", 2: "b"}, [(1, 3), (2, 3)])
    with pytest.raises(PlacementError, match=message):
        place(problem, lambda _: answer)


@given(problem=problems())
def test_leaving_values_out_costs_nothing(problem):
    labels = place(problem)
    placed = labels != UNPLACED
    assert placed[problem.pinned].all()
    assert problem.allowed[placed, labels[placed]].all()
    assert (placed[problem.values] == placed[problem.consumers]).all()
    assert cost(problem, labels) == pytest.approx(optimum(problem), abs=rounding(problem))


def in_first(problem):
    return problem.allowed.argmax(axis=1)


def sums(blocks):
    pins = {**dict.fromkeys(range(blocks), "a"), **dict.fromkeys(range(blocks, 2 * blocks), "b")}
    arcs = [(i, i % blocks + 2 * blocks) for i in range(2 * blocks)]
    return make([8] * 3 * blocks, pins, arcs)


def test_blocks_that_may_be_added_in_either_pool_are_split():
    problem = sums(100)
    assert np.bincount(place(problem)[200:]).tolist() == [50, 50]


def test_labels_of_ones_own_policy_are_kept_as_they_are_returned():
    assert not place(sums(100), in_first)[200:].any()


def test_labels_of_ones_own_policy_are_balanced_if_it_likes():
    @with_traits(balanced=True)
    def balanced(problem):
        return in_first(problem)

    assert np.bincount(place(sums(100), balanced)[200:]).tolist() == [50, 50]


def test_a_policy_that_wants_everything_is_asked_about_all_that_is_pinned():
    seen = []

    @with_traits(everything=True)
    def policy(problem):
        seen.append(problem)
        return np.full(len(problem.sizes), 1)

    problem = make([1, 2, 3, 4], {1: "b"}, [(1, 2)])
    assert place(problem, policy).tolist() == [UNPLACED, 1, 1, UNPLACED]
    assert seen[0].sizes.tolist() == [2, 3]


def test_what_may_not_leave_is_followed_by_what_needs_it():
    problem = make([1, 9, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2)])
    assert place(problem).tolist() == [0, 1, 1]
    confined = np.array([[True, False], [False, False], [False, False]])
    assert place(replace(problem, confined=confined)).tolist() == [0, 1, 0]
    closed = replace(problem, costs=np.array([[0, np.inf], [1, 0]]))
    # Whatever the policy is: no other pool is left.
    for policy in ("mincut", "majority", "makespan", in_first):
        assert place(closed, policy).tolist() == [0, 1, 0]


def test_what_cannot_be_placed_is_refused():
    problem = make([1, 1, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2)])
    problem = replace(problem, costs=np.array([[0, np.inf], [np.inf, 0]]))
    with pytest.raises(ResidencyError):
        place(problem, refuse)


def test_a_policy_that_lets_cross_what_may_not_is_refused():
    # Either of two free tasks can be anywhere, but not each in another pool.
    problem = make([1, 1, 1, 1], {0: "a", 1: "b"}, [(0, 2), (1, 3), (2, 3)])
    costs = np.array([[0.0, 1.0], [1.0, 0.0]])
    confined = np.zeros((4, 2), dtype=bool)
    confined[2] = True
    problem = replace(problem, costs=costs, confined=confined)
    with pytest.raises(
        PlacementError, match=r"lets value 2, which task 3 needs, cross.*'a' to 'b'"
    ):
        place(problem, lambda _: np.array([0, 1, 0, 1]))
    labels = place(problem)
    assert labels[2] == labels[3]


def test_a_lawful_policy_that_finds_no_way_says_that_there_is_none():
    problem = make([1, 1, 1, 1], {0: "a", 1: "b"}, [(0, 2), (1, 3), (2, 3)])
    confined = np.zeros((4, 2), dtype=bool)
    confined[2] = True
    answer = with_traits(lawful=True)(lambda _: np.array([0, 1, 0, 1]))
    with pytest.raises(ResidencyError):
        place(replace(problem, confined=confined), answer)
