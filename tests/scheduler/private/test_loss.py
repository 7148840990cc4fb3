"""How tasks wait for a worker, and how they fail.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.loss`, and nothing else.
"""

from __future__ import annotations

from typing import Any

import pytest
from distributed import Scheduler, SchedulerPlugin
from distributed.utils_test import async_poll_for, gen_cluster, inc

from dask_pools.errors import DistributedChangedError, PoolLostError
from dask_pools.scheduler.private import loss
from tests.scheduler.private.release import RELEASE, Empty


class Steps(SchedulerPlugin):
    """Notes the steps of all tasks."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, str, str]] = []

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        self.seen.append((key, start, finish))


async def stuck(client: Any, scheduler: Scheduler, *keys: str) -> list[Any]:
    futures = [client.submit(inc, 1, key=key, resources={"GPU": 0}) for key in keys]
    await async_poll_for(lambda: len(scheduler.unrunnable) == len(keys), timeout=10)
    return futures


@gen_cluster(client=True)
async def test_restricted_tasks_without_a_worker_are_listed(c, s, a, b):
    loss.require_waiting(s)
    futures = await stuck(c, s, "x", "y")
    assert {ts.key for ts in loss.ready_tasks(s)} == {"x", "y"}, (
        f"{RELEASE} does not keep tasks without a worker in Scheduler.unrunnable"
    )
    assert [ts.key for ts in loss.by_urgency(loss.ready_tasks(s))] == ["x", "y"]
    del futures


@gen_cluster(client=True)
async def test_resubmitted_tasks_go_through_released_and_are_assigned_anew(c, s, a, b):
    futures = await stuck(c, s, "x")
    steps = Steps()
    s.add_plugin(steps, name="steps")
    s.tasks["x"].resource_restrictions = None
    loss.resubmit(s, list(loss.ready_tasks(s)), "test")
    assert await c.gather(futures) == [2]
    assert steps.seen[:2] == [("x", "no-worker", "released"), ("x", "released", "waiting")], (
        f"{RELEASE} no longer tells plugins that a waiting task is released on its way"
    )


@gen_cluster(client=True)
async def test_failed_tasks_and_what_depends_on_them_raise_the_exception(c, s, a, b):
    futures = await stuck(c, s, "x", "y")
    z = c.submit(sum, futures, key="z")
    await async_poll_for(lambda: "z" in s.tasks, timeout=10)
    loss.fail(s, list(loss.ready_tasks(s)), PoolLostError("gone"), "test")
    for future in (*futures, z):
        with pytest.raises(PoolLostError, match="gone"):
            await future
    assert not s.unrunnable, f"{RELEASE} has changed the transition from no-worker to erred"
    assert s.tasks["z"].exception_blame in {s.tasks["x"], s.tasks["y"]}


@pytest.mark.parametrize("name", [*loss.METHODS, "unrunnable", "queued", "transition from"])
def test_missing_name_is_an_error_with_the_release(name: str) -> None:
    class Lacking(Empty):
        unrunnable: dict[Any, Any] = {}  # noqa: RUF012 - never changed
        queued: dict[Any, Any] = {}  # noqa: RUF012 - never changed
        transition = transitions = stimulus_queue_slots_maybe_opened = print
        _TRANSITIONS_TABLE = dict.fromkeys(loss.STEPS)

    if name == "transition from":
        Lacking._TRANSITIONS_TABLE = {}
    else:
        delattr(Lacking, name)
    with pytest.raises(DistributedChangedError, match=name) as caught:
        loss.require_waiting(Lacking())  # type: ignore[arg-type]
    assert RELEASE in str(caught.value)
