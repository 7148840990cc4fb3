from __future__ import annotations

from typing import Any

import dask
from distributed import Actor, Event, wait
from distributed.utils_test import gen_cluster

from dask_pools.scheduler.queues.slots import COMPARED
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.imagined import imagine
from tests.scheduler.queued import TO_A, TO_B, install, reads, states, until, work

CALM: dict[str, Any] = {"config": {"distributed.scheduler.work-stealing": False}}
alone = gen_cluster(nthreads=[], **CALM)


@alone
async def test_valid_workers_of_a_bound_task_are_the_set_of_the_roster(s):
    """It is asked for each of a million tasks."""
    parts = install(s)
    with imagine(s) as world:
        for i in range(10):
            world.add_worker(TO_A if i % 2 else TO_B)
        ts = world.add_task("x", priority=0, resource_restrictions=TO_A)
        free = world.add_task("y", priority=1)
        assert s.valid_workers(ts) is parts.roster.running("a")
        assert len(s.valid_workers(ts)) == 5
        assert s.valid_workers(free) is None
        parts.uninstall()


@alone
async def test_nobody_changes_the_set_of_the_roster(s):
    parts = install(s)
    with imagine(s) as world:
        for _ in range(5):
            world.add_worker(TO_A)
        before = set(parts.roster.running("a"))
        made = world.add_task("made", priority=0, resource_restrictions=TO_A)
        used = world.add_task("used", ["made"], priority=1, resource_restrictions=TO_A)
        actor = world.add_task("actor", priority=2, resource_restrictions=TO_A, actor=True)
        loose = world.add_task(
            "loose",
            priority=3,
            resource_restrictions=TO_A,
            worker_restrictions={"tcp://nobody:1"},
            loose_restrictions=True,
        )
        tasks = [made, used, actor, loose]
        world.submit(tasks)
        world.finish(made)
        assert all(ts.processing_on for ts in tasks[1:])
        assert parts.roster.running("a") == before
        for ts in tasks[1:]:
            world.finish(ts)
        parts.uninstall()


@alone
async def test_number_of_workers_compared_does_not_grow_with_the_pool(s, monkeypatch):
    parts = install(s, {"a": 0.5}.__getitem__)
    with imagine(s) as world:
        for _ in range(10 * COMPARED):
            world.add_worker(TO_A)
        compared = []
        stock = s.worker_objective

        def objective(ts: Any, ws: Any) -> Any:
            compared.append(ws)
            return stock(ts, ws)

        monkeypatch.setattr(s, "worker_objective", objective)
        tasks = [
            world.add_task(f"x{i}-{i}", priority=i, resource_restrictions=TO_A)
            for i in range(20 * COMPARED)
        ]
        world.submit(tasks)
        assert len(compared) <= COMPARED * len(tasks)
        # And still nobody was forgotten: two for each.
        assert {len(ws.processing) for ws in s.workers.values()} <= {1, 2, 3}
        for ts in tasks:
            world.finish(ts)
        parts.uninstall()


@alone
async def test_bound_task_goes_to_the_holder_of_its_inputs_in_the_pool(s):
    parts = install(s)
    with imagine(s) as world:
        workers = [world.add_worker(TO_A if i < 20 else TO_B) for i in range(40)]
        here = [
            world.add_task(f"here{i}-{i}", priority=i, worker_restrictions={workers[i].address})
            for i in (3, 13, 33)
        ]
        world.submit(here)
        for ts, nbytes in zip(here, (10, 10**9, 10**9), strict=True):
            world.finish(ts, nbytes)
        ts = world.add_task(
            "use", [dts.key for dts in here], priority=50, resource_restrictions=TO_A
        )
        world.submit([ts])
        assert ts.processing_on is workers[13]
        world.finish(ts)
        parts.uninstall()


@alone
async def test_other_restrictions_are_kept_inside_of_the_pool(s):
    parts = install(s)
    with imagine(s) as world:
        plain, gpu, big = (
            world.add_worker({"pool-a": 1, **more})
            for more in ({}, {"GPU": 1.0}, {"GPU": 2.0, "pool-b": 1})
        )
        elsewhere = world.add_worker({"pool-b": 1, "GPU": 9})

        def valid(resources: dict[str, float], **more: Any) -> set[Any]:
            name = f"x{len(s.tasks)}-0"
            ts = world.add_task(
                name, priority=0, wanted=False, resource_restrictions=resources, **more
            )
            found = s.valid_workers(ts)
            assert found is not None
            return found

        assert valid({"pool-a": 0, "GPU": 1}) == {gpu, big}
        assert valid({"GPU": 2, "pool-a": 0}) == {big}
        assert valid({"GPU": 3, "pool-a": 0}) == set()
        assert valid({"pool-a": 2}) == set()
        assert valid({"pool-a": 1}) == {plain, gpu, big}
        assert valid({"pool-a": 0, "pool-b": 0}) == {big}
        assert valid({"pool-b": 0}) == {big, elsewhere}
        two = {plain.address, elsewhere.address}
        assert valid(TO_A, worker_restrictions=two) == {plain}
        assert valid(TO_A, worker_restrictions={"tcp://nobody:1"}) == set()
        named = valid(
            {"pool-a": 0, "GPU": 1}, worker_restrictions=two, host_restrictions={"nobody"}
        )
        assert named == set()
        s.handle_worker_status_change("paused", big, "test")
        assert valid({"GPU": 2, "pool-a": 0}) == set()
        s.handle_worker_status_change("running", big, "test")
        s.add_resources(plain.address, {"GPU": 2})
        assert valid({"GPU": 2, "pool-a": 0}) == {plain, big}
        parts.uninstall()


@cluster_of(IN_A, IN_B)
async def test_hosts_are_restrictions_inside_of_the_pool(c, s, a, b):
    install(s)
    future = c.submit(work, 1, workers=["127.0.0.1"], resources=TO_B, key="x")
    assert await future == 1
    assert set(s.tasks["x"].who_has) == {s.workers[b.address]}


@cluster_of(IN_A, IN_B)
async def test_preference_for_workers_leads_nowhere_but_into_its_pool(c, s, a, b):
    install(s)
    for preferred in ("tcp://127.0.0.1:1", a.address):
        future = c.submit(
            work, 1, workers=[preferred], allow_other_workers=True, resources=TO_B, key=preferred
        )
        assert await future == 1
        assert set(s.tasks[preferred].who_has) == {s.workers[b.address]}
    stays = c.submit(work, 2, workers=[a.address], resources=TO_B, key="stays")
    await until(lambda: states(s, [stays]) == {"no-worker": 1})


@cluster_of(IN_A, IN_A, IN_B)
async def test_actors_are_spread_over_their_pool(c, s, a1, a2, b):
    install(s)
    actors = [c.submit(list, actor=True, resources=TO_A, key=f"actor-{i}") for i in range(4)]
    assert all(isinstance(actor, Actor) for actor in await c.gather(actors))
    assert [len(s.workers[w.address].actors) for w in (a1, a2, b)] == [2, 2, 0]


@cluster_of(IN_A, IN_B)
async def test_task_without_a_worker_runs_as_soon_as_there_is_one(c, s, a, b):
    install(s)
    futures = [
        c.submit(work, i, resources={**TO_A, "GPU": i}, key=f"x{i}-{i}") for i in range(1, 4)
    ]
    await until(lambda: states(s, futures) == {"no-worker": 3})
    await b.set_resources(GPU=3)
    await a.set_resources(GPU=2)
    # As in distributed: new resources are no reason to look again, a worker that resumes is.
    s.handle_worker_status_change("paused", a.address, "test")
    s.handle_worker_status_change("running", a.address, "test")
    await wait(futures[:2])
    assert states(s, futures) == {"memory": 2, "no-worker": 1}


@cluster_of(IN_A, IN_B, **CALM)
async def test_dependents_follow_their_inputs(c, s, a, b):
    """distributed checks at each transition that they are where they are said to be."""
    install(s)
    with dask.annotate(resources=TO_A):
        made = [dask.delayed(work)(i, dask_key_name=f"read-{i}") for i in range(10)]
        used = [dask.delayed(work)(x, dask_key_name=f"use-{i}") for i, x in enumerate(made)]
    await wait(c.compute(used, optimize_graph=False))
    assert not b.state.tasks


@cluster_of(IN_A, IN_B)
async def test_uninstalled_choice_is_stock(c, s, a, b):
    names = set(vars(s))
    parts = install(s)
    futures = reads(c, "read", 4, "go", resources=TO_A)
    parts.uninstall()
    assert set(vars(s)) == names
    assert s.valid_workers.__func__ is type(s).valid_workers
    await Event("go").set()
    await wait(futures)
