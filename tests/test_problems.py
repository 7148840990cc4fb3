"""Every problem of the library, on pools of real processes that see their own data only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, wait

from dask_pools import LocalPoolCluster, pool, propagate_pools
from dask_pools.graph.optimize import place_graph
from dask_pools.graph.options import Options
from dask_pools.graph.placing import PlacedGraph, Placing
from dask_pools.scheduler.telemetry import Crossing, crossings
from tests.planning.oracle import exact
from tests.problems import PROBLEMS, Problem

SCALE = 8

Open = Callable[[Problem], Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make a directory for each pool."""
    names = sorted({name for problem in PROBLEMS.values() for name in problem.pools})
    root = tmp_path_factory.mktemp("sites")
    for name in names:
        (root / name).mkdir()
    return {name: root / name for name in names}


@pytest.fixture(scope="module")
def client(site: dict[str, Path]) -> Iterator[Client]:
    # More transfers than the default log holds must not be lost.
    with (
        dask.config.set({"distributed.admin.low-level-log-length": 100_000}),
        LocalPoolCluster(dict.fromkeys(site, 2), data=site) as cluster,
        cluster.get_client() as client,
    ):
        yield client


@pytest.fixture(scope="module")
def open_problem(site: dict[str, Path]) -> Open:
    written: dict[str, dict[str, Path]] = {}

    def open_problem(problem: Problem) -> Any:
        if problem.name not in written:
            directories = {name: site[name] / problem.name for name in problem.pools}
            for directory in directories.values():
                directory.mkdir()
            problem.write(directories, SCALE)
            written[problem.name] = directories
        return problem.build(written[problem.name])

    return open_problem


def planned(x: Any, **options: Any) -> PlacedGraph:
    return place_graph(x.__dask_graph__(), x.__dask_keys__(), transfers=True, **options)


def new_crossings(client: Client, before: list[Crossing]) -> list[Crossing]:
    return sorted((Counter(crossings(client)) - Counter(before)).elements(), key=str)


@pytest.mark.parametrize("name", PROBLEMS)
def test_problem_is_right_and_moves_what_was_planned(
    name: str, client: Client, open_problem: Open
) -> None:
    """Reads outside of the home pool would fail: no other worker sees the data."""
    x = open_problem(PROBLEMS[name])
    expected = x.compute(scheduler="synchronous")
    before = crossings(client)
    with propagate_pools():
        persisted = x.persist()
    wait(persisted)
    crossed = new_crossings(client, before)
    np.testing.assert_array_equal(persisted.compute(), expected)
    once = Counter((crossing.key, crossing.link.target) for crossing in crossed)
    assert set(once.values()) <= {1}, "a value crossed a link twice"
    plan = planned(x).plan
    nbytes = sum(crossing.nbytes for crossing in crossed)
    assert nbytes == pytest.approx(plan.nbytes, rel=0.01)
    assert {c.link for c in crossed} == set(plan.links)


@pytest.mark.parametrize("name", PROBLEMS)
def test_compute_moves_each_value_once(name: str, client: Client, open_problem: Open) -> None:
    """`compute` adds a last task, which gathers the result; it has a place as well."""
    x = open_problem(PROBLEMS[name])
    before = crossings(client)
    with propagate_pools():
        result = x.compute()
    crossed = new_crossings(client, before)
    np.testing.assert_array_equal(result, x.compute(scheduler="synchronous"))
    once = Counter((crossing.key, crossing.link.target) for crossing in crossed)
    assert set(once.values()) <= {1}, "a value crossed a link twice"


@pytest.mark.parametrize("name", PROBLEMS)
def test_few_more_tasks_than_stock_dask(name: str, open_problem: Open) -> None:
    x = open_problem(PROBLEMS[name])
    plan = planned(x).plan
    stock = x.__dask_optimize__(x.__dask_graph__(), x.__dask_keys__())
    assert sum(plan.tasks.values()) <= 1.2 * len(stock)


@pytest.mark.parametrize("name", PROBLEMS)
def test_never_more_bytes_than_the_greedy_rule(name: str, open_problem: Open) -> None:
    x = open_problem(PROBLEMS[name])
    greedy = planned(x, options=Options("majority")).plan
    assert planned(x).plan.nbytes <= greedy.nbytes


@pytest.mark.parametrize("name", PROBLEMS)
def test_no_placement_is_cheaper(name: str, open_problem: Open) -> None:
    """Neither by an integer program, nor by our own bound."""
    x = open_problem(PROBLEMS[name])
    placing = Placing(x.__dask_graph__(), x.__dask_keys__(), Options())
    plan = placing.run(for_good=True, variables={}).plan
    assert plan.cost == pytest.approx(exact(placing.whole), rel=1e-6)
    assert plan.cost == plan.bound


def test_a_whole_computation_runs_in_the_pool_around_it(client: Client) -> None:
    import dask.array as da

    def where(block: np.ndarray) -> np.ndarray:
        from distributed import get_worker

        return np.full(block.shape, str(get_worker().name).rpartition("-")[0], dtype="U9")

    x = da.zeros((4,), chunks=1).map_blocks(where, dtype="U9")
    with propagate_pools(), pool("eumetsat"):
        assert set(x.compute()) == {"eumetsat"}
