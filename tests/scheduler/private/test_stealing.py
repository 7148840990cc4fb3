"""The work stealing.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.stealing`, and nothing else.
"""

from __future__ import annotations

import inspect
from typing import Any

from distributed.stealing import WorkStealing
from distributed.utils_test import gen_cluster

from dask_pools.scheduler.private import stealing
from tests.scheduler.private.release import RELEASE, parameters


class Nobody(stealing.GuardedStealing):
    """Allows nothing, and notes that it was asked."""

    asked: list[str]

    def can_move_anything(self) -> bool:
        self.asked.append("anything")
        return True

    def thieves_for(self, ts: Any, thieves: set[Any]) -> set[Any]:
        self.asked.append("thieves")
        return set()


@gen_cluster()
async def test_stealing_asks_for_a_thief_and_can_be_swapped_in_place(s, a, b):
    extension = stealing.stealing(s)
    assert type(extension) is WorkStealing, f"{RELEASE} has no extension 'stealing' of its own"
    wanted = {"self", "scheduler", "ts", "potential_thieves", "occupancies"}
    assert parameters(WorkStealing._get_thief) == wanted, (
        f"{RELEASE} has changed the arguments of WorkStealing._get_thief"
    )
    assert "_get_thief" in inspect.getsource(WorkStealing.balance), (
        f"{RELEASE} no longer asks WorkStealing._get_thief who may steal a task"
    )
    undo = stealing.replace_stealing(s, Nobody, asked=[])
    ours: Any = s.extensions["stealing"]
    s.periodic_callbacks["stealing"].callback()
    assert ours.asked[:1] == ["anything"], (
        f"{RELEASE} no longer balances by the callback of periodic_callbacks['stealing']"
    )
    assert ours._get_thief(s, None, {object()}, occupancies={}) is None
    assert stealing.stealing(s) is None
    undo()
    undo()
    assert stealing.stealing(s) is extension
    assert not hasattr(extension, "asked")
    assert s.periodic_callbacks["stealing"].callback.__func__ is WorkStealing.balance
