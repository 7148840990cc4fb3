"""One round of work stealing.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.rounds`, and nothing else.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from distributed.scheduler import SchedulerState
from distributed.stealing import WorkStealing
from distributed.utils_test import gen_test

from dask_pools.scheduler.private.rounds import (
    VAIN_LOOKS,
    OrderedWorkers,
    PoolView,
    Round,
    occupancies,
)
from tests.scheduler.private.release import RELEASE, parameters
from tests.scheduler.states import refresh, still, task, value, worker


class First(Round):
    """Has the first of the thieves steal everything; notes what it was asked."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: list[Any] = []
        self.none = False

    def thief(self, ts: Any, thieves: set[Any], occupancies: dict[Any, float]) -> Any:
        self.asked.append((ts, set(thieves), occupancies))
        return None if self.none else min(thieves, key=lambda ws: ws.address)


@gen_test()
async def test_occupancies_are_those_of_distributed():
    async with still() as s:
        workers = [worker(s, i, nthreads=i + 1) for i in range(3)]
        data = value(s, "data", 10**9, workers[0])
        for i in range(12):
            task(s, f"kind{i % 4}-{i}", workers[i % 2], *([data] if i % 3 else []), seconds=i + 1)
        s.task_prefixes["kind3"].duration_average = -1  # unknown
        found = occupancies(s, workers)
        for ws in workers:
            assert found[ws] == pytest.approx(ws.occupancy), (
                f"{RELEASE} has changed how it adds up the occupancy of a worker"
            )
        assert sum(found.values()) == pytest.approx(s.total_occupancy)
        assert list(found) == workers


@gen_test()
async def test_pool_view_judges_workers_as_distributed_would_if_there_were_no_others():
    async with still() as s:
        members = [worker(s, i, "a", nthreads=1 + i % 2) for i in range(6)]
        for i, ws in enumerate(members):
            for j in range(i * i):
                task(s, f"kind{i}-{j}", ws, seconds=1)
        refresh(s)
        idle, saturated = set(s.idle.values()), set(s.saturated)
        assert idle
        assert saturated
        for i in range(20):
            task(s, f"long-{i}", worker(s, 100 + i, "b"), seconds=10_000)
        refresh(s)
        assert set(s.idle.values()) != idle
        view = PoolView(s, occupancies(s, members))
        assert view.find_idle(s.running)
        view.find_saturated()
        message = f"{RELEASE} judges by something else whether a worker is idle or saturated"
        assert set(view.idle.values()) == idle, message
        assert set(view.saturated) == saturated, message
        assert view.WORKER_SATURATION == s.WORKER_SATURATION
        view.look_at(members, view.occupancy)
        assert set(view.workers.values()) == idle | saturated


@gen_test()
async def test_paused_worker_is_not_idle():
    async with still() as s:
        members = [worker(s, i, "a") for i in range(3)]
        view = PoolView(s, occupancies(s, members))
        assert not view.find_idle(s.running)  # all are, which is as good as none
        task(s, "x-0", members[0])
        assert view.find_idle(s.running - {members[1]})
        assert list(view.idle.values()) == [members[2]]


@gen_test()
async def test_round_is_run_by_distributed_on_what_it_is_given():
    async with still() as s:
        a1, a2, a3 = (worker(s, i, "a") for i in range(3))
        worker(s, 3, "b")
        tasks = [task(s, f"x-{i}", a1, seconds=1) for i in range(20)]
        task(s, "y-0", a2, seconds=20)
        refresh(s)
        stock = s.extensions["stealing"]
        view = PoolView(s, occupancies(s, [a1, a2, a3]))
        view.find_idle(s.running)
        view.find_saturated()
        view.look_at([a1, a2, a3], view.occupancy)
        offered = tuple({tasks[0], tasks[1]} if i == 0 else set() for i in range(15))
        nothing: tuple[set[Any], ...] = tuple(set() for _ in range(15))
        round_ = First(
            stock, view, {ws.address: nothing for ws in (a2, a3)} | {a1.address: offered}
        )
        round_.run()
        message = f"{RELEASE} balances by something else than what a Round replaces"
        assert {ts for ts, *_ in round_.asked} == {tasks[0], tasks[1]}, message
        assert all(thieves == {a3} for _, thieves, _ in round_.asked), message
        assert {(ts, info["thief"]) for ts, info in stock.in_flight.items()} == {
            (tasks[0], a3),
            (tasks[1], a3),
        }, message
        assert stock.count == 1, message
        assert stock.in_flight_occupancy[a3] == 2, message


@gen_test()
async def test_round_that_finds_nothing_ends():
    async with still() as s:
        a1, a2 = (worker(s, i, "a") for i in range(2))
        tasks = {task(s, f"x-{i}", a1, seconds=1) for i in range(2 * VAIN_LOOKS)}
        view = PoolView(s, occupancies(s, [a1, a2]))
        view.find_idle(s.running)
        view.look_at([a1], view.occupancy)
        offered = {a1.address: tuple(tasks if i == 0 else set() for i in range(15))}
        round_ = First(s.extensions["stealing"], view, offered)
        round_.none = True
        round_.run()
        assert len(round_.asked) == VAIN_LOOKS, (
            f"{RELEASE} no longer ends a round when no thief is left"
        )


def test_balancing_looks_at_nothing_that_a_round_does_not_have():
    source = inspect.getsource(WorkStealing.balance)
    of_stealing = set(re.findall(r"self\.(\w+)", source))
    known = {
        "_combined_nprocessing",
        "_combined_occupancy",
        "_get_thief",
        "cost_multipliers",
        "count",
        "key_stealable",
        "log",
        "metrics",
        "move_task_request",
        "scheduler",
        "stealable",
    }
    assert of_stealing == known, f"{RELEASE} balances by other means: {of_stealing ^ known}"
    of_scheduler = set(re.findall(r"(?:self\.scheduler|\bs)\.(\w+)", source))
    known = {
        "_get_prefix_duration",
        "check_idle_saturated",
        "digests",
        "get_comm_cost",
        "idle",
        "is_unoccupied",
        "saturated",
        "workers",
    }
    assert of_scheduler == known, f"{RELEASE} balances by other means: {of_scheduler ^ known}"


def test_idleness_is_judged_by_what_a_view_has():
    found = {
        name
        for method in (SchedulerState.check_idle_saturated, SchedulerState.is_unoccupied)
        for name in re.findall(r"self\.(\w+)", inspect.getsource(method))
    }
    known = {
        "WORKER_SATURATION",
        "idle",
        "idle_task_count",
        "is_unoccupied",
        "saturated",
        "total_nthreads",
        "total_occupancy",
    }
    assert found == known, f"{RELEASE} judges workers by other means: {found ^ known}"
    assert parameters(SchedulerState.check_idle_saturated) == {"self", "ws", "occ"}
    assert parameters(SchedulerState.is_unoccupied) == {"self", "ws", "occupancy", "nprocessing"}


def test_ordered_workers_are_a_set_with_an_order():
    workers = OrderedWorkers.fromkeys("cab")
    workers.add("d")
    workers.add("a")
    workers.discard("c")
    workers.discard("c")
    assert list(workers) == ["a", "b", "d"]
