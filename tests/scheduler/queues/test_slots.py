from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import dask
from distributed import Event
from distributed.scheduler import _worker_full
from distributed.utils_test import gen_cluster
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.queues.slots import COMPARED, Slots
from dask_pools.scheduler.roster import PoolState, Roster
from tests.scheduler.imagined import imagine
from tests.scheduler.queued import TO_A, TO_B, install, states, until, work

alone = gen_cluster(nthreads=[])


@dataclass(eq=False)
class Loaded:
    """What is looked at of a worker."""

    nthreads: int
    processing: range
    long_running: tuple[()] = ()
    address: str = "x"


@given(st.floats(0.01, 10), st.integers(1, 64), st.integers(0, 100))
def test_slots_are_counted_as_in_distributed(
    saturation: float, nthreads: int, processing: int
) -> None:
    """The oracle is distributed's own count."""
    ws: Any = Loaded(nthreads, range(processing))
    pool = PoolState("a")
    pool.running.add(ws)

    class Everybody:
        def pools_of(self, ws: object) -> tuple[PoolState]:
            return (pool,)

    slots = Slots(cast(Roster, Everybody()), lambda pool: saturation)
    slots.changed["x"] = ws
    assert slots.has_room("a") is not _worker_full(ws, saturation)


@alone
async def test_least_loaded_of_those_first_in_line_is_chosen(s):
    parts = install(s, lambda pool: math.inf)
    with imagine(s) as world:
        workers = [world.add_worker(TO_A, nthreads=2) for _ in range(COMPARED)]
        blockers = [
            world.add_task(f"x{i}-{i}", priority=i, worker_restrictions={workers[i % 7].address})
            for i in range(21)
        ]
        world.submit(blockers)
        assert parts.slots.choose("a") is workers[7]
        assert parts.slots.choose("b") is None
        for ts in blockers:
            world.finish(ts)
        parts.uninstall()


@alone
async def test_all_workers_of_a_large_pool_come_to_their_turn(s):
    parts = install(s)
    with imagine(s) as world:
        workers = {world.add_worker(TO_A) for _ in range(10 * COMPARED)}
        tasks = [
            world.add_task(f"x-{i}", priority=i, resource_restrictions=TO_A)
            for i in range(30 * COMPARED)
        ]
        world.submit(tasks)
        assert {ts.processing_on for ts in tasks} == {None, *workers}
        assert len(s.queued) == 20 * COMPARED
        for ts in tasks:
            world.finish(ts)
        assert not s.queued
        parts.uninstall()


@alone
async def test_nothing_is_kept_of_workers_that_have_left(s):
    parts = install(s)
    with imagine(s) as world:
        world.add_worker(TO_A)
        world.add_worker(TO_B)
        world.add_worker({})
        assert parts.slots.has_room("a")
    assert not parts.slots.changed
    assert not any(parts.slots._lines.values())
    parts.uninstall()


@alone
async def test_pools_in_which_room_has_opened_are_told_once(s):
    roster = Roster(s, Membership())
    slots = Slots(roster, lambda pool: 1.0)
    stop = roster.watch()
    with imagine(s) as world:
        ws = world.add_worker({"pool-a": 1, "pool-b": 1})
        slots.changed[ws.address] = ws
        assert slots.opened_pools() == ["a", "b"]
        assert slots.opened_pools() == []
        slots.forget(ws, roster.pools_of(ws))
        assert not slots.has_room("a")
    stop()


@gen_cluster(client=True, nthreads=[("", 1)], worker_kwargs={"resources": {"pool-a": 1}})
async def test_nothing_is_kept_of_transfers_on_a_worker_that_is_lost(c, s, a):
    parts = install(s)
    with dask.annotate(resources=TO_A, transfer=("b", "a")):
        carrier = c.submit(work, 1, "go", key="carry")
    await until(lambda: states(s, [carrier]) == {"processing": 1})
    await s.remove_worker(a.address, stimulus_id="lost", close=False)
    await Event("go").set()
    assert states(s, [carrier]) == {"no-worker": 1}
    assert not parts.slots._carries
    assert not parts.slots._carried_by
    assert not parts.slots.changed
