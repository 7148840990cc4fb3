"""What hangs together and could be in several pools is spread over them by work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dask_pools.planning.components import Components
from dask_pools.planning.place import place
from dask_pools.planning.problem import UNPLACED, uniform_costs
from dask_pools.planning.work import Work
from tests.planning.oracle import make


def refuse(problem):
    raise AssertionError("the policy was asked although there is nothing to decide")


def blocks(count, pin="ab", pools="ab", size=8.0):
    """Read blocks that several pools have, and do something with each."""
    arcs = [(i, count + i) for i in range(count)]
    problem = make([size] * 2 * count, dict.fromkeys(range(count), pin), arcs, pools=pools)
    return replace(problem, bound=np.arange(2 * count) < count)


def test_components_know_their_common_pools():
    problem = make([1] * 5, {0: "ab", 1: "bc", 3: "a"}, [(0, 2), (1, 2)], pools="abc")
    found = Components.of(problem)
    assert found.of_value.tolist() == [0, 0, 0, 1, 2]
    assert found.common.tolist() == [[False, True, False], [True, False, False], [True] * 3]
    assert found.pinned.tolist() == [True, True, False]
    assert found.settled().tolist() == [1, 1, 1, 0, UNPLACED]
    assert not found.undecided.any()


def test_mirrored_blocks_are_read_half_here_and_half_there():
    labels = place(blocks(100), refuse)
    assert (labels[:100] == labels[100:]).all()
    assert np.bincount(labels[:100]).tolist() == [50, 50]


def test_a_pool_with_more_threads_gets_more():
    problem = blocks(100)
    work = Work(np.ones(200), np.array([4.0, 1.0]), uniform_costs(2))
    assert np.bincount(place(replace(problem, work=work), refuse)[:100]).tolist() == [80, 20]


def test_work_that_has_no_choice_counts():
    problem = blocks(100)
    allowed = problem.allowed.copy()
    allowed[:40] = [True, False]
    labels = place(replace(problem, allowed=allowed), refuse)
    assert (labels[:40] == 0).all()
    assert np.bincount(labels[:100]).tolist() == [50, 50]


def test_those_with_fewer_pools_to_choose_from_come_first():
    pins = {**dict.fromkeys(range(20), "abc"), **dict.fromkeys(range(20, 60), "ab")}
    problem = replace(make([8] * 60, pins, [], pools="abc"), bound=np.ones(60, dtype=bool))
    assert np.bincount(place(problem, refuse)).tolist() == [20, 20, 20]


def test_tasks_are_counted_if_they_take_no_time():
    assert np.bincount(place(blocks(10, size=0.0), refuse)).tolist() == [10, 10]


def test_a_single_component_is_placed_in_the_first_of_equal_pools():
    assert place(blocks(1, pin="bc", pools="abc"), refuse).tolist() == [1, 1]


def test_a_component_with_one_pool_stays_there_however_busy_it_is():
    problem = blocks(50, pin="a")
    assert not place(problem, refuse).any()


@pytest.mark.parametrize("pools", ["ab", "abcdef"])
def test_hundred_thousand_components_of_different_work_are_spread_evenly(pools):
    n = 100_000
    problem = make([1.0] * n, {}, [], pools=pools)
    durations = np.random.default_rng(0).exponential(1.0, n)
    work = Work(durations, np.ones(len(pools)), uniform_costs(len(pools)))
    problem = replace(problem, bound=np.ones(n, dtype=bool), work=work)
    busy = np.bincount(place(problem, refuse), durations)
    assert busy.max() <= 1.001 * busy.mean()


def test_components_follow_what_the_policy_has_placed():
    # Two fields that meet keep pool b busy; a mirrored one goes to a.
    problem = make([8, 80, 8, 8], {0: "a", 1: "b"}, [(0, 2), (1, 2)])
    problem = replace(problem, bound=np.arange(4) == 3)
    assert place(problem).tolist() == [0, 1, 1, 0]
