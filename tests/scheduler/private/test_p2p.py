"""The P2P shuffles.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.p2p`, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Event, wait
from distributed.shuffle._core import ShuffleRun
from distributed.shuffle._scheduler_plugin import ShuffleSchedulerPlugin
from distributed.utils_test import async_poll_for, gen_cluster

from dask_pools.errors import DistributedChangedError
from dask_pools.scheduler.private import p2p
from tests.scheduler.private.release import RELEASE, parameters

pd = pytest.importorskip("pandas")
dd = pytest.importorskip("dask.dataframe")

CONFIG = {"array.rechunk.method": "p2p", "dataframe.shuffle.method": "p2p"}


class First(p2p.GuardedShuffles):
    """Gives everything to the first worker, and notes what it was told."""

    told: list[p2p.Shuffle]

    def choose_workers(
        self, shuffle: p2p.Shuffle, workers: Sequence[str]
    ) -> Mapping[p2p.Partition, str]:
        self.told.append(shuffle)
        return dict.fromkeys(shuffle.partitions, min(workers))


def told_by(s: Any) -> Any:
    p2p.replace_shuffles(s, First, told=[])
    return s.plugins["shuffle"]


def rechunked() -> Any:
    """Blocks that distributed does not join before it takes them apart."""
    x = da.random.default_rng(0).random((12, 8), chunks=(3, 8))
    return x.rechunk((12, 2), block_size_limit=200)


@gen_cluster(client=True, config=CONFIG)
async def test_shuffle_is_swapped_in_place_and_back(c, s, a, b):
    stock = s.plugins["shuffle"]
    assert type(stock) is ShuffleSchedulerPlugin, f"{RELEASE} has no plugin 'shuffle' of its own"
    assert parameters(ShuffleSchedulerPlugin._calculate_worker_for) == {"self", "spec"}, (
        f"{RELEASE} has changed the arguments of ShuffleSchedulerPlugin._calculate_worker_for"
    )
    undo = p2p.replace_shuffles(s, First, told=[])
    assert s.plugins["shuffle"] is stock
    await c.compute(rechunked())
    assert len(stock.told) == 1, (  # type: ignore[attr-defined]
        f"{RELEASE} no longer asks _calculate_worker_for when a shuffle is started"
    )
    undo()
    undo()
    assert type(stock) is ShuffleSchedulerPlugin
    assert not {"told", "chosen"} & set(vars(stock))
    assert p2p.replace_shuffles(s, First, told=[]) is not None


@pytest.mark.parametrize("fused", [True, False])
def test_steps_of_a_rechunk_are_found(fused: bool) -> None:
    @gen_cluster(client=True, config={**CONFIG, "optimization.fuse.active": fused})
    async def run(c: Any, s: Any, a: Any, b: Any) -> None:
        ours = told_by(s)
        await c.compute(rechunked() + 1)
        (shuffle,) = ours.told
        assert shuffle.chunks == (((3,) * 4, (8,)), ((12,), (2,) * 4)), (
            f"{RELEASE} has changed what ArrayRechunkSpec holds"
        )
        assert set(shuffle.blocks) == {(i, 0) for i in range(4)}, (
            f"{RELEASE} has changed the arguments of rechunk_transfer"
        )
        assert set(shuffle.blocks.values()) == set(shuffle.transfers)
        assert list(shuffle.outputs) == shuffle.partitions == [(0, i) for i in range(4)], (
            f"{RELEASE} has changed the arguments of rechunk_unpack"
        )
        for (_, i), ts in shuffle.outputs.items():
            assert ts.key[-1] == i

    run()


@gen_cluster(client=True, config=CONFIG)
async def test_steps_of_shuffles_of_frames_are_found(c, s, a, b):
    ours = told_by(s)
    left = dd.from_pandas(pd.DataFrame({"x": range(40), "y": range(40)}), npartitions=4)
    right = dd.from_pandas(pd.DataFrame({"x": range(40), "z": range(40)}), npartitions=3)
    await c.compute(left.shuffle("x", npartitions=5))
    (shuffle,) = ours.told
    assert list(shuffle.outputs) == shuffle.partitions == [0, 1, 2, 3, 4], (
        f"{RELEASE} has changed the arguments of shuffle_unpack"
    )
    assert (len(shuffle.transfers), shuffle.blocks, shuffle.chunks) == (4, None, None)
    ours.told.clear()
    await c.compute(left.merge(right, on="x", shuffle_method="p2p"))
    (shuffle,) = ours.told  # the other side follows it
    assert list(shuffle.outputs) == shuffle.partitions == [0, 1, 2, 3], (
        f"{RELEASE} has changed the arguments of merge_unpack"
    )
    assert len(shuffle.transfers) == 7, f"{RELEASE} has changed what a merge's barriers wait for"


@gen_cluster(client=True, config=CONFIG)
async def test_outputs_go_to_their_worker_at_once_and_are_free_afterwards(c, s, a, b):
    told_by(s)
    first = min(s.workers)
    y = c.persist(rechunked())
    await wait(y)
    outputs = [ts for ts in s.tasks.values() if str(ts.key).startswith("('rechunk-p2p")]
    assert len(outputs) == 4
    for ts in outputs:
        assert {ws.address for ws in ts.who_has} == {first}
        assert not ts.worker_restrictions, f"{RELEASE} does not free outputs after a shuffle"
        starts = [row for row in s.story(ts.key) if row[2] == "processing"]
        assert len(starts) == 1, f"{RELEASE} sends an output elsewhere than where it was bound"


@gen_cluster(client=True, config={**CONFIG, "distributed.scheduler.work-stealing": False})
async def test_shuffle_can_be_started_again(c, s, a, b):

    ours = told_by(s)
    blocks = [c.submit(np.ones, (3, 8), key=f"block-{i}") for i in range(3)]
    blocks.append(c.submit(late, "go", key="late"))
    x = da.concatenate([da.from_delayed(dask.delayed(f), (3, 8), float) for f in blocks])
    result = c.compute(x.rechunk((12, 2), block_size_limit=200).sum())

    await async_poll_for(lambda: ours.active_shuffles, 60)
    (name,) = ours.active_shuffles
    ours.start_again(name, "test")
    assert not ours.active_shuffles
    ours.start_again(name, "test")
    await async_poll_for(lambda: ours.active_shuffles, 60)
    assert len(ours.told) == 2, f"{RELEASE} does not start a shuffle again after _restart_shuffle"
    await Event("go").set()
    assert await result == 96


@gen_cluster(client=True, config=CONFIG)
async def test_barrier_that_finds_no_run_has_the_shuffle_started_again(c, s, a, b, monkeypatch):
    """As after a loss at a moment when all steps go on to hand out the number of the old run."""
    ours = told_by(s)
    waiting, go = asyncio.Event(), asyncio.Event()
    stock = ShuffleRun.barrier

    async def barrier(self: Any, run_ids: Any) -> int:
        waiting.set()
        await go.wait()
        return await stock(self, run_ids)

    monkeypatch.setattr(ShuffleRun, "barrier", barrier)
    result = c.compute(rechunked().sum())
    await waiting.wait()
    (name,) = ours.active_shuffles
    ours._fail_on_workers(ours.active_shuffles[name], "test")
    ours._clean_on_scheduler(name, "test")
    assert s.tasks[f"shuffle-barrier-{name}"].state == "processing"
    answer = await a.scheduler.shuffle_get(id=name, worker=a.address)
    assert answer["status"] == "error"
    go.set()
    assert abs(await result - 48) < 20
    assert len(ours.told) == 2, f"{RELEASE} no longer asks ShuffleSchedulerPlugin._get for a run"


def late(name: str) -> Any:

    Event(name).wait()
    return np.ones((3, 8))


@gen_cluster(client=True, config=CONFIG)
async def test_all_outputs_of_a_scheduler_are_found(c, s, a, b):
    told_by(s)
    before = c.compute(rechunked())
    await before
    x = da.from_delayed(dask.delayed(late)("never"), (3, 8), float)
    y = da.concatenate([x, x + 1]).rechunk((6, 2), block_size_limit=200)
    later = c.persist(y)

    await async_poll_for(lambda: len(list(p2p.shuffle_outputs(s))) == 4, 60)
    assert {ws.address for ws in p2p.workers_allowed(s, next(p2p.shuffle_outputs(s)))} == set(
        s.workers
    )

    await Event("never").set()
    await wait(later)


class Nameless:
    """A scheduler whose shuffles are not those of distributed."""

    def __init__(self) -> None:
        self.plugins = {"shuffle": object()}


def test_other_shuffles_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler: Any = Nameless()
    p2p.replace_shuffles(scheduler, First, told=[])()
    assert type(scheduler.plugins["shuffle"]) is object
    monkeypatch.delattr(ShuffleSchedulerPlugin, "_restart_shuffle")
    with pytest.raises(DistributedChangedError, match="_restart_shuffle") as caught:
        p2p.replace_shuffles(scheduler, First, told=[])
    assert RELEASE in str(caught.value)
