from __future__ import annotations

import contextlib
from typing import Any

import dask
import pytest
from dask.delayed import delayed
from distributed import Event, Future, Worker, wait
from distributed.utils_test import async_poll_for, inc

from dask_pools.errors import PinConflictError, UnknownPoolError
from dask_pools.graph.submission import SUBMISSION, Submission
from dask_pools.model import Pool
from dask_pools.scheduler.plugin import PoolsPlugin
from tests.scheduler.clusters import IN_A, IN_B, cluster_of


def pinned(*pools: str, **annotations: Any) -> contextlib.AbstractContextManager[None]:
    """Annotate as `dask_pools.pool` does."""
    resources = {**annotations.pop("resources", {}), f"pool-{pools[0]}": 0}
    return dask.annotate(pool=pools, resources=resources, **annotations)


def placed(pool: str) -> contextlib.AbstractContextManager[None]:
    """Annotate as the optimiser does a free task."""
    return dask.annotate(placement=pool, resources={f"pool-{pool}": 0})


#: The states of tasks for which no worker is there.
WAITING = ("queued", "no-worker")
#: What optimisers on the scheduler, which is in this process, were told of the cluster.
TOLD: list[Submission | None] = []


def noting_optimizer(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    TOLD.append(SUBMISSION.get())
    return dsk


@cluster_of(IN_A, IN_B)
async def test_submitted_task_runs_in_the_pool_of_its_pin(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pinned("b"):
        futures = c.map(inc, range(8))
    await wait(futures)
    assert not a.data
    assert len(b.data) == 8


@cluster_of(IN_A, IN_B)
async def test_pin_of_mirrors_takes_the_first_pool_that_has_workers(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pinned("gone", "b", "a"):
        future = c.submit(inc, 1, key="x")
    assert await future == 2
    assert s.tasks["x"].resource_restrictions == {"pool-b": 0}
    assert "x" in b.data


@cluster_of({"resources": {"pool-a": 1, "GPU": 1}}, IN_A)
async def test_other_resources_are_kept_beside_the_pin(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pinned("a"):
        future = c.submit(inc, 1, key="x", resources={"GPU": 1})
    await future
    assert s.tasks["x"].resource_restrictions == {"GPU": 1, "pool-a": 0}
    assert "x" in a.data


@cluster_of(IN_A, IN_B)
async def test_preference_for_workers_does_not_lead_out_of_the_pool(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pinned("a"):
        future = c.submit(inc, 1, key="x", workers=[b.address], allow_other_workers=True)
    await future
    assert "x" in a.data


@cluster_of(IN_A, IN_B)
async def test_layers_of_a_graph_run_in_their_pools(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pinned("a"):
        x = delayed(inc)(1, dask_key_name="x")
    with pinned("b"):
        y = delayed(inc)(x, dask_key_name="y")
    with placed("a"):
        z = delayed(inc)(y, dask_key_name="z")
    futures = c.compute([x, y, z], optimize_graph=False)
    assert await c.gather(futures) == [2, 3, 4]
    restrictions = {key: s.tasks[key].resource_restrictions for key in "xyz"}
    assert restrictions == {"x": {"pool-a": 0}, "y": {"pool-b": 0}, "z": {"pool-a": 0}}


@cluster_of(IN_A, IN_B)
async def test_persisted_task_keeps_its_restrictions(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pinned("a"):
        x = c.persist(delayed(inc)(1, dask_key_name="x"))
    await x
    y = c.compute(delayed(inc)(x, dask_key_name="y"))
    assert await y == 3
    assert s.tasks["x"].resource_restrictions == {"pool-a": 0}
    assert s.tasks["x"].annotations["pool"] == ("a",)


@cluster_of(IN_A, IN_B)
async def test_graph_without_pins_is_handed_on_untouched(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    plugin.submissions.settle = None  # type: ignore[assignment,method-assign]
    with dask.annotate(priority=1):
        assert await c.submit(inc, 1) == 2


@cluster_of(IN_A, IN_B)
async def test_unknown_pool_is_an_error_for_the_caller_of_submit(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pinned("bb"):
        future = c.submit(inc, 1, key="x")
    with pytest.raises(UnknownPoolError) as caught:
        await future
    assert type(caught.value) is UnknownPoolError
    message = str(caught.value)
    assert "No worker is in pool 'bb', to which the pin of task 'x' leads." in message
    assert "Pools with workers: 'a', 'b'." in message
    assert "Did you mean 'b'?" in message
    assert not s.tasks


@cluster_of(IN_A, IN_B)
async def test_unknown_pool_is_an_error_for_the_caller_of_compute_and_nothing_has_run(c, s, a, b):
    await c.register_plugin(PoolsPlugin())

    def never() -> None:
        raise AssertionError("this has run")

    good = delayed(never)(dask_key_name="good")
    with pinned("ecmwff", "ecwmf"):
        reads = [delayed(never)(dask_key_name=f"read-{i}") for i in range(3)]
    future = c.compute(delayed(list)([good, *reads], dask_key_name="all"), optimize_graph=False)
    with pytest.raises(UnknownPoolError, match=r"any of the pools 'ecmwff', 'ecwmf'.*3 tasks"):
        await future
    assert not s.tasks
    assert not a.state.tasks
    assert not b.state.tasks


@cluster_of(IN_A, IN_B)
async def test_corrected_submission_of_the_same_keys_works(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    for correct in (False, True):
        with pinned("b" if correct else "bb"):
            x = delayed(inc)(1, dask_key_name="x")
        future = c.compute(delayed(inc)(x, dask_key_name="y"), optimize_graph=False)
        if correct:
            assert await future == 3
        else:
            with pytest.raises(UnknownPoolError):
                await future
        future.release()
        await async_poll_for(lambda: "y" not in c.futures, timeout=10)
    await async_poll_for(lambda: not s.tasks, timeout=10)
    assert s.clients[c.id].wants_what == set()


@cluster_of(IN_A, IN_B)
async def test_corrected_submission_works_while_the_failed_one_is_still_held(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pinned("bb"):
        failed = c.compute(delayed(inc)(1, dask_key_name="x"), optimize_graph=False)
    with pytest.raises(UnknownPoolError):
        await failed
    with pinned("b"):
        corrected = c.compute(delayed(inc)(1, dask_key_name="x"), optimize_graph=False)
    await wait(corrected)
    await async_poll_for(lambda: "x" in b.data, timeout=10)
    await async_poll_for(lambda: corrected.status == "finished", timeout=10)
    assert await corrected == 2


@cluster_of(IN_A, IN_B)
async def test_task_placed_in_a_pool_that_has_emptied_takes_another_of_its_pin(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    await b.close()
    with dask.annotate(pool=("b", "a"), placement="b", resources={"pool-b": 0}):
        x = delayed(inc)(1, dask_key_name="x")
    assert await c.compute(x, optimize_graph=False) == 2


@cluster_of(IN_A, IN_B)
async def test_task_placed_in_a_pool_without_workers_is_an_error(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with placed("c"):
        x = delayed(inc)(1, dask_key_name="x")
    with pytest.raises(UnknownPoolError, match="No worker is in pool 'c', in which task 'x'"):
        await c.compute(x, optimize_graph=False)
    assert not s.tasks


@cluster_of(IN_A, IN_B)
async def test_task_pinned_to_a_pool_that_was_lost_a_moment_ago_waits_for_it(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    await b.close()
    future = submit(c, "b")
    await async_poll_for(lambda: "x" in s.tasks and s.tasks["x"].state in WAITING, 5)
    async with Worker(s.address, resources={"pool-b": 1}) as w:
        assert await future == 2
        assert "x" in w.data


@cluster_of(IN_A, IN_B)
async def test_free_task_placed_in_a_pool_that_was_lost_a_moment_ago_goes_elsewhere(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    await b.close()
    with placed("b"):
        x = delayed(inc)(1, dask_key_name="x")
    assert await c.compute(x, optimize_graph=False) == 2


def submit(client: Any, pool: str) -> Future:
    """Submit a task 'x' pinned to a pool, in a graph of its own."""
    with pinned(pool):
        return client.compute(delayed(inc)(1, dask_key_name="x"), optimize_graph=False)


@cluster_of(IN_A, IN_B)
async def test_key_that_is_needed_cannot_be_pinned_to_another_pool(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    first = submit(c, "a")
    await wait(first)
    with pytest.raises(PinConflictError) as caught:
        await _result_of_message(c, submit(c, "b"))
    message = str(caught.value)
    assert "Key 'x' is pinned to 'b' in this submission, but to 'a' in an earlier one" in message
    assert "give this one another key" in message
    assert "release the earlier one first" in message
    assert "x" in a.data
    assert s.tasks["x"].resource_restrictions == {"pool-a": 0}


async def _result_of_message(client: Any, future: Future) -> Any:
    """Wait for the scheduler's word: the key is known to the client already, as finished."""
    await async_poll_for(lambda: future.status == "error", timeout=10)
    return await future


@cluster_of(IN_A, IN_B)
async def test_key_that_is_being_made_cannot_be_pinned_to_another_pool(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    go = Event("go")

    with pinned("a"):
        x = delayed(go.wait)(dask_key_name="x")
    first = c.compute(x, optimize_graph=False)
    await async_poll_for(lambda: "x" in s.tasks and s.tasks["x"].state == "processing", timeout=10)
    with pytest.raises(PinConflictError):
        await submit(c, "b")
    await go.set()
    await async_poll_for(lambda: s.tasks["x"].state == "memory", timeout=10)
    del first


@cluster_of(IN_A, IN_B)
async def test_nothing_is_left_of_the_same_keys_placed_in_two_ways(c, s, a, b):
    """The second time the value is carried, but the scheduler keeps the task of the first time."""
    await c.register_plugin(PoolsPlugin())
    go = Event("go")
    with pinned("a"):
        read = delayed(go.wait)(dask_key_name="read")
    with placed("a"):
        first = c.compute(delayed(bool)(read, dask_key_name="y"), optimize_graph=False)
    await async_poll_for(lambda: "y" in s.tasks, timeout=10)
    with placed("b"):
        carried = delayed(bool)(read, dask_key_name="carried")
        y = delayed(bool)(carried, dask_key_name="y")
        second = c.compute(delayed(int)(y, dask_key_name="z"), optimize_graph=False)
    await async_poll_for(lambda: "z" in s.tasks, timeout=10)
    assert s.tasks.keys() == {"read", "y", "z"}
    await go.set()
    assert await second == 1
    del first, second
    await async_poll_for(lambda: not s.tasks, timeout=10)


@cluster_of(IN_A, IN_B)
async def test_pins_with_a_pool_in_common_do_not_conflict(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    first = submit(c, "a")
    await wait(first)
    with pinned("b", "a"):
        y = delayed(inc)(delayed(inc)(1, dask_key_name="x"), dask_key_name="y")
    assert await c.compute(y, optimize_graph=False) == 3


@cluster_of(IN_A, IN_B)
async def test_placement_of_a_free_task_never_conflicts(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    for pool in "ab":
        with placed(pool):
            x = delayed(inc)(1, dask_key_name="x")
        future = c.compute(delayed(inc)(x, dask_key_name=f"y-{pool}"), optimize_graph=False)
        assert await future == 3
    assert submit(c, "a") is not None


@cluster_of(IN_A, IN_B)
async def test_released_key_can_be_pinned_to_another_pool(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    first = submit(c, "a")
    await wait(first)
    first.release()
    await async_poll_for(lambda: "x" not in c.futures, timeout=10)
    second = submit(c, "b")
    await async_poll_for(lambda: "x" in b.data, timeout=10)
    assert await second == 2


@cluster_of(IN_A, IN_B)
async def test_key_kept_as_lineage_takes_the_pool_of_who_needs_it_now(c, s, a, b):
    """Else a read would go on in the pool of the submission before, where its data may not be."""
    await c.register_plugin(PoolsPlugin())
    with pinned("a"):
        y = delayed(inc)(delayed(inc)(1, dask_key_name="x"), dask_key_name="y")
    first = c.compute(y, optimize_graph=False)
    await wait(first)
    await async_poll_for(lambda: s.tasks["x"].state == "released", timeout=10)
    second = submit(c, "b")
    assert await second == 2
    assert "x" in b.data
    assert s.tasks["x"].annotations["pool"] == ("b",)


@cluster_of(IN_A, IN_B)
async def test_key_heard_of_before_its_graph_is_bound_like_any_other(c, s, a, b):
    """distributed reads no annotations of a task that a client has asked for already."""
    await c.register_plugin(PoolsPlugin())
    with pytest.warns(UserWarning, match="desires key 'x'"):
        s.client_desires_keys(keys=["x"], client=c.id)
    assert await submit(c, "b") == 2
    assert "x" in b.data


@cluster_of(IN_A, IN_B)
async def test_optimiser_is_told_of_the_cluster(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    TOLD.clear()
    with dask.config.set(delayed_optimize=noting_optimizer):
        await c.compute(delayed(inc)(1))
    (submission,) = TOLD
    assert submission is not None
    assert submission.topology.pools == (Pool("a", 1, 1), Pool("b", 1, 1))
    assert submission.residence("never seen") is None
    assert SUBMISSION.get() is None


@cluster_of(IN_A, IN_B, {})
async def test_residence_of_earlier_values(c, s, a, b, nowhere):
    plugin = PoolsPlugin()
    await plugin.start(s)
    go = Event("go")
    with pinned("a"):
        there = c.submit(bytes, 1000, key="there")
        waiting = c.submit(go.wait, key="waiting")
    await async_poll_for(lambda: "waiting" in s.tasks, timeout=10)
    unpooled = c.submit(inc, 1, key="unpooled", workers=[nowhere.address])
    free = c.submit(go.wait, key="free")
    await wait([there, unpooled])
    await async_poll_for(lambda: "free" in s.tasks, timeout=10)
    residence = plugin.submissions.residence
    found = {key: residence(key) for key in ("there", "waiting", "unpooled", "free")}
    assert {key: r and r.pin for key, r in found.items()} == {
        "there": ("a",),
        "waiting": ("a",),
        "unpooled": (),
        "free": (),
    }
    assert found["there"].nbytes == s.tasks["there"].nbytes
    assert found["waiting"].nbytes is None
    assert residence("never seen") is None
    await there.cancel()
    await go.set()
    await wait([waiting, free])


@cluster_of(IN_A, IN_B)
async def test_residence_of_a_replicated_value_is_all_its_pools(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    x = await c.scatter({"x": 1}, broadcast=True)
    assert plugin.submissions.residence("x").pin == ("a", "b")
    del x
