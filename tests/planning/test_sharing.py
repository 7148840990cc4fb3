"""Items are shared out so that the busiest resource is hardly busier than it has to be."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dask_pools.planning.sharing import share

#: Either to stay, or to take a load from the first resource to the second one.
GO = np.array([np.zeros((2, 2)), [[-1.0, 0.0], [0.0, 1.0]]])
BOTH = [np.arange(2)]


def peak(features, ways, base, way):
    return (base + np.einsum("gf,gfr->r", features, ways[way])).max()


def best_peak(features, ways, base):
    every = product(range(len(ways)), repeat=len(features))
    return min(peak(features, ways, base, np.array(way)) for way in every)


def pairs(loads):
    return np.repeat(np.asarray(loads, dtype=float)[:, None], 2, axis=1)


@pytest.mark.parametrize("count", [1, 2, 7, 100, 100_000])
def test_like_items_are_split_in_half_and_alternate(count):
    items = pairs(np.full(count, 8.0))
    way = share(items, GO, np.array([8.0 * count, 0.0]), BOTH)
    assert abs(int(way.sum()) - count / 2) <= 0.5
    if count > 2:
        halves = way[: count // 2].sum(), way[count // 2 :].sum()
        assert abs(int(halves[0]) - int(halves[1])) <= 1


def test_a_faster_resource_gets_more():
    ways = np.array([[[1.0, 0.0]], [[0.0, 1 / 3]]])
    way = share(np.full((400, 1), 2.0), ways, np.zeros(2), BOTH)
    assert int(way.sum()) == 300


@pytest.mark.parametrize("seed", range(30))
def test_few_items_of_any_sizes_are_shared_almost_as_well_as_possible(seed):
    rng = np.random.default_rng(seed)
    items = rng.integers(1, 30, (int(rng.integers(1, 9)), 2)).astype(float)
    base = np.array([items[:, 0].sum() + rng.integers(9), rng.integers(9)])
    way = share(items, GO, base, BOTH)
    # No worse than the rounding of one item.
    assert peak(items, GO, base, way) <= best_peak(items, GO, base) + items.max() / 2


def some(kind, count):
    rng = np.random.default_rng(0)
    return rng.uniform(1, 9, count) if kind == "alike" else rng.pareto(1.2, count)


@pytest.mark.parametrize("kind", ["alike", "few that are most of it"])
def test_many_different_items_are_shared_evenly(kind):
    loads = some(kind, 20_000)
    way = share(pairs(loads), GO, np.array([loads.sum(), 0.0]), BOTH)
    sides = loads[way == 0].sum(), loads[way == 1].sum()
    assert max(sides) <= max(loads.max(), 1.001 * loads.sum() / 2)


def test_the_second_objective_decides_among_equals_of_the_first():
    # Kinds: those which weigh on the first stage's resource, and those which do not.
    items = np.array([[4.0, 1.0]] * 4 + [[0.0, 1.0]] * 12)
    ways = np.zeros((2, 2, 4))
    ways[0, 0, 0] = ways[1, 0, 1] = 1
    ways[0, 1, 2] = ways[1, 1, 3] = 1
    way = share(items, ways, np.array([0.0, 0.0, 10.0, 0.0]), [np.arange(2), np.arange(2, 4)])
    assert int(way[:4].sum()) == 2
    assert 10 + (way == 0).sum() == (way == 1).sum()


def test_a_busy_resource_that_no_item_touches_changes_nothing():
    items = pairs(np.full(10, 1.0))
    ways = np.zeros((2, 2, 3))
    ways[1, :, :2] = GO[1]
    way = share(items, ways, np.array([10.0, 0.0, 1000.0]), [np.array([2]), np.arange(2)])
    assert int(way.sum()) == 5


def test_items_that_weigh_nothing_stay():
    assert share(np.zeros((3, 2)), GO, np.zeros(2), BOTH).tolist() == [0, 0, 0]
    assert share(np.zeros((0, 2)), GO, np.zeros(2), BOTH).tolist() == []


def test_the_same_items_are_shared_the_same_way():
    items = np.random.default_rng(1).pareto(1.5, (5000, 2))
    base = np.array([items[:, 0].sum(), 0.0])
    assert (share(items, GO, base, BOTH) == share(items.copy(), GO, base, BOTH)).all()


def test_many_combinations_of_signs_are_shared_too():
    rng = np.random.default_rng(2)
    items = rng.choice([-1.0, 0.0, 1.0], (5000, 9)) * rng.uniform(1, 2, (5000, 9))
    ways = np.array([np.zeros((9, 9)), np.eye(9)])
    base = np.full(9, 500.0)
    way = share(items, ways, base, [np.arange(9)])
    assert peak(items, ways, base, way) < 500
