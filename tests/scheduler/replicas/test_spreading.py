from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from dask_pools.scheduler.replicas.spreading import choose_round, choose_surplus, choose_targets

#: Workers are named after their pools; those with "-" have none.
WORKERS = ["a0", "a1", "a2", "b0", "b1", "c0", "-0", "-1"]


def pool_of(ws: str) -> str | None:
    return None if ws[0] == "-" else ws[0]


@st.composite
def cases(draw: st.DrawFn) -> tuple[set[str], list[str], int, list[str | None]]:
    """Holders, workers that may hold the value, how many shall, and the pools that need it."""
    holders = draw(st.sets(st.sampled_from(WORKERS), min_size=1))
    allowed = draw(st.lists(st.sampled_from(WORKERS), unique=True, min_size=1))
    n = draw(st.integers(1, len(allowed)))
    needing = draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True))
    return holders, allowed, n, list(needing)


def judge(chosen: set[str], holders: set[str], needing: list[str | None]) -> tuple[int, int]:
    """Count the pools in need that have got the value, and those it has entered; less is better."""
    before, after = set(map(pool_of, holders)), set(map(pool_of, holders | chosen))
    return -len(after & set(needing)), len(after - before)


@given(cases())
def test_targets_serve_the_pools_in_need_and_enter_as_few_as_possible(case) -> None:
    holders, allowed, n, needing = case
    targets = choose_targets(holders, allowed, n, pool_of, needing)
    free = [ws for ws in allowed if ws not in holders]
    count = max(0, n - (len(allowed) - len(free)))
    assert len(targets) == len(set(targets)) == count
    assert set(targets) <= set(free)
    best = min(judge(set(other), holders, needing) for other in combinations(free, count))
    assert judge(set(targets), holders, needing) == best


@given(cases())
def test_replicas_beyond_the_number_go_and_pools_in_need_keep_one(case) -> None:
    holders, allowed, n, needing = case
    surplus = choose_surplus(holders, allowed, n, pool_of, needing)
    mine = holders & set(allowed)
    assert len(surplus) == len(set(surplus)) == max(0, len(mine) - n)
    assert set(surplus) <= mine

    def served(gone: set[str]) -> int:
        return len({pool_of(ws) for ws in holders - gone} & set(needing))

    assert served(set(surplus)) == max(
        served(set(gone)) for gone in combinations(mine, len(surplus))
    )


@given(cases(), st.integers(1, 3))
def test_rounds_reach_all_targets_and_enter_each_pool_by_one_worker(case, branching) -> None:
    holders, allowed, n, needing = case
    while targets := choose_targets(holders, allowed, n, pool_of, needing):
        chosen = choose_round(targets, holders, pool_of, branching)
        assert chosen
        for pool in set(map(pool_of, chosen)):
            there = sum(pool_of(ws) == pool for ws in holders)
            assert sum(pool_of(ws) == pool for ws in chosen) <= max(1, branching * there)
        holders = holders | set(chosen)


def test_a_pool_that_has_the_value_is_filled_evenly() -> None:
    workers = ["a0", "a1", "a2", "b0", "b1", "b2"]
    targets = choose_targets({"a0", "b0"}, workers, 4, pool_of, [])
    assert targets == ["a1", "b1"]


def test_workers_that_come_first_are_preferred() -> None:
    assert choose_targets({"a0"}, ["a2", "a1", "a0"], 2, pool_of, []) == ["a2"]
    assert choose_surplus({"a0", "a1"}, ["a1", "a0"], 1, pool_of, []) == ["a0"]
