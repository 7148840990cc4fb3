"""Why values cross, on problems drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dask_pools.graph.reasons import Reasons
from dask_pools.planning.problem import PlacementProblem, uniform_costs

POOLS = ("a", "b", "c")


def reasons(pins: dict[str, str], arcs: list[str], labels: str, earlier: int | None = None):
    """Values are letters, in the order of `labels`' names; arcs are pairs of letters."""
    names = sorted({*"".join(arcs), *pins})
    allowed = np.array([[p in pins.get(name, "abc") for p in POOLS] for name in names])
    ends = [(names.index(x), names.index(y)) for x, y in arcs]
    problem = PlacementProblem(
        pools=POOLS,
        sizes=np.ones(len(names)),
        allowed=allowed,
        values=np.array([x for x, _ in ends]),
        consumers=np.array([y for _, y in ends]),
        costs=uniform_costs(3),
    )
    found = Reasons(
        problem,
        np.array([POOLS.index(p) for p in labels]),
        name=lambda i: names[i].upper(),
        earlier=len(names) if earlier is None else earlier,
    )
    return lambda value, target: found.of(names.index(value), POOLS.index(target))


def test_data_of_two_pools_put_together():
    # r -> m -> s <- o: a mean of a crosses to be compared with observations of b
    of = reasons({"r": "a", "o": "b"}, ["rm", "ms", "os"], labels="abab"[:0] + "abab")
    # names sorted: m o r s
    assert of("m", "b") == ("comes from R, pinned to a", "needed by S with O, pinned to b")


def test_a_pinned_value_that_a_pinned_task_needs():
    of = reasons({"r": "a", "s": "b"}, ["rs"], labels="ab")
    assert of("r", "b") == ("itself pinned to a", "needed by S, pinned to b")


def test_a_result_that_is_stored_elsewhere():
    of = reasons({"r": "a", "z": "b"}, ["rs", "st", "tz"], labels="abbb")
    assert of("r", "b")[1] == "needed by S on the way to Z, pinned to b"


def test_a_value_that_is_where_its_other_user_is():
    # f is free, and made where p is pinned; q needs it as well
    of = reasons({"p": "a", "q": "b"}, ["fp", "fq"], labels="aab")
    assert of("f", "b") == ("belongs with P, pinned to a", "needed by Q, pinned to b")


def test_a_task_beside_what_is_pinned():
    # t needs r and the free g, which z needs as well, pinned to b
    of = reasons({"r": "a", "z": "b"}, ["rt", "gt", "gz"], labels="babb"[:0] + "babb")
    assert of("r", "b")[1] == "needed by T beside Z, pinned to b"


def test_the_nearest_pin_is_named():
    of = reasons({"p": "a", "r": "a", "z": "b"}, ["pq", "qv", "rv", "vz"], labels="aaaab")
    assert of("v", "b")[0] == "comes from R, pinned to a"


def test_a_pin_that_allows_the_other_pool_as_well_is_no_reason():
    of = reasons({"m": "ab", "r": "a", "z": "b"}, ["rm", "mz"], labels="aab")
    assert of("m", "b")[0] == "comes from R, pinned to a"
    assert reasons({"m": "ac", "z": "b"}, ["mz"], labels="ab")("m", "b")[0] == (
        "itself pinned to a or c"
    )


def test_a_placement_without_need_is_called_one():
    of = reasons({"z": "c"}, ["xy"], labels="abc")
    assert of("x", "b") == ("placed in a", "needed by Y, placed in b")


def test_values_of_earlier_computations_are_kept_where_they_are():
    of = reasons({"s": "b", "z": "a"}, ["zs"], labels="ba", earlier=1)
    assert of("z", "b") == ("itself kept in a", "needed by S, pinned to b")


@pytest.mark.parametrize("length", [10, 5000])
def test_a_reason_that_is_too_far_off_is_none(length):
    n = length + 2
    allowed = np.ones((n, 3), dtype=bool)
    allowed[0], allowed[-1] = [True, False, False], [False, True, False]
    problem = PlacementProblem(
        POOLS,
        np.ones(n),
        allowed,
        values=np.arange(n - 1),
        consumers=np.arange(1, n),
        costs=uniform_costs(3),
    )
    found = Reasons(problem, np.array([0] * (n - 1) + [1]), name=str, earlier=n)
    expected = "comes from 0, pinned to a" if length == 10 else "placed in a"
    assert found.of(n - 2, 1)[0] == expected
