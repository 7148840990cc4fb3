"""What isolating cuts claim is part of an optimal placement, if all links cost the same."""

from __future__ import annotations

import numpy as np
import pytest

from dask_pools.planning.isolation import claims, persistent, settled
from dask_pools.planning.problem import UNPLACED
from tests.planning.oracle import make, optimum, seeded


def test_claims_cost_nothing_if_all_links_cost_the_same():
    claimed = 0
    for seed in range(40):
        problem = seeded(seed, pools=3, free=7, directed=False)
        assert persistent(problem)
        found = claims(problem)
        claimed += np.count_nonzero((found != UNPLACED) & ~problem.pinned)
        assert optimum(settled(problem, found)) == pytest.approx(optimum(problem), rel=1e-9)
    assert claimed > 0


def test_claims_are_no_law_if_links_differ_or_are_closed():
    assert not persistent(seeded(0, pools=3, free=3, directed=True))
    closed = np.array([[0, np.inf], [np.inf, 0]])
    assert not persistent(make([1], {}, [], costs=closed))


def test_values_are_settled():
    problem = make([1, 1], {}, [(0, 1)])
    allowed = settled(problem, np.array([UNPLACED, 1])).allowed
    assert allowed.tolist() == [[True, True], [False, True]]
    assert problem.allowed.all()
