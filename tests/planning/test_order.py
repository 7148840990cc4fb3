"""Values are ordered so that those of one level need only earlier ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from dask_pools.planning.order import Neighbours, levels
from tests.planning.oracle import problems


def ordered(values, consumers, n):
    inputs = Neighbours.of(consumers, values, n)
    return levels(inputs, Neighbours.of(values, consumers, n))


@given(problem=problems(pools=2))
def test_every_value_is_in_one_level_after_its_inputs(problem):
    n = len(problem.sizes)
    found, cyclic = ordered(problem.values, problem.consumers, n)
    assert cyclic is None
    level = np.full(n, -1)
    for depth, values in enumerate(found):
        level[values] = depth
    assert sorted(np.concatenate(found).tolist()) == list(range(n))
    assert (level[problem.values] < level[problem.consumers]).all()


def test_a_cycle_is_named():
    found, cyclic = ordered(np.array([0, 1, 2]), np.array([1, 2, 1]), 3)
    assert [level.tolist() for level in found] == [[0]]
    assert cyclic == 1


def test_neighbours_are_gathered_with_their_positions():
    outputs = Neighbours.of(np.array([2, 0, 0]), np.array([1, 1, 2]), 3)
    position, found = outputs.gather(np.array([2, 1, 0]))
    assert (position.tolist(), found.tolist()) == ([0, 2, 2], [1, 1, 2])
