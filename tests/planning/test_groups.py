"""The effects of groups add up to what links and pools get in truth, if groups are independent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dask_pools.planning.groups import effects
from dask_pools.planning.loads import loads
from dask_pools.planning.work import Work
from tests.planning.oracle import make

SECONDS = np.array([[0.0, 2.0], [3.0, 0.0]])


def sums(blocks):
    """Add blocks of a field of a and of a field of b."""
    first, second, total = (range(k * blocks, (k + 1) * blocks) for k in range(3))
    arcs = [*zip(first, total, strict=True), *zip(second, total, strict=True)]
    pins = {**dict.fromkeys(first, "a"), **dict.fromkeys(second, "b")}
    problem = make([8] * 3 * blocks, pins, arcs)
    work = Work(np.full(3 * blocks, 5.0), np.array([5.0, 1.0]), SECONDS)
    stay = np.repeat([0, 1, 0], blocks)
    group = np.full(3 * blocks, -1)
    group[2 * blocks :] = np.arange(blocks)
    return replace(problem, work=work), stay, np.repeat([0, 1, 1], blocks), group


def test_a_block_that_goes_loads_one_direction_and_relieves_the_other():
    found = effects(*sums(3))
    # transfers; 0 -> 1, 1 -> 0; pools 0 and 1
    assert found.each.tolist() == [[0, 16, -24, -1, 5]] * 3
    assert found.base[1:].tolist() == [0, 72, 6, 15]


def test_links_and_pools_which_no_group_changes_are_left_out():
    problem, stay, go, group = sums(2)
    found = effects(problem, stay, go, np.full(len(group), -1))
    assert found.each.shape == (0, 1)
    assert (len(found.links), len(found.pools)) == (0, 0)


@pytest.mark.parametrize("seed", range(40))
def test_what_all_groups_do_together_is_not_underrated(seed):
    rng = np.random.default_rng(seed)
    n = 14
    values, consumers = np.nonzero(np.triu(rng.random((n, n)) < 0.25, 1))
    arcs = list(zip(values.tolist(), consumers.tolist(), strict=True))
    problem = make(rng.integers(0, 9, n).tolist(), {}, arcs, pools="abc")
    seconds = rng.uniform(1, 2, (3, 3)) * (1 - np.eye(3))
    problem = replace(problem, work=Work(rng.uniform(0, 9, n), np.array([1.0, 2, 4]), seconds))
    stay, go = rng.integers(0, 3, n), rng.integers(0, 3, n)
    group = np.where(rng.random(n) < 0.6, rng.integers(0, 3, n), -1)
    group[:3] = [0, 1, 2]
    found = effects(problem, stay, go, group)
    for goes in ([0, 0, 0], [1, 1, 1]):
        counted = found.base.copy()
        counted += np.array(goes) @ found.each
        labels = np.where((group >= 0) & (np.array(goes)[group] == 1), go, stay)
        links, pools = loads(problem, labels)
        changed = links != loads(problem, stay)[0]
        assert counted[found.links].sum() >= links[changed].sum() - 1e-9
        assert counted[found.pools].max() == pytest.approx(pools.max())


@pytest.mark.parametrize("goes", [[0, 0], [1, 0], [1, 1]])
def test_independent_groups_are_counted_exactly(goes):
    problem, stay, go, group = sums(2)
    found = effects(problem, stay, go, group)
    counted = found.base.copy()
    counted += np.array(goes) @ found.each
    labels = np.where((group >= 0) & (np.array(goes)[group] == 1), go, stay)
    links, pools = loads(problem, labels)
    assert counted[1:].tolist() == pytest.approx([links[0, 1], links[1, 0], *pools])


def test_groups_that_change_no_time_are_idle():
    problem, stay, go, group = sums(2)
    problem = replace(problem, sizes=np.zeros(6), work=replace(problem.work, durations=np.zeros(6)))
    assert effects(problem, stay, go, group).idle.tolist() == [True, True]
    assert not effects(*sums(2)).idle.any()


def test_the_busiest_direction_is_relieved_first():
    problem, stay, go, group = sums(10)
    found = effects(problem, stay, go, group)
    # 16 s for each that goes, 24 s for each that stays: 6 * 16 = 96 = 4 * 24
    assert int(found.choose([found.links]).sum()) == 6
