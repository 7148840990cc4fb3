"""A plan adds up its transfers."""

from __future__ import annotations

import pickle

from dask_pools.model import Link
from dask_pools.planning.plan import Plan, Transfer

THERE, BACK = Link("a", "b"), Link("b", "a")
PLAN = Plan(
    tasks={"a": 2, "b": 1, None: 1},
    transfers=(Transfer("x", BACK, 512), Transfer(("y", 0), THERE, 2**31), Transfer("z", BACK, 8)),
)


def test_bytes_are_added_up_by_link():
    assert PLAN.nbytes == 2**31 + 520
    assert PLAN.links == {THERE: 2.0**31, BACK: 520.0}
    assert list(PLAN.links) == [THERE, BACK]


def test_a_plan_describes_itself_in_a_line_per_link():
    assert PLAN.describe().splitlines() == [
        "a -> b: 2.15 GB in 1 transfer",
        "b -> a: 520 B in 2 transfers",
    ]


def test_a_plan_without_transfers():
    plan = Plan(tasks={None: 3}, transfers=())
    assert (plan.nbytes, plan.links) == (0.0, {})
    assert plan.describe() == "nothing crosses between pools"


def test_a_plan_survives_pickling():
    assert pickle.loads(pickle.dumps(PLAN)) == PLAN
