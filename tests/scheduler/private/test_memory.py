"""The active memory manager, and how workers retire.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.memory`, and nothing else.
"""

from __future__ import annotations

import inspect
from typing import Any

from distributed import Scheduler, wait
from distributed.active_memory_manager import (
    ActiveMemoryManagerExtension,
    ReduceReplicas,
    RetireWorker,
)
from distributed.utils_test import NO_AMM, gen_cluster, inc

from dask_pools.scheduler.private import memory
from tests.scheduler.private.release import RELEASE, parameters


class Noting(memory.GuardedManager):
    """Allows everything, and notes what it was asked."""

    asked: list[Any]

    def begin(self) -> None:
        self.asked.append("begin")

    def end(self) -> None:
        self.asked.append("end")

    def recipients(self, ts: Any, among: Any, pending: Any) -> Any:
        self.asked.append(("recipients", ts.key))
        return among

    def droppers(self, ts: Any, among: Any, pending: Any) -> Any:
        self.asked.append(("droppers", ts.key))
        return among

    def wanted_before_retiring(self, ws: Any) -> Any:
        self.asked.append(("wanted", ws.address))
        return iter(())

    def is_safe_to_retire(self, address: str) -> bool:
        self.asked.append(("safe", address))
        return True


@gen_cluster(client=True, nthreads=[("", 1)] * 2, config=NO_AMM)
async def test_manager_asks_who_may_drop_and_can_be_swapped_in_place(c, s, a, b):
    manager = memory.memory_manager(s)
    assert manager is not None, f"{RELEASE} has no extension 'amm' of its own"
    assert any(type(policy) is ReduceReplicas for policy in manager.policies)
    before = dict(vars(manager))
    asked: list[Any] = []
    undo = memory.replace_manager(s, Noting, asked=asked)
    value = c.submit(inc, 1, key="value", workers=[a.address])
    copy = c.submit(inc, value, key="copy", workers=[b.address])
    await wait(copy)
    await c.amm.run_once()
    assert asked == ["begin", ("droppers", "value"), "end"], (
        f"{RELEASE} no longer asks ActiveMemoryManagerExtension._find_dropper in _run_policies"
    )
    assert len(s.tasks["value"].who_has) == 1
    assert memory.memory_manager(s) is None
    undo()
    undo()
    assert memory.memory_manager(s) is manager
    assert vars(manager) == before
    assert parameters(manager._find_dropper) == {"ts", "candidates", "pending_drop"}
    assert parameters(manager._find_recipient) == {"ts", "candidates", "pending_repl"}


@gen_cluster(client=True, nthreads=[("", 1)] * 3)
async def test_retiring_asks_whereto_values_go(c, s, a, b, third):
    asked: list[Any] = []
    undo = memory.replace_manager(s, Noting, asked=asked)
    value = c.submit(inc, 1, key="value", workers=[a.address])
    await wait(value)
    assert await c.retire_workers([a.address])
    assert {("recipients", "value"), ("wanted", a.address), ("safe", a.address)} <= {
        question for question in asked if isinstance(question, tuple)
    }, f"{RELEASE} no longer retires workers by RetireWorker and the extension 'amm'"
    undo()


@gen_cluster(client=True, nthreads=[("", 1)] * 3, config=NO_AMM)
async def test_retiring_takes_a_manager_that_is_put_there_for_it(c, s, a, b, third):
    asked: list[Any] = []
    undo = memory.retire_with(s, lambda s: memory.temporary_manager(s, Noting, asked=asked))
    manager = s.extensions["amm"]
    value = c.submit(inc, 1, key="value", workers=[a.address])
    await wait(value)
    assert await c.retire_workers([a.address])
    assert ("recipients", "value") in asked, (
        f"{RELEASE} no longer retires workers by extensions['amm'] if that is running"
    )
    assert s.extensions["amm"] is manager
    del s.extensions["amm"]
    assert await c.retire_workers([b.address])
    assert "amm" not in s.extensions
    assert not any(name.startswith("amm") for name in s.periodic_callbacks)
    s.extensions["amm"] = manager
    undo()
    assert s.retire_workers.__func__ is Scheduler.retire_workers


@gen_cluster()
async def test_policies_of_workers_that_retire_at_the_moment_are_swapped(s, a, b):
    manager = memory.memory_manager(s)
    assert manager is not None
    policy = RetireWorker(a.address)
    manager.add_policy(policy)
    undo = memory.replace_manager(s, Noting, asked=[])
    assert type(policy) is memory.GuardedRetirement
    undo()
    assert type(policy) is RetireWorker
    manager.policies.discard(policy)


def test_retirement_has_the_attributes_of_a_policy_we_can_become() -> None:
    assert RetireWorker.__slots__ == ("address", "no_recipients"), (
        f"{RELEASE} has changed the attributes of RetireWorker"
    )
    source = inspect.getsource(Scheduler._track_retire_worker)
    assert "policy.done()" in source, f"{RELEASE} no longer asks RetireWorker.done"
    assert "add_policy" in inspect.getsource(ActiveMemoryManagerExtension.__init__)
