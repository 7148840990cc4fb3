"""What is closed is optimal; what is open says how far it may be from that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dask_pools.planning import closing
from dask_pools.planning.bracket import Bracket
from dask_pools.planning.closing import close, surrounded
from dask_pools.planning.cost import cost
from dask_pools.planning.prices import Prices, score
from dask_pools.planning.problem import uniform_costs
from tests.benchmarks.placement import archives
from tests.planning.oracle import exact, make, varied


@pytest.mark.parametrize("pools", [3, 4, 6])
@pytest.mark.parametrize("size", [0, 6000])
def test_the_gap_reaches_the_optimum(pools, size, monkeypatch):
    monkeypatch.setattr(closing, "_EXACT", size)
    monkeypatch.setattr(closing, "_SEARCH", size)
    for seed in range(8):
        problem = varied(seed, pools)
        prices = Prices.of(problem)
        found = close(problem, prices)
        best, reached = exact(problem), cost(problem, found.labels)
        assert problem.allowed[np.arange(len(found.labels)), found.labels].all()
        if size:
            assert not found.open.any()
            assert reached == pytest.approx(best, rel=1e-6)
        if np.isfinite(reached) and reached > 0:
            unit = reached / score(problem, prices, found.labels)[1]
            assert reached - found.gap * unit <= best * (1 + 1e-9)


def test_a_given_placement_is_never_made_worse():
    for seed in range(8):
        problem = varied(seed, 4)
        prices = Prices.of(problem)
        start = close(problem, prices).labels
        again = close(problem, prices, start).labels
        assert score(problem, prices, again)[:2] <= score(problem, prices, start)[:2]


def test_trees_are_closed_by_one_sweep():
    costs = np.random.default_rng(0).uniform(0.2, 3, (4, 4)) * uniform_costs(4)
    problem = replace(archives(3000, 4), costs=costs)
    bracket = Bracket.of(problem, Prices.of(problem))
    assert bracket.open.any()
    bracket.sweep(1)
    assert not bracket.open.any()


def test_equal_components_are_solved_once(monkeypatch):
    solved = []
    solve = Bracket.settle.__globals__["solve"]
    monkeypatch.setitem(
        Bracket.settle.__globals__, "solve", lambda core: solved.append(core) or solve(core)
    )
    n = 20
    arcs = [(5 * i + a, 5 * i + b) for i in range(n) for a, b in ((0, 3), (1, 3), (2, 4), (3, 4))]
    pins = {5 * i + a: "abc"[a] for i in range(n) for a in range(3)}
    problem = make([6, 5, 4, 7, 1] * n, pins, arcs, pools="abc")
    bracket = Bracket.of(problem, Prices.of(problem))
    bracket.settle(1000, 1000)
    assert len(solved) == 1
    assert not bracket.open.any()
    labels = bracket.placement(problem.allowed)
    assert cost(problem, labels) == n * cost(replace_first(problem, 5), labels[:5])


def replace_first(problem, count):
    return problem.restricted(np.arange(len(problem.sizes)) < count)


def test_a_problem_is_restricted_to_what_matters_for_open_values():
    arcs = [(0, 1), (0, 2), (1, 3), (4, 5), (3, 6)]
    problem = make([1] * 7, {}, arcs)
    open_ = np.array([False, True, False, False, False, False, False])
    near, rest = surrounded(problem, open_)
    assert near.tolist() == [True, True, True, True, False, False, False]
    assert len(rest.sizes) == 4
