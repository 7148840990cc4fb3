from __future__ import annotations

import operator
from typing import Any
from unittest import mock

import dask
import dask.array as da
import numpy as np
import pytest
from dask.delayed import delayed
from distributed import Client, Event, Future, Scheduler, wait, worker_client
from distributed.utils_test import async_poll_for, captured_logger, inc

from dask_pools import pool
from dask_pools.scheduler.arrivals import arrivals
from dask_pools.scheduler.plugin import PoolsPlugin
from dask_pools.scheduler.telemetry import crossings, link_bytes
from tests.scheduler.clusters import IN_A, IN_B, cluster_of

MB = 1_000_000


def blob(n: int, *_: Any) -> bytes:
    return bytes(n)


def total(*values: bytes) -> int:
    return sum(map(len, values))


def restrictions(s: Scheduler, *keys: Any) -> list[Any]:
    return [s.tasks[key].resource_restrictions for key in keys]


A, B = {"pool-a": 0}, {"pool-b": 0}


async def two_values(c: Client, in_a: int, in_b: int) -> Any:
    """Have a value in each pool, and wait for them."""
    with pool("a"):
        x = c.submit(blob, in_a, key="x")
    with pool("b"):
        y = c.submit(blob, in_b, key="y")
    await wait([x, y])
    return x, y


# ---- client.submit


@cluster_of(IN_A, IN_B)
async def test_free_task_goes_where_most_bytes_of_its_inputs_are(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, y = await two_values(c, 10, MB)
    with pool("a"):
        z = c.submit(blob, 10, key="z")
    await wait(z)
    assert await c.submit(total, x, y, z, key="sum") == MB + 20
    assert restrictions(s, "sum") == [B]
    assert s.tasks["sum"].annotations["placement"] == "b"
    assert sum((await link_bytes(c)).values()) < 1000


@cluster_of(IN_A, IN_B)
async def test_tasks_that_follow_a_placed_one_follow_it(c, s, a, b):
    """Submitted at once: the scheduler has not seen one before the next is on its way."""
    await c.register_plugin(PoolsPlugin())
    with pool("b"):
        x = c.submit(inc, 0, key="x")
    y = c.submit(inc, x, key="y")
    z = c.submit(inc, y, key="z")
    assert await z == 3
    assert restrictions(s, "x", "y", "z") == [B, B, B]
    assert not a.data


@cluster_of(IN_A, IN_B)
async def test_work_without_pools_is_left_to_stock_dask(c, s, a, b):
    """All its values are in the pool of some worker: that alone does not bind it."""
    plugin = PoolsPlugin()
    await plugin.start(s)
    plugin.submissions.settle = None  # type: ignore[assignment,method-assign]
    [scattered] = await c.scatter([MB])
    x = c.submit(inc, scattered, key="x")
    y = c.map(operator.add, [x] * 3, [scattered] * 3, key="y")
    array = await c.persist(da.ones(4, chunks=2))
    futures = [*y, c.compute(array.sum(), optimize_graph=False), c.compute(array.sum())]
    assert (await c.gather(futures))[3:] == [4, 4]
    assert not any(ts.resource_restrictions or ts.annotations for ts in s.tasks.values())


@cluster_of({}, {})
async def test_cluster_without_pools_is_left_to_stock_dask(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    plugin.submissions.settle = None  # type: ignore[assignment,method-assign]
    plugin.submissions.arrivals.home = None  # type: ignore[assignment,method-assign]
    x = c.submit(inc, 1)
    assert await c.submit(inc, x) == 3
    assert await c.compute(delayed(inc)(1)) == 2


@cluster_of(IN_A, IN_B)
async def test_values_that_nobody_bound_count_where_they_are(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pool("a"):
        x = c.submit(blob, 10, key="x")
    await wait(x)
    scattered = await c.scatter({"y": bytes(MB)}, workers=[b.address])
    assert await c.submit(total, x, scattered["y"], key="sum") == MB + 10
    assert restrictions(s, "sum") == [B]


@cluster_of(IN_A, IN_B)
async def test_size_that_is_not_known_yet_is_learned_from_its_kind(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    first = [c.submit(blob, 10, key="small-1"), c.submit(blob, 5 * MB, key="large-1")]
    await wait(first)
    go = Event("go")
    with pool("a"):
        gate = c.submit(go.wait, key="gate")
        large = c.submit(blob, 5 * MB, gate, key="large-2")
    with pool("b"):
        small = [c.submit(blob, 10, i, gate, key=f"small-{i}") for i in (2, 3, 4)]
    future = c.submit(total, large, *small, key="sum")
    await async_poll_for(lambda: "sum" in s.tasks, timeout=10)
    assert restrictions(s, "sum") == [A]
    await go.set()
    assert await future == 5 * MB + 30


@cluster_of(IN_A, IN_B)
async def test_of_equal_bytes_the_largest_input_decides_then_the_name(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, y = await two_values(c, MB, MB)
    with pool("a"):
        halves = [c.submit(blob, MB // 2, key=f"half-{i}") for i in (1, 2)]
    await wait(halves)
    futures = [c.submit(total, *halves, y, key="sum"), c.submit(total, y, x, key="name")]
    assert await c.gather(futures) == [2 * MB, 2 * MB]
    assert restrictions(s, "sum", "name") == [B, A]


@cluster_of(IN_A, {"resources": {"pool-b": 1, "GPU": 1}})
async def test_what_its_user_has_restricted_is_left_alone(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, _ = await two_values(c, MB, 10)
    there = c.submit(total, x, key="there", workers=[b.address])
    gpu = c.submit(total, x, key="gpu", resources={"GPU": 1})
    with dask.annotate(workers=[b.address]):
        lazy = delayed(total)(x, dask_key_name="lazy")
    assert await c.gather([there, gpu, c.compute(lazy, optimize_graph=False)]) == [MB] * 3
    assert restrictions(s, "there", "gpu", "lazy") == [None, {"GPU": 1}, None]
    assert {"there", "gpu", "lazy"} <= set(b.data)


class Counter:
    def __init__(self, *_: Any) -> None:
        self.n = 0


@cluster_of(IN_A, IN_B)
async def test_actor_is_pinned_or_left_alone(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, _ = await two_values(c, 10, 10)
    free = c.submit(Counter, x, actor=True, key="free")
    with pool("b"):
        pinned = c.submit(Counter, x, actor=True, key="pinned")
    await wait([free, pinned])
    assert restrictions(s, "free", "pinned") == [None, B]


@cluster_of(IN_A, IN_B)
async def test_pin_is_stronger_than_bytes(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, _ = await two_values(c, MB, 10)
    with pool("b"):
        assert await c.submit(total, x, key="sum") == MB
    assert restrictions(s, "sum") == [B]


@cluster_of(IN_A, IN_B)
async def test_map_over_values_of_two_pools(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, y = await two_values(c, 10, 20)
    futures = c.map(total, [x, y, x], key=["0", "1", "2"])
    assert await c.gather(futures) == [10, 20, 10]
    assert restrictions(s, "0", "1", "2") == [A, B, A]


@cluster_of(IN_A, IN_B)
async def test_pool_that_has_emptied_is_no_place(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, y = await two_values(c, MB, 10)
    await c.replicate(x, workers=[a.address, b.address])
    await a.close()
    assert await c.submit(total, x, y, key="sum") == MB + 10
    assert restrictions(s, "sum") == [B]


# ---- plain graphs


def plain_graph(x: Any, y: Any) -> dict[str, Any]:
    return {
        "xx": (total, x, x),
        "yy": (total, y, y),
        "both": (operator.add, "xx", "yy"),
        "nothing": (inc, 1),
        "all": (max, "both", "nothing"),
    }


@cluster_of(IN_A, IN_B)
async def test_plain_graph_is_placed_task_by_task(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, y = await two_values(c, 10, MB)
    future = c.get(plain_graph(x, y), "all", sync=False)
    assert await future == 2 * MB + 20
    placed = ["xx", "yy", "both", "nothing", "all"]
    found = dict(zip(placed, restrictions(s, *placed), strict=True))
    assert found["xx"] == A
    assert found["yy"] == B
    assert found["nothing"] is None
    assert found["both"] == found["all"] is not None


@cluster_of(IN_A, IN_B)
async def test_large_plain_graph_is_left_to_stock_dask(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, y = await two_values(c, 10, MB)
    with mock.patch.object(arrivals, "LARGEST_PLAIN_GRAPH", 4):
        assert await c.get(plain_graph(x, y), "all", sync=False) == 2 * MB + 20
    assert restrictions(s, "xx", "yy", "all") == [None] * 3


# ---- tasks that submit tasks


def submit_inside(*inputs: Any) -> Any:
    with worker_client() as client:
        return client.submit(total, *inputs, key="inner").result()


def noted_places(plugin: PoolsPlugin) -> list[dict[Any, str]]:
    """Note the placements of all submissions from now on."""
    noted: list[dict[Any, str]] = []
    stock = plugin.submissions.settle

    def settle(tasks: Any, annotations: Any, overall: Any) -> Any:
        noted.append(dict(annotations.get("placement", {})))
        return stock(tasks, annotations, overall)

    plugin.submissions.settle = settle  # type: ignore[method-assign]
    return noted


@cluster_of(IN_A, IN_B)
async def test_task_submitted_by_a_bound_task_runs_in_its_pool(c, s, a, b):
    """It may open the same files."""
    plugin = PoolsPlugin()
    await plugin.start(s)
    places = noted_places(plugin)
    with pool("b"):
        outer = c.submit(submit_inside, key="outer")
    assert await outer == 0
    assert places == [{}, {"inner": "b"}]
    assert not a.state.story("inner")


@cluster_of(IN_A, IN_B)
async def test_inputs_of_another_pool_are_stronger_than_the_pool_of_who_submits(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    x, _ = await two_values(c, MB, 10)
    places = noted_places(plugin)
    with pool("b"):
        outer = c.submit(_submit_on, "x", key="outer")
    assert await outer == MB
    assert {"inner": "a"} in places
    del x


def _submit_on(key: str) -> Any:
    with worker_client() as client:
        return client.submit(total, Future(key, client), key="inner").result()


@cluster_of(IN_A, IN_B)
async def test_task_submitted_by_an_unplaced_task_is_left_alone(c, s, a, b):
    plugin = PoolsPlugin()
    await plugin.start(s)
    plugin.submissions.settle = None  # type: ignore[assignment,method-assign]
    assert await c.submit(submit_inside, key="outer") == 0


def _graph_inside() -> float:
    with worker_client():
        return float(da.ones(4, chunks=2).sum().compute())


@cluster_of(IN_A, IN_B)
async def test_graph_submitted_by_a_bound_task_runs_in_its_pool(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pool("b"):
        outer = c.submit(_graph_inside, key="outer")
    assert await outer == 4.0
    ran = {key for key, _, finish, *_ in s.transition_log if finish == "memory"}
    assert any("sum" in str(key) for key in ran)
    assert not a.state.story(*ran)


# ---- graphs of layers and expressions


@cluster_of(IN_A, IN_B)
async def test_graph_that_is_not_optimised_is_placed_with_transfers(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pool("a"):
        x = da.random.default_rng(0).random((80, 80), chunks=40)
    with pool("b"):
        y = da.random.default_rng(1).random((80, 80), chunks=40)
        z = da.random.default_rng(2).random((80, 80), chunks=40)
    result = ((x + y) * z + (x - y) * z).sum()
    expected = result.compute(scheduler="synchronous")
    found = await c.compute(result, optimize_graph=False)
    np.testing.assert_allclose(found, expected)
    moved = await crossings(c)
    # Of x, which is smaller than y and z together: each block once, or a part of it.
    assert sum(crossing.nbytes for crossing in moved) <= 80 * 80 * 8 + 1000
    assert {crossing.link.target for crossing in moved} == {"b"}
    assert len({crossing.key for crossing in moved}) == len(moved)
    assert any("transfer-a-b-/" in str(key) for key, *_ in s.transition_log)


@cluster_of(IN_A, IN_B)
async def test_value_for_many_crosses_once(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pool("a"):
        x = delayed(blob)(MB, dask_key_name="x")
    with pool("b"):
        ys = [delayed(total)(x, dask_key_name=f"y-{i}") for i in range(8)]
    assert await c.gather(c.compute(ys, optimize_graph=False)) == [MB] * 8
    assert [crossing.key for crossing in await crossings(c)] == ["x"]


@cluster_of(IN_A, IN_B)
async def test_computation_on_persisted_values_is_placed_for_those_who_do_not_propagate(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    with pool("a"):
        x = c.persist(da.ones((100, 100), chunks=50), optimize_graph=False)
    with pool("b"):
        y = c.persist(da.ones((100, 100), chunks=50), optimize_graph=False)
    await wait([x, y])
    assert await c.compute(x.sum() + y.sum()) == 20_000
    assert sum((await link_bytes(c)).values()) < 1000


@cluster_of(IN_A, IN_B)
async def test_the_same_graph_twice_collides_with_nothing(c, s, a, b):
    await c.register_plugin(PoolsPlugin())
    x, y = await two_values(c, 10, MB)
    graph = delayed(total)(delayed(blob)(10, x, dask_key_name="u"), y, dask_key_name="v")
    first = c.compute(graph, optimize_graph=False)
    assert await first == MB + 10
    assert restrictions(s, "u") == [A]
    again = delayed(total)(delayed(blob)(10, x, dask_key_name="u"), y, dask_key_name="v")
    with captured_logger("distributed.scheduler") as log:
        assert await c.compute(delayed(inc)(again), optimize_graph=False) == MB + 11
    assert "run_spec" not in log.getvalue()
    assert {ts.key for ts in s.tasks["v"].dependencies} == {"transfer-a-b-/u", "y"}


@cluster_of(IN_A, IN_B)
async def test_expression_of_data_frames_is_placed(c, s, a, b):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    await c.register_plugin(PoolsPlugin())
    frame = pd.DataFrame({"k": [0, 1] * 50, "v": range(100)})
    with pool("a"):
        x = c.submit(frame.copy, pure=False)
    with pool("b"):
        y = c.submit(frame.copy, pure=False)
    df = dd.from_delayed([x, y], meta=frame.iloc[:0], verify_meta=False)
    assert await c.compute(df.v.sum()) == 2 * frame.v.sum()
    assert sum((await link_bytes(c)).values()) < 200
