"""How a scheduler hears of tasks that have seceded.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.pressure`, and nothing else.
"""

from __future__ import annotations

from typing import Any

import pytest
from distributed import Event, secede
from distributed.utils_test import async_poll_for, gen_cluster

from dask_pools.errors import DistributedChangedError
from dask_pools.scheduler.private.pressure import SECEDED, watch_secessions
from tests.scheduler.private.release import RELEASE, Empty


def secede_and_wait(name: str) -> None:
    secede()
    Event(name).wait()


@gen_cluster(client=True)
async def test_secession_is_heard_of_once_distributed_knows(c: Any, s: Any, a: Any, b: Any) -> None:
    heard = []
    stock = s.stream_handlers[SECEDED]
    undo = watch_secessions(
        s, lambda ts: heard.append((ts.key, ts in ts.processing_on.long_running))
    )
    future = c.submit(secede_and_wait, "go on", key="x")
    await async_poll_for(lambda: heard, 10)
    assert heard == [("x", True)], (
        f"{RELEASE} no longer keeps tasks that have seceded in WorkerState.long_running"
    )
    await Event("go on").set()
    await future
    undo()
    assert s.stream_handlers[SECEDED] == stock


@gen_cluster(client=True)
async def test_secession_of_an_earlier_run_is_not_heard_of(c: Any, s: Any, a: Any, b: Any) -> None:
    heard: list[Any] = []
    undo = watch_secessions(s, heard.append)
    for key in ("never there", "x"):
        s.stream_handlers[SECEDED](
            key=key, worker=a.address, run_id=0, compute_duration=None, stimulus_id="late"
        )
    assert not heard
    undo()


def test_scheduler_without_the_message_is_named() -> None:
    with pytest.raises(DistributedChangedError, match="long-running"):
        watch_secessions(Empty(), lambda _: None)  # type: ignore[arg-type]
