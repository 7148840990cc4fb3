"""Workers of several pools in this process, which come, go, die, pause and resume by chance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from random import Random

from distributed import Scheduler, Worker
from distributed.core import Status

from dask_pools.model import pool_resource

#: More would only make a run slower.
MOST = 3


class Churn:
    """The workers of some pools; their names are ``<pool>-<number>``.

    Parameters
    ----------
    scheduler : Scheduler
        A scheduler of this event loop.
    pools : tuple of str
        The names of the pools.
    random : Random
        Chooses.
    """

    def __init__(self, scheduler: Scheduler, pools: tuple[str, ...], random: Random) -> None:
        self.scheduler = scheduler
        self.random = random
        self.workers: dict[str, list[Worker]] = {pool: [] for pool in pools}
        self.losses: Counter[str] = Counter()
        self.started = 0
        self.leaving: list[asyncio.Task[object]] = []

    def __iter__(self) -> Iterator[Worker]:
        return (worker for workers in self.workers.values() for worker in workers)

    def pool(self) -> str:
        """Choose a pool."""
        return self.random.choice(list(self.workers))

    def emptied(self, pool: str) -> int:
        """Say how often a pool has lost its last worker; -1 if it has none now."""
        return self.losses[pool] if self.workers[pool] else -1

    async def grow(self, pool: str) -> None:
        """Start a worker, unless there are enough."""
        if len(self.workers[pool]) < MOST:
            self.started += 1
            self.workers[pool].append(
                await Worker(
                    self.scheduler.address,
                    name=f"{pool}-{self.started}",
                    nthreads=2,
                    resources={pool_resource(pool): 1},
                    memory_limit=0,
                    validate=self.scheduler.validate,
                )
            )

    def _take(self, pool: str) -> Worker:
        workers = self.workers[pool]
        worker = workers.pop(self.random.randrange(len(workers)))
        if not workers:
            self.losses[pool] += 1
        return worker

    async def kill(self, pool: str) -> None:
        """Break the connection of a worker, as its death would; the last one's as well."""
        if self.workers[pool]:
            worker = self._take(pool)
            worker.batched_stream.abort()
            self._leave(worker.close(timeout=1, executor_wait=False, nanny=False))

    async def retire(self, pool: str) -> None:
        """Have a worker hand its values over and leave, unless it is the last one that runs."""
        running = [w for w in self.workers[pool] if w.status is Status.running]
        if len(running) > 1:
            worker = self.random.choice(running)
            self.workers[pool].remove(worker)
            # By this name P2P tells which shuffles to start again: no two may be the same.
            stimulus = f"retire-{worker.name}"
            retiring = self.scheduler.retire_workers(
                workers=[worker.address], stimulus_id=stimulus, close_workers=False
            )
            self._leave(self._close_after(retiring, worker))

    async def _close_after(self, retiring: object, worker: Worker) -> None:
        await retiring  # type: ignore[misc]
        await worker.close(timeout=1, executor_wait=False, nanny=False)

    def _leave(self, leaving: object) -> None:
        self.leaving.append(asyncio.ensure_future(leaving))  # type: ignore[call-overload]

    async def pause(self, pool: str) -> None:
        """Have a worker take no more tasks."""
        if self.workers[pool]:
            self.random.choice(self.workers[pool]).status = Status.paused

    async def resume(self, pool: str) -> None:
        """Have all workers of a pool take tasks again."""
        for worker in self.workers[pool]:
            if worker.status is Status.paused:
                worker.status = Status.running

    async def restore(self) -> None:
        """Have a running worker in each pool, at least, and all others run."""
        for pool in self.workers:
            await self.resume(pool)
            if not self.workers[pool]:
                await self.grow(pool)

    async def left(self) -> None:
        """Wait for those who are leaving."""
        await asyncio.gather(*self.leaving)

    async def close(self) -> None:
        """Close everything, whatever state it is in."""
        for task in self.leaving:
            task.cancel()
        await asyncio.gather(*self.leaving, return_exceptions=True)
        for worker in list(self):
            await worker.close(timeout=1, executor_wait=False, nanny=False)
