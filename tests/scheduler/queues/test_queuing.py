from __future__ import annotations

import os
import random
import signal
from typing import Any

import dask
import pytest
from distributed import Event, Nanny, Worker, wait
from distributed.collections import HeapSet
from distributed.core import Status
from distributed.utils_test import gen_cluster

from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.imagined import imagine
from tests.scheduler.queued import TO_A, TO_B, install, reads, started, states, until, work

BOTH: dict[str, Any] = {"resources": {"pool-a": 1, "pool-b": 1}}
# Else a worker that has memory resumes by itself.
NO_RESUMING: dict[str, Any] = {"config": {"distributed.worker.memory.pause": False}}
NO_STEALING: dict[str, Any] = {"config": {"distributed.scheduler.work-stealing": False}}


@cluster_of(IN_A, IN_B)
async def test_reads_wait_for_room_in_their_pool(c, s, a, b):
    install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    assert len(s.queued) == 9
    assert s.tasks["read-5"] in s.queued
    assert set(s.queued) == {s.tasks[f"read-{i}"] for i in range(1, 10)}
    assert not s.workers[b.address].processing
    assert s.adaptive_target() > 0
    await Event("go").set()
    assert await c.gather(futures) == list(range(10))
    assert not s.queued


@cluster_of(IN_A, IN_B)
async def test_stock_sends_them_all(c, s, a, b):
    """The test above could not fail if distributed queued them anyway."""
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 10})
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A)
async def test_reads_run_in_the_order_of_their_priorities(c, s, a):
    install(s)
    blocker = reads(c, "first", 5, "go", resources=TO_A)
    await until(lambda: states(s, blocker) == {"processing": 1, "queued": 4})
    late = reads(c, "late", 5, resources=TO_A)
    urgent = reads(c, "urgent", 5, resources=TO_A, priority=10)
    await until(lambda: len(s.queued) == 14)
    ordered = [ts.key for ts in s.queued.sorted()]
    assert ordered[:5] == [f"urgent-{i}" for i in range(5)]
    assert s.queued.peek().key == "urgent-0"
    await Event("go").set()
    await wait([*blocker, *late, *urgent])
    assert started(s)[1:] == ordered


@cluster_of(IN_A, IN_B)
async def test_full_pool_does_not_stop_another(c, s, a, b):
    install(s)
    full = reads(c, "full", 10, "go", resources=TO_A, priority=10)
    await until(lambda: states(s, full) == {"processing": 1, "queued": 9})
    others = reads(c, "other", 10, resources=TO_B)
    await wait(others)
    unplaced = reads(c, "unplaced", 10)
    await until(lambda: states(s, unplaced).get("memory", 0) >= 8)
    assert states(s, full) == {"processing": 1, "queued": 9}
    await Event("go").set()
    await wait([*full, *unplaced])


@cluster_of(IN_A)
async def test_what_uses_a_value_comes_before_the_next_read(c, s, a):
    install(s)
    with dask.annotate(resources=TO_A):
        made = [dask.delayed(work)(i, dask_key_name=f"read-{i}") for i in range(10)]
        used = [dask.delayed(work)(x, dask_key_name=f"use-{i}") for i, x in enumerate(made)]
    await wait(c.compute(used, optimize_graph=False))
    order = started(s)
    assert len(order) == 20
    assert [f"use-{key.removeprefix('read-')}" for key in order[::2]] == order[1::2]


@gen_cluster(client=True, nthreads=[("", 4)], worker_kwargs=IN_A)
async def test_transfers_hold_no_slots(c, s, a):
    parts = install(s, {"a": 0.25}.__getitem__)
    with dask.annotate(resources=TO_A, transfer=("b", "a")):
        carriers = [c.submit(work, i, "carried", key=f"carry-{i}") for i in range(3)]
    await until(lambda: states(s, carriers) == {"processing": 3})
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    await Event("carried").set()
    await wait(carriers)
    # A carrier that ends opens no slot: it had none.
    assert states(s, futures) == {"processing": 1, "queued": 9}
    await Event("go").set()
    await wait(futures)
    assert not parts.slots._carries
    assert not parts.slots._carried_by


@cluster_of(IN_A)
async def test_transfers_under_way_are_known_at_installation(c, s, a):
    with dask.annotate(resources=TO_A, transfer=("b", "a")):
        carrier = c.submit(work, 1, "carried", key="carry")
    await until(lambda: states(s, [carrier]) == {"processing": 1})
    install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    await Event("carried").set()
    await Event("go").set()
    await wait([carrier, *futures])


@cluster_of(IN_A)
async def test_seceded_task_leaves_its_slot(c, s, a):
    install(s)

    def long(gate: str) -> None:
        from distributed import secede

        secede()
        Event(gate).wait()

    waiting = c.submit(long, "long", resources=TO_A, key="long")
    await until(lambda: bool(s.workers[a.address].long_running))
    futures = reads(c, "read", 10, resources=TO_A)
    await wait(futures)
    await Event("long").set()
    await waiting


@cluster_of(IN_A)
async def test_saturation_of_a_pool_is_the_number_of_its_slots(c, s, a):
    install(s, {"a": 3.5}.__getitem__)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 4, "queued": 6})
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A)
async def test_saturation_that_becomes_less_holds_for_the_next_task(c, s, a):
    saturation = {"a": 3.0}
    install(s, saturation.__getitem__)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 3, "queued": 7})
    saturation["a"] = 1.0
    more = reads(c, "more", 10, "go", resources=TO_A)
    await until(lambda: states(s, more) == {"queued": 10})
    await Event("go").set()
    await wait([*futures, *more])


@cluster_of(IN_A)
async def test_infinite_saturation_queues_nothing(c, s, a):
    install(s, {"a": float("inf")}.__getitem__)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 10})
    await Event("go").set()
    await wait(futures)


@cluster_of(BOTH, **NO_STEALING)
async def test_worker_of_two_pools_has_one_number_of_slots(c, s, both):
    install(s, {"a": 1.0, "b": 2.0}.__getitem__)
    of_a = reads(c, "a", 5, "go", resources=TO_A)
    of_b = reads(c, "b", 5, "go", resources=TO_B)
    await until(lambda: len(s.queued) == 8)
    assert states(s, of_a) == {"processing": 2, "queued": 3}
    ordered = [ts.key for ts in s.queued.sorted()]
    assert ordered[:2] != ["a-2", "a-3"]  # the pools take turns, by priority
    await Event("go").set()
    await wait([*of_a, *of_b])
    assert started(s)[2:] == ordered


@cluster_of(IN_A)
async def test_queued_tasks_of_all_kinds_come_by_priority(c, s, a):
    install(s, lambda pool: 1.0)
    s.WORKER_SATURATION = 1.0
    s.check_idle_saturated(s.workers[a.address])
    bound = reads(c, "bound", 5, "go", resources=TO_A)
    unplaced = reads(c, "unplaced", 5, priority=10)
    late = reads(c, "late", 5)
    await until(lambda: len(s.queued) == 14)
    ordered = [ts.key for ts in s.queued.sorted()]
    assert {key.split("-")[0] for key in ordered[:5]} == {"unplaced"}
    assert {key.split("-")[0] for key in ordered[5:]} == {"bound", "late"}
    await Event("go").set()
    await wait([*bound, *unplaced, *late])
    assert started(s)[1:] == ordered


@cluster_of(IN_A, IN_B)
async def test_task_that_needs_more_than_its_pool_is_not_queued(c, s, a, b):
    install(s)
    await a.set_resources(GPU=2)
    gpu = reads(c, "gpu", 10, "go", resources={**TO_A, "GPU": 1})
    named = reads(c, "named", 10, "go", resources=TO_A, workers=[a.address])
    taking = reads(c, "taking", 10, "go", resources={"pool-a": 1})
    futures = [*gpu, *named, *taking]
    await until(lambda: states(s, futures) == {"processing": 30})
    assert not s.workers[b.address].processing
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_B)
async def test_new_worker_takes_tasks_of_its_pool(c, s, a, b):
    install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    async with Worker(s.address, nthreads=2, resources={"pool-b": 1}):
        assert states(s, futures) == {"processing": 1, "queued": 9}
        async with Worker(s.address, nthreads=2, resources={"pool-a": 1}):
            await until(lambda: states(s, futures) == {"processing": 3, "queued": 7})
            await Event("go").set()
            assert await c.gather(futures) == list(range(10))


@cluster_of(IN_A, {})
async def test_worker_that_enters_a_pool_takes_its_tasks(c, s, a, b):
    install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    await b.set_resources(**{"pool-a": 1})
    await until(lambda: states(s, futures) == {"processing": 2, "queued": 8})
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_A, IN_B, **NO_RESUMING)
async def test_paused_worker_takes_nothing_until_it_resumes(c, s, a1, a2, b):
    install(s)
    a2.status = Status.paused
    await until(lambda: s.workers[a2.address].status == Status.paused)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    a2.status = Status.running
    await until(lambda: states(s, futures) == {"processing": 2, "queued": 8})
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_B, **NO_RESUMING)
async def test_pool_that_is_paused_goes_on_when_it_resumes(c, s, a, b):
    install(s)
    a.status = Status.paused
    await until(lambda: s.workers[a.address].status == Status.paused)
    futures = reads(c, "read", 10, resources=TO_A)
    single = c.submit(work, 1, resources=TO_A, key="single")
    await until(lambda: states(s, futures) == {"queued": 10})
    await until(lambda: states(s, [single]) == {"no-worker": 1})
    a.status = Status.running
    assert await c.gather(futures) == list(range(10))
    assert await single == 1


@cluster_of(IN_A, IN_A, IN_B)
async def test_retired_worker_leaves_its_tasks_to_the_others(c, s, a1, a2, b):
    install(s)
    futures = reads(c, "read", 10, resources=TO_A)
    await wait(futures)
    more = reads(c, "more", 10, "go", resources=TO_A)
    await until(lambda: states(s, more) == {"processing": 2, "queued": 8})
    await Event("go").set()
    await c.retire_workers([a1.address])
    assert await c.gather(more) == list(range(10))
    assert await c.gather(futures) == list(range(10))
    # Copies of what the retired worker held may be there.
    assert not b.state.executed_count


@cluster_of(IN_A, IN_A, IN_B)
async def test_lost_worker_leaves_its_tasks_to_the_others(c, s, a1, a2, b):
    install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 2, "queued": 8})
    await s.remove_worker(a1.address, stimulus_id="lost", close=False)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    await Event("go").set()
    assert await c.gather(futures) == list(range(10))
    assert not s.workers[b.address].has_what


@cluster_of(IN_A, IN_B)
async def test_pool_that_is_emptied_goes_on_when_it_is_filled(c, s, a, b):
    parts = install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    await Event("go").set()
    await s.remove_worker(a.address, stimulus_id="lost", close=False)
    await until(lambda: states(s, futures) == {"queued": 10})
    more = reads(c, "more", 3, resources=TO_A)
    others = reads(c, "other", 10, resources=TO_B)
    await wait(others)
    assert states(s, [*futures, *more]) == {"queued": 13}
    assert len(parts.queuing.queues.of("a")) == 13
    async with Worker(s.address, resources={"pool-a": 1}):
        assert await c.gather([*futures, *more]) == [*range(10), *range(3)]


@gen_cluster(client=True, nthreads=[("", 1)], Worker=Nanny, worker_kwargs=IN_A, timeout=60)
async def test_killed_worker_comes_back_to_its_queue(c, s, nanny):
    install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    await Event("go").set()
    assert nanny.pid is not None
    os.kill(nanny.pid, signal.SIGKILL)
    assert await c.gather(futures) == list(range(10))


@cluster_of(IN_A)
async def test_cancelled_and_failed_tasks_leave_the_queue(c, s, a):
    parts = install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    used = c.submit(sum, futures[5:], key="use")
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    await c.cancel(futures[1:4])
    await until(lambda: len(s.queued) == 6)
    del used
    error = ZeroDivisionError("failed on purpose")
    ts = s.tasks["read-9"]
    s.transition(ts.key, "erred", exception=error, cause=ts.key, stimulus_id="test")
    assert ts not in s.queued
    assert len(parts.queuing.queues.of("a")) == 5
    await Event("go").set()
    await wait([futures[0], *futures[4:9]])
    assert not parts.queuing.queues.pool_of


class Dam:
    """Back-pressure of pool a, which lets pass what it is told to."""

    def __init__(self) -> None:
        self.closed = True
        self.pass_by: set[str] = set()
        self.waiting: list[str] = []

    def holds_back(self, pool: str) -> bool:
        return self.closed and pool == "a"

    def pick(self, pool: str, queue: Any) -> Any:
        return next((ts for ts in queue.sorted() if ts.key in self.pass_by), None)

    def queued(self, ts: Any) -> None:
        self.waiting.append(ts.key)

    def dequeued(self, ts: Any) -> None:
        self.waiting.remove(ts.key)


@cluster_of(IN_A, IN_B)
async def test_back_pressure_holds_back_one_pool_and_chooses(c, s, a, b):
    dam = Dam()
    parts = install(s, pressure=dam)
    futures = reads(c, "read", 10, resources=TO_A)
    others = reads(c, "other", 10, resources=TO_B)
    await wait(others)
    assert states(s, futures) == {"queued": 10}
    assert sorted(dam.waiting) == sorted(future.key for future in futures)
    dam.pass_by = {"read-7"}
    parts.queuing.wake("a")
    await wait(futures[7])
    assert states(s, futures) == {"queued": 9, "memory": 1}
    dam.closed = False
    parts.queuing.wake("a")
    await wait(futures)
    assert not dam.waiting


@cluster_of(IN_A)
async def test_task_that_queues_although_there_is_room_is_asked_about_again(c, s, a):
    """No other task will finish, and nobody else would ask."""
    dam = Dam()
    dam.pass_by = {"read-7"}
    install(s, pressure=dam)
    futures = reads(c, "read", 10, resources=TO_A)
    await wait(futures[7])
    dam.closed = False
    await c.submit(work, 1, key="any event")
    await wait(futures)


@cluster_of(IN_A, IN_B)
async def test_uninstalling_with_a_full_queue_leaves_a_stock_scheduler(c, s, a, b):
    queue, table, names = s.queued, s._TRANSITIONS_TABLE, set(vars(s))
    parts = install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    unplaced = reads(c, "unplaced", 10, "go")
    await until(lambda: len(s.queued) == 16)
    parts.uninstall()
    parts.uninstall()
    assert s.queued is queue
    assert type(s.queued) is HeapSet
    assert s._TRANSITIONS_TABLE is table
    assert set(vars(s)) == names
    assert not parts.roster.moved
    assert states(s, futures) == {"processing": 10}
    s.validate_state()
    await Event("go").set()
    assert await c.gather([*futures, *unplaced]) == [*range(10), *range(10)]


@cluster_of(IN_A, IN_B)
async def test_uninstalling_while_a_pool_is_empty_lets_tasks_wait_as_in_stock(c, s, a, b):
    parts = install(s)
    await s.remove_worker(a.address, stimulus_id="lost", close=False)
    futures = reads(c, "read", 10, resources=TO_A)
    await until(lambda: states(s, futures) == {"queued": 10})
    parts.uninstall()
    assert states(s, futures) == {"no-worker": 10}
    async with Worker(s.address, resources={"pool-a": 1}):
        await wait(futures)


@cluster_of(IN_A)
async def test_installed_on_a_scheduler_with_queued_tasks(c, s, a):
    unplaced = reads(c, "unplaced", 10, "go")
    await until(lambda: len(s.queued) == 8)
    install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: len(s.queued) == 18)
    await Event("go").set()
    await wait([*unplaced, *futures])


@cluster_of(IN_A)
async def test_closing_scheduler_is_left_without_a_transition(c, s, a):
    parts = install(s)
    futures = reads(c, "read", 10, "go", resources=TO_A)
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 9})
    before, s.status = s.transition_counter, Status.closing
    parts.uninstall()
    assert s.transition_counter == before
    assert len(s.queued) == 9
    s.status = Status.running
    # As it was, for the test to end as others do.
    install(s)
    for ts in list(s.queued):
        s.queued.discard(ts)
        s.queued.add(ts)
    await Event("go").set()
    await wait(futures)


@pytest.mark.parametrize("seed", range(5))
def test_mixed_work_on_changing_workers_runs_inside_of_its_pools(seed: int) -> None:
    """All invariants of distributed are checked at each transition."""
    rng = random.Random(seed)  # noqa: S311

    @cluster_of(IN_A, IN_A, IN_B, BOTH)
    async def run(c: Any, s: Any, *workers: Any) -> None:
        parts = install(s, {"a": 1.0, "b": 2.5}.__getitem__)
        futures = []
        async with Worker(s.address, resources={"pool-a": 1}) as extra:
            for i in range(12):
                options: dict[str, Any] = rng.choice([{}, {"resources": TO_A}, {"resources": TO_B}])
                made = reads(c, f"read{i}", rng.randint(1, 12), **options)
                where: dict[str, Any] = rng.choice([{}, {"resources": TO_A}, {"resources": TO_B}])
                futures.append(c.submit(sum, made, key=f"sum{i}", **where))
                if i == 6:
                    await extra.close()
        totals = await c.gather(futures)
        assert all(total >= 0 for total in totals)
        for key, ts in s.tasks.items():
            pool = next(iter(ts.resource_restrictions or {}), None)
            for ws in ts.who_has or ():
                assert pool is None or pool in ws.resources or ts.dependents, key
        assert not parts.queuing.queues.pool_of
        parts.uninstall()

    run()


def history(seed: int, *, ours: bool) -> list[tuple[Any, ...]]:
    """Run unplaced work on imagined workers of two pools; return all that was decided."""
    rng = random.Random(seed)  # noqa: S311
    sent: list[tuple[Any, ...]] = []

    @gen_cluster(nthreads=[], **NO_STEALING)
    async def run(s: Any) -> None:
        parts = install(s) if ours else None
        with imagine(s) as world:
            for i in range(6):
                world.add_worker(TO_A if i % 2 else TO_B, nthreads=rng.randint(1, 3))
            known: list[Any] = []
            for i in range(200):
                dependencies = [
                    ts.key for ts in rng.sample(known, min(i, rng.choice([0, 0, 1, 2])))
                ]
                name = f"{rng.choice('xyz')}{len(dependencies)}-{i}"
                known.append(world.add_task(name, dependencies, priority=rng.random()))
                if i % 50 == 49:
                    world.submit(known[-50:])
                    work_off(world, 20)
            work_off(world, len(known))
            assert all(ts.state == "memory" for ts in known)
            sent.extend((t.key, t.start, t.finish) for t in s.transition_log)
            sent.extend((ts.key, *(ws.address for ws in ts.who_has)) for ts in known)
        if parts is not None:
            parts.uninstall()

    def work_off(world: Any, n: int) -> None:
        for _ in range(n):
            workers = world.scheduler.workers.values()
            tasks = sorted(
                (ts for ws in workers for ts in ws.processing), key=lambda ts: ts.priority
            )
            if tasks:
                world.finish(rng.choice(tasks), rng.randint(1, 10**6))

    run()
    return sent


@pytest.mark.parametrize("seed", range(3))
def test_unplaced_work_is_treated_exactly_as_in_stock(seed: int) -> None:
    """The same tasks on the same workers in the same order, queued or not."""
    stock = history(seed, ours=False)
    assert any("queued" in event for event in stock)
    assert history(seed, ours=True) == stock
