from __future__ import annotations

from random import Random
from typing import Any

import pytest
from distributed.utils_test import gen_cluster

from tests.scheduler.recounted import Recount
from tests.scheduler.staged import Stage, Step

POOLS = ("a", "b", "c")


def random_steps(rng: Random) -> dict[str, Step]:
    """Make a computation over some pools: reads, transfers, and what is made of them."""
    steps: dict[str, Step] = {}
    pools = POOLS[: rng.choice((2, 3))]
    by_pool: dict[str | None, list[str]] = {pool: [] for pool in (*pools, None)}

    def add(name: str, pool: str | None, *needs: str, source: str | None = None) -> str:
        key = f"{name}-{len(steps)}"
        priority = rng.randrange(10) if shuffled else 0
        steps[key] = Step(pool, tuple(dict.fromkeys(needs)), source, priority)
        by_pool[pool].append(key)
        return key

    shuffled = rng.random() < 0.5
    for pool in pools:
        for _ in range(rng.randrange(1, 25)):
            add(f"read{pool}", pool)
    for _ in range(rng.randrange(5, 40)):
        kind, pool, other = rng.random(), rng.choice(pools), rng.choice(pools)
        here, there = by_pool[pool], by_pool[other]
        if kind < 0.45 and other != pool:
            carried = add("transfer", pool, rng.choice(there), source=other)
            add("join", pool, carried, *rng.sample(here, min(len(here), rng.randrange(1, 4))))
        elif kind < 0.9:
            pool_or_none = pool if rng.random() < 0.9 else None
            add("make", pool_or_none, *rng.sample(here, min(len(here), rng.randrange(1, 6))))
        else:
            add("apart", pool, rng.choice(there), rng.choice(here))
        if by_pool[None] and rng.random() < 0.5:
            add("ofunplaced", pool, rng.choice(by_pool[None]), rng.choice(here))
    return steps


class Chaos:
    """Does what workers and clients do, at random."""

    def __init__(self, stage: Stage, rng: Random) -> None:
        self.stage, self.rng = stage, rng
        #: Of a computation that has partly failed, and then loses a worker, distributed itself
        #: loses track.
        self.tasks_fail = rng.random() < 0.5
        self.seceded: set[str] = set()
        stage.after = self.check

    def check(self) -> None:
        recount = Recount(self.stage)
        recount.check()
        recount.check_alive()

    async def event(self) -> None:
        stage, rng = self.stage, self.rng
        workers = sorted(stage.scheduler.workers.values(), key=lambda ws: ws.address)
        ready = self.runnable()
        kind = rng.random()
        if kind < 0.86 and ready:
            stage.finish(rng.choice(ready), rng.randrange(1, 200))
        elif kind < 0.88 and ready and self.tasks_fail:
            stage.fail(rng.choice(ready))
        elif kind < 0.9 and (ready := [key for key in ready if key not in self.seceded]):
            self.seceded.add(key := rng.choice(ready))
            stage.secede(key)
        elif kind < 0.93 and workers:
            stage.turn(rng.choice(workers), rng.choice(("paused", "running")))
        elif kind < 0.95 and workers and not self.tasks_fail:
            await stage.leave(rng.choice(workers))
        elif kind < 0.96 and (wanted := self.wanted()):
            await self.give_up(rng.choice(wanted))
        else:
            stage.join(rng.choice(POOLS), nthreads=rng.choice((1, 2)), memory=1000)

    def runnable(self) -> list[str]:
        tasks = self.stage.scheduler.tasks
        running = self.stage.scheduler.running
        return [k for k in self.stage.processing() if tasks[k].processing_on in running]

    def wanted(self) -> list[str]:
        """Return what a client can lose; whether it wants a value is asked when that waits."""
        tasks = self.stage.scheduler.tasks
        return [
            k for k in sorted(self.stage.futures) if not (tasks[k].who_has and tasks[k].waiters)
        ]

    async def give_up(self, key: str) -> None:
        """Let the client lose a result."""
        self.stage.futures.pop(key)
        self.stage.scheduler.client_releases_keys(
            keys=[key], client=self.stage.client.id, stimulus_id=self.stage.stimulus()
        )
        self.stage.serve()

    async def calm_down(self) -> None:
        """Let everything finish."""
        stage = self.stage
        for pool in POOLS:
            stage.join(pool)
        for ws in list(stage.scheduler.workers.values()):
            stage.turn(ws, "running")
        while ready := self.runnable():
            stage.finish(self.rng.choice(ready), 50)


@pytest.mark.parametrize("seed", range(40))
def test_counting_step_by_step_agrees_with_counting_anew(seed: int) -> None:
    """And something always goes on, whatever workers and clients do."""

    @gen_cluster(client=True, nthreads=[], config={"distributed.scheduler.allowed-failures": 1000})
    async def run(c: Any, s: Any) -> None:
        rng = Random(seed)  # noqa: S311
        stage = Stage(c, s, share=rng.choice((0.02, 0.1, 0.3)), saturation=rng.choice((1, 1.5)))
        for pool in POOLS:
            stage.join(pool, nthreads=rng.choice((1, 2)))
        chaos = Chaos(stage, rng)
        for i in range(rng.choice((1, 2))):
            steps = {f"{key}-{i}": renamed(it, i) for key, it in random_steps(rng).items()}
            used = {need for it in steps.values() for need in it.needs}
            wanted = [key for key in steps if key not in used or rng.random() < 0.05]
            await stage.submit(steps, wanted)
        for _ in range(rng.randrange(10, 150)):
            await chaos.event()
        await chaos.calm_down()
        unfinished = {k: stage.state(k) for k in stage.futures}
        assert set(unfinished.values()) <= {"memory", "erred"}, unfinished
        for key in sorted(stage.futures):
            await chaos.give_up(key)
        assert not s.tasks
        assert not stage.pressure.abroad._foreign
        assert not stage.pressure.abroad._waits_for
        assert not stage.pressure.motion._processing
        assert not stage.pressure._queued

    run()


def renamed(it: Step, i: int) -> Step:
    return Step(it.pool, tuple(f"{need}-{i}" for need in it.needs), it.source, it.priority)
