"""A plan adds up its parts, and tells them to programs; how it looks is tested beside it."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest

from dask_pools.model import Link
from dask_pools.planning.basis import Basis
from dask_pools.planning.plan import (
    SHOWN,
    ArrayPlan,
    LinkPlan,
    Plan,
    PoolPlan,
    Transfer,
)

THERE, BACK = Link("a", "b"), Link("b", "a")
PLAN = Plan(
    tasks={"a": 2, "b": 1, None: 1},
    transfers=(Transfer("x", BACK, 512), Transfer(("y", 0), THERE, 2**31), Transfer("z", BACK, 8)),
)
FULL = Plan(
    tasks={"a": 2, "b": 1},
    transfers=(Transfer("x", THERE, 8e9, Basis.EXACT, "x", ("comes from r", "needed by s")),),
    by_pool=(PoolPlan("a", 2, 5e9, 2.0, 4), PoolPlan("b", 1)),
    by_link=(LinkPlan(THERE, 1, 8e9, 64.0, 0.16), LinkPlan(BACK, 2, 1e9)),
    by_array=(ArrayPlan("x", THERE, 1, 8e9, Basis.EXACT, ("comes from r", "needed by s")),),
    objective="money",
    cost=0.16,
    bound=0.1,
    alternatives={"majority": PLAN},
)


def test_bytes_are_added_up_by_link():
    assert PLAN.nbytes == 2**31 + 520
    assert PLAN.links == {THERE: 2.0**31, BACK: 520.0}
    assert list(PLAN.links) == [THERE, BACK]
    assert PLAN.by_link == (LinkPlan(THERE, 1, 2.0**31), LinkPlan(BACK, 2, 520.0))


def test_pools_are_made_of_the_tasks():
    assert PLAN.by_pool == (PoolPlan("a", 2), PoolPlan("b", 1))
    assert PLAN.unplaced == 1


def test_bytes_are_added_up_by_what_their_number_rests_on():
    sizes = [(1, Basis.ASSUMED), (2, Basis.EXACT), (3, Basis.ASSUMED)]
    plan = Plan({}, tuple(Transfer(i, THERE, n, basis) for i, (n, basis) in enumerate(sizes)))
    assert plan.shares == {Basis.EXACT: 2, Basis.ASSUMED: 4}


def test_what_is_given_is_not_added_up_again():
    assert FULL.nbytes == 9e9
    assert FULL.by_pool[1].nbytes_read is None


def test_time_is_that_of_the_busiest_link_or_pool_that_is_known():
    assert FULL.seconds == 64.0
    assert PLAN.seconds is None


def test_money_is_added_up_if_prices_are_known():
    assert FULL.money == 0.16
    assert PLAN.money is None
    assert Plan({"a": 1}, ()).money == 0.0


@pytest.mark.parametrize(
    ("cost", "bound", "excess"),
    [
        (12.0, 10.0, 0.2),
        (10.0, 10.0, 0.0),
        (10.0, 10.0 + 1e-9, 0.0),
        (0.0, 0.0, 0.0),
        (1.0, 0.0, None),
        (1.0, None, None),
        (None, 1.0, None),
    ],
)
def test_excess_is_the_distance_from_the_bound(cost, bound, excess):
    plan = Plan({}, (), cost=cost, bound=bound)
    assert plan.excess == (None if excess is None else pytest.approx(excess))


def test_largest_transfers_come_first_and_are_few():
    sizes = np.random.default_rng(0).permutation(100).tolist()
    plan = Plan({}, tuple(Transfer(i, THERE, size) for i, size in enumerate(sizes)))
    assert [transfer.nbytes for transfer in plan.largest] == list(range(99, 99 - SHOWN, -1))


def test_a_plan_describes_itself_in_a_line_per_link():
    assert PLAN.describe().splitlines() == [
        "a -> b: 2.15 GB in 1 transfer",
        "b -> a: 520 B in 2 transfers",
    ]


def test_a_plan_without_transfers():
    plan = Plan(tasks={None: 3}, transfers=())
    assert (plan.nbytes, plan.links) == (0.0, {})
    assert plan.describe() == "nothing crosses between pools"


@pytest.mark.parametrize("plan", [PLAN, FULL])
def test_a_plan_survives_pickling(plan):
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_json_has_the_documented_keys_and_brings_them_back():
    found = FULL.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    documented = Plan.to_dict.__doc__
    assert documented is not None
    inside = [*found, *found["pools"][0], *found["links"][0], *found["arrays"][0]]
    assert [key for key in inside if f"``{key}``" not in documented] == []
    assert found["links"][0] == {
        "source": "a",
        "target": "b",
        "transfers": 1,
        "bytes": 8e9,
        "seconds": 64.0,
        "money": 0.16,
    }
    assert found["alternatives"]["majority"] == PLAN.to_dict()
    assert found["arrays"][0]["because"] == ["comes from r", "needed by s"]


def test_json_has_no_number_for_what_is_infinite_or_not_known():
    found = Plan({}, (), cost=math.inf, bound=math.nan).to_dict()
    assert (found["cost"], found["bound"], found["seconds"]) == (None, None, None)
