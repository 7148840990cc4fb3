from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from distributed import Event, Worker, wait
from distributed.shuffle._core import ShuffleRun
from distributed.utils_test import async_poll_for

from dask_pools import pool, propagate_pools
from dask_pools.graph.optimize import place_graph
from dask_pools.scheduler.plugin import NAME, PoolsPlugin
from dask_pools.scheduler.shuffles.p2p import Shuffles
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.shuffled import P2P, Started, counted_pieces, crossing, install

dd = pytest.importorskip("dask.dataframe")

ROWS = 500
A, B = {"pool-a": 0}, {"pool-b": 0}


async def array(c: Any, in_a: int, in_b: int) -> Any:
    """Put blocks of ten rows into both pools, and make an array of them."""
    blocks = [
        c.submit(np.full, (10, 40), float(i), key=f"block-{i}", resources=A if i < in_a else B)
        for i in range(in_a + in_b)
    ]
    await wait(blocks)
    lazy = [da.from_delayed(dask.delayed(block), (10, 40), float) for block in blocks]
    return da.concatenate(lazy)


def part(i: int, column: str) -> Any:
    """Make a part of a frame whose keys are in all of its parts."""
    return pd.DataFrame({"x": np.arange(ROWS) * 7 % 97, column: np.arange(ROWS) + i * ROWS})


async def frame(c: Any, in_a: int, in_b: int, column: str = "y") -> Any:
    """Put parts of a frame into both pools."""
    parts = [
        c.submit(part, i, column, key=f"{column}-{i}", resources=A if i < in_a else B)
        for i in range(in_a + in_b)
    ]
    await wait(parts)
    lazy = [dask.delayed(one) for one in parts]
    return dd.from_delayed(lazy, meta=part(0, column), verify_meta=False)


async def rechunked(c: Any, in_a: int, in_b: int) -> None:
    # Small blocks: distributed would join the blocks of both pools before it sends anything.
    x = await array(c, in_a, in_b)
    y = x.rechunk((-1, 4), block_size_limit=3200)
    expected = np.repeat(np.arange(in_a + in_b, dtype=float), 10)
    assert (await c.compute(y.sum(axis=1)) == 40 * expected).all()


async def summed(c: Any, in_a: int, in_b: int) -> None:
    df = await frame(c, in_a, in_b)
    y = df.shuffle("x", npartitions=12)
    n = ROWS * (in_a + in_b)
    rows, total = await asyncio.gather(*c.compute([y.x.count(), y.y.sum()]))
    assert (rows, total) == (n, n * (n - 1) // 2)


async def merged(c: Any, in_a: int, in_b: int) -> None:
    left, right = await frame(c, in_a, in_b), await frame(c, in_a, in_b, "z")
    y = left.merge(right, on="x", shuffle_method="p2p")
    one = pd.concat([part(i, "y") for i in range(in_a + in_b)])
    expected = one.merge(one.rename(columns={"y": "z"}), on="x")
    rows, total = await asyncio.gather(*c.compute([y.x.count(), (y.y - 2 * y.z).sum()]))
    assert (rows, total) == (len(expected), (expected.y - 2 * expected.z).sum())


@contextlib.contextmanager
def held_back() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Hold all pieces but the first back; yields what says that one came, and what lets go."""
    arrived, go = asyncio.Event(), asyncio.Event()
    stock = ShuffleRun._send

    async def send(self: Any, address: str, shards: Any) -> Any:
        if arrived.is_set():
            await go.wait()
        arrived.set()
        return await stock(self, address, shards)

    ShuffleRun._send = send  # type: ignore[method-assign]
    try:
        yield arrived, go
    finally:
        go.set()
        ShuffleRun._send = stock  # type: ignore[method-assign]


async def lose(s: Any, worker: Any) -> None:
    """Have the scheduler lose a worker, which cannot say good-bye before its pieces are sent."""
    await s.remove_worker(worker.address, stimulus_id="lost")
    assert worker.address not in s.workers


KINDS = pytest.mark.parametrize("shuffle", [rechunked, summed, merged])


@KINDS
def test_shuffle_inside_of_a_pool_stays_in_it(shuffle: Any) -> None:
    @cluster_of(IN_A, IN_A, IN_B, IN_B, config=P2P)
    async def run(c: Any, s: Any, *workers: Any) -> None:
        install(s)
        started = Started(s)
        with counted_pieces(s) as pieces:
            await shuffle(c, 10, 0)
        assert set(pieces) == {("a", "a")}
        assert started.pools == {"a"}

    run()


@KINDS
def test_stock_sends_half_of_it_away(shuffle: Any) -> None:
    """The test above could not fail if everything stayed anyway."""

    @cluster_of(IN_A, IN_A, IN_B, IN_B, config=P2P)
    async def run(c: Any, s: Any, *workers: Any) -> None:
        with counted_pieces(s) as pieces:
            await shuffle(c, 10, 0)
        assert 0.3 < crossing(pieces) < 0.7

    run()


@KINDS
def test_shuffle_over_two_pools_goes_to_the_one_that_has_most(shuffle: Any) -> None:
    @cluster_of(IN_A, IN_A, IN_B, IN_B, config=P2P)
    async def run(c: Any, s: Any, *workers: Any) -> None:
        install(s)
        with counted_pieces(s) as pieces:
            await shuffle(c, 7, 3)
        assert set(pieces) == {("a", "a"), ("b", "a")}
        assert crossing(pieces) < 0.35

    run()


@KINDS
def test_shuffle_of_a_pool_that_is_cut_in_half_goes_on_in_the_other_half(shuffle: Any) -> None:
    """What was sent to the worker that leaves is lost, so that all begins anew."""

    @cluster_of(IN_A, IN_A, IN_B, IN_B, config=P2P)
    async def run(c: Any, s: Any, *workers: Any) -> None:
        install(s)
        started = Started(s)
        with counted_pieces(s) as pieces, held_back() as (arrived, go):
            result = asyncio.create_task(shuffle(c, 10, 0))
            await arrived.wait()
            await lose(s, workers[1])
            go.set()
            await result
        assert set(pieces) == {("a", "a")}
        assert started.pools == {"a"}

    run()


@pytest.mark.parametrize("lost", [1, 3])
@KINDS
def test_shuffle_over_two_pools_survives_a_loss_in_either(shuffle: Any, lost: int) -> None:
    @cluster_of(IN_A, IN_A, IN_B, IN_B, config=P2P)
    async def run(c: Any, s: Any, *workers: Any) -> None:
        install(s)
        with counted_pieces(s) as pieces, held_back() as (arrived, go):
            result = asyncio.create_task(shuffle(c, 7, 3))
            await arrived.wait()
            await lose(s, workers[lost])
            go.set()
            await result
        assert set(pieces) == {("a", "a"), ("b", "a")}

    run()


@cluster_of(IN_A, IN_B, config=P2P)
async def test_worker_that_comes_takes_part_in_the_next_shuffle(c, s, a, b):
    install(s)
    await rechunked(c, 6, 0)
    one = {"nthreads": 1, **IN_A}
    async with Worker(s.address, **one) as new, Worker(s.address, **one) as newer:
        with counted_pieces(s) as pieces:
            await rechunked(c, 7, 0)
            assert set(pieces) == {("a", "a")}
        x = c.persist((await array(c, 8, 0)).rechunk((-1, 4), block_size_limit=3200))
        await wait(x)
        held = [len(s.workers[w.address].has_what) for w in (a, new, newer)]
        assert min(held) >= 3, "ten blocks, spread over three workers"


@cluster_of(IN_A, IN_B, config=P2P)
async def test_workers_of_a_pool_share_outputs_by_their_threads(c, s, a, b):
    install(s)
    async with Worker(s.address, nthreads=3, **IN_A) as big:
        x = await array(c, 8, 0)
        y = c.persist(x.rechunk((-1, 5), block_size_limit=3200))
        await wait(y)
        outputs = [ts for ts in s.tasks.values() if "rechunk-p2p" in str(ts.key)]
        held = {
            w: sum(s.workers[w] in ts.who_has for ts in outputs) for w in (a.address, big.address)
        }
        assert held == {a.address: 2, big.address: 6}


UNFUSED: dict[str, Any] = {**P2P, "optimization.fuse.active": False}


@cluster_of(IN_A, IN_A, IN_B, IN_B, config=UNFUSED)
async def test_outputs_go_to_where_they_are_needed(c, s, *workers):
    install(s)
    x = await array(c, 10, 0)
    y = x.rechunk((-1, 4), block_size_limit=3200)
    with dask.annotate(resources=B):
        z = y.map_blocks(np.negative)
    with counted_pieces(s) as pieces:
        assert await c.compute(z.sum(), optimize_graph=False) == -40 * 10 * 45
    assert set(pieces) == {("a", "b")}


@cluster_of(IN_A, IN_A, IN_B, IN_B, config=UNFUSED)
async def test_output_that_is_needed_where_it_is_made_of_little_stays_if_needed_there_too(
    c, s, *workers
):
    install(s)
    x = await array(c, 7, 3)
    y = x.rechunk((-1, 4), block_size_limit=3200)
    results = []
    for resources in (A, B):
        with dask.annotate(resources=resources):
            results.append(y.map_blocks(np.negative, name=f"negative-{resources}").sum())
    with counted_pieces(s) as pieces:
        await asyncio.gather(*c.compute(results, optimize_graph=False))
    assert set(pieces) == {("a", "a"), ("b", "a")}


@cluster_of(IN_A, IN_A, IN_B, IN_B, config=UNFUSED)
async def test_bound_shuffle_runs_where_it_is_bound_to(c, s, *workers):
    """In stock Dask it would wait for a worker of another pool which is in this one."""
    install(s)
    started = Started(s)
    x = await array(c, 10, 0)
    with dask.annotate(resources=B):
        y = x.rechunk((-1, 4), block_size_limit=3200)
    with counted_pieces(s) as pieces:
        total = y.sum()
        assert await c.compute(total, optimize_graph=False) == 40 * 10 * 45
    assert set(pieces) == {("b", "b")}
    assert started.pools == {"b"}


@cluster_of(
    IN_A,
    {"resources": {"pool-a": 1, "GPU": 1}},
    {"resources": {"pool-b": 1, "GPU": 1}},
    config=UNFUSED,
)
async def test_other_restrictions_of_outputs_are_kept(c, s, a, gpu, b):
    install(s)
    x = await array(c, 10, 0)
    with dask.annotate(resources={"GPU": 1}):
        y = x.rechunk((-1, 4), block_size_limit=3200)
    y = c.persist(y, optimize_graph=False)
    await wait(y)
    outputs = [ts for ts in s.tasks.values() if "rechunk-p2p" in str(ts.key)]
    assert {ws.address for ts in outputs for ws in ts.who_has} == {gpu.address}


@cluster_of(IN_A, IN_B, {}, config=P2P)
async def test_shuffle_of_what_is_bound_to_no_pool_makes_use_of_all_workers(c, s, a, b, nowhere):
    install(s)
    df = dd.from_pandas(part(0, "y"), npartitions=6)
    with counted_pieces(s) as pieces:
        assert await c.compute(df.shuffle("x", npartitions=9).y.sum()) == ROWS * (ROWS - 1) // 2
    assert {target for _, target in pieces} == {"a", "b", ""}


@cluster_of(IN_A, IN_A, IN_B, IN_B, config=P2P)
async def test_merge_of_a_frame_of_each_pool_is_aligned(c, s, *workers):
    install(s)
    left, right = await frame(c, 6, 0), await frame(c, 0, 3, "z")
    one, other = (pd.concat([part(i, col) for i in range(n)]) for n, col in ((6, "y"), (3, "z")))
    expected = one.merge(other, on="x")
    y = left.merge(right, on="x", shuffle_method="p2p")
    with counted_pieces(s) as pieces:
        rows, total = await asyncio.gather(*c.compute([y.x.count(), (y.y - 2 * y.z).sum()]))
    assert (rows, total) == (len(expected), (expected.y - 2 * expected.z).sum())
    assert set(pieces) == {("a", "a"), ("b", "a")}


@cluster_of(IN_A, IN_A, IN_B, IN_B, config=UNFUSED)
async def test_taking_it_back_leaves_running_shuffles_to_stock(c, s, *workers):
    undo = install(s)
    stock = type(s.plugins["shuffle"]).__mro__[2]
    x = await array(c, 10, 0)
    with dask.annotate(resources=A):
        y = x.rechunk((-1, 4), block_size_limit=3200).sum()
    with held_back() as (arrived, go):
        result = c.compute(y, optimize_graph=False)
        await arrived.wait()
        assert s.plugins["shuffle"].active_shuffles
        undo()
        undo()
        assert type(s.plugins["shuffle"]) is stock
        assert not {"roster", "stranded", "chosen"} & set(vars(s.plugins["shuffle"]))
        await lose(s, workers[0])  # now stock starts it again, with workers of any pool
        go.set()
        assert await result == 40 * 10 * 45


@cluster_of(IN_A, IN_A, IN_B, config=UNFUSED)
async def test_outputs_bound_to_a_pool_that_is_gone_are_made_when_it_is_back(c, s, a1, a2, b):
    install(s)
    gate = c.submit(wait_for, "go", resources=A)
    blocks = [c.submit(filled, gate, i, key=f"block-{i}", resources=A) for i in range(10)]
    lazy = [da.from_delayed(dask.delayed(block), (10, 40), float) for block in blocks]
    y = da.concatenate(lazy).rechunk((-1, 4), block_size_limit=3200)
    total = c.compute(y.sum(), optimize_graph=False)
    await async_poll_for(lambda: total.key in s.tasks, 10)
    # As a scheduler may bind outputs that are needed there; the steps before them are free.
    for ts in s.tasks.values():
        if "rechunk-p2p" in str(ts.key):
            ts.resource_restrictions = B
    await b.close()
    await Event("go").set()
    await async_poll_for(lambda: len(s.unrunnable) == 10, 10)
    async with Worker(s.address, **IN_B):
        assert await total == 40 * 10 * 45


def wait_for(name: str) -> None:
    Event(name).wait()


def filled(_: None, i: int) -> Any:
    return np.full((10, 40), float(i))


async def planned(c: Any, s: Any) -> Any:
    """Install everything that there is, and count."""
    await c.register_plugin(PoolsPlugin())
    Shuffles(s, s.plugins[NAME].roster).install()
    return Started(s)


def numbers(name: str, rows: int) -> Any:
    """Make an array whose blocks are made in a pool."""
    with pool(name):
        return da.random.default_rng(rows).random((rows, 40), chunks=(10, 40))


WHOLE: dict[str, Any] = {**P2P, "array.chunk-size": 3200}


@cluster_of(IN_A, IN_A, IN_B, IN_B, config=WHOLE)
async def test_rechunk_through_the_optimiser_stays_in_the_pool_of_its_data(c, s, *workers):
    started = await planned(c, s)
    x = numbers("a", 80)
    with counted_pieces(s) as pieces, propagate_pools():
        result = await c.compute((x + 1).rechunk((-1, 4)).sum(axis=0) * 2)
    np.testing.assert_allclose(result, 2 * (x.compute(scheduler="sync") + 1).sum(axis=0))
    assert set(pieces) == {("a", "a")}
    assert started.pools == {"a"}
    assert crossed(workers) == 0


@cluster_of(IN_A, IN_A, IN_B, IN_B, config=WHOLE)
async def test_what_is_added_to_a_rechunk_comes_to_it(c, s, *workers):
    await planned(c, s)
    x, y = numbers("a", 80), numbers("b", 10)
    with counted_pieces(s) as pieces, propagate_pools():
        result = await c.compute((x.rechunk((-1, 4)) + y[:1]).sum(axis=0))
    expected = (x + y[:1]).sum(axis=0).compute(scheduler="sync")
    np.testing.assert_allclose(result, expected)
    assert set(pieces) == {("a", "a")}
    assert crossed(workers) == 40 * 8, "one line"


@cluster_of(IN_A, IN_A, IN_B, IN_B, config=WHOLE)
async def test_rechunk_over_two_pools_is_planned_with_all_that_crosses(c, s, *workers):
    await planned(c, s)
    x = da.concatenate([numbers("a", 70), numbers("b", 30)])
    y = x.rechunk((-1, 4)).sum(axis=0)
    plan = place_graph(y.__dask_graph__(), y.__dask_keys__(), transfers=True).plan
    with counted_pieces(s) as pieces, propagate_pools():
        result = await c.compute(y)
    np.testing.assert_allclose(result, x.sum(axis=0).compute(scheduler="sync"))
    assert set(pieces) == {("a", "a")}
    planned_bytes = sum(transfer.nbytes for transfer in plan.transfers)
    assert crossed(workers) == planned_bytes == 30 * 40 * 8


@cluster_of(IN_A, IN_A, IN_B, IN_B, config=WHOLE)
async def test_shuffle_of_a_frame_made_in_a_pool_stays_there(c, s, *workers):
    started = await planned(c, s)
    with pool("a"):
        parts = c.map(part, range(6), column="y")
    df = dd.from_delayed(parts, meta=part(0, "y"), verify_meta=False)
    n = 6 * ROWS
    with counted_pieces(s) as pieces, propagate_pools():
        assert await c.compute(df.shuffle("x", npartitions=12).y.sum()) == n * (n - 1) // 2
    assert set(pieces) == {("a", "a")}
    assert started.pools == {"a"}


def crossed(workers: Any) -> int:
    """Count the bytes of values, other than numbers, that came from workers of another pool."""
    first = {w.address for w in workers[:2]}
    return sum(
        nbytes
        for w in workers
        for entry in w.transfer_incoming_log
        if (entry["who"] in first) != (w.address in first)
        for nbytes in entry["keys"].values()
        if nbytes > 100
    )
