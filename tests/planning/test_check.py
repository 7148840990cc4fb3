"""The check of policies: built-in ones pass, and each kind of mistake is found and named."""

from __future__ import annotations

import numpy as np
import pytest

from dask_pools.errors import PlacementError, UnknownPolicyError
from dask_pools.planning.policies import policy_names, with_traits
from dask_pools.planning.policies.check import check_policy, sample_problems
from dask_pools.planning.policies.mincut import mincut
from dask_pools.planning.residency import prune

PROBLEMS = list(sample_problems())


def first(problem):
    return problem.allowed.argmax(axis=1)


@pytest.mark.parametrize("policy", policy_names())
def test_built_in_policies_pass(policy):
    check_policy(policy)


def test_a_simple_policy_passes():
    check_policy(first)


def test_a_policy_that_ignores_pins_is_found():
    with pytest.raises(PlacementError, match=r"problem 'all values pinned'.*value 1 in pool 'a'"):
        check_policy(lambda problem: np.zeros(len(problem.sizes), dtype=int))


def test_labels_of_another_shape_are_found():
    with pytest.raises(PlacementError, match=r"problem 'one free value, 1 pools'.*shape"):
        check_policy(lambda problem: np.zeros(0, dtype=int))


def test_a_policy_that_changes_its_problem_is_found():
    def greedy(problem):
        problem.sizes[:] = 0
        return first(problem)

    with pytest.raises(PlacementError, match="changed the array 'sizes'"):
        check_policy(greedy)


def test_a_policy_that_answers_differently_when_asked_again_is_found():
    rng = np.random.default_rng(0)

    def dice(problem):
        return np.where(problem.allowed, rng.random(problem.allowed.shape), -1).argmax(axis=1)

    with pytest.raises(PlacementError, match="two different placements"):
        check_policy(dice)


def test_a_policy_that_says_it_is_lawful_must_be():
    @with_traits(lawful=True)
    def scattered(problem):
        turn = np.add.outer(7 * np.arange(len(problem.sizes)), 3 * np.arange(len(problem.pools)))
        return np.where(problem.allowed, turn % 5, -1).argmax(axis=1)

    with pytest.raises(PlacementError, match=r"problem '(closed|confined)[^']*'.*may not"):
        check_policy(scattered)


def test_an_error_of_the_policy_itself_says_on_which_problem():
    def fragile(problem):
        return np.full(len(problem.sizes), int(problem.sizes.argmax()) * 0)

    with pytest.raises(ValueError, match="argmax") as caught:
        check_policy(fragile)
    assert "'no values, 1 pools'" in caught.value.__notes__[0]


def test_an_unknown_name_is_refused():
    with pytest.raises(UnknownPolicyError):
        check_policy("mincutt")


@pytest.mark.parametrize(("name", "problem"), PROBLEMS, ids=[name for name, _ in PROBLEMS])
def test_problems_of_the_check_are_sound(name, problem):
    problem.validate()
    pruned = prune(problem)
    labels = mincut(pruned)
    assert not problem.forbidden(problem.values, labels[problem.values], labels[problem.consumers])[
        labels[problem.values] != labels[problem.consumers]
    ].any()


def test_problems_of_the_check_are_the_same_every_time():
    again = list(sample_problems())
    assert [name for name, _ in again] == [name for name, _ in PROBLEMS]
    for (_, one), (_, other) in zip(PROBLEMS, again, strict=True):
        assert (one.sizes == other.sizes).all()
        assert (one.allowed == other.allowed).all()


def test_problems_of_the_check_have_what_policies_stumble_on():
    problems = [problem for _, problem in PROBLEMS]
    assert {len(problem.pools) for problem in problems} == {1, 2, 3, 4, 5}
    assert max(len(problem.sizes) for problem in problems) == 10_000
    assert any(np.isposinf(problem.costs).any() for problem in problems)
    assert any(problem.confined is not None and problem.confined.any() for problem in problems)
    assert any((problem.allowed.sum(axis=1) == 2).any() for problem in problems[20:])
