"""What placing costs by itself: seconds to place and to bound a problem, bytes that cross.

    python -m tests.benchmarks.placement [VALUES ...]

The problem ``archives``: blocks of archives held in turn by the pools are read, reduced in
trees, and compared with a field of the first pool. It falls apart in trees, as most
computations do. The problem ``tangle`` does not: each of its values needs two others, far apart.
Links cost the same, or (``directed``) something random.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.bound import lower_bound
from dask_pools.planning.cost import cost
from dask_pools.planning.place import place
from dask_pools.planning.problem import PlacementProblem, uniform_costs

#: So many blocks are reduced to one.
WIDTH = 64
#: So many of the values of a tree are reduced by one task.
EVERY = 8


def archives(values: int, pools: int, seed: int = 0) -> PlacementProblem:
    """Make a problem with about so many values."""
    trees = max(values // (2 * WIDTH + WIDTH // EVERY + 3), 1)
    sizes: list[NDArray[np.float64]] = []
    arcs: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    total = 0

    def level(count: int, nbytes: float) -> NDArray[np.intp]:
        nonlocal total
        made = np.arange(total, total + count)
        total += count
        sizes.append(np.full(count, nbytes))
        return made

    reads = level(trees * WIDTH, 8e6)
    steps = level(trees * WIDTH, 8e6)
    parts = level(trees * WIDTH // EVERY, 1e6)
    means = level(trees, 1e6)
    fields = level(trees, 1e6)
    differences = level(trees, 1e6)
    arcs += [(reads, steps), (steps, np.repeat(parts, EVERY))]
    arcs += [(parts, np.repeat(means, WIDTH // EVERY)), (means, differences), (fields, differences)]
    allowed = np.ones((total, pools), dtype=bool)
    home = np.random.default_rng(seed).integers(pools, size=len(reads) // EVERY).repeat(EVERY)
    allowed[reads] = np.arange(pools) == home[:, None]
    allowed[fields] = np.arange(pools) == 0
    return PlacementProblem(
        pools=tuple(f"pool-{i:02}" for i in range(pools)),
        sizes=np.concatenate(sizes),
        allowed=allowed,
        values=np.concatenate([v for v, _ in arcs]),
        consumers=np.concatenate([c for _, c in arcs]),
        costs=uniform_costs(pools),
    )


def tangle(values: int, pools: int, seed: int = 0) -> PlacementProblem:
    """Make a problem without any structure, of so many values; a quarter of them are read."""
    rng = np.random.default_rng(seed)
    reads = max(values // 4, 1)
    consumers = np.arange(reads, values).repeat(2)
    recent = np.maximum(consumers - rng.integers(1, 1001, len(consumers)), 0)
    needs_read = rng.random(len(consumers)) < 0.3
    allowed = np.ones((values, pools), dtype=bool)
    allowed[:reads] = np.arange(pools) == rng.integers(0, pools, reads)[:, None]
    return PlacementProblem(
        pools=tuple(f"pool-{i:02}" for i in range(pools)),
        sizes=rng.integers(1, 100, values).astype(np.float64) * 1e5,
        allowed=allowed,
        values=np.where(needs_read, rng.integers(0, reads, len(consumers)), recent),
        consumers=consumers,
        costs=uniform_costs(pools),
    )


def directed(problem: PlacementProblem, seed: int = 0) -> PlacementProblem:
    """Give every link a price of its own."""
    prices = np.random.default_rng(seed).uniform(0.2, 3, problem.costs.shape)
    return replace(problem, costs=problem.costs * prices)


def measure(name: str, problem: PlacementProblem, policy: str) -> None:
    """Print a row of the table."""
    n, pools = problem.allowed.shape
    start = time.perf_counter()
    labels = place(problem, policy)
    placed = time.perf_counter()
    bound = lower_bound(problem, labels)
    bounded = time.perf_counter()
    reached = cost(problem, labels)
    print(
        f"{name:>18} {n:>10,} {pools:>6} {policy:>9} {placed - start:>8.2f} "
        f"{(placed - start) / n * 1e6:>9.2f} {bounded - placed:>8.2f} {reached / 1e9:>9.2f} "
        f"{reached / bound:>10.3f}",
        flush=True,
    )


def main(counts: list[int]) -> None:
    """Print a table."""
    print(
        f"{'problem':>18} {'values':>10} {'pools':>6} {'policy':>9} {'seconds':>8} "
        f"{'µs/value':>9} {'bound s':>8} {'GB':>9} {'cost/bound':>10}"
    )
    for count in counts:
        for pools in (2, 3, 10):
            problem = archives(count, pools)
            for policy in ("mincut", "majority"):
                measure("archives", problem, policy)
            measure("archives directed", directed(problem), "mincut")
    count = min(100_000, max(counts))
    for pools in (3, 10):
        problem = tangle(count, pools)
        measure("tangle", problem, "mincut")
        measure("tangle directed", directed(problem), "mincut")


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
