"""Workers that exist on the scheduler only, to see what it decides: no process, no messages."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dask._task_spec import Task
from distributed.core import Status
from distributed.scheduler import ClientState, WorkerState


class Silence:
    """Takes messages to a worker or a client, and sends none."""

    def send(self, *messages: object) -> None: ...
    def abort(self) -> None: ...
    def closed(self) -> bool:
        return True


def nothing() -> None:
    """Do what imagined tasks do."""


class Imagined:
    """Imagined workers, a client of theirs, and what they do.

    Addresses are the same for every scheduler, so that two of them can be compared.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.client = ClientState("imagined")
        scheduler.clients["imagined"] = self.client
        scheduler.client_comms["imagined"] = Silence()

    def add_worker(self, resources: Mapping[str, float], nthreads: int = 1) -> WorkerState:
        s = self.scheduler
        address = f"tcp://127.0.0.1:{10_000 + len(s.workers)}"
        ws = WorkerState(
            address=address,
            status=Status.running,
            pid=0,
            name=address,
            nthreads=nthreads,
            memory_limit=0,
            local_directory="",
            services={},
            versions={},
            nanny=None,
            extra={},
            server_id=address,
            scheduler=s,
        )
        s.workers[address] = ws
        s.running.add(ws)
        s.aliases[address] = address
        s.total_nthreads += nthreads
        s.stream_comms[address] = Silence()
        if stealing := s.extensions.get("stealing"):
            stealing.add_worker(s, address)
        s.add_resources(address, dict(resources))
        s.check_idle_saturated(ws)
        return ws

    def add_task(
        self,
        key: str,
        dependencies: Collection[str] = (),
        *,
        priority: float,
        wanted: bool = True,
        **attributes: Any,
    ) -> Any:
        ts = self.scheduler.new_task(key, Task(key, nothing), "released")
        ts.priority = (0, 1, priority)
        for name in dependencies:
            ts.add_dependency(self.scheduler.tasks[name])
        if wanted:
            ts.who_wants = {self.client}
            self.client.wants_what.add(ts)
        for name, value in attributes.items():
            setattr(ts, name, value)
        return ts

    def submit(self, tasks: Collection[Any]) -> None:
        """Let all tasks that can be sent be sent, the best priority first."""
        order = sorted(tasks, key=lambda ts: ts.priority, reverse=True)
        self.scheduler.transitions({ts.key: "waiting" for ts in order}, "submit")

    def finish(self, ts: Any, nbytes: int = 1) -> None:
        """Let the worker of a task report its value."""
        self.scheduler.handle_task_finished(
            key=ts.key,
            worker=ts.processing_on.address,
            stimulus_id="finish",
            run_id=ts.run_id,
            nbytes=nbytes,
            type=b"",
            typename="int",
            startstops=[{"action": "compute", "start": 0.0, "stop": 0.5}],
            metadata={},
            thread=0,
            status="OK",
        )

    def remove(self) -> None:
        """Leave the scheduler as it was before."""
        s = self.scheduler
        s.client_releases_keys([ts.key for ts in self.client.wants_what], "imagined")
        for address, ws in list(s.workers.items()):
            s.remove_resources(address)
            for name in (s.workers, s.aliases, s.stream_comms, s.idle):
                name.pop(address, None)
            for workers in (s.running, s.idle_task_count, s.saturated):
                workers.discard(ws)
        s.total_nthreads = 0
        del s.clients["imagined"], s.client_comms["imagined"]


@contextlib.contextmanager
def imagine(scheduler: Any) -> Iterator[Imagined]:
    """Imagine workers on a scheduler that has none."""
    imagined = Imagined(scheduler)
    try:
        yield imagined
    finally:
        imagined.remove()
