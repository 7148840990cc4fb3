"""Loads count the seconds of links and pools, each value once for each link."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from dask_pools.planning.cost import cost
from dask_pools.planning.loads import link_times, loads, makespan, pool_times, work_of
from dask_pools.planning.problem import UNPLACED, uniform_costs
from dask_pools.planning.work import Work
from tests.planning.oracle import make, problems

SECONDS = np.array([[0.0, 2.0], [3.0, 0.0]])


def timed():
    problem = make([8, 4, 1, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2), (0, 3)])
    work = Work(np.array([1.0, 2.0, 4.0, 8.0]), np.array([4.0, 1.0]), SECONDS)
    return replace(problem, work=work)


def test_a_value_loads_a_link_once():
    times = link_times(timed(), np.array([0, 1, 1, 1]))
    assert times.tolist() == [[0, 16], [0, 0]]


def test_both_directions_are_told_apart():
    times = link_times(timed(), np.array([0, 1, 0, 1]))
    assert times.tolist() == [[0, 16], [12, 0]]


def test_work_is_shared_by_the_threads_of_a_pool():
    assert pool_times(timed(), np.array([0, 1, 0, 1])).tolist() == [5 / 4, 10]


def test_what_is_unplaced_loads_nothing():
    links, pools = loads(timed(), np.array([0, 1, UNPLACED, UNPLACED]))
    assert not links.any()
    assert pools.tolist() == [1 / 4, 2]


def test_the_makespan_is_that_of_the_busiest_link_or_pool():
    assert makespan(timed(), np.array([0, 1, 0, 1])) == 16
    assert makespan(timed(), np.array([0, 1, UNPLACED, UNPLACED])) == 2


def test_nothing_takes_no_time():
    assert makespan(make([], {}, []), np.array([], dtype=int)) == 0


def test_without_work_time_is_in_proportion_to_the_bytes_that_tasks_handle():
    work = work_of(make([8, 4, 1], {}, [(0, 2), (1, 2)], pools="abc"))
    assert work.durations.tolist() == [8, 4, 13]
    assert work.threads.tolist() == [1, 1, 1]
    assert (work.seconds == uniform_costs(3)).all()


@given(problem=problems(pools=3))
def test_link_times_add_up_to_the_cost_if_costs_are_seconds(problem):
    labels = problem.allowed.argmax(axis=1)
    work = Work(np.ones(len(labels)), np.ones(3), problem.costs)
    total = link_times(replace(problem, work=work), labels).sum()
    assert total == pytest.approx(cost(problem, labels))
