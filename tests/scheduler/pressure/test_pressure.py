from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from distributed.utils_test import gen_cluster

from dask_pools.scheduler.pressure.pressure import Pressure
from tests.scheduler.recounted import Recount
from tests.scheduler.staged import Stage, Step

SIZE = 100  # bytes of every value read
#: The workers are so small that distributed would refuse to sum up what they have read.
SMALL = {"distributed.worker.memory.terminate": False}


def staged(**options: Any) -> Callable[[Any], Any]:
    """Decorate a test of a stage with one worker of 1000 bytes in each of the pools a and b."""

    def decorate(test: Any) -> Any:
        @gen_cluster(client=True, nthreads=[], config=SMALL)
        async def run(c: Any, s: Any) -> None:
            stage = Stage(c, s, **options)
            stage.join("a")
            stage.join("b")
            await test(stage)

        run.__name__ = test.__name__
        return run

    return decorate


def join(n: int, a: str = "a", b: str = "b", mark: str = "") -> dict[str, Step]:
    """Join reads of a with reads of b, in a."""
    steps = {}
    for i in range(n):
        steps[f"r{mark}-{i}"] = Step(a)
        steps[f"s{mark}-{i}"] = Step(b)
        steps[f"t{mark}-{i}"] = Step(a, (f"s{mark}-{i}",), source=b)
        steps[f"w{mark}-{i}"] = Step(a, (f"r{mark}-{i}", f"t{mark}-{i}"))
    steps[f"end{mark}"] = Step(a, tuple(f"w{mark}-{i}" for i in range(n)))
    return steps


def processing(stage: Stage, kind: str) -> list[str]:
    return [key for key in stage.processing() if key.split("-")[0] == kind]


def read_all(stage: Stage, *kinds: str) -> None:
    """Finish reads until no more are sent."""
    while keys := [key for kind in kinds for key in processing(stage, kind)]:
        stage.finish(keys[0], SIZE)


def finish_all(stage: Stage) -> list[str]:
    """Finish whatever is sent; returns the order."""
    order = []
    while keys := stage.processing():
        order.append(keys[0])
        stage.finish(keys[0], SIZE if keys[0][0] in "rst" else 1)
    return order


@staged()
async def test_reads_wait_while_values_that_wait_for_another_pool_take_the_share(
    stage: Stage,
) -> None:
    await stage.submit(join(30), ["end"])
    read_all(stage, "r")
    # One more than the share of 300 bytes, as nobody knows how many there will be.
    assert stage.pressure.waiting("a") == 4 * SIZE
    assert stage.pressure.holds_back("a")
    assert not stage.pressure.holds_back("b")
    read_all(stage, "s")
    assert stage.pressure.waiting("b") == 4 * SIZE  # not fetched yet
    assert sorted(processing(stage, "t")) == stage.processing()
    finish_all(stage)
    assert stage.state("end") == "memory"


@staged(share=math.inf)
async def test_infinite_share_never_holds_back(stage: Stage) -> None:
    await stage.submit(join(30), ["end"])
    read_all(stage, "r", "s")
    assert stage.pressure.waiting("a") == stage.pressure.waiting("b") == 30 * SIZE


@staged()
async def test_pool_with_a_worker_without_limit_is_never_held_back(stage: Stage) -> None:
    stage.join("a", memory=0)
    await stage.submit(join(30), ["end"])
    read_all(stage, "r")
    assert stage.pressure.waiting("a") == 30 * SIZE


@staged()
async def test_workers_that_join_let_reads_go_on(stage: Stage) -> None:
    await stage.submit(join(30), ["end"])
    read_all(stage, "r")
    stage.join("a", memory=1000)
    read_all(stage, "r")
    assert stage.pressure.waiting("a") == 7 * SIZE


async def submit_queued(stage: Stage, steps: dict[str, Step]) -> None:
    """Submit steps while all slots are taken: else any of them may be sent before the first."""
    await stage.submit({"x": Step("a"), "y": Step("b")}, ["x", "y"])
    await stage.submit(steps, ["end"])
    stage.finish("x", 1)
    stage.finish("y", 1)


def carry_20(stage: Stage) -> None:
    """Read s-20, which is the first, and carry it."""
    stage.finish("s-20", SIZE)
    stage.finish("t-20", SIZE)


@staged()
async def test_read_that_completes_a_consumer_goes_first(stage: Stage) -> None:
    steps = join(30)
    steps["r-20"] = Step("a", priority=-1)
    steps["s-20"] = Step("b", priority=1)  # it is carried long before r-20 is due
    steps["t-20"] = Step("a", ("s-20",), source="b", priority=1)
    await submit_queued(stage, steps)
    read_all(stage, "r")
    assert stage.state("r-20") == "queued"
    carry_20(stage)
    assert processing(stage, "r") == ["r-20"]
    stage.finish("r-20", SIZE)
    assert stage.state("w-20") == "processing"
    assert not processing(stage, "r")


@staged()
async def test_reads_of_one_consumer_complete_it_together(stage: Stage) -> None:
    """Neither would alone, and only both can use up what has been carried."""
    steps = join(30)
    steps["r-20"] = steps["r-40"] = Step("a", priority=-1)
    steps["s-20"] = Step("b", priority=1)
    steps["t-20"] = Step("a", ("s-20",), source="b", priority=1)
    steps["w-20"] = Step("a", ("r-20", "r-40", "t-20"))
    await submit_queued(stage, steps)
    read_all(stage, "r")
    assert {stage.state("r-20"), stage.state("r-40")} == {"queued"}
    carry_20(stage)
    for _ in range(2):
        (read,) = processing(stage, "r")
        assert read in {"r-20", "r-40"}
        stage.finish(read, SIZE)
    assert stage.state("w-20") == "processing"


@staged()
async def test_values_that_wait_for_reads_of_their_own_pool_do_not_count(stage: Stage) -> None:
    """All have to be read before their sum can be joined with what comes from b."""
    steps = {f"r-{i}": Step("a") for i in range(30)}
    steps |= {"s-0": Step("b"), "t-0": Step("a", ("s-0",), source="b")}
    steps["sum"] = Step("a", (*(f"r-{i}" for i in range(30)), "t-0"))
    await stage.submit(steps, ["sum"])
    for i in range(29):
        (read,) = processing(stage, "r")
        stage.finish(read, SIZE)
        assert stage.pressure.waiting("a") == 0, i
    stage.finish(processing(stage, "r")[0], SIZE)
    assert stage.pressure.waiting("a") == 30 * SIZE  # only b is waited for


@staged()
async def test_values_that_a_client_keeps_do_not_count(stage: Stage) -> None:
    kept = [f"r-{i}" for i in range(30)]
    await stage.submit({key: Step("a") for key in kept}, kept)
    read_all(stage, "r")
    steps = {key: it for key, it in join(30).items() if key not in kept}
    await stage.submit(steps, ["end"])
    assert stage.state("r-0") == "memory"
    assert stage.pressure.waiting("a") == 0
    Recount(stage).check()


@staged()
async def test_step_between_transfer_and_consumer_is_waited_for_as_well(stage: Stage) -> None:
    steps = join(30)
    for i in range(30):
        steps[f"x-{i}"] = Step("a", (f"t-{i}",))  # brought onto the grid of a
        steps[f"w-{i}"] = Step("a", (f"r-{i}", f"x-{i}"))
    await stage.submit(steps, ["end"])
    read_all(stage, "r")
    assert stage.pressure.waiting("a") == 4 * SIZE


@staged()
async def test_value_of_another_pool_is_waited_for_without_a_transfer(stage: Stage) -> None:
    steps = {f"r-{i}": Step("a") for i in range(30)}
    steps |= {f"s-{i}": Step("b") for i in range(30)}
    steps |= {f"w-{i}": Step("a", (f"r-{i}", f"s-{i}")) for i in range(30)}
    await stage.submit(steps, [f"w-{i}" for i in range(30)])
    read_all(stage, "r")
    assert stage.pressure.waiting("a") == 4 * SIZE
    finish_all(stage)
    assert {stage.state(f"w-{i}") for i in range(30)} == {"memory"}


@staged()
async def test_computation_in_which_nothing_crosses_is_not_held_back(stage: Stage) -> None:
    await stage.submit(join(30), ["end"])
    read_all(stage, "r")
    local = {f"rlocal-{i}": Step("a") for i in range(30)}
    await stage.submit({**local, "sum": Step("a", tuple(local))}, ["sum"])
    read_all(stage, "rlocal")
    assert stage.state("sum") == "processing"
    assert stage.pressure.holds_back("a")


@staged()
async def test_reads_are_free_when_the_last_value_has_crossed(stage: Stage) -> None:
    steps = join(10)
    steps |= {f"rlate-{i}": Step("a", priority=-1) for i in range(10)}
    steps["sum"] = Step("a", tuple(f"rlate-{i}" for i in range(10)))
    await stage.submit(steps, ["end", "sum"])
    read_all(stage, "r", "s")
    assert not processing(stage, "rlate")
    while stage.state("end") != "memory":
        (key, *_) = [key for key in stage.processing() if not key.startswith("rlate")]
        stage.finish(key, SIZE)
    read_all(stage, "rlate")
    assert stage.state("sum") == "processing"


@staged(saturation=3)
async def test_values_that_are_being_read_count_as_soon_as_their_size_is_known(
    stage: Stage,
) -> None:
    await stage.submit(join(30), ["end"])
    first = processing(stage, "r")
    assert len(first) == 3
    for key in first:
        stage.finish(key, SIZE)
    # Those sent when no size was known are in memory, and there is room for one more.
    while keys := processing(stage, "r"):
        assert len(keys) * SIZE + stage.pressure.waiting("a") <= 5 * SIZE
        stage.finish(keys[0], SIZE)


@gen_cluster(client=True, nthreads=[], config=SMALL)
async def test_pools_that_wait_for_one_another_go_on(c: Any, s: Any) -> None:
    """What a has read waits for what b has not, and the other way round."""
    stage = Stage(c, s)
    for pool in "ab":
        stage.join(pool)
    steps = join(20, "a", "b", "x") | join(20, "b", "a", "y")
    for i in range(20):
        steps[f"rx-{i}"] = Step("a", priority=9)
        steps[f"ry-{i}"] = Step("b", priority=9)
    await stage.submit(steps, ["endx", "endy"])
    stage.after = lambda: Recount(stage).check_alive()
    read_all(stage, "rx", "ry")
    finish_all(stage)
    assert stage.state("endx") == stage.state("endy") == "memory"


@gen_cluster(client=True, nthreads=[], config=SMALL)
async def test_pools_in_a_ring_go_on(c: Any, s: Any) -> None:
    stage = Stage(c, s, share=0.1)
    steps: dict[str, Step] = {}
    for i, pool in enumerate("abc"):
        stage.join(pool)
        steps |= join(20, pool, "bca"[i], pool)
        # Each pool begins with what has to wait, and ends with what the others wait for.
        steps |= {f"r{pool}-{j}": Step(pool, priority=j) for j in range(20)}
        steps |= {f"s{pool}-{j}": Step("bca"[i], priority=-j - 1) for j in range(20)}
    await stage.submit(steps, ["enda", "endb", "endc"])
    stage.after = lambda: Recount(stage).check_alive()
    rng = Random(0)  # noqa: S311
    while keys := stage.processing():
        stage.finish(rng.choice(keys), SIZE)
    assert stage.state("enda") == stage.state("endb") == stage.state("endc") == "memory"


def stuck() -> dict[str, Step]:
    """Join reads of a with reads of b, none of which has been read when a is full."""
    steps = join(20)
    return steps | {f"s-{i}": Step("b", priority=-1) for i in range(20)}


@staged(saturation=2)
async def test_long_task_without_waiters_is_not_waited_for(stage: Stage) -> None:
    steps = stuck()
    steps |= {"long": Step("b", priority=9), "later": Step("b", ("long",))}
    for key in ("long", "later"):
        wanted = {"long": ["end", "long"], "later": ["end", "later"]}[key]
        fresh = {f"{name}-{key}": renamed(it, key) for name, it in steps.items()}
        if key == "long":
            del fresh["later-long"]
        await stage.submit(fresh, [f"{name}-{key}" for name in wanted])
    read_all(stage, "r", "s", "t")
    assert processing(stage, "long") == ["long-later", "long-long"]


def renamed(it: Step, mark: str) -> Step:
    return Step(it.pool, tuple(f"{need}-{mark}" for need in it.needs), it.source, it.priority)


async def fill(stage: Stage) -> str:
    """Fill a while b is busy with one read; returns that."""
    await stage.submit(join(20), ["end"])
    read_all(stage, "r")
    (busy,) = processing(stage, "s")
    assert stage.processing() == [busy]
    assert stage.pressure.holds_back("a")
    return busy


@staged()
async def test_seceded_task_is_not_waited_for(stage: Stage) -> None:
    busy = await fill(stage)
    stage.secede(busy)
    assert len(processing(stage, "s")) == 2  # a slot has opened
    for key in processing(stage, "s"):
        if stage.state(key) == "processing" and key != busy:
            stage.secede(key)
    while fresh := [key for key in processing(stage, "s") if not has_seceded(stage, key)]:
        stage.secede(fresh[0])
    assert len(processing(stage, "r")) == 1
    assert len(processing(stage, "s")) == 20


def has_seceded(stage: Stage, key: str) -> bool:
    ts = stage.scheduler.tasks[key]
    return ts in ts.processing_on.long_running


@staged()
async def test_task_on_a_paused_worker_is_not_waited_for(stage: Stage) -> None:
    busy = await fill(stage)
    ws = stage.scheduler.tasks[busy].processing_on
    stage.turn(ws, "paused")
    assert len(processing(stage, "r")) == 1


@staged()
async def test_failure_of_what_is_waited_for_lets_reads_go_on(stage: Stage) -> None:
    steps = {key: it for key, it in join(30).items() if key != "end"}
    await stage.submit(steps, [f"w-{i}" for i in range(30)])
    read_all(stage, "r")
    before = stage.pressure.waiting("a")
    stage.fail(processing(stage, "s")[0])
    assert stage.pressure.waiting("a") == before - SIZE
    assert processing(stage, "r")


@staged()
async def test_nothing_is_left_when_everything_is_cancelled(stage: Stage) -> None:
    await stage.submit(join(30), ["end"])
    read_all(stage, "r", "s")
    stage.scheduler.client_releases_keys(
        keys=["end"], client=stage.client.id, stimulus_id=stage.stimulus()
    )
    stage.serve()
    assert not stage.scheduler.tasks
    for pool in "ab":
        assert stage.pressure.waiting(pool) == 0
        assert not stage.pressure.holds_back(pool)
    Recount(stage).check()


@staged()
async def test_pool_that_loses_its_workers_and_comes_back_goes_on(stage: Stage) -> None:
    await stage.submit(join(30), ["end"])
    read_all(stage, "r", "s")
    (b,) = [ws for ws in stage.scheduler.workers.values() if "pool-b" in ws.resources]
    await stage.leave(b)
    Recount(stage).check()
    read_all(stage, "r")
    stage.join("b")
    finish_all(stage)
    assert stage.state("end") == "memory"


@staged()
async def test_task_that_gets_another_pool_is_looked_at_anew(stage: Stage) -> None:
    """With all that use it: what it makes may have to cross now, or no more."""
    steps = join(30)
    for i in range(30):
        steps[f"x-{i}"] = Step("a", (f"t-{i}",))
        steps[f"w-{i}"] = Step("a", (f"r-{i}", f"x-{i}"))
    await stage.submit(steps, ["end"])
    read_all(stage, "r")
    tasks = stage.scheduler.tasks
    for pool in ("b", "a"):
        for kind in "xw":
            for i in range(30):
                ts = tasks[f"{kind}-{i}"]
                ts.resource_restrictions = {f"pool-{pool}": 0}
                stage.pressure.rebound(ts)
                Recount(stage).check()
    assert stage.pressure.waiting("a") == 4 * SIZE
    finish_all(stage)
    assert stage.state("end") == "memory"


@staged()
async def test_task_of_many_inputs_changes_its_mind_once(stage: Stage) -> None:
    """Were it twice for each of them, ten thousand would take a hundred million steps."""
    n, heard = 50, []
    steps: dict[str, Step] = {"r-0": Step("a")}
    for i in range(n):
        steps[f"s-{i}"] = Step("b")
        steps[f"t-{i}"] = Step("a", (f"s-{i}",), source="b")
        steps[f"x-{i}"] = Step("a", (f"t-{i}",))
    steps["all"] = Step("a", ("r-0", *(f"x-{i}" for i in range(n))))
    await stage.submit(steps, ["all"])
    held, freed = stage.pressure.abroad._tell_held, stage.pressure.abroad._tell_freed
    stage.pressure.abroad._tell_held = lambda *args: (heard.append(args), held(*args))
    stage.pressure.abroad._tell_freed = lambda *args: (heard.append(args), freed(*args))
    finish_all(stage)
    assert stage.state("all") == "memory"
    # Of each pair, s waits to be fetched, and x for the others: to begin and to end.
    assert len(heard) <= 2 * (2 * n + 1)


@staged()
async def test_present_state_is_learnt_at_installation(stage: Stage) -> None:
    await stage.submit(join(30), ["end"])
    read_all(stage, "r", "s")
    before = stage.pressure
    stage.end()
    after = Pressure(stage.scheduler, stage.roster, 0.3, lambda _: None)
    after.install()
    assert set(after.abroad._waits_for) == set(before.abroad._waits_for)
    assert after.abroad.coming == before.abroad.coming
    assert after.waiting("a") == before.waiting("a") > 0
    assert after._moves(after._loads["a"])
    assert [*after.motion._processing.values()] == [*before.motion._processing.values()]


@staged()
async def test_nothing_is_kept_of_computations_in_which_nothing_crosses(stage: Stage) -> None:
    reads = {f"r-{i}": Step("a") for i in range(30)}
    await stage.submit({**reads, "sum": Step("a", tuple(reads))}, ["sum"])
    for _ in range(10):
        stage.finish(stage.processing()[0], SIZE)
        assert not stage.pressure.abroad._foreign
        assert not stage.pressure._values
        assert not stage.pressure._expected


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_memory_stays_below_the_share_and_what_is_under_way(share: float) -> None:
    """Over a link that takes one value while hundreds could be read."""

    @gen_cluster(client=True, nthreads=[], config=SMALL)
    async def run(c: Any, s: Any) -> None:
        stage = Stage(c, s, share=share, saturation=1)
        for pool in "ab":
            for _ in range(2):
                stage.join(pool, memory=2000)
        await stage.submit(join(100), ["end"])
        peak = 0
        while keys := stage.processing():
            fast = [key for key in keys if not key.startswith("t")]
            key = min(fast or keys)
            stage.finish(key, SIZE if key[0] in "rst" else 1)
            peak = max(peak, sum(ws.nbytes for ws in s.workers.values()))
        assert stage.state("end") == "memory"
        # In each pool the share and one read; and a value that has been carried.
        assert peak <= 2 * (share * 4000 + 2 * SIZE) + 2 * SIZE

    run()


@staged()
async def test_reads_queued_before_anything_crossed_are_held_back_too(stage: Stage) -> None:
    """Nobody follows them until something crosses."""
    await stage.submit({f"u-{i}": Step("a") for i in range(20)}, [f"u-{i}" for i in range(20)])
    assert stage.pressure.holds_back("a") is False
    await stage.submit(join(30), ["end"])
    order = finish_all(stage)
    assert len(order) == 20 + 4 * 30 + 1
    assert stage.state("end") == "memory"
    assert not stage.pressure._tracks
    assert not stage.pressure._queued
