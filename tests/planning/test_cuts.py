"""Minimum cuts are exact for large capacities, and all of them are known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.planning.cuts import SINK, SOURCE, Cuts

NOTHING = np.array([], dtype=np.intp)


@st.composite
def networks(draw, inner=5):
    """Draw the number of nodes, arcs with capacities of up to 55 bits in all, implications."""
    nodes = 2 + draw(st.integers(1, inner))
    end = st.integers(0, nodes - 1)
    capacity = st.one_of(st.integers(0, 3), st.integers(0, 2**50))
    arcs = draw(st.lists(st.tuples(end, end, capacity), max_size=20))
    inside = st.integers(2, nodes - 1)
    implied = draw(st.lists(st.tuples(inside, inside), max_size=3))
    columns = np.array(arcs, dtype=np.int64).reshape(-1, 3).T
    ends = np.array(implied, dtype=np.intp).reshape(-1, 2).T
    return nodes, (*columns[:2].astype(np.intp), columns[2]), (ends[0], ends[1])


def cheapest(nodes, arcs, implied):
    """Try all cuts; return the set of the cheapest ones."""
    best, found = None, set()
    for inner in product([1, -1], repeat=nodes - 2):
        sides = np.array([1, -1, *inner])
        if ((sides[implied[0]] > 0) & (sides[implied[1]] < 0)).any():
            continue
        crossing = (sides[arcs[0]] > 0) & (sides[arcs[1]] < 0)
        total = int(arcs[2][crossing].sum())
        if best is None or total < best:
            best, found = total, set()
        if total == best:
            found.add(tuple(sides.tolist()))
    return found


def members(cuts):
    """Enumerate the cuts of a set."""
    unsettled = np.flatnonzero(cuts.sides == 0)
    for inner in product([1, -1], repeat=len(unsettled)):
        sides = cuts.sides.copy()
        sides[unsettled] = inner
        if not ((sides[cuts.tails] > 0) & (sides[cuts.heads] < 0)).any():
            yield tuple(sides.tolist())


@given(networks())
def test_exactly_the_cheapest_cuts_are_kept(network):
    nodes, arcs, implied = network
    cuts = Cuts.all(nodes, *implied).narrow(*arcs)
    assert set(members(cuts)) == cheapest(nodes, arcs, implied)


@given(networks(), st.randoms(use_true_random=False))
def test_a_second_objective_chooses_among_the_cheapest(network, random):
    nodes, arcs, implied = network
    second = (arcs[0], arcs[1], np.array([random.randrange(4) for _ in arcs[2]], dtype=np.int64))
    cuts = Cuts.all(nodes, *implied).narrow(*arcs).narrow(*second)

    def price(sides):
        sides = np.array(sides)
        return int(second[2][(sides[second[0]] > 0) & (sides[second[1]] < 0)].sum())

    first = cheapest(nodes, arcs, implied)
    least = min(map(price, first))
    assert set(members(cuts)) == {sides for sides in first if price(sides) == least}


@given(networks())
def test_groups_of_open_nodes_may_choose_on_their_own(network):
    nodes, arcs, implied = network
    cuts = Cuts.all(nodes, *implied).narrow(*arcs)
    count, group = cuts.groups()
    assert ((group >= 0) == (cuts.sides == 0)).all()
    allowed = cheapest(nodes, arcs, implied)
    for choice in product([1, -1], repeat=count):
        sides = np.where(group >= 0, np.array([*choice, 0])[group], cuts.sides)
        assert tuple(sides.tolist()) in allowed


@pytest.mark.parametrize("bits", [28, 29, 30, 31, 32, 45, 53])
def test_a_difference_in_the_last_bit_decides(bits):
    # scipy wraps capacities above 2**31 around in silence: it has to be given parts of them.
    big = 2**bits
    cuts = Cuts.all(3, NOTHING, NOTHING)
    tails, heads = np.array([SOURCE, 2]), np.array([2, SINK])
    assert cuts.narrow(tails, heads, np.array([big, big + 1])).sides[2] == -1
    assert cuts.narrow(tails, heads, np.array([big + 1, big])).sides[2] == 1
    assert cuts.narrow(tails, heads, np.array([big, big])).sides[2] == 0


def test_many_large_arcs_are_added_up_without_overflow():
    n = 5000
    inner = np.arange(2, n + 2)
    tails = np.concatenate([np.full(n, SOURCE), inner])
    heads = np.concatenate([inner, np.full(n, SINK)])
    wide = np.arange(n) + 2**40
    capacities = np.concatenate([wide, wide + np.where(np.arange(n) % 2, 1, -1)])
    sides = Cuts.all(n + 2, NOTHING, NOTHING).narrow(tails, heads, capacities).sides
    assert sides[2:].tolist() == [1, -1] * (n // 2)
