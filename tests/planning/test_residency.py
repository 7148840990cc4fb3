"""Narrowing by what may not cross, against all placements tried one by one."""

from __future__ import annotations

import pickle
from collections import deque
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dask_pools.errors import ResidencyError
from dask_pools.planning.conflict import Conflict, first_forbidden
from dask_pools.planning.problem import PlacementProblem, uniform_costs
from dask_pools.planning.residency import (
    PlacementConflictError,
    conflict_error,
    find_conflict,
    prune,
)
from tests.planning.oracle import make

INF = np.inf


def closed(pools: int, *links: tuple[int, int]) -> NDArray[np.float64]:
    """Costs of links, some of which may carry nothing."""
    costs = uniform_costs(pools)
    for link in links:
        costs[link] = INF
    return costs


def confine(problem: PlacementProblem, *held: tuple[int, int]) -> PlacementProblem:
    confined = np.zeros(problem.allowed.shape, dtype=bool)
    for value, pool in held:
        confined[value, pool] = True
    return replace(problem, confined=confined)


# --- cases ---------------------------------------------------------------------------------------


def test_a_problem_without_rules_is_returned_as_it_is():
    problem = make([1, 1], {0: "a"}, [(0, 1)])
    assert prune(problem) is problem
    assert find_conflict(problem) is None


def test_what_is_made_of_confined_data_stays_with_it():
    problem = confine(make([1, 1, 1], {0: "a"}, [(0, 1), (1, 2)]), (0, 0))
    assert prune(problem).allowed.tolist() == [[True, False], [True, False], [True, True]]


def test_a_value_that_may_come_only_by_a_closed_link_is_made_there():
    problem = make([1, 1, 1], {2: "b"}, [(0, 1), (1, 2)], costs=closed(2, (0, 1)))
    assert prune(problem).allowed.tolist() == [[False, True]] * 3


def test_rules_hold_in_one_direction():
    problem = make([1, 1, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2)], costs=closed(2, (0, 1)))
    assert prune(problem).allowed[2].tolist() == [True, False]


def test_the_problem_is_left_as_it_was():
    problem = make([1, 1], {0: "a"}, [(0, 1)], costs=closed(2, (0, 1)))
    prune(problem)
    assert problem.allowed[1].all()


def test_values_far_from_pins_are_not_touched():
    problem = make([1, 1, 1], {0: "a"}, [(1, 2)], costs=closed(2, (0, 1), (1, 0)))
    assert prune(problem).allowed[1:].all()


def test_two_sides_that_keep_their_data_are_a_conflict():
    arcs = [(0, 1), (1, 2), (3, 2)]
    problem = make([1, 1, 1, 1], {0: "a", 3: "b"}, arcs, costs=closed(2, (0, 1), (1, 0)))
    with pytest.raises(PlacementConflictError) as caught:
        prune(problem)
    conflict = caught.value.conflict
    assert conflict.chain == (0, 1, 2, 3)
    assert [(x.value, x.consumer, x.source, x.target, x.rule) for x in conflict.broken] == [
        (0, 1, 0, 1, "link"),
        (1, 2, 0, 1, "link"),
        (3, 2, 1, 0, "link"),
    ]


def test_confined_values_are_told_from_closed_links():
    problem = make([1, 1, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2)], costs=closed(2, (1, 0)))
    conflict = find_conflict(confine(problem, (0, 0)))
    assert conflict is not None
    assert [(x.value, x.rule) for x in conflict.broken] == [(0, "confined"), (1, "link")]


def test_only_crossings_that_stand_in_the_way_are_told():
    """Nothing may leave a, nor b; but where a third pool could be reached does not matter."""
    costs = closed(3, (0, 1), (0, 2), (1, 0), (1, 2))
    problem = make([1, 1, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2)], pools="abc", costs=costs)
    conflict = find_conflict(problem)
    assert conflict is not None
    assert conflict.chain == (0, 2, 1)
    assert [(x.value, x.source, x.target) for x in conflict.broken] == [(0, 0, 1), (1, 1, 0)]


def test_the_shortest_of_several_chains_is_told():
    far = [(0, 1), (1, 2), (2, 3), (4, 3)]
    near = [(5, 6), (7, 6)]
    pins = {0: "a", 4: "b", 5: "a", 7: "b"}
    problem = make([1] * 8, pins, far + near, costs=closed(2, (0, 1), (1, 0)))
    conflict = find_conflict(problem)
    assert conflict is not None
    assert conflict.chain == (5, 6, 7)


def test_three_pins_may_exclude_each_other_although_no_two_do():
    """From a to b, from b to c, from c to a: each two can meet, all three cannot."""
    costs = closed(3, (0, 2), (1, 0), (2, 1))
    pins = {0: "a", 1: "b", 2: "c"}
    problem = make([1] * 4, pins, [(0, 3), (1, 3), (2, 3)], pools="abc", costs=costs)
    conflict = find_conflict(problem)
    assert conflict is not None
    assert len(conflict.chain) == 3
    assert conflict.chain[1] == 3
    assert {*conflict.chain, *conflict.others} == {0, 1, 2, 3}
    assert conflict.broken


def test_many_pools():
    """More than the bits of a machine word."""
    pools = 70
    n = 3
    allowed = np.ones((n, pools), dtype=bool)
    allowed[0] = np.arange(pools) == 69
    problem = PlacementProblem(
        pools=tuple(f"p{i:02}" for i in range(pools)),
        sizes=np.ones(n),
        allowed=allowed,
        values=np.array([0, 1]),
        consumers=np.array([1, 2]),
        costs=np.where(np.eye(pools, dtype=bool), 0, INF),
    )
    assert np.flatnonzero(prune(problem).allowed[2]).tolist() == [69]
    allowed[2] = np.arange(pools) == 68
    conflict = find_conflict(problem)
    assert conflict is not None
    assert conflict.chain in {(0, 1, 2), (2, 1, 0)}


def test_a_long_chain_is_followed_to_its_end():
    n = 2000
    arcs = [(i, i + 1) for i in range(n - 1)]
    problem = make([1] * n, {0: "a"}, arcs, costs=closed(2, (0, 1)))
    assert not prune(problem).allowed[:, 1].any()
    conflict = find_conflict(make([1] * n, {0: "a", n - 1: "b"}, arcs, costs=closed(2, (0, 1))))
    assert conflict is not None
    assert conflict.chain in {tuple(range(n)), tuple(reversed(range(n)))}


def test_error_survives_pickling_and_names_pools():
    problem = make([1, 1, 1], {0: "a", 1: "b"}, [(0, 2), (1, 2)], costs=closed(2, (1, 0)))
    with pytest.raises(ResidencyError) as caught:
        prune(confine(problem, (0, 0)))
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is PlacementConflictError
    assert str(error) == str(caught.value)
    assert (error.chain, error.conflict) == (caught.value.chain, caught.value.conflict)
    assert "1 may not go from 'b' to 'a' (the link is closed)" in str(error)
    assert "0 may not go from 'a' to 'b' (it is confined)" in str(error)


def test_first_forbidden_arc_of_a_placement():
    problem = make([1] * 3, {}, [(0, 1), (1, 2)], costs=closed(2, (0, 1)))
    assert first_forbidden(problem, np.array([1, 0, 0])) is None
    assert first_forbidden(problem, np.array([0, -1, 1])) is None
    conflict = first_forbidden(problem, np.array([0, 0, 1]))
    assert conflict is not None
    assert conflict.chain == (1, 2)
    assert [(x.value, x.source, x.target, x.rule) for x in conflict.broken] == [(1, 0, 1, "link")]
    held = confine(problem, (0, 1))
    conflict = first_forbidden(held, np.array([1, 0, 0]))
    assert conflict is not None
    assert conflict.broken[0].rule == "confined"
    assert "0 (a or b) - 1 (a or b)" in str(conflict_error(held, conflict))


# --- against all placements ----------------------------------------------------------------------


@st.composite
def ruled(draw: st.DrawFn, pools: int, most: int = 7) -> PlacementProblem:
    """Draw a DAG with pins, closed links, and confined values."""
    n = draw(st.integers(2, most))
    names = "abcd"[:pools]
    some = st.sets(st.sampled_from(names), min_size=1).map(lambda s: "".join(sorted(s)))
    pins = draw(st.dictionaries(st.integers(0, n - 1), st.sampled_from(names) | some, max_size=n))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1])
    arcs = draw(st.lists(pairs, max_size=2 * n, unique=True))
    links = [tuple(link) for link in np.argwhere(~np.eye(pools, dtype=bool)).tolist()]
    shut = draw(st.sets(st.sampled_from(links)))
    problem = make([1.0] * n, pins, arcs, pools=names, costs=closed(pools, *shut))
    held = draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, pools - 1)), max_size=n))
    return confine(problem, *held) if held else problem


def placements(problem: PlacementProblem) -> NDArray[np.intp]:
    """Try all placements; return those that are possible, one per row."""
    choices = [np.flatnonzero(pools).tolist() for pools in problem.allowed]
    labels = np.array(list(product(*choices)), dtype=np.intp).reshape(-1, len(choices))
    good = np.ones(len(labels), dtype=bool)
    for v, c in zip(problem.values.tolist(), problem.consumers.tolist(), strict=True):
        p, q = labels[:, v], labels[:, c]
        bad = np.isinf(problem.costs[p, q])
        if problem.confined is not None:
            bad |= problem.confined[v, p]
        good &= (p == q) | ~bad
    return labels[good]


def of_chain(problem: PlacementProblem, chain: tuple[int, ...]) -> PlacementProblem:
    """Leave the values of a chain, and the arcs between those that follow each other."""
    pairs = {frozenset(pair) for pair in pairwise(chain)}
    ends = zip(problem.values.tolist(), problem.consumers.tolist(), strict=True)
    arcs = np.array([frozenset(pair) in pairs for pair in ends], dtype=bool)
    part = replace(problem, values=problem.values[arcs], consumers=problem.consumers[arcs])
    return part.restricted(np.isin(np.arange(len(problem.sizes)), chain))


def check_conflict(problem: PlacementProblem, conflict: Conflict) -> None:
    """Check what holds for any number of pools."""
    neighbours = {frozenset(p) for p in zip(problem.values, problem.consumers, strict=True)}
    chain = conflict.chain
    assert len(set(chain)) == len(chain) > 1
    assert all(frozenset(pair) in neighbours for pair in pairwise(chain))
    for end in (chain[0], chain[-1], *conflict.others):
        assert problem.pinned[end]
    assert conflict.broken
    for x in conflict.broken:
        assert abs(chain.index(x.value) - chain.index(x.consumer)) == 1
        assert problem.forbidden(np.array([x.value]), x.source, x.target)[0]
        assert (x.rule == "link") == bool(np.isinf(problem.costs[x.source, x.target]))


@given(ruled(pools=2))
def test_two_pools_are_decided(problem):
    possible = placements(problem)
    conflict = find_conflict(problem)
    assert (conflict is None) == (len(possible) > 0)
    if conflict is None:
        allowed = prune(problem).allowed
        for value, pools in enumerate(allowed):
            assert set(np.flatnonzero(pools)) == set(possible[:, value])
    else:
        check_conflict(problem, conflict)
        assert not conflict.others
        assert not len(placements(of_chain(problem, conflict.chain)))


@given(st.integers(3, 4).flatmap(lambda pools: ruled(pools, most=6)))
def test_more_pools_lose_nothing_that_is_possible(problem):
    possible = placements(problem)
    conflict = find_conflict(problem)
    if conflict is not None:
        assert not len(possible)
        check_conflict(problem, conflict)
        if not conflict.others:
            assert not len(placements(of_chain(problem, conflict.chain)))
        with pytest.raises(PlacementConflictError):
            prune(problem)
    else:
        allowed = prune(problem).allowed
        assert allowed[np.arange(len(problem.sizes)), possible].all()


def shortest(problem: PlacementProblem) -> int:
    """Count the values of the shortest chain between two pins that excludes them, by search.

    With two pools a pin is handed on from value to value, as long as the crossing to the other
    pool is forbidden, until a value is reached that is pinned to this other pool.
    """
    best = len(problem.sizes) + 1
    arcs = list(zip(problem.values.tolist(), problem.consumers.tolist(), strict=True))
    single = np.flatnonzero(problem.allowed.sum(axis=1) == 1).tolist()
    for pin in single:
        here = int(problem.allowed[pin].argmax())
        there = 1 - here
        distance = {pin: 1}
        queue = deque([pin])
        while queue:
            at = queue.popleft()
            steps = [(c, (v, here, there)) for v, c in arcs if v == at]
            steps += [(v, (v, there, here)) for v, c in arcs if c == at]
            for other, (v, p, q) in steps:
                if other not in distance and problem.forbidden(np.array([v]), p, q)[0]:
                    distance[other] = distance[at] + 1
                    queue.append(other)
        for other in single:
            if other in distance and problem.allowed[other, there]:
                best = min(best, distance[other])
    return best


@pytest.mark.parametrize("seed", range(150))
def test_chain_of_two_pools_is_the_shortest(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 40))
    arcs = np.argwhere(np.triu(rng.random((n, n)) < rng.uniform(1, 2.5) / n, 1))
    pins = {int(v): "ab"[rng.integers(2)] for v in rng.permutation(n)[: rng.integers(2, 6)]}
    links = [[(0, 1), (1, 0)], [(0, 1)], [(1, 0)]][rng.integers(3)]
    problem = make([1.0] * n, pins, [*map(tuple, arcs.tolist())], costs=closed(2, *links))
    problem = confine(problem, *np.argwhere(rng.random((n, 2)) < 0.3).tolist())
    conflict = find_conflict(problem)
    if conflict is None:
        assert shortest(problem) > n
    else:
        check_conflict(problem, conflict)
        assert len(conflict.chain) == shortest(problem)


def test_seeds_have_conflicts_and_none():
    """The test before would pass on problems without conflicts, too."""
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        arcs = np.argwhere(np.triu(rng.random((20, 20)) < 0.1, 1))
        pins = {0: "a", 1: "b", 19: "a"}
        costs = closed(2, (0, 1), (1, 0))
        found.append(find_conflict(make([1.0] * 20, pins, [*map(tuple, arcs)], costs=costs)))
    assert 5 < sum(conflict is None for conflict in found) < 25
