"""Random placement problems, and their optimum: by trying everything, or by a MILP."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from dask_pools.planning.problem import PlacementProblem, uniform_costs

NAMES = ("a", "b", "c", "d", "e", "f")


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
    total = 0.0
    for value, pools in receiving.items():
        source = labels[value]
        for pool in pools - {source}:
            if -1 in (pool, source):
                continue
            confined = problem.confined is not None and problem.confined[value, source]
            if confined or problem.costs[source, pool] == np.inf:
                return float("inf")
            total += problem.sizes[value] * problem.costs[source, pool]
    return float(total)


def optimum(problem: PlacementProblem) -> float:
    """Try all placements; `naive_cost` of the best one, but for all of them side by side."""
    everything = np.arange(len(problem.sizes))
    p = len(problem.pools)
    refused = np.array([[problem.forbidden(everything, s, t) for t in range(p)] for s in range(p)])
    choices = [np.flatnonzero(pools) for pools in problem.allowed]
    labels = np.array(list(product(*choices)), dtype=np.intp)
    total = np.zeros(len(labels))
    for value in np.unique(problem.values):
        consumers = problem.consumers[problem.values == value]
        for pool in range(len(problem.pools)):
            received = (labels[:, consumers] == pool).any(axis=1)
            price = np.nan_to_num(problem.costs[:, pool], posinf=0) * problem.sizes[value]
            price[refused[:, pool, value]] = np.inf
            total[received] += price[labels[received, value]]
    return float(total.min())


def exact(problem: PlacementProblem) -> float:
    """Solve the problem as a mixed integer linear program; infinite if nothing is possible.

    For every value v, pool p and other pool q in which v may be needed: x[v, p] = v is in p,
    z[v, p, q] = v is carried from p to q. A consumer u of v in q needs x[v, q] or some
    z[v, p, q], and z[v, p, q] needs x[v, p]. Only the x have to be whole.
    """
    n, p = problem.allowed.shape
    costs = np.zeros(n * p)
    most = problem.allowed.astype(float).ravel()
    rows: list[tuple[list[tuple[int, float]], float, float]] = [
        ([(v * p + q, 1.0) for q in range(p)], 1, 1) for v in range(n)
    ]
    prices: list[float] = []
    for v in np.unique(problem.values):
        consumers = np.unique(problem.consumers[problem.values == v])
        for q in range(p):
            needing = consumers[problem.allowed[consumers, q]]
            ways = []
            for source in np.flatnonzero(problem.allowed[v]):
                if source == q or problem.forbidden(np.array([v]), int(source), q)[0]:
                    continue
                ways.append(n * p + len(prices))
                prices.append(float(problem.sizes[v] * problem.costs[source, q]))
                rows.append(([(ways[-1], 1), (v * p + source, -1)], -np.inf, 0))
            supply = [(v * p + q, 1.0), *((way, 1.0) for way in ways)]
            rows += [([*supply, (u * p + q, -1.0)], 0, np.inf) for u in needing if u != v]
    index = np.repeat(np.arange(len(rows)), [len(row) for row, _, _ in rows])
    columns = [column for row, _, _ in rows for column, _ in row]
    entries = [entry for row, _, _ in rows for _, entry in row]
    costs = np.concatenate([costs, prices])
    scale = max(costs.max(initial=0), 1e-300)
    solved = milp(
        costs / scale,
        integrality=np.arange(len(costs)) < n * p,
        bounds=Bounds(0, np.concatenate([most, np.ones(len(prices))])),
        constraints=LinearConstraint(
            coo_array((entries, (index, columns)), shape=(len(rows), len(costs))).tocsr(),
            [low for _, low, _ in rows],
            [high for _, _, high in rows],
        ),
        options={"mip_rel_gap": 0},
    )
    if solved.status == 2:
        return float("inf")
    assert solved.status == 0, solved.message
    labels = solved.x[: n * p].reshape(n, p).argmax(axis=1)
    found = naive_cost(problem, labels)
    assert np.isclose(found, solved.fun * scale, rtol=1e-6, atol=1e-9 * scale)
    return found


def rounding(problem: PlacementProblem) -> float:
    """Bound the rounding of prices, which is a share of all bytes, however few of them cross."""
    finite = problem.costs[np.isfinite(problem.costs)]
    return float(1e-12 * problem.sizes.sum() * finite.max(initial=0))


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
    size = st.one_of(st.integers(0, 9), st.floats(1e-3, 1e12))
    sizes = draw(st.lists(size, min_size=n, max_size=n))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1])
    arcs = draw(st.lists(pairs, max_size=3 * n)) if n > 1 else []
    price = st.one_of(st.integers(0, 5), st.floats(1e-6, 10))
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


def varied(seed: int, pools: int) -> PlacementProblem:
    """Make a problem of up to 40 values with everything: it has at least one placement.

    Mirrors, values that are free, pinned or confined, costs that are equal, directed or break
    the triangle inequality, and links that nothing may cross; graphs with and without structure.
    """
    rng = np.random.default_rng([seed, pools])
    n = int(rng.integers(8, 41))
    ends = _arcs(rng, n)
    roots = ~np.isin(np.arange(n), ends[:, 1])
    pinned = rng.random(n) < np.where(roots, rng.uniform(0.5, 1), rng.uniform(0.05, 0.4))
    hidden = rng.integers(0, pools, n)
    allowed = np.ones((n, pools), dtype=bool)
    allowed[pinned] = False
    allowed[np.arange(n), hidden] = True
    mirrored = pinned & (rng.random(n) < 0.25)
    allowed[mirrored] |= rng.random((np.count_nonzero(mirrored), pools)) < 0.4
    sizes = rng.integers(0, 12, n).astype(float)
    if rng.random() < 0.5:
        sizes = np.exp(rng.normal(0, 2, n))
    costs = uniform_costs(pools)
    kind = rng.integers(3)
    if kind == 1:
        costs *= rng.uniform(0.2, 3, (pools, pools))
    elif kind == 2:
        costs *= rng.integers(1, 9, (pools, pools))
    confined = None
    if rng.random() < 0.5:
        costs[(rng.random((pools, pools)) < 0.25) & (costs > 0)] = np.inf
        if rng.random() < 0.5:
            confined = rng.random((n, pools)) < 0.15
    problem = PlacementProblem(
        NAMES[:pools], sizes, allowed, ends[:, 0], ends[:, 1], costs, confined=confined
    )
    # The hidden placement shall be possible: arcs that are in its way are left out.
    sources, targets = hidden[ends[:, 0]], hidden[ends[:, 1]]
    crossing = sources != targets
    kept = ends[~(problem.forbidden(ends[:, 0], sources, targets) & crossing)]
    return replace(problem, values=kept[:, 0], consumers=kept[:, 1])


def _arcs(rng: np.random.Generator, n: int) -> NDArray[np.intp]:
    """Make the arcs of a random DAG, or of trees of reductions whose results are combined."""
    if rng.random() < 0.5:
        density = rng.uniform(0.05, 0.35)
        return np.argwhere(np.triu(rng.random((n, n)) < density, 1))
    arcs = []
    ready = list(range(n // 2))
    for made in range(n // 2, n):
        count = int(rng.integers(1, 5))
        chosen = rng.permutation(len(ready))[:count]
        arcs += [(ready[i], made) for i in chosen]
        ready = [value for i, value in enumerate(ready) if i not in chosen or rng.random() < 0.3]
        ready.append(made)
    return np.array(arcs, dtype=np.intp).reshape(-1, 2)


def shuffled(problem: PlacementProblem, order: NDArray[np.intp]) -> PlacementProblem:
    """Rename the values: ``order[new] = old``; the arcs are shuffled with them."""
    new = np.argsort(order)
    arcs = np.lexsort((new[problem.consumers], new[problem.values]))
    return replace(
        problem,
        sizes=problem.sizes[order],
        allowed=problem.allowed[order],
        values=new[problem.values][arcs],
        consumers=new[problem.consumers][arcs],
        confined=None if problem.confined is None else problem.confined[order],
    )
