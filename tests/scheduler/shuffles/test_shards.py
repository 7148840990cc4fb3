"""Where outputs of shuffles go, against counting by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.scheduler.shuffles.shards import cheapest, received, spread


@st.composite
def rechunks(draw: Any) -> tuple[np.ndarray, list[list[int]], list[list[int]]]:
    """Draw blocks of which some are held, and chunks before and after of the same lengths."""
    old, new = [], []
    for _ in range(draw(st.integers(1, 3))):
        cuts = st.lists(st.integers(0, 12), max_size=4)
        for chunks in (old, new):
            edges = [0, *sorted(draw(cuts)), 12]
            chunks.append([b - a for a, b in itertools.pairwise(edges)])
    shape = tuple(map(len, old))
    held = draw(st.lists(st.booleans(), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.array(held, dtype=float).reshape(shape), old, new


@given(rechunks())
def test_elements_are_those_that_blocks_have_in_common(case: Any) -> None:
    held, old, new = case
    whole = np.zeros([12] * len(old))
    blocks = [list(itertools.pairwise(np.cumsum([0, *chunks]))) for chunks in old]
    for index in np.ndindex(held.shape):
        whole[tuple(slice(*blocks[axis][i]) for axis, i in enumerate(index))] = held[index]
    wanted = [list(itertools.pairwise(np.cumsum([0, *chunks]))) for chunks in new]
    expected = np.zeros(tuple(map(len, new)))
    for index in np.ndindex(expected.shape):
        part = tuple(slice(*wanted[axis][i]) for axis, i in enumerate(index))
        expected[index] = whole[part].sum()
    np.testing.assert_allclose(received(held, old, new), expected, atol=1e-9)


def test_axis_of_unknown_chunks_stays_as_it_is() -> None:
    nan = float("nan")
    held = np.array([[1.0, 1.0], [0.0, 1.0]])
    found = received(held, [[nan, nan], [4, 4]], [[nan, nan], [8]])
    assert found.tolist() == [[8.0], [4.0]]


@given(
    st.integers(1, 3).flatmap(
        lambda pools: st.lists(
            st.tuples(*[st.tuples(st.integers(0, 9), st.booleans(), st.booleans())] * pools),
            min_size=1,
            max_size=5,
        )
    )
)
def test_pools_are_those_of_fewest_bytes(outputs: Any) -> None:
    columns = np.array(outputs, dtype=float)  # outputs, pools, what
    inputs, needed, possible = (columns[:, :, i].T for i in range(3))
    sizes = inputs.sum(axis=0)
    found = cheapest(inputs, sizes, needed > 0, possible > 0)
    for column in range(inputs.shape[1]):
        costs = {}
        for pool in np.flatnonzero(possible[:, column]).tolist():
            into = sum(inputs[q, column] for q in range(len(inputs)) if q != pool)
            onwards = sum(needed[q, column] for q in range(len(inputs)) if q != pool)
            costs[pool] = into + onwards * sizes[column]
        least = min(costs.values(), default=0)
        equal = {pool for pool, cost in costs.items() if cost == least}
        direct = {pool for pool in equal if needed[pool, column]}
        assert set(np.flatnonzero(found[:, column]).tolist()) == (direct or equal)


@given(st.integers(1, 50), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_outputs_are_spread_by_threads(count: int, threads: list[int]) -> None:
    owner = spread(count, threads)
    assert (np.diff(owner) >= 0).all(), "neighbours stay together"
    fair = count * np.array(threads) / sum(threads)
    assert (np.abs(np.bincount(owner, minlength=len(threads)) - fair) <= 1).all()
