"""Small cores are solved to their optimum."""

from __future__ import annotations

import numpy as np
import pytest

from dask_pools.planning import exact as exact_module
from dask_pools.planning.core import Core
from dask_pools.planning.cost import cost
from dask_pools.planning.exact import solve, variables
from dask_pools.planning.prices import Prices
from tests.planning.oracle import make, optimum, seeded


@pytest.mark.parametrize("directed", [False, True])
def test_a_core_is_solved_to_its_optimum(directed):
    for seed in range(20):
        problem = seeded(seed, pools=3, free=7, directed=directed)
        core = Core.of(problem, Prices.of(problem))
        found = solve(core)
        labels = problem.allowed.argmax(axis=1)
        labels[core.names] = found.labels
        assert found.complete
        assert found.bound <= core.charge(found.labels).sum()
        assert cost(problem, labels) == pytest.approx(optimum(problem), rel=1e-6)


def test_a_problem_without_a_placement_has_no_solution():
    costs = np.array([[0, np.inf, 1], [np.inf, 0, 1], [np.inf, np.inf, 0]])
    pins = {0: "a", 1: "b", 3: "ab", 4: "a"}
    problem = make([1] * 5, pins, [(0, 2), (1, 2), (2, 3), (0, 4)], "abc", costs)
    core = Core.of(problem, Prices.of(problem))
    assert solve(core) is None


def test_a_search_that_is_given_up_still_bounds(monkeypatch):
    monkeypatch.setattr(exact_module, "_EFFORT", 0)
    for seed in range(5):
        problem = seeded(seed, pools=4, free=25, directed=True)
        core = Core.of(problem, Prices.of(problem))
        found = solve(core)
        assert found is None or found.bound <= core.charge(found.labels).sum()


def test_programs_are_measured_by_component():
    problem = make(
        [5, 3, 1, 1, 9, 9, 1], {0: "a", 1: "b", 4: "a", 5: "b"},
        [(0, 2), (1, 2), (2, 3), (4, 6), (5, 6)],
    )  # fmt: skip
    core = Core.of(problem, Prices.of(problem))
    counts = variables(core)
    assert sorted(counts.tolist()) == [2, 6]
