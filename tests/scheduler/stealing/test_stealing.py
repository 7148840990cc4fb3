from __future__ import annotations

import random
from typing import Any

import dask
import pytest
from distributed import Event, wait
from distributed.utils_test import async_poll_for, gen_test

from dask_pools.model import Link
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.roster import Roster
from dask_pools.scheduler.stealing import rounds
from dask_pools.scheduler.stealing.stealing import steal_inside_pools
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.states import refresh, requests, steal, still, task, value, worker

MB = 10**6
BOUND: dict[str, Any] = {"resources": ["pool-a"]}

# ---- on a real cluster ----------------------------------------------------------------

# No round of balancing but those that a test asks for, and all tasks worth stealing.
CALM: dict[str, Any] = {
    "config": {
        "distributed.scheduler.work-stealing-interval": "1 hour",
        "distributed.scheduler.default-task-durations": {"work": "10s"},
        "distributed.scheduler.worker-saturation": float("inf"),
    }
}


def work(data: object, name: str) -> None:
    """Wait for an event: a task that is there to be stolen, or not."""
    Event(name).wait()


def install(s: Any, link: Any = lambda _source, _target: None) -> Any:
    roster = Roster(s, Membership())
    roster.watch()
    return steal_inside_pools(s, roster, link)


async def crowd(c: Any, s: Any, worker: Any, **annotations: Any) -> list[Any]:
    """Put ten tasks on one worker, which needs the value that lies there."""
    data = c.submit(bytes, 10, workers=[worker.address], key="data")
    await data
    with dask.annotate(**annotations):
        futures = [
            c.submit(work, data, "go", workers=[worker.address], key=f"work-{i}", pure=False)
            for i in range(10)
        ]
    await async_poll_for(
        lambda: len(s.workers[worker.address].processing) == len(futures), timeout=10
    )
    # The first choice of a worker is the test's; it is the thief's turn now.
    for future in futures:
        ts = s.tasks[future.key]
        ts.worker_restrictions = None
        s.extensions["stealing"].recalculate_cost(ts)
    return futures


async def stolen(s: Any, worker: Any) -> int:
    """Balance once; return how many tasks are on another worker afterwards."""
    stealing = s.extensions["stealing"]
    stealing.balance()
    await async_poll_for(lambda: not stealing.in_flight, timeout=10)
    others = [ws for ws in s.workers.values() if ws.address != worker.address]
    return sum(len(ws.processing) for ws in others)


@cluster_of(IN_A, IN_A, IN_B, **CALM)
async def test_bound_task_is_stolen_inside_of_its_pool(c, s, a1, a2, b):
    install(s)
    futures = await crowd(c, s, a1, resources={"pool-a": 0})
    assert await stolen(s, a1) > 0
    assert not s.workers[b.address].processing
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_B, **CALM)
async def test_bound_task_is_not_stolen_from_its_pool_even_if_its_restrictions_are_loose(
    c, s, a, b
):
    install(s)
    futures = await crowd(c, s, a, resources={"pool-a": 0})
    for future in futures:
        s.tasks[future.key].loose_restrictions = True
    assert await stolen(s, a) == 0
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_B, **CALM)
async def test_unplaced_task_crosses_if_its_inputs_are_small(c, s, a, b):
    install(s)
    futures = await crowd(c, s, a)
    assert await stolen(s, a) > 0
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_A, **CALM)
async def test_transfer_is_not_stolen(c, s, a1, a2):
    """A value would cross the link twice."""
    install(s)
    futures = await crowd(c, s, a1, transfer=("b", "a"))
    assert await stolen(s, a1) == 0
    await Event("go").set()
    await wait(futures)


@cluster_of({}, IN_A, IN_B, **CALM)
async def test_worker_without_a_pool_can_be_relieved_by_any(c, s, nowhere, a, b):
    install(s)
    futures = await crowd(c, s, nowhere)
    assert await stolen(s, nowhere) > 0
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, {}, **CALM)
async def test_worker_without_a_pool_may_steal_unplaced_tasks(c, s, a, nowhere):
    install(s)
    futures = await crowd(c, s, a)
    assert await stolen(s, a) > 0
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, {}, **CALM)
async def test_worker_without_a_pool_does_not_steal_bound_tasks(c, s, a, nowhere):
    install(s)
    futures = await crowd(c, s, a, resources={"pool-a": 0})
    assert await stolen(s, a) == 0
    await Event("go").set()
    await wait(futures)


@cluster_of(IN_A, IN_A, IN_B, config={"distributed.scheduler.worker-saturation": float("inf")})
async def test_everything_is_computed_while_workers_steal(c, s, a1, a2, b):
    """And nothing is left in the book."""
    install(s)
    data = c.submit(bytes, 10, workers=[a1.address])
    with dask.annotate(resources={"pool-a": 0}):
        bound = c.map(lambda i, _: i, range(100), [data] * 100)
    free = c.map(lambda i, _: -i, range(100), [data] * 100)
    for _ in range(5):
        s.extensions["stealing"].balance()
    assert sum(await c.gather(bound)) == 4950
    assert sum(await c.gather(free)) == -4950
    stealing = s.extensions["stealing"]
    assert not stealing.newcomers
    assert (stealing.key_stealable, stealing.book.apart, stealing.book.unplaced) == ({}, {}, {})
    assert not any(tasks for levels in stealing.stealable.values() for tasks in levels)


@cluster_of(IN_A, IN_B)
async def test_periodic_round_is_ours_from_installation_to_removal(c, s, a, b):
    """The periodic callback was given the method of the stock class when it was made."""
    stealing = s.extensions["stealing"]
    stock, attributes = type(stealing), set(vars(stealing))
    undo = install(s)
    balance = s.periodic_callbacks["stealing"].callback
    assert balance.__func__ is type(stealing).balance
    assert type(stealing) is not stock
    undo()
    assert s.periodic_callbacks["stealing"].callback.__func__ is stock.balance
    assert type(stealing) is stock
    assert set(vars(stealing)) == attributes


@cluster_of(IN_A, config={"distributed.scheduler.work-stealing": False})
async def test_stealing_may_be_switched_off(c, s, a):
    install(s)()
    assert "stealing" not in s.extensions
    assert await c.submit(int) == 0


@gen_test()
async def test_book_forgets_workers_and_restarts():
    async with still() as s:
        a, b = worker(s, 0, "a"), worker(s, 1, "b")
        undo = install(s)
        book = s.extensions["stealing"].book
        for ws in (a, b):
            for i in range(10):
                task(s, f"x{ws.name}-{i}", ws, resources=["GPU"] if ws is a else ())
        s.extensions["stealing"].put_newcomers()
        assert (len(book.apart), len(book.unplaced)) == (1, 2)
        s.extensions["stealing"].remove_worker(s, b.address)
        assert (len(book.apart), book.unplaced.keys()) == (1, {a.address})
        s.extensions["stealing"].restart(s)
        assert (book.apart, book.unplaced) == ({}, {})
        undo()


def noted(s: Any) -> set[Any]:
    """Name the tasks that distributed itself may steal."""
    levels = [tasks for levels in s.extensions["stealing"].stealable.values() for tasks in levels]
    return {ts.key for tasks in levels for ts in tasks}


@gen_test()
async def test_distributed_has_all_tasks_while_there_are_no_pools_and_afterwards():
    async with still() as s:
        plain = worker(s, 0)
        task(s, "before-0", plain, resources=["GPU"])
        undo = install(s)
        stealing = s.extensions["stealing"]
        stealing.balance()
        task(s, "gpu-0", plain, resources=["GPU"])
        assert noted(s) == {"before-0", "gpu-0"}
        a = worker(s, 1, "a")
        stealing.roster._join(a)
        stealing.balance()
        task(s, "gpu-1", a, resources=["GPU"])
        assert noted(s) == set()
        stealing.roster._leave(a.address)
        stealing.balance()
        assert noted(s) == {"before-0", "gpu-0", "gpu-1"}
        stealing.roster._join(a)
        stealing.balance()
        assert noted(s) == set()
        undo()
        assert noted(s) == {"before-0", "gpu-0", "gpu-1"}


# ---- against stock --------------------------------------------------------------------


def fill(s: Any, seed: int, *, alone: bool) -> None:
    """Put random workers and tasks into pools a and b; if alone, only those of pool a."""
    rng, number = random.Random(seed), 0  # noqa: S311 - no secrets
    for pool in "a" if alone else "ab":
        size = rng.randint(2, 12)
        threads = [rng.choice([1, 1, 2, 4]) for _ in range(size)]
        workers = [worker(s, number + i, pool, nthreads=n) for i, n in enumerate(threads)]
        put(s, rng, pool, workers)
        number += size
    refresh(s)


def put(s: Any, rng: random.Random, pool: str, workers: list[Any]) -> None:
    # Among equal workers stock takes any: each holds a number of bytes of its own.
    for i, ws in enumerate(workers):
        value(s, f"own{pool}-{i}", rng.randint(1, MB), ws)
    values = [
        value(s, f"value{pool}-{i}", nbytes, *rng.sample(workers, rng.randint(1, 2)))
        for i, nbytes in enumerate(rng.choices([10, MB, 100 * MB, 300 * MB], k=rng.randint(0, 12)))
    ]
    for i, ws in enumerate(workers):
        if rng.random() < 0.5:
            task(s, f"first{pool}{i}-0", ws, seconds=rng.uniform(0.01, 3))
    # The tasks of the other pool may take much longer than those of this one.
    scale = rng.choice([1, 1000]) if pool == "b" else 1
    kinds = [(f"kind{pool}{i}", scale * rng.uniform(0.05, 5)) for i in range(rng.randint(1, 4))]
    busy = rng.sample(workers, rng.randint(1, len(workers)))
    for i in range(rng.randint(0, 80)):
        name, seconds = rng.choice(kinds)
        inputs = rng.sample(values, min(len(values), rng.choice([0, 0, 1, 2])))
        bound = [f"pool-{pool}"] if rng.random() < 0.7 else []
        task(s, f"{name}-{i}", rng.choice(busy), *inputs, seconds=seconds, resources=bound)


@pytest.mark.parametrize("seed", range(30))
@gen_test()
async def test_inside_of_a_pool_the_same_tasks_go_the_same_ways_as_in_stock(seed):
    """As on a cluster that consists of this pool, whatever there is in the other."""
    async with still() as s:
        fill(s, seed, alone=True)
        s.extensions["stealing"].balance()
        stock = requests(s)
    async with still() as s:
        steal(s)
        fill(s, seed, alone=False)
        s.extensions["stealing"].balance()
        members = {ws.address for ws in s.workers.values() if "pool-a" in ws.resources}
        ours = [r for r in requests(s) if r[1] in members and r[2] in members]
    assert ours == stock


@gen_test()
async def test_stock_steals_in_most_of_these_states():
    """The test above could not fail if nobody would steal."""
    numbers = []
    for seed in range(10):
        async with still() as s:
            fill(s, seed, alone=True)
            s.extensions["stealing"].balance()
            numbers.append(len(requests(s)))
    assert sum(map(bool, numbers)) > 5
    assert sum(numbers) > 50


@gen_test()
async def test_without_pools_it_is_stock():
    moved = []
    for install_ours in (False, True):
        async with still() as s:
            if install_ours:
                steal(s)
            a, *_ = [worker(s, i) for i in range(4)]
            data = value(s, "data", MB, a)
            for i in range(20):
                task(s, f"x-{i}", a, *([data] if i % 2 else []), seconds=1)
            refresh(s)
            s.extensions["stealing"].balance()
            moved.append(sorted(requests(s)))
    assert moved[0] == moved[1]
    assert moved[0]


@gen_test()
async def test_long_tasks_of_another_pool_do_not_keep_a_pool_from_balancing():
    """By the mean over all workers, both workers of this pool would be idle: none could steal."""
    async with still() as s:
        stealing = steal(s)
        a1, a2 = (worker(s, i, "a") for i in range(2))
        for i in range(2):
            task(s, f"long-{i}", worker(s, 2 + i, "b"), seconds=1000, resources=["pool-b"])
        for i in range(20):
            task(s, f"short-{i}", a1, seconds=1, **BOUND)
        refresh(s)
        assert {a1, a2} <= set(s.idle.values())
        stealing.balance()
        assert {thief for _, _, thief in requests(s)} == {a2.address}


@gen_test()
async def test_metrics_and_log_are_those_of_stock():
    logged = []
    for install_ours in (False, True):
        async with still() as s:
            if install_ours:
                steal(s)
            a1, _ = (worker(s, i, "a") for i in range(2))
            for i in range(20):
                task(s, f"x-{i}", a1, seconds=1, **BOUND)
            refresh(s)
            stealing = s.extensions["stealing"]
            stealing.balance()
            ((_, (kind, moves)),) = s.get_events("stealing")
            assert kind == "request"
            logged.append(([move[1:] for move in moves], stealing.metrics, stealing.count))
    assert logged[0] == logged[1]
    assert logged[0][-1] == 1


# ---- who may steal what ---------------------------------------------------------------


@gen_test()
async def test_worker_of_several_pools_steals_bound_tasks_of_each():
    async with still() as s:
        stealing = steal(s)
        a, b, both = worker(s, 0, "a"), worker(s, 1, "b"), worker(s, 2, "a", "b")
        for i in range(10):
            task(s, f"x-{i}", a, seconds=1, **BOUND)
            task(s, f"y-{i}", b, seconds=1, resources=["pool-b"])
        refresh(s)
        stealing.balance()
        assert {(victim, thief) for _, victim, thief in requests(s)} == {
            (a.address, both.address),
            (b.address, both.address),
        }


@gen_test()
async def test_worker_of_several_pools_is_relieved_of_each_by_its_members():
    async with still() as s:
        stealing = steal(s)
        both, a, b = worker(s, 0, "a", "b"), worker(s, 1, "a"), worker(s, 2, "b")
        for i in range(20):
            task(s, f"x-{i}", both, seconds=1, **BOUND)
            task(s, f"y-{i}", both, seconds=1, resources=["pool-b"])
        refresh(s)
        stealing.balance()
        moved = requests(s)
        assert {(key[0], thief) for key, _, thief in moved} == {("x", a.address), ("y", b.address)}


@gen_test()
async def test_task_that_needs_more_than_its_pool_goes_where_that_is():
    async with still() as s:
        stealing = steal(s)
        busy, able = worker(s, 0, "a", GPU=1), worker(s, 1, "a", GPU=1)
        for i in range(2, 6):
            worker(s, i, "a")
        worker(s, 6, "b", GPU=1)
        for i in range(20):
            task(s, f"x-{i}", busy, seconds=1, resources=["pool-a", "GPU"])
        refresh(s)
        stealing.balance()
        assert {thief for _, _, thief in requests(s)} == {able.address}


@gen_test()
async def test_tasks_that_no_idle_worker_may_run_are_not_looked_at(monkeypatch):
    """Thousands of tasks may wait for a GPU, or for their pool, while others are idle."""
    looks = []
    for cls in (rounds.InsideRound, rounds.AcrossRound):
        monkeypatch.setattr(cls, "thief", lambda *_: looks.append(_))
    async with still() as s:
        stealing = steal(s)
        full, gpu = worker(s, 0, "a"), worker(s, 1, "b", GPU=1)
        for i in range(2, 8):
            worker(s, i, "b" if i % 2 else "c")
        for i in range(50):
            task(s, f"x-{i}", full, seconds=1, **BOUND)
            task(s, f"y-{i}", gpu, seconds=1, resources=["pool-b", "GPU"])
        refresh(s)
        stealing.balance()
        assert not looks
        task(s, "z-0", full, seconds=1)
        stealing.balance()
        assert looks


@gen_test()
async def test_round_ends_when_nothing_is_worth_it(monkeypatch):
    """However many tasks there are whose inputs are too large."""
    looks = []
    thief = rounds.InsideRound.thief
    monkeypatch.setattr(
        rounds.InsideRound, "thief", lambda *args: looks.append(args) or thief(*args)
    )
    async with still() as s:
        s.bandwidth = MB
        stealing = steal(s)
        full, _ = worker(s, 0, "a"), worker(s, 1, "a")
        large = value(s, "large", 1000 * MB, full)
        for i in range(900):
            task(s, f"x-{i}", full, large, seconds=10, **BOUND)
        # Many kinds of tasks, so that what is waiting is little work.
        for ts in full.processing:
            ts.prefix.duration_average = 1.0
        s.bandwidth = MB / 10
        refresh(s)
        stealing.balance()
        assert not requests(s)
        assert 0 < len(looks) <= 200


# ---- from pool to pool ----------------------------------------------------------------


async def crossings(link: Any = lambda _source, _target: None, **options: Any) -> int:
    """Return how many of 50 tasks are stolen by idle pool b; 10 seconds each, inputs of 100 MB."""
    async with still() as s:
        s.bandwidth = 100 * MB
        stealing = steal(s, link)
        a, b = worker(s, 0, "a"), worker(s, 1, "b")
        if "measured" in options:
            s.bandwidth_workers[b.address, a.address] = options["measured"]
        data = value(s, "data", 100 * MB, *((a, b) if options.get("copied") else (a,)))
        consumer = s.new_task("consumer", None, "released")
        consumer.resource_restrictions = {f"pool-{options.get('consumer', 'b')}": 0}
        for i in range(50):
            ts = task(s, f"x-{i}", a, data, seconds=10, resources=options.get("resources", ()))
            if "consumer" in options:
                consumer.add_dependency(ts)
        refresh(s)
        stealing.balance()
        assert all(thief == b.address for _, _, thief in requests(s))
        return len(requests(s))


def over(**properties: Any) -> Any:
    return lambda source, target: Link(source, target, **properties)


@gen_test()
async def test_unplaced_task_crosses_a_link_if_it_starts_sooner_there():
    assert await crossings() > 0
    assert await crossings(over(bandwidth=100 * MB)) > 0
    assert await crossings(over(bandwidth=100 * MB), resources=["pool-a"]) == 0


@gen_test()
async def test_slow_link_counts_at_its_own_speed():
    assert await crossings(over(bandwidth=MB / 10)) == 0
    assert await crossings(over(bandwidth=100 * MB, latency=1000.0)) == 0


@gen_test()
async def test_value_that_is_there_already_does_not_cross():
    assert await crossings(over(bandwidth=MB / 10), copied=True) > 0


@gen_test()
async def test_measured_speed_counts_if_the_topology_knows_none():
    assert await crossings(measured=MB / 10) == 0
    assert await crossings(over(bandwidth=100 * MB), measured=MB / 10) > 0


@gen_test()
async def test_forbidden_and_priced_links_are_not_crossed_for_speed():
    assert await crossings(over(bandwidth=1000 * MB, allowed=False)) == 0
    assert await crossings(over(bandwidth=1000 * MB, price=0.001)) == 0


@gen_test()
async def test_link_over_which_the_result_could_not_go_back_is_not_crossed():
    assert await crossings(lambda s, t: Link(s, t, allowed=(s, t) == ("a", "b"))) == 0


@gen_test()
async def test_task_stays_in_the_pool_that_needs_its_result():
    assert await crossings(consumer="a") == 0
    assert await crossings(consumer="b") > 0


@gen_test()
async def test_other_tasks_are_looked_at_in_the_next_round():
    """Those that are looked at first are not worth moving."""
    async with still() as s:
        s.bandwidth = 100 * MB
        stealing = steal(s, over(bandwidth=MB))
        full, _ = worker(s, 0, "a"), worker(s, 1, "b")
        large = value(s, "large", 10**12, full)
        for i in range(3 * rounds.WEIGHED):
            task(s, f"large-{i}", full, large, seconds=100)
        small = [task(s, f"small-{i}", full, seconds=100) for i in range(10)]
        refresh(s)
        stealing.balance()
        assert not requests(s)
        for _ in range(4):
            stealing.balance()
        assert {key for key, *_ in requests(s)} <= {ts.key for ts in small}
        assert requests(s)


@gen_test()
async def test_restricted_unplaced_task_crosses_only_to_where_it_may_run():
    async with still() as s:
        stealing = steal(s)
        full = worker(s, 0, "a", GPU=1)
        worker(s, 1, "b")
        able = worker(s, 2, "b", GPU=1)
        for i in range(20):
            task(s, f"x-{i}", full, seconds=10, resources=["GPU"])
        refresh(s)
        stealing.balance()
        assert {thief for _, _, thief in requests(s)} == {able.address}
