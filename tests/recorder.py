"""What a scheduler saw of a computation: where each task ran, and what crossed between pools."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from dask.typing import Key
from distributed import Client, Scheduler, SchedulerPlugin
from distributed.utils_test import async_poll_for

from dask_pools.model import PIN, PLACEMENT, TRANSFER, Link, pools_of_resources
from dask_pools.scheduler.telemetry import crossings
from tests.placed import check_annotations


@dataclass(frozen=True)
class Run:
    """One task that ran: where, what it needed, and how it was annotated."""

    key: Key
    pools: tuple[str, ...]
    needs: frozenset[Key]
    annotations: dict[str, Any]


class Recorder(SchedulerPlugin):
    """Keeps what ran on a scheduler of this process, until it is asked to check it."""

    name = "recorder"

    def __init__(self, client: Client, scheduler: Scheduler) -> None:
        self.client = client
        self.scheduler = scheduler
        self.runs: list[Run] = []
        self.crossed: Counter[tuple[Key, Link]] = Counter()

    def transition(self, key: Key, start: str, finish: str, *_: Any, **more: Any) -> None:
        if (start, finish) == ("processing", "memory"):
            worker = self.scheduler.workers[more["worker"]]
            ts = self.scheduler.tasks[key]
            needs = frozenset(dts.key for dts in ts.dependencies)
            annotations = dict(ts.annotations or {})
            if TRANSFER in annotations:
                annotations.pop(PIN, None)  # Dask adds that of the whole computation
            self.runs.append(Run(key, pools_of_resources(worker.resources), needs, annotations))

    def check(self) -> None:
        """Check all that ran since the last time, once the scheduler has forgotten it."""
        self.client.sync(self._idle)
        runs, self.runs = self.runs, []
        before = self.crossed
        self.crossed = Counter((c.key, c.link) for c in crossings(self.client))
        for run in runs:
            check_annotations(run.annotations)
            if PLACEMENT in run.annotations:
                assert run.pools == (run.annotations[PLACEMENT],), run
            if run.annotations.get(PIN):
                assert set(run.pools) <= set(run.annotations[PIN]), run
        now = self.crossed - before
        # xarray computes what it has to compare while a computation is built: the same keys run in
        # several computations, and in some of them nothing is in need of a place.
        ran = Counter(run.key for run in runs)
        placed = Counter((run.key, run.pools) for run in runs if PLACEMENT in run.annotations)
        # What is in no need of a place may cross as it likes.
        home = {key: pools for (key, pools), n in placed.items() if n == ran[key]}
        assert all(n <= ran[key] for (key, _), n in now.items() if key in home), now
        carried = {
            (key, Link(*run.annotations[TRANSFER]))
            for run in runs
            if TRANSFER in run.annotations
            for key in run.needs
        }
        # A worker at home may take a copy that was carried elsewhere: it crosses back.
        left = {(key, link) for key, link in now if home.get(key) == (link.source,)}
        assert left <= carried, left - carried

    async def _idle(self) -> None:
        await async_poll_for(lambda: not self.scheduler.tasks, timeout=60)
