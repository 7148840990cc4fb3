from __future__ import annotations

import math
from typing import Any

import pytest
from distributed.utils_test import gen_test

from dask_pools.model import Link
from dask_pools.scheduler.stealing.crossing import ASKED, MANY, REMEMBERED, Crossing, MeasuredLinks
from tests.scheduler.states import known, still, task, value, worker

MB = 10**6


def nothing_known(_source: str, _target: str) -> None:
    return None


def crossing(s: Any, link: Any = nothing_known) -> Crossing:
    roster = known(s)
    return Crossing(s, roster, link, MeasuredLinks(s, roster))


def table(*links: Link) -> Any:
    known_links = {(link.source, link.target): link for link in links}
    return lambda source, target: known_links.get((source, target))


@gen_test()
async def test_each_input_comes_the_fastest_way_it_may():
    async with still() as s:
        s.bandwidth = 100 * MB
        a1, a2, b, c = (worker(s, i, pool) for i, pool in enumerate("aabc"))
        link = table(
            Link("b", "a", bandwidth=10 * MB, latency=0.5),
            Link("c", "a", bandwidth=1000 * MB, price=0.01),
        )
        cost = crossing(s, link).seconds
        own = value(s, "own", 100 * MB, a1)
        near = value(s, "near", 100 * MB, a2)
        far = value(s, "far", 100 * MB, b)
        more = value(s, "more", 50 * MB, b, c)
        priced = value(s, "priced", 1, c)
        copied = value(s, "copied", 100 * MB, b, a2)
        assert cost(task(s, "x-0", b, own), a1) == 0
        assert cost(task(s, "x-1", b, near), a1) == 1
        assert cost(task(s, "x-2", b, far), a1) == 10.5
        assert cost(task(s, "x-3", b, far, more, near), a1) == pytest.approx(10 + 5 + 0.5 + 1)
        assert cost(task(s, "x-4", b, priced), a1) == math.inf
        assert cost(task(s, "x-5", b, copied), a1) == 1
        # Nothing is known of the way back.
        assert cost(task(s, "x-6", b, near), c) == 1


@gen_test()
async def test_worker_without_a_pool_is_as_near_as_distributed_thinks():
    async with still() as s:
        s.bandwidth = 100 * MB
        a, nowhere = worker(s, 0, "a"), worker(s, 1)
        far = crossing(s, lambda s, t: Link(s, t, allowed=False))
        ts = task(s, "x-0", a, value(s, "data", 100 * MB, a))
        assert far.seconds(ts, nowhere) == s.get_comm_cost(ts, nowhere) == 1
        assert far.may_move(ts, ("a",), ())


@gen_test()
async def test_worker_of_several_pools_is_reached_by_the_best_link():
    async with still() as s:
        a = worker(s, 0, "a")
        both = worker(s, 1, "b", "c")
        link = table(Link("a", "b", bandwidth=MB), Link("a", "c", bandwidth=50 * MB))
        ts = task(s, "x-0", a, value(s, "data", 100 * MB, a))
        assert crossing(s, link).seconds(ts, both) == 2


@gen_test()
async def test_task_with_a_crowd_around_it_stays():
    async with still() as s:
        a = worker(s, 0, "a")
        worker(s, 1, "b")
        few = task(s, "few-0", a)
        many = task(s, "many-0", a)
        gathers = task(s, "gathers-0", a, *(value(s, f"v-{i}", 1, a) for i in range(MANY + 1)))
        for i in range(MANY + 1):
            s.new_task(f"y-{i}", None, "released").add_dependency(many)
        may = [crossing(s).may_move(ts, ("a",), ("b",)) for ts in (few, many, gathers)]
        assert may == [True, False, False]


@gen_test()
async def test_measured_speed_is_the_median_in_that_direction_and_renewed_at_times():
    now = 0.0
    async with still() as s:
        senders = [worker(s, i, "a") for i in range(3 * ASKED)]
        receiver = worker(s, 999, "b")
        measured = MeasuredLinks(s, known(s), lambda: now)
        assert measured.bandwidth("a", "b") is None
        for ws in senders:
            s.bandwidth_workers[receiver.address, ws.address] = 10 * MB
        s.bandwidth_workers[receiver.address, senders[0].address] = 10**12
        entries = len(s.bandwidth_workers)
        assert measured.bandwidth("a", "b") is None
        now += REMEMBERED + 1
        assert measured.bandwidth("a", "b") == 10 * MB
        assert measured.bandwidth("b", "a") is None
        assert measured.bandwidth("a", "nowhere") is None
        assert len(s.bandwidth_workers) == entries  # asking leaves no entries
