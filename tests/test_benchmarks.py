"""The benchmarks run at a small size, and what they say of balance holds for odd shapes too."""

from __future__ import annotations

from collections.abc import Callable

import dask.array as da
import numpy as np
import pytest

from dask_pools import Link, plan
from tests.benchmarks import (
    ensemble,
    opening,
    planning_time,
    problems,
    scheduler,
    scheduler_seconds,
)
from tests.benchmarks.ensemble import field
from tests.benchmarks.greedy import greedy_by_layer, pools_by_layer
from tests.benchmarks.table import print_table
from tests.problems import PROBLEMS
from tests.wan import why_unavailable


@pytest.mark.parametrize(
    "chunks",
    [
        ((10,) * 6, (10,) * 4),
        ((10,) * 7, (10,) * 3),
        ((7, 30, 12, 5, 22, 18), (40, 3, 17, 25)),
    ],
    ids=["even", "odd", "ragged"],
)
def test_an_addition_uses_both_directions_of_a_link_alike(
    chunks: tuple[tuple[int, ...], ...],
) -> None:
    shape = tuple(map(sum, chunks))
    x = field("a", 0, shape, chunks) + field("b", 1, shape, chunks)
    links = plan(x, persist=True).links
    there, back = links[Link("a", "b")], links[Link("b", "a")]
    assert there + back == x.nbytes
    assert there == pytest.approx(back, rel=0.1)


def test_greedy_by_layer_moves_a_whole_layer() -> None:
    """Of two archives that are joined, the smaller one is moved as it is."""
    first = field("ecmwf", 0, (8, 100), (1, 100))
    second = field("eumetsat", 1, (4, 100), (1, 100))
    x = da.concatenate([first, second]).sum()
    assert set(pools_by_layer(x).values()) == {"ecmwf"}
    assert plan(greedy_by_layer(x), persist=True).nbytes == second.nbytes
    assert plan(x, persist=True).nbytes == 8


def test_greedy_by_layer_leaves_pins_and_what_is_free() -> None:
    x = field("ecmwf", 0) + 1
    assert set(pools_by_layer(x).values()) == {"ecmwf"}
    assert not pools_by_layer(da.ones(4) + 1)
    np.testing.assert_array_equal(greedy_by_layer(x).compute(), x.compute())


@pytest.mark.parametrize("pools", [2, 10])
def test_planning_is_measured_next_to_dask(pools: int, capsys: pytest.CaptureFixture[str]) -> None:
    stock, ours = (planning_time.measure(way, 300, pools) for way in planning_time.WAYS)
    print_table(planning_time.HEADS, [planning_time.as_row(stock, ours, pools)])
    head, rule, row = capsys.readouterr().out.splitlines()
    assert len(head) == len(rule) == len(row)
    assert row.split("|")[3].strip() == str(pools)


@pytest.mark.parametrize("way", scheduler_seconds.WAYS)
def test_every_task_runs_on_workers_that_do_not_exist(way: str) -> None:
    submitted, finished = scheduler_seconds.per_task(way, 4, 40)
    assert submitted > 0
    assert finished > 0


def test_rounds_of_work_stealing_are_measured_with_and_without_the_plugin() -> None:
    assert scheduler_seconds.rounds(4, 40).keys() == {"stock", "dask_pools"}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("main", "rows"),
    [
        (lambda: ensemble.main(6), ["spread", "dask_pools"]),
        (lambda: problems.main(1), [*PROBLEMS, "geometric mean"]),
        (lambda: planning_time.main(["1000", "--best-of", "1"]), ["784"]),
        (lambda: scheduler.main(["--scale", "0.002"]), ["dask_pools, pinned", "dask_pools", "10"]),
        pytest.param(
            lambda: opening.main(["--chunks", "40"]),
            ["in its pool", "HTTP, plain fsspec", "at the site itself"],
            marks=pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable())),
        ),
    ],
    ids=["ensemble", "problems", "planning_time", "scheduler", "opening"],
)
def test_benchmark_prints_its_tables(
    main: Callable[[], None], rows: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main()
    lines = capsys.readouterr().out.splitlines()
    for name in rows:
        assert any(line.startswith(f"| {name} ") for line in lines), name
