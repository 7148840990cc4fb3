"""A core costs what the problem costs, but for what is the same in every placement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.planning import core as core_module
from dask_pools.planning.core import Core
from dask_pools.planning.cost import cost
from dask_pools.planning.prices import Prices, score
from tests.planning.oracle import make, problems, varied


def random_labels(problem, core, rng):
    labels = problem.allowed.argmax(axis=1)
    for node, allowed in zip(core.names, core.allowed, strict=True):
        labels[node] = rng.choice(np.flatnonzero(allowed))
    return labels


@given(problem=problems(pools=3), seed=st.integers(0, 99))
def test_differences_between_placements_are_those_of_the_problem(problem, seed):
    rng, prices = np.random.default_rng(seed), Prices.of(problem)
    core = Core.of(problem, prices)
    one, other = (random_labels(problem, core, rng) for _ in range(2))
    in_core = core.charge(one[core.names]).sum() - core.charge(other[core.names]).sum()
    whole = score(problem, prices, one)[1] - score(problem, prices, other)[1]
    assert in_core == pytest.approx(whole, rel=1e-9, abs=prices.sizes.sum() * 1e-9)


@pytest.mark.parametrize("pools", [2, 3, 5])
def test_forbidden_crossings_are_dearer_than_all_that_is_possible(pools):
    for seed in range(30):
        problem = varied(seed, pools)
        core = Core.of(problem, Prices.of(problem))
        labels = random_labels(problem, core, np.random.default_rng(seed))
        charged = np.bincount(core.component, core.charge(labels[core.names]))
        limit = np.full(len(charged), np.inf)
        limit[core.component] = core.forbidden
        assert (charged < limit).all() == np.isfinite(cost(problem, labels))


def test_values_without_a_choice_become_prices():
    problem = make([5, 3, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2)])
    core = Core.of(problem, Prices.of(problem))
    assert core.names.tolist() == [2]
    assert core.unary.tolist() == [[3, 5]]
    assert len(core.values) == 0


def test_a_value_that_several_need_stays_in_the_core():
    problem = make([5, 1, 1], {0: "a"}, [(0, 1), (0, 2)])
    core = Core.of(problem, Prices.of(problem))
    assert core.names.tolist() == [0, 1, 2]
    assert core.charge(np.array([0, 1, 1])).sum() == 5


def test_arcs_lead_from_one_step_to_a_later_one():
    for seed in range(20):
        problem = varied(seed, 3)
        core = Core.of(problem, Prices.of(problem))
        step = np.searchsorted(core.steps, np.arange(len(core.names)), side="right")
        assert (step[core.values] < step[core.consumers]).all()


def test_parts_of_a_core_cost_their_share(monkeypatch):
    monkeypatch.setattr(core_module, "_AT_ONCE", 30)
    pins = {0: "a", 1: "b", 3: "b", 4: "c"}
    problem = make(
        [5, 3, 1, 4, 6, 1, 2], pins, [(0, 2), (1, 2), (3, 5), (4, 5), (5, 6)], pools="abc"
    )
    core = Core.of(replace(problem, confined=np.zeros((7, 3), bool)), Prices.of(problem))
    labels = np.array([1, 2, 0])
    assert np.unique(core.component).tolist() == [0, 1]
    charged = core.charge(labels)
    for component, nodes, part in core.split(np.array([1, 0])):
        assert (core.component[nodes] == component).all()
        assert part.charge(labels[nodes]).tolist() == charged[nodes].tolist()
        again = core.part(nodes)
        assert again.charge(labels[nodes]).tolist() == charged[nodes].tolist()
        assert again.fingerprint() == part.fingerprint()


def test_cores_that_differ_have_different_fingerprints():
    first = make([5, 3, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2)])
    second = make([5, 3, 1], {0: "b", 1: "a"}, [(0, 2), (1, 2)])
    one, other = (Core.of(p, Prices.of(p)).fingerprint() for p in (first, second))
    assert one != other
