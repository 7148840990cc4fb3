from __future__ import annotations

import random

import pytest
from distributed.stealing import WorkStealing
from distributed.utils_test import gen_test

from dask_pools.scheduler.private.rounds import PoolView, occupancies
from dask_pools.scheduler.stealing.rounds import HOLDERS, InsideRound, Thieves
from dask_pools.scheduler.stealing.stealable import Shelf
from tests.scheduler.states import still, task, value, worker


@pytest.mark.parametrize("seed", range(10))
@gen_test()
async def test_thief_is_the_one_that_distributed_chooses_among_all(seed):
    """Among those that start the task first, and there may be several."""
    rng = random.Random(seed)  # noqa: S311 - no secrets
    async with still() as s:
        workers = [worker(s, i, "a", nthreads=rng.choice([1, 2])) for i in range(12)]
        values = [
            value(s, f"value-{i}", rng.choice([10, 10**7, 10**9]), *rng.sample(workers, 3))
            for i in range(10)
        ]
        for i in range(rng.randint(0, 30)):
            task(
                s, f"kind{rng.randint(0, 3)}-{i}", rng.choice(workers), seconds=rng.uniform(0.1, 5)
            )
        tasks = [
            task(s, f"x-{i}", workers[0], *rng.sample(values, rng.randint(0, 3)), seconds=1)
            for i in range(20)
        ]
        idle = set(rng.sample(workers[1:], 8))
        stealing = s.extensions["stealing"]
        stealing.carries = lambda _: False
        known = occupancies(s, workers)
        view = PoolView(s, known)
        view.idle = {ws.address: ws for ws in sorted(idle, key=lambda ws: ws.address)}
        round_ = InsideRound(stealing, view, Shelf(15), "a", None)
        for ts in tasks:
            chosen = round_.thief(ts, idle, known)
            best = WorkStealing._get_thief(stealing, view, ts, idle, occupancies=known)
            assert chosen in idle
            assert stealing.stealing_objective(
                ts, chosen, occupancies=known
            ) == stealing.stealing_objective(ts, best, occupancies=known)
            # It gets the task, and has more to do when the next one is looked at.
            stealing.move_task_request(ts, workers[0], chosen)
            if rng.random() < 0.2 and len(idle) > 1:
                idle.discard(chosen)


@gen_test()
async def test_value_that_everybody_holds_does_not_make_everybody_a_candidate():
    async with still() as s:
        workers = [worker(s, i, "a") for i in range(4 * HOLDERS)]
        data = value(s, "data", 100, *workers)
        ts = task(s, "x-0", workers[-1], data)
        found = Thieves(workers, lambda ws: float(ws.name)).candidates(ts, set(workers))
        assert set(found) == set(workers[:HOLDERS])


@gen_test()
async def test_without_thieves_nobody_is_a_candidate():
    async with still() as s:
        a, b = worker(s, 0, "a"), worker(s, 1, "a")
        ts = task(s, "x-0", a, value(s, "data", 100, b))
        assert Thieves([b], lambda _: 0.0).candidates(ts, set()) == []
