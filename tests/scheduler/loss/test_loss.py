"""Pools that lose their workers, on small clusters whose scheduler checks every transition."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import dask
import pytest
from dask.delayed import delayed
from distributed import Event, Scheduler, SchedulerPlugin, Worker, wait
from distributed.scheduler import WorkerState
from distributed.utils_test import async_poll_for, captured_logger, inc

from dask_pools.errors import PoolLostError
from dask_pools.model import pool_resource
from dask_pools.scheduler.loss.loss import EXPECT_POOLS, Loss
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.roster import Roster
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.queued import install, reads, states, until

IN_C = {"resources": {"pool-c": 1}}
LOGGER = "dask_pools.scheduler.loss.loss"


class Following(SchedulerPlugin):
    """Only a roster and this part, and what the plugin of the package does for it."""

    def __init__(self, scheduler: Scheduler, roster: Roster | None = None) -> None:
        self.scheduler = scheduler
        self.roster = roster or Roster(scheduler, Membership())
        self.loss = Loss(scheduler, self.roster)
        self.undo = contextlib.ExitStack()
        if roster is None:
            self.undo.callback(self.roster.watch())
        self.undo.callback(self.loss.install())
        scheduler.add_plugin(self, name="following")

    def transition(self, key: Any, start: str, finish: str, *_: Any, **message: Any) -> None:
        ts = self.scheduler.tasks[key]
        self.loss.transitioned(ts, start, finish, message["stimulus_id"])

    async def close(self) -> None:
        self.undo.close()


def watched(scheduler: Scheduler) -> Loss:
    return Following(scheduler).loss


@contextlib.contextmanager
def timeout_of(time: str | None) -> Iterator[None]:
    with dask.config.set({"dask_pools.pool-timeout": time}):
        yield


def pinned(*pools: str, placed: str | None = None) -> contextlib.AbstractContextManager[None]:
    """Annotate as the optimiser does a pinned task, placed in the first pool if none is given."""
    pool = placed or pools[0]
    return dask.annotate(pool=pools, placement=pool, resources={pool_resource(pool): 0})


def free(pool: str) -> contextlib.AbstractContextManager[None]:
    return dask.annotate(placement=pool, resources={pool_resource(pool): 0})


def transfer(source: str, target: str) -> contextlib.AbstractContextManager[None]:
    return dask.annotate(
        transfer=(source, target), placement=target, resources={pool_resource(target): 0}
    )


def carry(x: Any) -> Any:
    return x


def add(*numbers: int) -> int:
    return sum(numbers)


async def forever() -> None:
    await asyncio.Event().wait()


def compute(client: Any, *values: Any) -> Any:
    return client.compute(list(values), optimize_graph=False)


def worker(scheduler: Scheduler, pool: str) -> Worker:
    return Worker(scheduler.address, nthreads=1, resources={pool_resource(pool): 1})


def pool_of(scheduler: Scheduler, key: str) -> str:
    (resource,) = scheduler.tasks[key].resource_restrictions
    return resource.removeprefix("pool-")


def holder_of(scheduler: Scheduler, key: str) -> WorkerState:
    (ws,) = scheduler.tasks[key].who_has
    return ws


def ran_in(scheduler: Scheduler, key: str) -> str:
    """Name the pool of the only worker that holds a value."""
    (resource,) = holder_of(scheduler, key).resources
    return resource.removeprefix("pool-")


async def drop_copy(scheduler: Scheduler, key: str, worker: Worker) -> None:
    """Have a worker forget a value which a transfer has brought it, as the plugin does."""
    scheduler.request_remove_replicas(worker.address, [key], stimulus_id="test")
    await async_poll_for(lambda: key not in worker.data, timeout=10)


async def until_stuck(scheduler: Scheduler, *keys: str) -> None:
    def stuck() -> bool:
        tasks = scheduler.tasks
        return all(key in tasks and tasks[key].state in ("no-worker", "queued") for key in keys)

    await async_poll_for(stuck, timeout=10)


async def until_made_again(scheduler: Scheduler, gone: str, *keys: str) -> None:
    def made() -> bool:
        states = {scheduler.tasks[key].state for key in keys}
        return gone not in scheduler.workers and states == {"memory"}

    await async_poll_for(made, timeout=10)


# ---- a worker is lost, its pool is not


@cluster_of(IN_A, IN_A, IN_B)
async def test_values_of_a_lost_worker_are_made_again_in_its_pool(c, s, a1, a2, b):
    watched(s)
    with pinned("a"):
        x = delayed(bytes)(1000, dask_key_name="x")
    with transfer("a", "b"):
        there = delayed(carry)(x, dask_key_name="there")
    with free("b"):
        y = delayed(len)(there, dask_key_name="y")
    futures = compute(c, x, there, y)
    await wait(futures)
    await drop_copy(s, "x", b)
    first = holder_of(s, "x").address
    # Pool b has the value under another key.
    await next(w for w in (a1, a2) if w.address == first).close()
    await until_made_again(s, first, "x", "there", "y")
    assert ran_in(s, "x") == "a"
    assert holder_of(s, "x").address != first
    assert ran_in(s, "there") == "b"
    assert await c.gather(futures) == [bytes(1000), bytes(1000), 1000]


@cluster_of(IN_A, IN_B, IN_B)
async def test_values_brought_by_transfers_are_brought_again(c, s, a, b1, b2):
    watched(s)
    with pinned("a"):
        x = delayed(bytes)(1000, dask_key_name="x")
    with transfer("a", "b"):
        there = delayed(carry)(x, dask_key_name="there")
    futures = compute(c, x, there)
    await wait(futures)
    first = holder_of(s, "there").address
    await next(w for w in (b1, b2) if w.address == first).close()
    await until_made_again(s, first, "x", "there")
    assert ran_in(s, "there") == "b"
    assert await c.gather(futures) == [bytes(1000), bytes(1000)]


# ---- mirrors


@cluster_of(IN_A, IN_B)
async def test_mirrored_reads_and_what_follows_them_go_to_the_mirror(c, s, a, b):
    watched(s)
    with pinned("a", "b"):
        reads = [delayed(inc)(i, dask_key_name=f"read-{i}") for i in range(4)]
    with free("a"):
        total = delayed(add)(*reads, dask_key_name="total")
    with captured_logger(LOGGER, level=logging.WARNING) as log:
        (future,) = compute(c, total)
        await wait(future)
        await a.close()
        await until_made_again(s, a.address, "total")
        assert await future == 10
    assert ran_in(s, "total") == "b"
    assert {pool_of(s, f"read-{i}") for i in range(4)} == {"b"}
    assert s.tasks["total"].annotations["placement"] == "b"
    assert "Pool 'a' has no worker any more: 5 tasks will run elsewhere: 5 in 'b'" in log.getvalue()


@cluster_of(IN_A, IN_B, IN_C)
async def test_transfers_into_and_out_of_a_lost_pool_follow_it_to_the_mirror(c, s, a, b, in_c):
    loss = watched(s)
    heard: list[tuple[str, str, str]] = []
    loss.changed.append(lambda ts, old: heard.append((ts.key, old, pool_of(s, ts.key))))
    hold = Event("hold")
    with pinned("a", "b"):
        x = delayed(inc)(1, dask_key_name="x")
    with pinned("c"):
        late = delayed(hold.wait)(dask_key_name="late")
    with transfer("c", "a"):
        into = delayed(carry)(late, dask_key_name="into")
    with free("a"):
        both = delayed(lambda x, _: x)(x, into, dask_key_name="both")
    with transfer("a", "c"):
        out = delayed(carry)(both, dask_key_name="out")
    with free("c"):
        end = delayed(inc)(out, dask_key_name="end")
    (future,) = compute(c, end)
    await async_poll_for(lambda: "x" in s.tasks and s.tasks["x"].state == "memory", timeout=10)
    await a.close()
    await hold.set()
    assert await future == 3
    assert {key: pool_of(s, key) for key in ("x", "into", "both", "out", "end")} == {
        "x": "b",
        "into": "b",
        "both": "b",
        "out": "c",
        "end": "c",
    }
    assert set(heard) == {("into", "a", "b"), ("both", "a", "b")}
    assert s.tasks["into"].annotations["transfer"] == ("c", "b")
    assert s.tasks["out"].annotations["transfer"] == ("b", "c")


@cluster_of(IN_A, IN_B)
async def test_mirror_that_comes_later_takes_over(c, s, a, b):
    watched(s)
    with pinned("a", "c"):
        x = delayed(inc)(1, dask_key_name="x")
    await a.close()
    (future,) = compute(c, x)
    await until_stuck(s, "x")
    async with worker(s, "c"):
        assert await future == 2


@cluster_of(IN_A, IN_B)
async def test_free_tasks_wait_with_what_has_no_mirror(c, s, a, b):
    watched(s)
    with pinned("a"):
        x = delayed(inc)(1, dask_key_name="x")
    with free("a"):
        y = delayed(inc)(x, dask_key_name="y")
    await a.close()
    futures = compute(c, x, y)
    await until_stuck(s, "x")
    assert (pool_of(s, "x"), pool_of(s, "y")) == ("a", "a")
    async with worker(s, "a"):
        assert await c.gather(futures) == [2, 3]
        assert (ran_in(s, "x"), ran_in(s, "y")) == ("a", "a")


# ---- no mirror: wait, then fail


@cluster_of(IN_A, IN_B)
async def test_tasks_of_a_lost_pool_fail_in_the_end(c, s, a, b):
    loss = watched(s)
    with pinned("a"):
        reads = [delayed(inc)(i, dask_key_name=f"read-{i}") for i in range(3)]
    with pinned("b"):
        total = delayed(add)(*reads, dask_key_name="total")
        other = delayed(inc)(1, dask_key_name="other")
    with timeout_of("100 ms"), captured_logger(LOGGER, level=logging.WARNING) as log:
        await a.close()
        total, other = compute(c, total, other)
        with pytest.raises(PoolLostError) as caught:
            await total
    assert await other == 2
    message = str(caught.value)
    assert "Pool 'a' has had no worker for 100 ms, and 3 tasks wait for it, such as" in message
    assert "'read-" in message
    assert "Start workers with the resource 'pool-a=1'" in message
    assert "pool('a', ...)" in message
    assert "raise dask_pools.pool-timeout" in message
    assert "Pool 'a' has no worker any more: 3 tasks wait for it" in log.getvalue()
    assert not loss.awaited()
    assert not s.unrunnable


@cluster_of(IN_A, IN_B)
async def test_warning_comes_at_once(c, s, a, b):
    watched(s)
    with pinned("a"):
        future = c.submit(forever, key="x")
        rest = c.map(inc, range(3), pure=False)
    await async_poll_for(lambda: len(s.tasks) == 4, timeout=10)
    with captured_logger(LOGGER, level=logging.WARNING) as log:
        await a.close()
        await async_poll_for(lambda: bool(log.getvalue()), timeout=10)
    assert log.getvalue() == (
        "Pool 'a' has no worker any more: 4 tasks wait for it, and will fail in 1 min if none "
        "comes\n"
    )
    assert {ts.state for ts in s.tasks.values()} == {"no-worker"}
    del future, rest


@cluster_of(IN_A, IN_B)
async def test_pool_that_comes_back_in_time_goes_on(c, s, a, b):
    loss = watched(s)
    with pinned("a"):
        x = delayed(inc)(1, dask_key_name="x")
        y = delayed(inc)(x, dask_key_name="y")
    persisted = c.persist(x, optimize_graph=False)
    await wait(persisted)
    (future,) = compute(c, y)
    await wait(future)
    await a.close()
    assert loss.awaited() == {"a"}
    async with worker(s, "a"):
        assert await future == 3
        assert loss.awaited() == set()
        assert not loss._absent


@cluster_of(IN_A, IN_B)
async def test_failed_tasks_can_be_tried_again_and_fail_again(c, s, a, b):
    watched(s)
    with pinned("a"):
        x = delayed(inc)(1, dask_key_name="x")
    with timeout_of("50 ms"):
        await a.close()
        (future,) = compute(c, x)
        with pytest.raises(PoolLostError):
            await future
        await future.retry()
        with pytest.raises(PoolLostError):
            await future
    async with worker(s, "a"):
        await future.retry()
        assert await future == 2


@cluster_of(IN_A, IN_B)
async def test_tasks_that_get_ready_after_the_pool_was_given_up_fail_too(c, s, a, b):
    """Nothing that arrives late may wait for ever."""
    loss = watched(s)
    hold = Event("hold")
    with pinned("b"):
        late = delayed(hold.wait)(dask_key_name="late")
    with transfer("b", "a"):
        into = delayed(carry)(late, dask_key_name="into")
    with pinned("a"):
        x = delayed(carry)(into, dask_key_name="x")
    (future,) = compute(c, x)
    await async_poll_for(lambda: "x" in s.tasks, timeout=10)
    with timeout_of("50 ms"):
        await a.close()
        await async_poll_for(lambda: not loss.awaited(), timeout=10)
        assert s.tasks["x"].state == "waiting"
        await hold.set()
        with pytest.raises(PoolLostError, match="'a'"):
            await future


@cluster_of(IN_A, IN_B)
async def test_free_task_is_moved_rather_than_failed(c, s, a, b):
    """It went along with a read that cannot be made any more; others need it as well."""
    watched(s)
    with free("a"):
        shared = delayed(inc)(1, dask_key_name="shared")
    with pinned("a"):
        bound = delayed(inc)(shared, dask_key_name="bound")
    with free("b"):
        other = delayed(inc)(shared, dask_key_name="other")
    with timeout_of("50 ms"):
        await a.close()
        bound, other = compute(c, bound, other)
        assert await other == 3
        with pytest.raises(PoolLostError):
            await bound
    assert pool_of(s, "shared") == "b"


@cluster_of(IN_A, IN_B)
async def test_restrictions_of_the_user_are_kept_and_fail(c, s, a, b):
    """What we did not bind, we do not move."""
    watched(s)
    with timeout_of("50 ms"):
        mine = c.submit(inc, 1, resources={"pool-a": 0}, key="mine")
        await wait(mine)
        await a.close()
        with pytest.raises(PoolLostError):
            await mine


@cluster_of(IN_A)
async def test_no_pool_at_all_is_left(c, s, a):
    watched(s)
    with free("a"):
        x = delayed(inc)(1, dask_key_name="x")
    with pinned("a", "b"):
        y = delayed(inc)(x, dask_key_name="y")
    with timeout_of("50 ms"):
        await a.close()
        (future,) = compute(c, y)
        with pytest.raises(PoolLostError):
            await future


@cluster_of(IN_A, IN_B)
async def test_no_limit_waits(c, s, a, b):
    loss = watched(s)
    with timeout_of(None), captured_logger(LOGGER, level=logging.WARNING) as log:
        await a.close()
        with pinned("a"):
            future = c.submit(inc, 1)
        await async_poll_for(lambda: "sets no limit to that" in log.getvalue(), timeout=10)
    assert loss._absent["a"].timer is None
    async with worker(s, "a"):
        assert await future == 2


@cluster_of(IN_A, IN_B)
async def test_wrong_setting_does_not_make_tasks_wait_for_ever(c, s, a, b):
    loss = watched(s)
    with timeout_of("soon"), captured_logger(LOGGER, level=logging.ERROR) as log:
        await a.close()
    assert "dask_pools.pool-timeout is 'soon'" in log.getvalue()
    assert loss._absent["a"].seconds == 60


@cluster_of(IN_A, IN_B)
async def test_name_that_was_never_heard_is_left_to_dask(c, s, a, b):
    loss = watched(s)
    future = c.submit(inc, 1, resources={"pool-x": 0}, key="x")
    await until_stuck(s, "x")
    assert loss.awaited() == set()
    assert not loss._due
    await future.cancel()


# ---- pools that are empty on purpose


@cluster_of(IN_A, IN_B)
async def test_pool_emptied_on_purpose_is_waited_for_until_the_cluster_lets_go(c, s, a, b):
    loss = watched(s)
    with timeout_of("50 ms"), captured_logger(LOGGER, level=logging.WARNING) as log:
        assert await getattr(c.scheduler, EXPECT_POOLS)(numbers={"a": 0})
        await a.close()
        with pinned("a"):
            future = c.submit(inc, 1, key="x")
        await until_stuck(s, "x")
        assert loss.awaited() == {"a"}
        assert not loss._absent
        loss.expect({"a": None})
        with pytest.raises(PoolLostError):
            await future
    assert loss.awaited() == set()
    assert "1 task waits for it, and will fail in 50 ms" in log.getvalue()


@cluster_of(IN_A, IN_B)
async def test_pool_that_is_being_filled_is_waited_for_until_its_first_worker(c, s, a, b):
    loss = watched(s)
    loss.expect({"a": 0})
    await a.close()
    with pinned("a"):
        future = c.submit(inc, 1, key="x")
    await until_stuck(s, "x")
    loss.expect({"a": 2})
    assert loss.awaited() == {"a"}
    assert not loss._absent
    async with worker(s, "a"):
        assert await future == 2
        assert loss.awaited() == set()
    # The promise was kept; this is a loss.
    assert loss._absent.keys() == {"a"}


@cluster_of(IN_A, IN_B)
async def test_promise_comes_after_the_loss(c, s, a, b):
    loss = watched(s)
    await a.close()
    assert loss._absent.keys() == {"a"}
    loss.expect({"a": 0, "new": 1})
    assert not loss._absent
    assert loss.awaited() == {"a", "new"}


@cluster_of(IN_A, IN_B)
async def test_number_for_a_pool_with_workers_promises_nothing(c, s, a, b):
    loss = watched(s)
    loss.expect({"a": 3, "unknown": None})
    assert loss.awaited() == set()
    await a.close()
    assert loss._absent.keys() == {"a"}


# ---- with queues per pool


@cluster_of(IN_A, IN_B)
async def test_queued_tasks_go_into_the_queue_of_their_mirror(c, s, a, b):
    parts = install(s)
    Following(s, parts.roster)
    with pinned("a", "b"):
        futures = reads(c, "read", 20, "go")
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 19})
    # Its task goes on: it is only gone for the scheduler.
    await s.remove_worker(a.address, stimulus_id="test")
    await until(lambda: pool_of(s, "read-19") == "b")
    await until(lambda: states(s, futures) == {"processing": 1, "queued": 19})
    assert {pool_of(s, future.key) for future in futures} == {"b"}
    assert len(parts.queuing.queues.of("b")) == 19
    assert not parts.queuing.queues.of("a")
    await Event("go").set()
    assert await c.gather(futures) == list(range(20))


@cluster_of(IN_A, IN_B)
async def test_queued_tasks_wait_and_fail_like_others(c, s, a, b):
    parts = install(s)
    loss = Following(s, parts.roster).loss
    loss.expect({"a": 0})
    await a.close()
    with pinned("a"):
        futures = reads(c, "read", 20)
    await until(lambda: states(s, futures) == {"queued": 20})
    async with worker(s, "a"):
        assert await c.gather(futures) == list(range(20))
        with pinned("a"):
            held = reads(c, "held", 20, "go")
        await until(lambda: len(s.queued) == 19)
        with timeout_of("50 ms"):
            (ws,) = parts.roster.running("a")
            await s.remove_worker(ws.address, stimulus_id="test")
            loss.expect({"a": None})
            await until(lambda: states(s, held) == {"erred": 20})
        await Event("go").set()
    assert not s.queued
    # With those whose values were lost.
    with pytest.raises(PoolLostError, match="40 tasks wait"):
        await held[19]


# ---- large, and taken back


@cluster_of(IN_A, IN_B)
async def test_failing_many_tasks_sends_each_through_one_transition(c, s, a, b):
    """Linear: the number of transitions, and one exception for all."""
    loss = watched(s)
    n = 2000
    loss.expect({"a": 0})
    await a.close()
    with timeout_of("50 ms"):
        with pinned("a"):
            reads = [delayed(inc)(i, dask_key_name=f"read-{i}") for i in range(n)]
        with pinned("b"):
            total = delayed(add)(*reads, dask_key_name="total")
        (future,) = compute(c, total)
        await until_stuck(s, *(f"read-{i}" for i in range(n)))
        before = s.transition_counter
        loss.expect({"a": None})
        with pytest.raises(PoolLostError, match=f"{n:,} tasks wait"):
            await future
    assert s.transition_counter - before < 4 * n
    blamed = {id(s.tasks[f"read-{i}"].exception) for i in range(n) if f"read-{i}" in s.tasks}
    assert len(blamed) <= 1


@cluster_of(IN_A, IN_B)
async def test_taking_it_back_leaves_nothing(c, s, a, b):
    loss = watched(s)
    handlers = set(s.handlers)
    await a.close()
    assert loss._absent
    s.plugins["following"].undo.close()
    assert not loss._absent
    assert loss._changed not in loss.roster.changed
    assert set(s.handlers) == handlers - {EXPECT_POOLS}
