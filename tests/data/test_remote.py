"""Functions are run in pools, on asynchronous clients of clusters in this process."""

from __future__ import annotations

import asyncio
import os
import threading

import dask
import pytest
from distributed import Event, get_worker
from distributed.utils_test import async_poll_for

from dask_pools import PoolLostError, UnknownPoolError, pool, uninstall
from dask_pools.data.remote import Call, ask_all, run_in_pool
from dask_pools.scheduler.plugin import PoolsPlugin, installed_on
from tests.scheduler.clusters import IN_A, IN_B, cluster_of


def where(*args, **kwargs):
    return get_worker().address, args, kwargs


async def nothing_is_left(c, s):
    await async_poll_for(lambda: not s.tasks and not c.futures, timeout=10)


@cluster_of(IN_A, IN_B)
async def test_function_runs_in_the_pool_and_leaves_nothing(c, s, a, b):
    for worker, name in ((a, "a"), (b, "b")):
        answer = await run_in_pool(where, 1, pool=(name,), what="try", x=2)
        assert answer == (worker.address, (1,), {"x": 2})
    await nothing_is_left(c, s)


@cluster_of(IN_A, IN_B)
async def test_task_has_a_name_is_first_and_is_not_retried(c, s, a, b):
    go = Event("go")
    with dask.annotate(retries=3, priority=-5):
        running = asyncio.ensure_future(run_in_pool(go.wait, pool=("a",), what="open_dataset"))
    await async_poll_for(lambda: a.state.executing_count, timeout=10)
    (ts,) = s.tasks.values()
    assert ts.key.startswith("open_dataset-")
    assert ts.prefix.name == "open_dataset"
    assert ts.priority[0] == -1_000_000
    assert not ts.retries
    await go.set()
    await running


def reads_done_here():
    """Count the reads that this worker has done by now."""
    worker = get_worker()
    return sum(1 for key in worker.data if key.startswith("str-"))


@cluster_of(IN_A, IN_B)
async def test_it_is_ahead_of_what_waits_in_the_pool(c, s, a, b):
    """A hundred reads wait for the only thread of the pool: on its worker, and in its queue."""
    await c.register_plugin(PoolsPlugin())
    go = Event("go")
    with pool("a"):
        running = c.submit(go.wait, pure=False)
        await async_poll_for(lambda: a.state.executing_count, timeout=10)
        reads = c.map(str, range(100), priority=10)
    await async_poll_for(lambda: len(s.tasks) == 101, timeout=10)
    asked = asyncio.ensure_future(run_in_pool(reads_done_here, pool=("a",), what="try"))
    await async_poll_for(lambda: any(k.startswith("try-") for k in a.state.tasks), timeout=10)
    await go.set()
    assert await asked == 0
    await c.gather([running, *reads])


@cluster_of(IN_A, IN_B)
async def test_what_it_builds_has_the_pin_and_the_annotations_of_the_user(c, s, a, b):
    with dask.annotate(retries=3), pool("b"):
        found = await run_in_pool(dask.get_annotations, pool=("a", "b"), what="try")
    assert found["pool"] == ("a", "b")
    assert found["resources"] == {"pool-a": 0}
    assert found["retries"] == 3


@cluster_of(IN_A, IN_B)
async def test_unknown_pool_is_an_error_at_once_without_anybody_having_installed_the_plugin(
    c, s, a, b
):
    with pytest.raises(UnknownPoolError, match=r"No worker is in pool 'c'.*'try-"):
        await run_in_pool(os.getpid, pool=("c",), what="try")
    assert installed_on(s) is not None


@cluster_of(IN_A, IN_B)
async def test_mirror_is_used_if_the_first_pool_is_not_there(c, s, a, b):
    assert (await run_in_pool(where, pool=("c", "b"), what="try"))[0] == b.address


@cluster_of(IN_A, IN_B, config={"dask_pools.pool-timeout": "100ms"})
async def test_lost_pool_is_an_error(c, s, a, b):
    go = Event("go")
    await c.register_plugin(PoolsPlugin())
    running = asyncio.ensure_future(run_in_pool(go.wait, pool=("a",), what="try"))
    await async_poll_for(lambda: a.state.executing_count, timeout=10)
    await s.remove_worker(a.address, stimulus_id="test")
    with pytest.raises(PoolLostError):
        await running
    await go.set()
    await a.close()


@cluster_of(IN_A, IN_B)
async def test_plugin_comes_back_after_it_was_taken_away(c, s, a, b):
    await run_in_pool(os.getpid, pool=("a",), what="try")
    await uninstall(c)
    assert installed_on(s) is None
    await run_in_pool(os.getpid, pool=("a",), what="try")
    assert installed_on(s) is not None


@cluster_of(IN_A, IN_B)
async def test_error_arrives_as_it_is_and_leaves_nothing(c, s, a, b):
    with pytest.raises(FileNotFoundError, match=r"in pool 'b': '/not/there'"):
        await run_in_pool(open, "/not/there", pool=("b",), what="try")
    await nothing_is_left(c, s)


@cluster_of(IN_A, IN_B)
async def test_result_that_cannot_be_pickled_is_an_error(c, s, a, b):
    with pytest.raises(TypeError, match="pickle"):
        await run_in_pool(threading.Lock, pool=("b",), what="try")
    await nothing_is_left(c, s)


@cluster_of(IN_A, IN_B)
async def test_argument_that_cannot_be_pickled_is_an_error_before_anything_is_sent(c, s, a, b):
    with pytest.raises(TypeError, match="cannot be sent"):
        await run_in_pool(len, threading.Lock(), pool=("b",), what="try")
    assert not s.tasks


@cluster_of(IN_A, IN_B)
async def test_cancelled_call_leaves_nothing(c, s, a, b):
    go = Event("go")
    running = asyncio.ensure_future(run_in_pool(go.wait, pool=("a",), what="try"))
    await async_poll_for(lambda: a.state.executing_count, timeout=10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await nothing_is_left(c, s)
    await go.set()


@cluster_of(IN_A, IN_B)
async def test_scheduler_does_not_unpickle_what_is_asked(c, s, a, b):
    class Fail:
        """It can only be unpickled by a worker: in a task."""

        def __reduce__(self):
            return get_worker, ()

    # On the scheduler there is no current worker, and so this would be an error.
    answer = await run_in_pool(type, Fail(), pool=("a",), what="try")
    assert answer.__name__ == "Worker"


@cluster_of(IN_A, IN_B)
async def test_parts_stay_in_the_pool_and_all_is_sent_at_once(c, s, a, b):
    calls = [Call.of(("b",), lambda i: (i, get_worker().address), i) for i in range(5)]
    last = Call.of(("b",), lambda parts: (parts, get_worker().address))
    parts, end = await ask_all(c, "try", calls, last)
    assert parts == [(i, b.address) for i in range(5)]
    assert end == b.address
    await nothing_is_left(c, s)


@cluster_of(IN_A, IN_B)
async def test_error_of_a_part_arrives_as_it_is(c, s, a, b):
    calls = [Call.of(("b",), os.listdir, path) for path in ("/", "/not/there")]
    with pytest.raises(FileNotFoundError, match="in pool 'b': '/not/there'"):
        await ask_all(c, "try", calls, Call.of(("b",), len))
    await nothing_is_left(c, s)


@cluster_of(IN_A, IN_B)
async def test_asynchronous_client_gets_an_awaitable_of_what_runs_here(c, s, a, b):
    assert await run_in_pool(sum, [1, 2], pool=None, what="try") == 3
    assert not s.tasks


def nested(name):
    found = run_in_pool(where, pool=(name,), what="inner")
    return get_worker().address, found[0]


@cluster_of(IN_A, IN_B)
async def test_task_in_the_pool_runs_it_itself_and_another_asks_for_it(c, s, a, b):
    with pool("a"):
        own = await c.submit(nested, "a", pure=False)
        other = await c.submit(nested, "b", pure=False)
    assert own == (a.address, a.address)
    assert other == (a.address, b.address)


@cluster_of(IN_A, IN_B)
async def test_coroutine_on_a_worker_can_ask_too(c, s, a, b):
    async def coroutine():
        return await run_in_pool(where, pool=("b",), what="inner")

    with pool("a"):
        assert (await c.submit(coroutine, pure=False))[0] == b.address


def test_without_a_client_it_runs_here_and_is_pinned():
    assert run_in_pool(os.getpid, pool=("a",), what="try") == os.getpid()
    assert run_in_pool(dask.get_annotations, pool=("a",), what="try")["pool"] == ("a",)
