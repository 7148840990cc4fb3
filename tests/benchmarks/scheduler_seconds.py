"""The time of the scheduler itself, with workers that exist in its books only.

Time is that of the processor. The tasks are reads, of two pools or of none, with one task each
that reduces it; ways are measured in turn on new schedulers, and the best of a few runs counts.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import dask
from dask._task_spec import Alias, Task
from distributed import Scheduler, SchedulerPlugin
from distributed.compatibility import asyncio_run
from distributed.config import get_loop_factory

from dask_pools.model import PIN, pool_resource, restriction
from dask_pools.scheduler.plugin import PoolsPlugin
from tests.benchmarks.table import print_table
from tests.scheduler.imagined import Imagined

WORKERS = (10, 100, 1000)
POOLS = ("a", "b")
RUNS = 3
#: Reads of a run, and tasks in a full pool.
READS, FULL = 5000, 50_000

#: By name: whether tasks are pinned, and whether the plugin is there.
WAYS = {
    "stock, nothing pinned": (False, False),
    "stock, pinned": (True, False),
    "dask_pools, nothing pinned": (False, True),
    "dask_pools, pinned": (True, True),
}


class Sent(SchedulerPlugin):
    """Lists the tasks that are sent to workers, in this order."""

    name = "sent"

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.tasks: deque[Any] = deque()

    def transition(self, key: Any, start: str, finish: str, *_: Any, **more: Any) -> None:
        if finish == "processing":
            self.tasks.append(self.scheduler.tasks[key])


class Imaginary:
    """A scheduler with imagined workers, half of them in each pool."""

    def __init__(self, scheduler: Scheduler, workers: int) -> None:
        self.scheduler = scheduler
        self.imagined = Imagined(scheduler)
        for i in range(workers):
            self.imagined.add_worker({pool_resource(POOLS[i % 2]): 1})
        self.sent = Sent(scheduler)
        scheduler.add_plugin(self.sent)
        # The first round of stealing, which would come a moment later, has seen the workers.
        scheduler.extensions["stealing"].balance()

    def submit(self, tasks: dict[Any, Any], wanted: set[Any], pins: dict[Any, str]) -> float:
        """Submit a graph; return the seconds of making its states and sending what can be."""
        annotations: dict[str, dict[Any, Any]] = {}
        if pins:
            annotations[PIN] = {key: (name,) for key, name in pins.items()}
            annotations["resources"] = {key: restriction(name) for key, name in pins.items()}
        order = {key: i for i, key in enumerate(tasks)}
        start = time.process_time()
        self.scheduler._create_taskstate_from_graph(
            start=time.time(),
            dsk=tasks,
            keys=wanted,
            ordered=order,
            client="imagined",
            annotations_by_type=annotations,
            global_annotations=None,
            stimulus_id="submit",
            submitting_task=None,
            user_priority=0,
            actors=None,
            fifo_timeout=0.0,
            code=(),
            span_metadata={"collections": []},
        )
        return time.process_time() - start

    def finish(self) -> float:
        """Finish everything in the order in which it was sent; return the seconds."""
        sent, finish = self.sent.tasks, self.imagined.finish
        start = time.process_time()
        while sent:
            ts = sent.popleft()
            if ts.state == "processing":
                finish(ts)
        return time.process_time() - start


def nothing(*_: Any) -> None: ...


def reads(number: int, *, pinned: bool) -> tuple[dict[Any, Any], set[Any], dict[Any, str]]:
    """Make reads and what reduces them; returns the tasks, those wanted, and the pins."""
    tasks: dict[Any, Any] = {}
    pins: dict[Any, str] = {}
    for i in range(number):
        name = POOLS[i % 2]
        read, reduced = (f"read-{name}", i), (f"reduce-{name}", i)
        tasks[read] = Task(read, nothing)
        tasks[reduced] = Task(reduced, nothing, Alias(read).ref())
        if pinned:
            pins[read] = pins[reduced] = name
    return tasks, {key for key in tasks if key[0].startswith("reduce")}, pins


def on_scheduler(workers: int, ours: bool, measure: Callable[[Imaginary, PoolsPlugin], Any]) -> Any:
    """Start a scheduler with imagined workers, with the plugin or without, and measure there."""

    async def run() -> Any:
        quiet = {
            "distributed.scheduler.work-stealing-interval": "1 hour",
            "distributed.scheduler.active-memory-manager.start": False,
        }
        options = {"host": "127.0.0.1", "port": 0, "dashboard": False}
        with dask.config.set(quiet):
            async with Scheduler(**options, dashboard_address="127.0.0.1:0") as scheduler:
                plugin = PoolsPlugin()
                if ours:
                    plugin.attach(scheduler)
                imaginary = Imaginary(scheduler, workers)
                try:
                    return measure(imaginary, plugin)
                finally:
                    scheduler.stream_comms.clear()  # nobody is there to say goodbye to
                    scheduler.client_comms.clear()

    return asyncio_run(run(), loop_factory=get_loop_factory())


def per_task(way: str, workers: int, number: int) -> tuple[float, float]:
    """Measure microseconds per task to submit and to finish, once."""
    pinned, ours = WAYS[way]
    graph = reads(number, pinned=pinned)

    def measure(imaginary: Imaginary, _: PoolsPlugin) -> tuple[float, float]:
        # What was made before is not looked through again and again meanwhile.
        gc.collect()
        gc.freeze()
        submitted = imaginary.submit(*graph)
        finished = imaginary.finish()
        left = [ts for ts in imaginary.scheduler.tasks.values() if ts.state != "memory"]
        waiting = sum(ts.state != "released" for ts in left)
        if waiting:
            raise RuntimeError(f"{waiting} of {2 * number} tasks have not run: {left[:3]}")
        gc.unfreeze()
        return tuple(seconds / (2 * number) * 1e6 for seconds in (submitted, finished))

    return on_scheduler(workers, ours, measure)


def tasks(scale: float) -> None:
    """Print microseconds per task."""
    rows = []
    number = max(int(READS * scale), 1)
    for workers in WORKERS:
        runs = {way: [per_task(way, workers, number) for _ in range(RUNS)] for way in WAYS}
        best = {way: [min(c) for c in zip(*runs[way], strict=True)] for way in WAYS}
        first = best["stock, nothing pinned"]
        for way, (submit, finish) in best.items():
            shares = (f"{n / stock:.2f}" for n, stock in zip((submit, finish), first, strict=True))
            rows.append([way, f"{workers:,}", f"{submit:.0f}", f"{finish:.0f}", *shares])
    heads = ("way", "workers", "submit, µs", "finish, µs", "submit / stock", "finish / stock")
    print_table(heads, rows)


def round_of(imaginary: Imaginary) -> float:
    """Measure a round of work stealing, in seconds."""
    balance = imaginary.scheduler.periodic_callbacks["stealing"].callback
    start = time.process_time()
    balance()
    return time.process_time() - start


def rounds(workers: int, number: int) -> dict[str, float]:
    """Measure rounds of work stealing on the same tasks, with the plugin and then without.

    All tasks are in one pool, and the workers of the other one have nothing to do.
    """
    keys = [("work", i) for i in range(number)]

    def measure(imaginary: Imaginary, plugin: PoolsPlugin) -> dict[str, float]:
        dsk = {key: Task(key, nothing) for key in keys}
        imaginary.submit(dsk, set(keys), dict.fromkeys(keys, "a"))
        sent = len(imaginary.sent.tasks)
        if sent != number:
            raise RuntimeError(f"{sent} of {number} tasks have been sent to workers")
        ours = min(round_of(imaginary) for _ in range(RUNS))
        plugin.detach()
        return {"dask_pools": ours, "stock": min(round_of(imaginary) for _ in range(RUNS))}

    # Nothing is held back, and all seems worth stealing.
    with dask.config.set(
        {
            "dask_pools.saturation": float("inf"),
            "distributed.scheduler.worker-saturation": float("inf"),
            "distributed.scheduler.default-task-durations": {"work": "1s"},
        }
    ):
        return on_scheduler(workers, True, measure)


def balance(scale: float) -> None:
    """Print milliseconds of a round of work stealing."""
    number = max(int(FULL * scale), 1)
    rows = []
    for workers in WORKERS:
        found = rounds(workers, number)
        rows.append(
            [f"{workers:,}", *(f"{found[way] * 1e3:.2f}" for way in ("stock", "dask_pools"))]
        )
    print_table([f"workers, {number:,} pinned tasks", "stock, ms", "dask_pools, ms"], rows)
