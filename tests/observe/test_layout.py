"""The layout of drawings: columns, orders and heights, against slow and plain oracles."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from dask_pools.observe.layout import acyclic, columns_of, crossings, isotonic, lay_out

GAP = 5.0


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[float], list[tuple[int, int]]]:
    """Draw the sizes of some boxes, and arrows between them, cycles among them."""
    n = draw(st.integers(1, 12))
    sizes = draw(st.lists(st.sampled_from([10.0, 24.0]), min_size=n, max_size=n))
    box = st.integers(0, n - 1)
    arrows = draw(st.sets(st.tuples(box, box), max_size=20))
    return sizes, sorted((a, b) for a, b in arrows if a != b)


@given(graphs())
def test_boxes_of_a_column_keep_their_distance(
    graph: tuple[list[float], list[tuple[int, int]]],
) -> None:
    sizes, arrows = graph
    layout = lay_out(sizes, arrows, GAP)
    for one, two in combinations(range(len(sizes)), 2):
        if layout.columns[one] == layout.columns[two]:
            apart = abs(layout.heights[one] - layout.heights[two])
            assert apart >= (sizes[one] + sizes[two]) / 2 + GAP - 1e-6
    for height, size in zip(layout.heights, sizes, strict=True):
        assert size / 2 - 1e-6 <= height <= layout.extent - size / 2 + 1e-6


@given(graphs())
def test_arrows_pass_every_column_between_their_ends(
    graph: tuple[list[float], list[tuple[int, int]]],
) -> None:
    sizes, arrows = graph
    layout = lay_out(sizes, arrows, GAP)
    for source, target in arrows:
        start, end = layout.columns[source], layout.columns[target]
        assert start != end
        step = 1 if end > start else -1
        passed = [column for column, _ in layout.knees.get((source, target), ())]
        assert passed == list(range(start + step, end, step))


@given(graphs())
def test_arrows_point_to_the_right_where_there_is_no_cycle(
    graph: tuple[list[float], list[tuple[int, int]]],
) -> None:
    sizes, arrows = graph
    arrows = [arrow for arrow in arrows if arrow[0] < arrow[1]]
    assert acyclic(len(sizes), arrows) == tuple(arrows)
    columns = columns_of(len(sizes), arrows)
    assert all(columns[source] < columns[target] for source, target in arrows)


@given(graphs())
def test_every_cycle_is_cut(graph: tuple[list[float], list[tuple[int, int]]]) -> None:
    sizes, arrows = graph
    forward = acyclic(len(sizes), arrows)
    columns = columns_of(len(sizes), forward)
    assert all(columns[source] < columns[target] for source, target in forward)
    assert {frozenset(arrow) for arrow in forward} == {frozenset(arrow) for arrow in arrows}


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_crossings_are_counted_as_by_brute_force(
    left: int, right: int, data: st.DataObject
) -> None:
    ends = st.sets(st.integers(left, left + right - 1))
    after = [sorted(data.draw(ends)) for _ in range(left)] + [[]] * right
    arrows = [(source, target) for source in range(left) for target in after[source]]
    order = [list(range(left)), list(range(left, left + right))]
    crossed = sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(arrows, 2))
    assert crossings(order, after) == crossed


@given(st.lists(st.tuples(st.floats(-99, 99), st.floats(0.5, 4)), min_size=1))
def test_isotonic_is_the_least_squares_solution(points: list[tuple[float, float]]) -> None:
    wanted, weights = zip(*points, strict=True)
    expected = isotonic_regression(wanted, weights=weights).x
    assert isotonic(wanted, weights) == pytest.approx(expected, abs=1e-9)


def test_tree_has_no_crossings_whatever_the_numbers() -> None:
    """Leaves are numbered so that their given order would cross at every turn."""
    leaves = range(8)
    arrows = [(leaf, 8 + leaf % 2) for leaf in leaves] + [(8, 10), (9, 10)]
    layout = lay_out([10.0] * 11, arrows, GAP)
    by_height = sorted(leaves, key=lambda leaf: layout.heights[leaf])
    parents = [leaf % 2 for leaf in by_height]
    assert parents in ([0] * 4 + [1] * 4, [1] * 4 + [0] * 4)


def test_nothing_has_a_layout() -> None:
    assert lay_out([], [], GAP).extent == 0
