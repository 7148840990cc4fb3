"""What the policies cost by themselves: seconds to place a problem, and bytes that cross.

    python -m tests.benchmarks.placement [VALUES ...]

The problem: blocks of archives held in turn by the pools are read, reduced in trees, and
compared with a field of the first pool.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

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
        pools=tuple(f"pool-{i}" for i in range(pools)),
        sizes=np.concatenate(sizes),
        allowed=allowed,
        values=np.concatenate([v for v, _ in arcs]),
        consumers=np.concatenate([c for _, c in arcs]),
        costs=uniform_costs(pools),
    )


def main(counts: list[int]) -> None:
    """Print a table."""
    print(f"{'values':>10} {'pools':>6} {'policy':>9} {'seconds':>8} {'µs/value':>9} {'GB':>9}")
    for count in counts:
        for pools in (2, 3):
            problem = archives(count, pools)
            for policy in ("mincut", "majority"):
                start = time.perf_counter()
                labels = place(problem, policy)
                seconds = time.perf_counter() - start
                n = len(problem.sizes)
                print(
                    f"{n:>10,} {pools:>6} {policy:>9} {seconds:>8.2f} {seconds / n * 1e6:>9.2f} "
                    f"{cost(problem, labels) / 1e9:>9.2f}"
                )


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
