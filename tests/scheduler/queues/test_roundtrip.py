from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from distributed import Event
from distributed.utils_test import async_poll_for
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.scheduler.configuration import Configuration
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.queues import roundtrip
from dask_pools.scheduler.queues.roundtrip import MOST, RoundTrips, derived_saturation
from dask_pools.scheduler.roster import Roster
from tests.scheduler import queued
from tests.scheduler.clusters import IN_A, IN_B, cluster_of

times = st.floats(0, 1e4)


def settings(default: float | None = None, **saturation: float) -> Any:
    """Return what returns the settings."""
    made = Configuration(saturation, default, memory_share=0.3, pool_timeout=60)
    return lambda: made


class FarAway:
    """Workers at some distance, of which the clock alone knows."""

    def __init__(self, **seconds: float) -> None:
        self.now = 0.0
        self.asked: list[str] = []
        self.seconds = seconds
        self.pool_of: dict[str, str] = {}
        #: Seconds that answers take beyond the way, one after the other.
        self.delays: list[float] = []

    def clock(self) -> float:
        return self.now

    async def ask(self, address: str) -> None:
        self.asked.append(address)
        delay = self.delays.pop(0) if self.delays else 0.0
        self.now += self.seconds[self.pool_of[address]] + delay


DEFAULTS = settings()


def round_trips(s: Any, far: FarAway, configuration: Any = DEFAULTS) -> RoundTrips:
    roster = Roster(s, Membership())
    roster.watch()
    for pool in roster.pools.values():
        far.pool_of.update((ws.address, pool.name) for ws in pool.members)
    return RoundTrips(s, roster, configuration, ask=far.ask, clock=far.clock)


@given(stock=st.floats(0.1, 100), round_trip=times, duration=times)
def test_saturation_is_never_below_that_of_distributed_nor_without_bound(
    stock, round_trip, duration
):
    assert stock <= derived_saturation(stock, round_trip, duration) <= max(stock, MOST)


@given(round_trip=st.floats(0.001, 1), duration=st.floats(0.001, 10))
def test_threads_have_work_for_the_whole_round_trip(round_trip, duration):
    """One task runs; those that were sent ahead take as long as the way, or nearly so."""
    ahead = (derived_saturation(1.1, round_trip, duration) - 1) * duration
    assert ahead >= min(round_trip, (MOST - 1) * duration) - 1e-9


@pytest.mark.parametrize(
    ("round_trip", "duration", "saturation"),
    [
        (None, 1.0, 1.1),
        (0.03, None, 1.1),
        (0.03, 0.03, 2.1),
        (0.03, 0.0, MOST),
        (0.03, 60.0, 1.1),
        (0.0, 0.0, 1.1),
    ],
)
def test_saturation_is_that_of_distributed_until_more_is_known(round_trip, duration, saturation):
    assert derived_saturation(1.1, round_trip, duration) == pytest.approx(saturation)


def test_without_queues_everything_is_sent_at_once():
    assert derived_saturation(math.inf, 0.03, 0.01) == math.inf


@cluster_of(IN_A, IN_A, IN_A, IN_B)
async def test_far_pool_is_given_more_ahead(c, s, *workers):
    far = FarAway(a=0.001, b=0.05)
    # The first answer, for which a connection is made, and slow ones do not count.
    far.delays = [9.0, 0.0, 0.5, 0.7]
    trips = round_trips(s, far)
    assert trips.saturation("b") == s.WORKER_SATURATION
    await trips.measure()
    assert trips.measured == pytest.approx({"a": 0.001, "b": 0.05})
    for pool in "ab":
        trips.finished(pool, 0.025)
    assert trips.saturation("a") == s.WORKER_SATURATION
    assert trips.saturation("b") == pytest.approx(s.WORKER_SATURATION + 2)
    assert trips.saturation("elsewhere") == s.WORKER_SATURATION


@cluster_of(IN_A, IN_A, IN_A, IN_B)
async def test_other_workers_are_asked_each_time_and_never_many(c, s, *workers):
    far = FarAway(a=0.001, b=0.05)
    trips = round_trips(s, far)
    asked = []
    for _ in range(3):
        far.asked.clear()
        await trips.measure()
        asked.append({address for address in far.asked if far.pool_of[address] == "a"})
    assert all(len(some) == roundtrip.ASKED for some in asked)
    assert set().union(*asked) == {w.address for w in workers[:3]}


@cluster_of(IN_A, IN_B)
async def test_what_is_configured_comes_first(c, s, a, b):
    far = FarAway(a=0.05, b=0.05)
    trips = round_trips(s, far, settings(5, a=7))
    await trips.measure()
    trips.finished("a", 0.01)
    trips.finished("b", 0.01)
    assert (trips.saturation("a"), trips.saturation("b")) == (7, 5)


@cluster_of(IN_A)
async def test_later_reads_count_for_more(c, s, a):
    trips = round_trips(s, FarAway(a=0.05))
    trips.finished("a", 10.0)
    assert trips.durations["a"] == 10
    for _ in range(100):
        trips.finished("a", 1.0)
    assert trips.durations["a"] == pytest.approx(1, abs=0.01)


@cluster_of(IN_A, IN_A, IN_B)
async def test_worker_that_does_not_answer_does_not_matter(c, s, deaf, a, b, monkeypatch):
    far = FarAway(a=0.001, b=0.05)
    monkeypatch.setattr(roundtrip, "TIMEOUT", 0.01)
    answers = far.ask
    silent = {deaf.address, b.address}

    async def ask(address: str) -> None:
        if address == deaf.address:
            await asyncio.Event().wait()
        if address == b.address:
            raise OSError("gone")
        await answers(address)

    far.ask = ask  # type: ignore[method-assign]
    trips = round_trips(s, far)
    trips.measured["b"] = 0.07
    await trips.measure()
    assert trips.measured == pytest.approx({"a": 0.001, "b": 0.07})
    assert silent.isdisjoint(far.asked)


@cluster_of(IN_A)
async def test_pool_is_measured_as_soon_as_it_comes_and_forgotten_when_it_goes(c, s, a):
    roster = Roster(s, Membership())
    roster.watch()
    trips = RoundTrips(s, roster, settings())
    undo = trips.install()
    await async_poll_for(lambda: trips.measured.keys() == {"a"}, timeout=10)
    s.add_resources(worker=a.address, resources={"pool-b": 1})
    await async_poll_for(lambda: "b" in trips.measured, timeout=10)
    assert all(0 < seconds < math.inf for seconds in trips.measured.values())
    trips.finished("a", 1.0)
    await a.close()
    assert not trips.measured
    assert not trips.durations
    undo()


@cluster_of(IN_A)
async def test_measuring_ends_with_the_installation(c, s, a):
    roster = Roster(s, Membership())
    before = asyncio.all_tasks()
    trips = RoundTrips(s, roster, settings())
    undo = trips.install()
    (background,) = asyncio.all_tasks() - before
    await async_poll_for(lambda: "a" in trips.measured, timeout=10)
    undo()
    undo()
    await asyncio.wait({background}, timeout=10)
    assert background.cancelled()
    assert not roster.changed


@cluster_of(IN_A, IN_B)
async def test_worker_far_away_is_sent_as_many_reads_as_cover_the_way(c, s, a, b):
    """Counted on the scheduler: those that a worker has or is on its way to."""
    parts = queued.install(s, lambda pool: trips.saturation(pool))
    far = FarAway(a=0.001, b=0.05)
    far.pool_of = {a.address: "a", b.address: "b"}
    trips = RoundTrips(s, parts.roster, settings(), ask=far.ask, clock=far.clock)
    await trips.measure()
    for pool in "ab":
        trips.finished(pool, 0.025)
    reads = [
        *queued.reads(c, "near", 20, "go", resources=queued.TO_A),
        *queued.reads(c, "far", 20, "go", resources=queued.TO_B),
    ]
    await async_poll_for(lambda: len(s.tasks) == 40, timeout=10)
    # Slots are rounded up: 1.1 tasks per thread, and two more for 50 ms.
    assert len(s.workers[a.address].processing) == 2
    assert len(s.workers[b.address].processing) == 4
    await Event("go").set()
    assert await c.gather(reads) == [*range(20)] * 2
    parts.uninstall()
