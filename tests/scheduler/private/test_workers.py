"""How a scheduler hears of its workers.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.workers`, and nothing else.
"""

from __future__ import annotations

from typing import Any

import pytest
from distributed import Worker
from distributed.core import Status
from distributed.utils_test import async_poll_for, gen_cluster, inc

from dask_pools.errors import DistributedChangedError
from dask_pools.scheduler.private.workers import watch_workers
from tests.scheduler.private.release import RELEASE, Empty


class Heard:
    """Notes what it hears, and how many tasks the scheduler had moved by then."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.events: list[tuple[str, str, int]] = []
        self.undo = watch_workers(scheduler, self.joined, self.left, self.turned)

    def joined(self, ws: Any) -> None:
        self.events.append(("joined", ws.address, self.scheduler.transition_counter))

    def left(self, address: str) -> None:
        self.events.append(("left", address, self.scheduler.transition_counter))

    def turned(self, ws: Any, running: bool) -> None:
        what = "running" if running else "not running"
        self.events.append((what, ws.address, self.scheduler.transition_counter))


@gen_cluster(client=True, nthreads=[("", 1)])
async def test_worker_is_heard_of_before_tasks_go_to_it(c, s, a):
    heard = Heard(s)
    future = c.submit(inc, 1, resources={"GPU": 1})
    await async_poll_for(lambda: s.unrunnable, 5)
    before = s.transition_counter
    async with Worker(s.address, resources={"GPU": 1}) as w:
        assert await future == 2
        # It joins before it runs: what the first heartbeat finds is the status "init".
        expected = [("joined", w.address, before), ("running", w.address, before)]
        assert heard.events == expected, (
            f"{RELEASE} no longer calls Scheduler.add_resources before it sends tasks to a worker"
        )
        before = s.transition_counter
    assert ("left", w.address, before) in heard.events, (
        f"{RELEASE} no longer calls Scheduler.remove_resources before it moves tasks away"
    )


@gen_cluster(client=True)
async def test_status_is_heard_of_before_it_changes(c, s, a, b):
    heard = Heard(s)
    a.status = Status.paused
    await async_poll_for(lambda: s.workers[a.address].status == Status.paused, 5)
    a.status = Status.running
    await async_poll_for(lambda: s.workers[a.address].status == Status.running, 5)
    assert [event[:2] for event in heard.events] == [
        ("not running", a.address),
        ("running", a.address),
    ], f"{RELEASE} no longer calls the stream handler 'worker-status-change'"
    heard.events.clear()
    await c.retire_workers([b.address])
    assert [event[:2] for event in heard.events] == [
        ("not running", b.address),
        ("left", b.address),
    ], f"{RELEASE} no longer calls Scheduler.handle_worker_status_change when workers retire"


@gen_cluster(client=True)
async def test_new_resources_are_heard_of(c, s, a, b):
    heard = Heard(s)
    await a.set_resources(GPU=1)
    assert [event[:2] for event in heard.events] == [("joined", a.address)], (
        f"{RELEASE} no longer calls the handler 'set_resources'"
    )
    heard.undo()
    await b.set_resources(GPU=1)
    assert len(heard.events) == 1
    assert set(s.resources["GPU"]) == {a.address, b.address}


def test_missing_name_is_an_error_with_the_release() -> None:
    with pytest.raises(DistributedChangedError, match="add_resources") as caught:
        watch_workers(Empty(), print, print, print)  # type: ignore[arg-type]
    assert RELEASE in str(caught.value)
