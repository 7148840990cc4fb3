"""Sweeps and steps raise a bound that holds; on trees it is the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from dask_pools.planning.ascent import Ascent
from dask_pools.planning.core import Core
from dask_pools.planning.dual import Dual
from dask_pools.planning.exact import solve
from dask_pools.planning.prices import Prices
from tests.benchmarks.placement import archives
from tests.planning.oracle import varied


def cores(count, pools):
    for seed in range(count):
        problem = varied(seed, pools)
        core = Core.of(problem, Prices.of(problem))
        if len(core.names):
            yield core


def optimum_of(core):
    labels = np.zeros(len(core.names), dtype=int)
    for _, nodes, part in core.split(np.unique(core.component)):
        labels[nodes] = solve(part).labels
    return np.bincount(core.component, core.charge(labels))


@pytest.mark.parametrize("pools", [2, 3, 5])
def test_sweeps_never_lower_a_bound_and_never_pass_the_optimum(pools):
    shares = []
    for core in cores(25, pools):
        dual, best = Dual(core), optimum_of(core)
        slack = 1e-9 * np.bincount(core.component, core.forbidden)
        last = dual.bounds()
        for move in [dual.forward, dual.backward] * 4:
            move()
            bounds = dual.bounds()
            assert (bounds >= last - slack).all()
            assert (bounds <= best + slack).all()
            last = bounds
        shares.append(last.sum() / best.sum() if best.any() else 1)
    assert np.mean(shares) > 0.8


@pytest.mark.parametrize("pools", [3, 5])
def test_steps_stay_below_the_optimum_and_raise_the_bound(pools):
    before, after = 0.0, 0.0
    for core in cores(25, pools):
        best = optimum_of(core)
        slack = 1e-9 * np.bincount(core.component, core.forbidden)
        dual = Dual(core)
        dual.forward()
        ascent = Ascent(core, dual.charges)
        found = np.array([ascent.step(best) for _ in range(80)])
        assert found[0] == pytest.approx(dual.bounds(), abs=slack.max())
        assert (found <= best + slack).all()
        scale = max(best.sum(), 1)
        before, after = before + found[0].sum() / scale, after + found.max(axis=0).sum() / scale
    assert after > before


def test_one_sweep_is_exact_on_trees():
    problem = archives(3000, 4)
    core = Core.of(problem, Prices.of(problem))
    dual = Dual(core)
    dual.forward()
    assert dual.bounds().sum() == pytest.approx(core.charge(dual.read()).sum())


def test_a_part_keeps_its_charges():
    problem = archives(3000, 4)
    core = Core.of(problem, Prices.of(problem))
    dual = Dual(core)
    dual.forward()
    keep = core.component % 2 == 0
    part = dual.part(keep)
    chosen = np.unique(core.component[keep])
    assert part.bounds() == pytest.approx(dual.bounds()[chosen])
    assert (part.read() == dual.read()[keep]).all()
