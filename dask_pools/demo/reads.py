"""Watch on the scheduler where data is read, whoever decided it.

A task reads if its definition holds an open file or store of a pool's data, or if it takes
one from a task that is nothing but such a literal (xarray makes one per variable).
What counts is the worker where the task ran, whether it succeeded or failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from dask.typing import Key
from distributed import Client, Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps
from distributed.scheduler import TaskState

from dask_pools.graph import adapter
from dask_pools.model import TRANSFER, pools_of_resources


@dataclass(frozen=True, slots=True, order=True)
class Read:
    """One task that read data.

    Parameters
    ----------
    home : str
        The pool that has the data.
    pools : tuple of str
        The pools of the worker where it was read.
    """

    home: str
    pools: tuple[str, ...]

    @property
    def astray(self) -> bool:
        """Whether it ran where the data is not."""
        return self.home not in self.pools


class ReadWatch(SchedulerPlugin):
    """Record the tasks that read data, until they are taken.

    Parameters
    ----------
    files : mapping of str to str
        For each pool the name of the file or store that holds its data. Names and not paths,
        because a pickled path is in pieces.
    """

    name = "dask-pools-demo-reads"
    idempotent = True
    #: The scheduler on which it runs; from `start` on.
    scheduler: Scheduler

    def __init__(self, files: Mapping[str, str]) -> None:
        self.marks = {pool: name.encode() for pool, name in files.items()}
        self.reads: list[Read] = []

    async def start(self, scheduler: Scheduler) -> None:
        """Remember the scheduler, which knows the tasks."""
        self.scheduler = scheduler

    def transition(
        self, key: Key, start: str, finish: str, *_: Any, worker: str | None = None, **__: Any
    ) -> None:
        """Look at each task that was run."""
        if start != "processing" or finish not in {"memory", "erred"} or worker is None:
            return
        pools = pools_of_resources(self.scheduler.workers[worker].resources)
        task = self.scheduler.tasks[key]
        self.reads += [Read(home, pools) for home in self._homes(task)]

    def take(self) -> tuple[Read, ...]:
        """Return what was recorded, and begin anew."""
        taken, self.reads = tuple(sorted(self.reads)), []
        return taken

    def _homes(self, task: TaskState) -> tuple[str, ...]:
        """Name the pools whose data a task reads."""
        if adapter.literal_nbytes(task.run_spec) is not None or TRANSFER in (
            task.annotations or {}
        ):
            return ()  # hands an open file on, and does not read it
        handed = [d.run_spec for d in task.dependencies if d.run_spec is not None]
        literals = [spec for spec in handed if adapter.literal_nbytes(spec) is not None]
        definition = b"".join(map(dumps, [task.run_spec, *literals]))
        return tuple(home for home, mark in self.marks.items() if mark in definition)


def watch_reads(client: Client, files: Mapping[str, str]) -> None:
    """Begin to watch on a client's scheduler."""
    client.register_plugin(ReadWatch(files))


def take_reads(client: Client) -> tuple[Read, ...]:
    """Return the reads since the last call."""
    reads: tuple[Read, ...] = client.run_on_scheduler(_take_on_scheduler)
    return reads


def _take_on_scheduler(dask_scheduler: Scheduler) -> tuple[Read, ...]:
    return cast(ReadWatch, dask_scheduler.plugins[ReadWatch.name]).take()
