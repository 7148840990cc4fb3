"""How near the optimum placements and bounds are: random problems against an exact oracle.

    python -m tests.benchmarks.optimum [PROBLEMS]

For each number of pools, so many problems of up to 40 values with everything (see
``tests.planning.oracle.varied``), solved by a mixed integer linear program. The policy is shown
as it is, and without its own exact solution of small parts, as it works in large problems.
"""

from __future__ import annotations

import sys
import time
from unittest import mock

import numpy as np

from dask_pools.planning import closing
from dask_pools.planning.bound import lower_bound
from dask_pools.planning.cost import cost
from dask_pools.planning.policies.mincut import mincut
from dask_pools.planning.problem import PlacementProblem
from tests.planning.oracle import exact, varied


def measure(problems: list[PlacementProblem], optima: list[float]) -> str:
    """Place and bound problems; return the columns of a table."""
    ratios, shares = [], []
    placing = bounding = 0.0
    for problem, best in zip(problems, optima, strict=True):
        start = time.perf_counter()
        labels = mincut(problem)
        placed = time.perf_counter()
        bound = lower_bound(problem, labels)
        bounding += time.perf_counter() - placed
        placing += placed - start
        found = cost(problem, labels)
        # HiGHS is exact to about 1e-6.
        if bound > best * (1 + 1e-6) + 1e-9:
            raise AssertionError(f"the bound {bound} is above the optimum {best}")
        if best > 0:
            ratios.append(found / best)
            shares.append(bound / best)
        elif found > 0:
            ratios.append(np.inf)
    return (
        f"{np.mean(ratios):>8.4f} {max(ratios):>8.4f} {np.mean(shares):>8.4f} {min(shares):>8.4f} "
        f"{placing / len(problems) * 1e3:>7.1f} {bounding / len(problems) * 1e3:>7.1f}"
    )


def main(count: int) -> None:
    """Print a table."""
    print(f"{'':>15} {'cost / optimum':>17} {'bound / optimum':>17} {'ms per problem':>15}")
    print(
        f"{'pools':>5} {'small':>9} {'mean':>8} {'worst':>8} {'mean':>8} {'worst':>8} "
        f"{'place':>7} {'bound':>7}"
    )
    for pools in range(2, 7):
        problems = [varied(seed, pools) for seed in range(count)]
        optima = [exact(problem) for problem in problems]
        print(f"{pools:>5} {'exact':>9} {measure(problems, optima)}", flush=True)
        with mock.patch.object(closing, "_EXACT", 0):
            print(f"{'':>5} {'heuristic':>9} {measure(problems, optima)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
