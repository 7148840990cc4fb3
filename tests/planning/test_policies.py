"""What every policy must do, and how policies get their names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from dask_pools.errors import UnknownPolicyError
from dask_pools.planning.cost import cost
from dask_pools.planning.place import place
from dask_pools.planning.policies import (
    Traits,
    get_policy,
    policy_names,
    register_policy,
    traits_of,
    unregister_policy,
    with_traits,
)
from tests.planning.oracle import make, problems

every_policy = pytest.mark.parametrize("policy", policy_names())
#: Policies which look at what crosses only.
every_policy_for_bytes = pytest.mark.parametrize("policy", ["majority", "mincut"])


@every_policy
@given(problem=problems(pools=3, free=6))
def test_pins_are_kept_and_the_problem_is_left_alone(policy, problem):
    arrays = (problem.sizes, problem.allowed, problem.values, problem.consumers, problem.costs)
    for array in arrays:
        array.flags.writeable = False
    labels = get_policy(policy)(problem)
    assert labels.shape == problem.sizes.shape
    assert problem.allowed[np.arange(len(labels)), labels].all()
    assert (get_policy(policy)(problem) == labels).all()


@every_policy
@pytest.mark.parametrize("pools", ["a", "ab", "abc"])
def test_empty_problems_are_placed(policy, pools):
    assert get_policy(policy)(make([], {}, [], pools=pools)).tolist() == []


@every_policy
@pytest.mark.parametrize("pools", ["a", "ab", "abc"])
def test_problems_without_arcs_or_pins_are_placed(policy, pools):
    labels = get_policy(policy)(make([0, 3], {}, [], pools=pools))
    assert set(labels.tolist()) <= set(range(len(pools)))


@every_policy_for_bytes
def test_all_in_one_pool_costs_nothing(policy):
    problem = make([4, 4, 4, 0], {0: "b"}, [(0, 1), (1, 2), (0, 3)])
    assert get_policy(policy)(problem).tolist() == [1, 1, 1, 1]


@every_policy_for_bytes
def test_an_unpinned_input_is_pulled_to_its_consumers(policy):
    # A random matrix: made where it is used, not somewhere to cross a link then.
    problem = make([10, 100, 10, 1], {0: "b", 3: "a"}, [(0, 2), (1, 2), (2, 3)])
    assert place(problem, policy)[1] == 1


@every_policy_for_bytes
def test_the_order_of_pins_in_zero_sized_values_is_respected(policy):
    problem = make([0, 0, 0, 0], {0: "b", 3: "a"}, [(0, 1), (1, 2), (2, 3)])
    labels = place(problem, policy)
    assert cost(problem, labels) == 0
    assert labels.tolist() == [1, 1, 1, 0]


def first(problem):
    return problem.allowed.argmax(axis=1)


def test_a_policy_of_ones_own_gets_a_name():
    register_policy("first", first)
    try:
        assert policy_names() == ("first", "majority", "makespan", "mincut")
        assert get_policy("first") is first
        with pytest.raises(ValueError, match="'first' is taken"):
            register_policy("first", first)
    finally:
        unregister_policy("first")
    assert policy_names() == ("majority", "makespan", "mincut")


def test_a_function_needs_no_name():
    assert get_policy(first) is first


def test_built_in_names_are_taken():
    with pytest.raises(ValueError, match="'mincut' is taken"):
        register_policy("mincut", first)


def test_only_functions_are_policies():
    with pytest.raises(TypeError, match="not 3 of type int"):
        register_policy("three", 3)


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(
        UnknownPolicyError, match=r"'majority', 'makespan', 'mincut'.*mean 'majority'"
    ):
        get_policy("mayority")
    with pytest.raises(UnknownPolicyError, match="registered are none"):
        unregister_policy("mincut")


def test_policies_have_no_traits_but_those_they_are_given():
    assert traits_of(first) == Traits()
    assert traits_of("majority") == Traits()
    assert traits_of("mincut") == Traits(balanced=True, lawful=True)
    assert traits_of("makespan") == Traits(everything=True, lawful=True)


def test_a_policy_is_decorated_with_its_traits_and_remains_what_it_is():
    @with_traits(everything=True)
    def all_of_it(problem):
        return first(problem)

    problem = make([1, 2], {0: "b"}, [(0, 1)])
    assert all_of_it(problem).tolist() == [1, 0]
    assert traits_of(all_of_it) == Traits(everything=True)
    register_policy("all-of-it", all_of_it)
    try:
        assert traits_of("all-of-it") == Traits(everything=True)
    finally:
        unregister_policy("all-of-it")


def test_traits_survive_the_way_to_the_scheduler():
    import cloudpickle

    @with_traits(balanced=True)
    def mine(problem):
        return first(problem)

    assert traits_of(cloudpickle.loads(cloudpickle.dumps(mine))) == Traits(balanced=True)


def test_an_attribute_of_that_name_which_is_something_else_is_no_trait():
    def mine(problem):
        return first(problem)

    mine.traits = "none"
    assert traits_of(mine) == Traits()


def test_traits_of_an_unknown_policy_are_refused():
    with pytest.raises(UnknownPolicyError):
        traits_of("mincutt")
