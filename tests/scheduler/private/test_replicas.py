"""How a scheduler copies values to workers, takes them away, and evens them out.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.replicas`, and nothing else.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from distributed import Scheduler, wait
from distributed.utils_test import NO_AMM, gen_cluster, inc

from dask_pools.errors import DistributedChangedError
from dask_pools.scheduler.private import replicas
from tests.scheduler.private.release import RELEASE, Empty


@pytest.mark.parametrize("name", [replicas.REPLICATE, replicas.REBALANCE, replicas.RETIRE])
def test_operation_is_replaced_for_clients_and_scheduler(name: str) -> None:
    @gen_cluster()
    async def check(s, a, b):
        stock = replicas.operation(s, name)
        assert s.handlers[name] == stock, f"{RELEASE} has no handler {name!r}"

        async def ours(*args: Any, **kwargs: Any) -> str:
            return "ours"

        undo = replicas.replace_operation(s, name, ours)
        assert s.handlers[name] is ours
        assert getattr(s, name) is ours
        undo()
        undo()
        assert s.handlers[name] == stock == getattr(s, name)
        assert name not in vars(s)

    check()


def test_broadcast_is_by_replicate() -> None:
    assert "self.replicate(" in inspect.getsource(Scheduler.scatter), (
        f"{RELEASE} no longer broadcasts by Scheduler.replicate"
    )


@gen_cluster(client=True, nthreads=[("", 1)] * 2, config=NO_AMM)
async def test_values_are_copied_and_deleted(c, s, a, b):
    value = c.submit(inc, 1, key="value", workers=[a.address])
    await wait(value)
    assert await replicas.copy_to(s, b.address, {"value": [a.address]}) == set()
    assert "value" in b.data, f"{RELEASE} no longer copies by Scheduler.gather_on_worker"
    assert len(s.tasks["value"].who_has) == 2
    await replicas.delete_from(s, a.address, ["value"], "test")
    assert "value" not in a.data, f"{RELEASE} no longer deletes by Scheduler.delete_worker_data"
    assert {ws.address for ws in s.tasks["value"].who_has} == {b.address}


async def take(s: Any) -> None:
    async with replicas.replica_lock(s):
        pass


@gen_cluster()
async def test_lock_is_held_by_one_at_a_time(s, a, b):
    source = inspect.getsource(Scheduler.retire_workers)
    assert "self._replica_lock(" in source, f"{RELEASE} retires workers without _replica_lock"
    async with replicas.replica_lock(s):
        other = asyncio.create_task(take(s))
        await asyncio.wait([other], timeout=0)
        assert not other.done(), f"{RELEASE} lets two in by Scheduler._replica_lock"
    await other


@pytest.mark.parametrize("name", list(replicas.ARGUMENTS))
def test_missing_name_is_an_error_with_the_release(name: str) -> None:
    with pytest.raises(DistributedChangedError, match=name) as caught:
        replicas.operation(Empty(), name)  # type: ignore[arg-type]
    assert RELEASE in str(caught.value)


def test_missing_lock_is_an_error() -> None:
    with pytest.raises(DistributedChangedError, match="_replica_lock"):
        replicas.replica_lock(Empty())  # type: ignore[arg-type]
