"""Random placement problems, and their optimum by trying everything."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from dask_pools.planning.problem import PlacementProblem, uniform_costs

NAMES = ("a", "b", "c", "d")


def make(
    sizes: list[float],
    pins: dict[int, str],
    arcs: list[tuple[int, int]],
    pools: str = "ab",
    costs: NDArray[np.float64] | None = None,
) -> PlacementProblem:
    """Write a problem down: pins = {value: the pools that are allowed}."""
    allowed = np.ones((len(sizes), len(pools)), dtype=bool)
    for value, pin in pins.items():
        allowed[value] = [pool in pin for pool in pools]
    ends = np.array(arcs, dtype=np.intp).reshape(-1, 2)
    return PlacementProblem(
        pools=tuple(pools),
        sizes=np.array(sizes, dtype=np.float64),
        allowed=allowed,
        values=ends[:, 0],
        consumers=ends[:, 1],
        costs=uniform_costs(len(pools)) if costs is None else costs,
    )


def naive_cost(problem: PlacementProblem, labels: NDArray[np.intp]) -> float:
    """Follow the definition word by word."""
    receiving: dict[int, set[int]] = {}
    for value, consumer in zip(problem.values, problem.consumers, strict=True):
        receiving.setdefault(int(value), set()).add(int(labels[consumer]))
    return float(
        sum(
            problem.sizes[value] * problem.costs[labels[value], pool]
            for value, pools in receiving.items()
            for pool in pools
            if -1 not in (pool, labels[value])
        )
    )


def optimum(problem: PlacementProblem) -> float:
    """Try all placements; `naive_cost` of the best one, but for all of them side by side."""
    choices = [np.flatnonzero(pools) for pools in problem.allowed]
    labels = np.array(list(product(*choices)), dtype=np.intp)
    total = np.zeros(len(labels))
    for value in np.unique(problem.values):
        consumers = problem.consumers[problem.values == value]
        for pool in range(len(problem.pools)):
            received = (labels[:, consumers] == pool).any(axis=1)
            total += received * problem.sizes[value] * problem.costs[labels[:, value], pool]
    return float(total.min())


def rounding(problem: PlacementProblem) -> float:
    """Bound the rounding of prices, which is a share of all bytes, however few of them cross."""
    return float(1e-12 * problem.sizes.sum() * problem.costs.max(initial=0))


@st.composite
def problems(draw: st.DrawFn, pools: int = 2, free: int = 8) -> PlacementProblem:
    """Draw a DAG with pins, mirrors, values of size zero, and any directed costs."""
    n = draw(st.integers(1, free + pools + 2))
    some = st.lists(st.booleans(), min_size=pools, max_size=pools).filter(any)
    allowed = np.ones((n, pools), dtype=bool)
    pinned = draw(st.permutations(range(n)))[: n - draw(st.integers(0, min(n, free)))]
    for value in pinned:
        if draw(st.integers(0, 3)):
            allowed[value] = np.arange(pools) == draw(st.integers(0, pools - 1))
        else:
            allowed[value] = draw(some)
    # Mirrors have choices too; the oracle can only try so many.
    choices = np.cumprod(allowed.sum(axis=1))
    allowed[choices > 3**9] = np.arange(pools) == 0
    size = st.one_of(st.integers(0, 9), st.floats(0, 1e12, allow_subnormal=False))
    sizes = draw(st.lists(size, min_size=n, max_size=n))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1])
    arcs = draw(st.lists(pairs, max_size=3 * n)) if n > 1 else []
    price = st.one_of(st.integers(0, 5), st.floats(0, 10, allow_subnormal=False))
    costs = np.zeros((pools, pools))
    for link in zip(*np.nonzero(uniform_costs(pools)), strict=True):
        costs[link] = draw(price)
    if draw(st.booleans()):
        costs = uniform_costs(pools)
    ends = np.array(arcs, dtype=np.intp).reshape(-1, 2)
    return PlacementProblem(
        NAMES[:pools], np.array(sizes, dtype=float), allowed, ends[:, 0], ends[:, 1], costs
    )


def seeded(seed: int, pools: int, free: int, *, directed: bool) -> PlacementProblem:
    """Make a problem that is the same every time, denser and harder than those that are drawn."""
    rng = np.random.default_rng(seed)
    n = free + int(rng.integers(pools, pools + 5))
    allowed = np.ones((n, pools), dtype=bool)
    for i, value in enumerate(rng.permutation(n)[free:]):
        allowed[value] = False
        allowed[value, i % pools] = True
        if rng.random() < 0.2:
            allowed[value, rng.integers(pools)] = True
    arcs = np.triu(rng.random((n, n)) < rng.uniform(0.15, 0.5), 1)
    values, consumers = np.nonzero(arcs)
    whole = rng.integers(0, 12, n).astype(float)
    sizes = whole if rng.random() < 0.7 else np.exp(rng.normal(0, 2, n))
    costs = uniform_costs(pools)
    if directed:
        costs *= rng.uniform(0.2, 3, (pools, pools))
    return PlacementProblem(NAMES[:pools], sizes, allowed, values, consumers, costs)


def shuffled(problem: PlacementProblem, order: NDArray[np.intp]) -> PlacementProblem:
    """Rename the values: ``order[new] = old``; the arcs are shuffled with them."""
    new = np.argsort(order)
    arcs = np.lexsort((new[problem.consumers], new[problem.values]))
    return PlacementProblem(
        problem.pools,
        problem.sizes[order],
        problem.allowed[order],
        new[problem.values][arcs],
        new[problem.consumers][arcs],
        problem.costs,
    )
