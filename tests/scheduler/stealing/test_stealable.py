from __future__ import annotations

from typing import Any

from distributed.utils_test import gen_test

from dask_pools.scheduler.stealing.stealable import Book, Restrictions, kind_of
from tests.scheduler.states import known, still, task, worker


@gen_test()
async def test_kind_of_a_task_is_who_may_run_it():
    async with still() as s:
        ws = worker(s, 0, "a", GPU=1)
        assert kind_of(task(s, "x-0", ws)) is None
        assert kind_of(task(s, "x-1", ws, resources=["pool-a"])) == "a"
        more = kind_of(task(s, "x-2", ws, resources=["pool-a", "GPU"]))
        assert more == kind_of(task(s, "x-3", ws, resources=["GPU", "pool-a"]))
        assert isinstance(more, Restrictions)
        assert more.pool == "a"
        ts = task(s, "x-4", ws)
        ts.worker_restrictions = {ws.address}
        kind = kind_of(ts)
        assert kind is not None
        assert kind != more
        ts.loose_restrictions = True
        assert kind_of(ts) != kind


def everything(book: Book) -> dict[Any, set[Any]]:
    return {
        kind: {ts.key for levels in shelf.values() for tasks in levels for ts in tasks}
        for kind, shelf in book.apart.items()
    }


@gen_test()
async def test_task_is_in_one_place_and_leaves_nothing_behind():
    async with still() as s:
        a, both = worker(s, 0, "a"), worker(s, 1, "a", "b")
        book = Book(15, known(s).pools_of, divides=True)
        tasks = [
            task(s, "free-0", a),
            task(s, "bound-0", a, resources=["pool-a"]),
            task(s, "gpu-0", a, resources=["GPU"]),
            task(s, "both-0", both, resources=["pool-a"]),
        ]
        apart = [book.put(ts, ts.processing_on.address, 3) for ts in tasks]
        assert apart == [False, False, True, True]
        found = everything(book)
        assert found.pop("a") == {"both-0"}
        assert list(found.values()) == [{"gpu-0"}]
        assert {ts.key for ts in book.unplaced[a.address]} == {"free-0", "gpu-0"}
        assert book.unplaced.keys() == {a.address}
        for ts in tasks:
            # Restrictions may change while a task is here.
            ts.resource_restrictions = {"other": 1}
            book.remove(ts, ts.processing_on.address)
            book.remove(ts, ts.processing_on.address)
        assert (book.apart, book.unplaced) == ({}, {})


@gen_test()
async def test_without_pools_all_tasks_stay_where_distributed_has_them():
    async with still() as s:
        ws = worker(s, 0)
        book = Book(15, known(s).pools_of, divides=True)
        book.divides = False
        assert not book.put(task(s, "gpu-0", ws, resources=["GPU"]), ws.address, 3)
        assert (book.apart, book.unplaced) == ({}, {})


@gen_test()
async def test_sample_goes_round():
    async with still() as s:
        a, b = worker(s, 0, "a"), worker(s, 1, "b")
        book = Book(15, known(s).pools_of, divides=True)
        for ws in (a, b):
            for i in range(5):
                book.put(task(s, f"x{ws.name}-{i}", ws), ws.address, i)
        seen = []
        for _ in range(3):
            levels = book.sample(a.address, 2)
            assert all(ts.key == f"x0-{level}" for level in range(15) for ts in levels[level])
            seen.append({ts.key for tasks in levels for ts in tasks})
        assert seen == [{"x0-0", "x0-1"}, {"x0-2", "x0-3"}, {"x0-4", "x0-0"}]
        assert list(book.unplaced) == [b.address, a.address]


@gen_test()
async def test_worker_that_leaves_takes_its_tasks_along():
    async with still() as s:
        a, b = worker(s, 0, "a"), worker(s, 1, "b")
        book = Book(15, known(s).pools_of, divides=True)
        for ws in (a, b):
            for i, resources in enumerate([[], ["GPU"], ["pool-a", "GPU"]]):
                book.put(task(s, f"x{ws.name}-{i}", ws, resources=resources), ws.address, 0)
        book.forget_worker(b.address)
        assert sorted(key for keys in everything(book).values() for key in keys) == ["x0-1", "x0-2"]
        assert book.unplaced.keys() == {a.address}
        book.forget_worker(a.address)
        assert (book.apart, book.unplaced) == ({}, {})
