"""Objectives: what a byte costs on each link, from what is known of the links."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dask_pools.errors import UnknownObjectiveError
from dask_pools.model import Link, Pool, Topology
from dask_pools.planning.objective import (
    ASSUMED_BANDWIDTH,
    FREE_SHARE,
    OBJECTIVES,
    check_objective,
    cost_matrix,
    link_seconds,
    make_work,
    threads,
)

INF = np.inf
AB = ("a", "b")
PRICED = Topology(
    (Pool("a", workers=2, nthreads=8), Pool("b"), Pool("c")),
    (
        Link("a", "b", bandwidth=50e6, price=0.02),
        Link("b", "a", price=0.09),
        Link("a", "c", allowed=False),
    ),
)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_known_objectives_pass(name):
    assert check_objective(name) == name


def test_an_unknown_objective_is_refused_with_those_there_are():
    with pytest.raises(UnknownObjectiveError, match=r"'bytes', 'money', 'time'.*mean 'money'"):
        check_objective("mony")
    with pytest.raises(UnknownObjectiveError):
        cost_matrix(None, AB, "latency")
    with pytest.raises(UnknownObjectiveError) as caught:
        check_objective("x")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("topology", [None, Topology((Pool("a"),))])
def test_of_what_nothing_is_known_all_links_are_equal(objective, topology):
    costs = cost_matrix(topology, ("a", "b", "c"), objective)
    assert (costs.diagonal() == 0).all()
    between = costs[~np.eye(3, dtype=bool)]
    assert (between == between[0]).all()
    assert between[0] == (1 / ASSUMED_BANDWIDTH if objective == "time" else 1)


def test_bytes_do_not_look_at_prices():
    assert cost_matrix(PRICED, AB).tolist() == [[0, 1], [1, 0]]


def test_money_is_what_a_byte_costs_in_each_direction():
    costs = cost_matrix(PRICED, AB, "money")
    assert costs == pytest.approx(np.array([[0, 2e-11], [9e-11, 0]]), rel=1e-5)


def test_free_bytes_count_as_a_tiny_share_of_a_paid_one():
    costs = cost_matrix(PRICED, ("a", "b", "c"), "money")
    assert costs[1, 2] == costs[2, 1] == pytest.approx(FREE_SHARE * 2e-11)
    assert costs[0, 1] > 1e5 * costs[1, 2]


def test_time_is_the_seconds_of_a_byte():
    costs = cost_matrix(PRICED, AB, "time")
    assert costs.tolist() == [[0, 1 / 50e6], [1 / ASSUMED_BANDWIDTH, 0]]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_may_not_cross_costs_infinitely_much(objective):
    costs = cost_matrix(PRICED, ("a", "b", "c"), objective)
    assert np.isinf(costs).tolist() == [[False, False, True], [False] * 3, [False] * 3]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nothing_leaves_a_pool_without_egress(objective):
    topology = Topology((Pool("a", egress="none"), Pool("b", egress="aggregates")))
    costs = cost_matrix(topology, ("a", "b", "z"), objective)
    assert costs[0].tolist() == [0, INF, INF]
    assert np.isfinite(costs[1:]).all()


def test_the_order_is_that_of_the_pools_which_take_part():
    seconds = link_seconds(PRICED, ("b", "a"))
    assert seconds[1, 0] == 1 / 50e6


def test_pools_without_workers_count_as_one_thread():
    assert threads(PRICED, ("a", "b", "unknown")).tolist() == [8, 1, 1]
    assert threads(None, AB).tolist() == [1, 1]


def test_work_is_made_of_what_is_known():
    work = make_work(PRICED, AB, np.array([1.0, 2.0]))
    work.validate(2, 2)
    assert work.threads.tolist() == [8, 1]
    assert work.seconds.tolist() == link_seconds(PRICED, AB).tolist()
    assert work.durations.tolist() == [1, 2]
