from __future__ import annotations

from typing import Any
from unittest import mock

import dask.array as da
import numpy as np
import pytest
from dask.delayed import delayed
from distributed import Event, wait
from distributed.utils_test import async_poll_for
from hypothesis import given
from hypothesis import strategies as st

from dask_pools import pool, propagate_pools
from dask_pools.planning.cost import cost
from dask_pools.planning.problem import PlacementProblem, uniform_costs
from dask_pools.scheduler.arrivals import corrections as corrections_module
from dask_pools.scheduler.arrivals import surroundings
from dask_pools.scheduler.arrivals.revision import LEAST_BYTES, Situation, revise
from dask_pools.scheduler.telemetry import link_bytes
from tests.planning.oracle import make as problem_of
from tests.scheduler.clusters import IN_A, IN_B, cluster_of
from tests.scheduler.correcting import install

MB = 1_000_000


# ---- deciding


def situation(problem: PlacementProblem, labels: list[int], workers: int = 1) -> Situation:
    return Situation(
        problem,
        np.array(labels),
        np.ones(len(problem.values)),
        np.full(len(problem.pools), float(workers)),
    )


def revised(*args: Any) -> list[int] | None:
    labels = revise(situation(*args))
    return None if labels is None else labels.tolist()


#: A value in a (0), carried to b (1) for a task there (2), with a value of b (3).
def joined(large: float, other: float, costs: Any = None) -> PlacementProblem:
    arcs = [(0, 1), (1, 2), (3, 2)]
    return problem_of([large, large, 8, other], {0: "a", 3: "b"}, arcs, costs=costs)


def test_task_goes_to_the_value_that_turned_out_to_be_large() -> None:
    assert revised(joined(50 * MB, MB), [0, 1, 1, 1]) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("large", "other"),
    [(50 * MB, 50 * MB), (50 * MB, 49 * MB), (2 * MB, 1.5 * MB), (1.9 * MB, MB), (MB / 10, 0)],
)
def test_little_saving_is_none(large: float, other: float) -> None:
    assert revised(joined(large, other), [0, 1, 1, 1]) is None


def test_link_that_may_carry_nothing_is_not_used() -> None:
    closed = np.array([[0, 1], [np.inf, 0]])
    assert revised(joined(50 * MB, MB, closed), [0, 1, 1, 1]) is None


def test_saving_counts_in_the_unit_of_the_prices() -> None:
    per_gigabyte = uniform_costs(2) * 0.02e-9
    assert revised(joined(50 * MB, MB, per_gigabyte), [0, 1, 1, 1]) == [0, 0, 0, 1]


def test_fetching_by_many_workers_is_no_saving() -> None:
    """Ten tasks in a would fetch the value of b, which crosses once now, one by one."""
    n = 10
    # 0: 5 MB in a, 1: carried to b, 2: 2 MB in b, 3..12: tasks with both.
    sizes = [5 * MB, 5 * MB, 2 * MB] + [8.0] * n
    arcs = [(1, 3 + i) for i in range(n)] + [(2, 3 + i) for i in range(n)] + [(0, 1)]
    problem = problem_of(sizes, {0: "a", 2: "b"}, arcs)
    labels = [0, 1, 1] + [1] * n
    assert revised(problem, labels, 1) == [0, 0, 1] + [0] * n
    assert revised(problem, labels, 10) is None


def test_what_saves_nothing_by_moving_stays() -> None:
    # 4 needs the transfer's value and is needed by nobody.
    problem = problem_of(
        [50 * MB, 50 * MB, 8, MB, 0, 0],
        {0: "a", 3: "b"},
        [(0, 1), (1, 2), (3, 2), (5, 4)],
    )
    assert revised(problem, [0, 1, 1, 1, 1, 1]) == [0, 0, 0, 1, 1, 1]


@st.composite
def situations(draw: Any) -> Situation:
    """Any small graph in any placement, as a plan on wrong sizes may have left it."""
    n, p = draw(st.integers(2, 7)), draw(st.integers(2, 3))
    sizes = [draw(st.sampled_from([0, 8, MB, 3 * MB, 50 * MB])) for _ in range(n)]
    pins = {v: draw(st.sampled_from("abc"[:p])) for v in range(n) if draw(st.booleans())}
    pairs = [(i, j) for j in range(n) for i in range(j)]
    arcs = [pair for pair in pairs if draw(st.booleans())]
    times = [draw(st.integers(1, 5)) for _ in arcs]
    labels = ["abc".index(pins[v]) if v in pins else draw(st.integers(0, p - 1)) for v in range(n)]
    return Situation(
        problem_of(sizes, pins, arcs, "abc"[:p]),
        np.array(labels),
        np.array(times, dtype=np.float64),
        np.array([draw(st.integers(1, 4)) for _ in range(p)], dtype=np.float64),
    )


@given(situations())
def test_correction_never_costs_more_and_moves_nothing_pinned(before: Situation) -> None:
    labels = revise(before)
    problem = before.problem
    if labels is None:
        return
    assert problem.allowed[np.arange(len(labels)), labels].all()
    saved = cost(problem, before.labels) - cost(problem, labels)
    assert saved >= max(LEAST_BYTES, 0.1 * cost(problem, before.labels))
    assert (before.costs(labels) <= before.costs(before.labels)).all()


@given(situations())
def test_what_crosses_at_the_least_is_the_cost_of_the_plan(any_: Situation) -> None:
    least, most = any_.costs(any_.labels)
    assert least == cost(any_.problem, any_.labels)
    assert most >= least


# ---- doing


def blob(n: int) -> bytes:
    return bytes(n)


def opened(event: Event, n: int) -> bytes:
    event.wait()
    return bytes(n)


def total(*values: bytes) -> int:
    return sum(map(len, values))


async def crossed(c: Any) -> int:
    return sum((await link_bytes(c)).values())


@cluster_of(IN_A, IN_B)
async def test_free_task_goes_to_the_large_value(c, s, a, b):
    _, corrections = await install(s)
    with pool("b"):
        small = [delayed(blob)(MB // 10, dask_key_name=f"small-{i}") for i in range(12)]
    with pool("a"):
        large = delayed(blob)(50 * MB, dask_key_name="large")
    heard: list[tuple[Any, str]] = []
    corrections.changed.append(lambda ts, pool: heard.append((ts.key, pool)))
    with propagate_pools():
        # Assumed: a megabyte each, so that the one of a is carried to the twelve of b.
        future = c.compute(delayed(total)(large, *small, dask_key_name="joined"))
    assert await future == 50 * MB + 12 * (MB // 10)
    assert "joined" in a.data
    assert corrections.moved == 2
    assert heard == [("transfer-a-b-/large", "b"), ("joined", "b")]
    fetched = s.tasks["small-0"].nbytes * 12 if "small-0" in s.tasks else 12 * (MB // 10)
    assert fetched <= await crossed(c) < fetched + MB // 10
    assert len(corrections) == 0


@cluster_of(IN_A, IN_B)
async def test_value_that_turned_out_small_goes_to_the_other(c, s, a, b):
    """Nothing is carried the way that was planned: that transfer has become a copy at home."""
    plugin, corrections = await install(s)
    plugin.learned.add("early", 50 * MB, None)
    plugin.learned.add("late", 10 * MB, None)
    with pool("a"):
        early = delayed(blob)(10, dask_key_name="early-1")
    with pool("b"):
        late = delayed(opened)(Event("go"), 10 * MB, dask_key_name="late-1")
    with propagate_pools():
        future = c.compute(delayed(total)(early, late, dask_key_name="joined"))
        await async_poll_for(lambda: corrections.moved == 2, timeout=10)
    moved = s.tasks["transfer-b-a-/late-1"]
    assert moved.annotations["transfer"] == ("b", "b")
    await Event("go").set()
    assert await future == 10 * MB + 10
    assert "joined" in b.data
    assert await crossed(c) < 1000


@cluster_of(IN_A, IN_B)
async def test_nothing_moves_if_sizes_are_as_assumed(c, s, a, b):
    _, corrections = await install(s)
    with pool("a"):
        one = delayed(blob)(MB)
    with pool("b"):
        others = [delayed(blob, name=f"other-{i}")(MB) for i in range(2)]
    with propagate_pools():
        future = c.compute(delayed(total)(one, *others, dask_key_name="joined"))
    assert await future == 3 * MB
    assert "joined" in b.data
    assert corrections.moved == 0
    assert len(corrections) == 0


@cluster_of(IN_A, IN_B)
async def test_nothing_moves_without_a_real_saving(c, s, a, b):
    _, corrections = await install(s)
    with pool("b"):
        others = [delayed(blob, name=f"other-{i}")(10 * MB) for i in range(2)]
    await wait(c.persist(others))
    go = Event("go")
    with pool("a"):
        one = delayed(opened)(go, 10 * MB)
    with propagate_pools():
        future = c.compute(delayed(total)(one, *others, dask_key_name="joined"))
        await async_poll_for(lambda: "joined" in s.tasks, timeout=10)
    assert len(corrections) > 0
    await go.set()
    assert await future == 30 * MB
    assert "joined" in b.data
    assert corrections.moved == 0


@cluster_of(IN_A, IN_B)
async def test_pinned_consumer_never_moves(c, s, a, b):
    _, corrections = await install(s)
    with pool("a"):
        large = delayed(blob)(50 * MB, dask_key_name="large")
    with pool("b"):
        joined = delayed(total)(large, dask_key_name="joined")
    with propagate_pools():
        assert await c.compute(joined) == 50 * MB
    assert "joined" not in a.data
    assert corrections.moved == 0
    assert await crossed(c) >= 50 * MB


@cluster_of(IN_A, IN_B)
async def test_started_task_is_not_touched(c, s, a, b):
    """Two tasks take the same values of b; one of them has started when sizes are known."""
    await install(s)
    with pool("b"):
        small = [delayed(blob)(MB, dask_key_name=f"small-{i}") for i in range(3)]
    small = c.persist(small)
    await wait(small)
    with pool("a"):
        large = delayed(opened)(Event("large"), 50 * MB, dask_key_name="large")
    started = delayed(opened)(Event("go"), MB, dask_key_name="started")
    with propagate_pools():
        futures = c.compute(
            [
                delayed(total)(started, *small, dask_key_name="other"),
                delayed(total)(started, large, *small, dask_key_name="joined"),
            ]
        )
        await async_poll_for(
            lambda: "started" in s.tasks and s.tasks["started"].state == "processing", timeout=10
        )
    await Event("large").set()
    await async_poll_for(lambda: s.tasks["large"].state != "processing", timeout=10)
    assert {key: s.tasks[key].resource_restrictions for key in ("started", "joined", "other")} == {
        "started": {"pool-b": 0},
        "joined": {"pool-a": 0},
        "other": {"pool-b": 0},
    }
    await Event("go").set()
    assert await c.gather(futures) == [4 * MB, 54 * MB]


def carried_for_nothing(c: Any) -> Any:
    """Submit what would be corrected if more than its transfer could be moved."""
    with pool("b"):
        small = [delayed(blob)(MB, dask_key_name=f"small-{i}") for i in range(3)]
    with pool("a"):
        large = delayed(blob)(50 * MB, dask_key_name="large")
    with propagate_pools():
        return c.compute(delayed(total)(large, *small, dask_key_name="joined"))


@cluster_of(IN_A, IN_B)
async def test_few_tasks_are_looked_at(c, s, a, b):
    _, corrections = await install(s)
    with mock.patch.object(surroundings, "MOST_TASKS", 1):
        assert await carried_for_nothing(c) == 53 * MB
    assert corrections.moved == 0


@cluster_of(IN_A, IN_B)
async def test_task_that_many_need_is_left_where_it_is(c, s, a, b):
    _, corrections = await install(s)
    with mock.patch.object(surroundings, "MOST_DEPENDENTS", 0):
        assert await carried_for_nothing(c) == 53 * MB
    assert corrections.moved == 0


@cluster_of(IN_A, IN_B)
async def test_graph_without_anything_to_gain_is_given_up(c, s, a, b):
    _, corrections = await install(s)
    tried: list[Any] = []
    corrections._correct = lambda ts, *_: tried.append(ts.key)  # type: ignore[method-assign]
    with pool("b"):
        small = [delayed(blob)(MB, dask_key_name=f"small-{i}") for i in range(8)]
    with pool("a"):
        large = [delayed(blob)(50 * MB, dask_key_name=f"large-{i}") for i in range(5)]
    with propagate_pools(), mock.patch.object(corrections_module, "PATIENCE", 2):
        await c.compute(delayed(total)(*large, *small))
    assert len(tried) == 2
    assert len(corrections) == 0


@cluster_of(IN_A, IN_B)
async def test_graph_of_exact_sizes_is_not_watched(c, s, a, b):
    plugin, _ = await install(s)
    with pool("a"):
        x = da.random.default_rng(0).random((100, 100), chunks=50)
    with pool("b"):
        y = da.random.default_rng(1).random((100, 100), chunks=50)
    heard: list[Any] = []
    plugin.submissions.estimated.append(heard.append)
    with propagate_pools():
        await c.compute((x + y).sum())
    assert heard == []


@cluster_of(IN_A, IN_B)
async def test_forgotten_values_are_not_watched_any_more(c, s, a, b):
    _, corrections = await install(s)
    with pool("a"):
        large = delayed(opened)(Event("never"), 50 * MB)
    with pool("b"):
        others = [delayed(blob, name=f"other-{i}")(MB) for i in range(2)]
    with propagate_pools():
        future = c.compute(delayed(total)(large, *others, dask_key_name="joined"))
        await async_poll_for(lambda: len(corrections) > 0, timeout=10)
    future.release()
    await async_poll_for(lambda: not s.tasks, timeout=10)
    assert len(corrections) == 0
    await Event("never").set()
