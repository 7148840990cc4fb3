"""Work says how long tasks and links take, in numbers that make sense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dask_pools.errors import PlacementError
from dask_pools.planning.problem import uniform_costs
from dask_pools.planning.work import Work

WORK = Work(np.array([1.0, 2.0, 3.0]), np.array([4.0, 1.0]), uniform_costs(2))


def test_sensible_work_is_valid():
    WORK.validate(3, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"durations": np.ones(2)}, r"durations .* shape \(2,\); it must be \(3,\)"),
        ({"threads": np.ones(3)}, r"threads .* shape \(3,\); it must be \(2,\)"),
        ({"seconds": np.ones((2, 3))}, r"seconds .* \(2, 3\); it must be \(2, 2\)"),
        ({"durations": np.array([1.0, -2.0, 3.0])}, r"durations\[1\] .* -2\.0"),
        ({"seconds": np.array([[0.0, np.inf], [1.0, 0.0]])}, r"seconds\[0, 1\] .* inf"),
        ({"threads": np.array([1.0, 0.0])}, r"threads\[1\] .* is 0"),
    ],
)
def test_work_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(PlacementError, match=message):
        replace(WORK, **wrong).validate(3, 2)


def test_values_that_are_left_out_take_their_durations_along():
    assert WORK.restricted(np.array([True, False, True])).durations.tolist() == [1, 3]
