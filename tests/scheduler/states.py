"""Workers and tasks that are on a scheduler's books only, put there as a test wants them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from distributed import Scheduler
from distributed.core import Status
from distributed.scheduler import TaskState, WorkerState

from dask_pools.model import pool_resource
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.roster import Roster
from dask_pools.scheduler.stealing.stealing import steal_inside_pools


@contextlib.asynccontextmanager
async def still() -> AsyncIterator[Scheduler]:
    """Start a scheduler on which nothing moves but what a test moves."""
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as s:
        s.periodic_callbacks["stealing"].stop()
        try:
            yield s
        finally:
            s.stream_comms.clear()  # nobody is there to say goodbye to


class Silent:
    """A connection to a worker that is not there; keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, *messages: dict[str, Any]) -> None:
        self.sent.extend(messages)


def known(s: Scheduler) -> Roster:
    """Make a roster that follows the workers of a scheduler."""
    roster = Roster(s, Membership())
    roster.watch()
    return roster


def steal(s: Scheduler, link: Any = lambda _source, _target: None) -> Any:
    """Install the work stealing of pools; returns it."""
    steal_inside_pools(s, known(s), link)
    return s.extensions["stealing"]


def worker(s: Scheduler, number: int, *pools: str, nthreads: int = 1, **resources: float) -> Any:
    """Add a worker."""
    address = f"tcp://127.0.0.1:{20_000 + number}"
    ws = WorkerState(
        address=address,
        status=Status.running,
        pid=0,
        name=number,
        nthreads=nthreads,
        memory_limit=2**33,
        local_directory="",
        nanny=None,
        server_id=address,
        services={},
        versions={},
        extra={},
        scheduler=s,
    )
    s.workers[address] = ws
    s.running.add(ws)
    s.total_nthreads += nthreads
    s.stream_comms[address] = Silent()
    s.extensions["stealing"].add_worker(worker=address)
    named = {pool_resource(pool): 1.0 for pool in pools}
    s.add_resources(worker=address, resources={**named, **resources})
    s.check_idle_saturated(ws)
    return ws


def value(s: Scheduler, key: str, nbytes: int, *holders: WorkerState) -> TaskState:
    """Add a task that has its result on some workers."""
    ts = s.new_task(key, None, "released")
    ts.state = "memory"
    ts.set_nbytes(nbytes)
    for ws in holders:
        ws.add_replica(ts)
    return ts


def task(
    s: Scheduler,
    key: str,
    ws: WorkerState,
    *inputs: TaskState,
    seconds: float = 1.0,
    resources: Iterable[str] = (),
    **annotations: Any,
) -> TaskState:
    """Add a task that was sent to a worker; tasks whose keys begin alike take equally long."""
    ts = s.new_task(key, None, "released")
    if ts.prefix.duration_average < 0:
        ts.prefix.duration_average = seconds
    ts.resource_restrictions = dict.fromkeys(resources, 0)
    ts.annotations = annotations
    for dependency in inputs:
        ts.add_dependency(dependency)
    ts.state = "processing"
    ts.processing_on = ws
    ws.add_to_processing(ts)
    s.check_idle_saturated(ws)
    s.extensions["stealing"].put_key_in_stealable(ts)
    return ts


def refresh(s: Scheduler) -> None:
    """Find out again which workers are idle, all tasks being there."""
    for ws in s.workers.values():
        s.check_idle_saturated(ws)


def requests(s: Scheduler) -> list[tuple[Any, str, str]]:
    """Return the tasks that are being stolen, with the addresses of victim and thief."""
    return [
        (ts.key, info["victim"].address, info["thief"].address)
        for ts, info in s.extensions["stealing"].in_flight.items()
    ]
