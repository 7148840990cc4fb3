"""A scheduler whose workers exist in its books only: the test says what they do, and when.

Nothing runs and nothing waits, so that thousands of events in any order take a second.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from distributed import SchedulerPlugin
from distributed.core import Status
from distributed.scheduler import WorkerState
from distributed.utils_test import async_poll_for

from dask_pools.model import TRANSFER, pool_resource, restriction
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.pressure.pressure import Pressure
from dask_pools.scheduler.queues.queuing import Queuing
from dask_pools.scheduler.queues.slots import Slots
from dask_pools.scheduler.roster import Roster

NOTHING = pickle.dumps(bytes)


@dataclass(frozen=True, slots=True)
class Step:
    """A task of a staged computation.

    Parameters
    ----------
    pool : str or None
        To which it is bound.
    needs : tuple of str
        Keys of its inputs.
    source : str, optional
        The pool from which it carries its input, if it is a transfer.
    priority : int
        Larger ones come first.
    """

    pool: str | None
    needs: tuple[str, ...] = ()
    source: str | None = None
    priority: int = 0


def step(*needs: object) -> None:
    """Stand for what a task does; never called."""


def annotations(pool: str | None, source: str | None, priority: int) -> dict[str, Any]:
    """Annotate steps as our optimiser and scheduler do."""
    bound = {} if pool is None else {"resources": restriction(pool)}
    transfer = {} if source is None else {TRANSFER: (source, pool)}
    return {"priority": priority, **bound, **transfer}


class Silent:
    """A connection to a worker which is not there."""

    def send(self, *messages: object) -> None:
        """Forget what was to be sent."""

    def closed(self) -> bool:
        """Say that nobody has to close it."""
        return True


class Stage(SchedulerPlugin):
    """A scheduler with queues and back-pressure, and workers by name only."""

    name = "staged"

    def __init__(
        self, client: Any, scheduler: Any, share: float = 0.3, saturation: float = 1.0
    ) -> None:
        self.client, self.scheduler = client, scheduler
        self.roster = Roster(scheduler, Membership())
        self.queuing = Queuing(scheduler, self.roster, Slots(self.roster, lambda _: saturation))
        self.woken: list[str] = []
        self.pressure = self.queuing.pressure = Pressure(scheduler, self.roster, share, self._wake)
        self.roster.watch()
        self.queuing.install()
        self.end = self.pressure.install()
        self.count = itertools.count()
        self.errors: list[Exception] = []
        #: The futures of all submissions, by key.
        self.futures: dict[str, Any] = {}
        #: Called after each event, when all that follows from it has been done.
        self.after: Callable[[], None] = lambda: None
        scheduler.add_plugin(self, name=self.name)

    def _wake(self, pool: str) -> None:
        self.woken.append(pool)
        self.queuing.touch(pool)

    def transition(
        self, key: Any, start: str, finish: str, *_: Any, stimulus_id: str, **__: Any
    ) -> None:
        ts = self.scheduler.tasks[key]
        try:
            self.queuing.slots.transitioned(ts, start, finish, stimulus_id)
            self.pressure.transitioned(ts, start, finish, stimulus_id)
        except Exception as error:
            self.errors.append(error)  # distributed swallows what a plugin raises
            raise

    def stimulus(self) -> str:
        return f"staged-{next(self.count)}"

    def serve(self) -> None:
        self.scheduler.stimulus_queue_slots_maybe_opened(stimulus_id=self.stimulus())
        assert not self.errors, self.errors
        self.after()

    # Workers

    def join(self, *pools: str, nthreads: int = 1, memory: int = 1000) -> WorkerState:
        s, number = self.scheduler, next(self.count)
        address = f"tcp://127.0.0.1:{number + 1}"
        ws = WorkerState(
            address=address, status=Status.running, pid=0, name=address, nthreads=nthreads,
            memory_limit=memory, local_directory="", nanny="", server_id=address, services={},
            versions={}, extra={}, scheduler=s,
        )  # fmt: skip
        s.workers[address] = ws
        s.running.add(ws)
        s._refresh_no_workers_since()
        host = s.host_info.setdefault("127.0.0.1", {})
        host.setdefault("addresses", set()).add(address)
        host["nthreads"] = host.get("nthreads", 0) + nthreads
        s.total_memory += memory
        s.total_nthreads += nthreads
        s.aliases[address] = address
        s.add_resources(worker=address, resources={pool_resource(pool): 1 for pool in pools})
        s.check_idle_saturated(ws)
        s.stream_comms[address] = Silent()
        s.extensions["stealing"].add_worker(scheduler=s, worker=address)
        stimulus_id = self.stimulus()
        s.transitions(s.bulk_schedule_unrunnable_after_adding_worker(ws), stimulus_id)
        self.serve()
        return ws

    async def leave(self, ws: WorkerState) -> None:
        await self.scheduler.remove_worker(
            ws.address, stimulus_id=self.stimulus(), close=False, expected=True
        )
        self.serve()

    def turn(self, ws: WorkerState, status: str) -> None:
        self.scheduler.handle_worker_status_change(status, ws, self.stimulus())
        self.serve()

    # Tasks

    async def submit(self, steps: Mapping[str, Step], wanted: Iterable[str]) -> list[Any]:
        known = {name: future for name, future in self.futures.items() if name not in steps}
        layers: dict[tuple[Any, ...], dict[str, Any]] = {}
        for key, it in steps.items():
            kind = (it.pool, it.source, it.priority)
            needs = [known.get(need, need) for need in it.needs]
            layers.setdefault(kind, {})[key] = (step, *needs)
        graph = HighLevelGraph(
            {
                str(kind): MaterializedLayer(tasks, annotations=annotations(*kind))
                for kind, tasks in layers.items()
            },
            # Nothing here passes over layers.
            {str(kind): set() for kind in layers},
        )
        keys = list(wanted)
        futures = self.client.get(graph, keys, sync=False)
        tasks = self.scheduler.tasks
        await async_poll_for(
            lambda: all(key in tasks and tasks[key].state != "released" for key in keys), 10
        )
        self.futures.update(zip(keys, futures, strict=True))
        self.serve()
        return futures

    def processing(self) -> list[str]:
        """Return the keys of all tasks that are being processed, sorted."""
        tasks = self.scheduler.tasks
        return sorted(key for key, ts in tasks.items() if ts.state == "processing")

    def state(self, key: str) -> str:
        return self.scheduler.tasks[key].state if key in self.scheduler.tasks else "forgotten"

    def finish(self, key: str, nbytes: int = 100) -> None:
        s, ts = self.scheduler, self.scheduler.tasks[key]
        s.handle_task_finished(
            key=key, worker=ts.processing_on.address, stimulus_id=self.stimulus(),
            run_id=ts.run_id, nbytes=nbytes, type=NOTHING, typename="bytes", startstops=[],
            metadata={}, thread=0,
        )  # fmt: skip
        self.serve()

    def fail(self, key: str) -> None:
        s, ts = self.scheduler, self.scheduler.tasks[key]
        s.handle_task_erred(
            key=key, worker=ts.processing_on.address, stimulus_id=self.stimulus(),
            run_id=ts.run_id, exception=None, traceback=None, exception_text="",
            traceback_text="",
        )  # fmt: skip
        self.serve()

    def secede(self, key: str) -> None:
        ts = self.scheduler.tasks[key]
        self.scheduler.stream_handlers["long-running"](
            key=key, worker=ts.processing_on.address, run_id=ts.run_id, compute_duration=None,
            stimulus_id=self.stimulus(),
        )  # fmt: skip
        self.serve()
