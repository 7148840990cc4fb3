"""Tasks and bytes of the library of problems: stock Dask, the greedy rule, and the minimum cut.

    python -m tests.benchmarks.problems [SCALE]

Tasks do not count transfers. Bytes are those that a plan says; that the workers' logs say the
same is tested in ``tests/test_problems.py``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from dask_pools.graph.optimize import place_graph
from dask_pools.graph.options import Options
from tests.problems import PROBLEMS


def main(scale: int) -> None:
    """Print a table."""
    print(
        f"{'problem':32} {'stock':>6} {'ours':>6} {'ratio':>6} "
        f"{'transfers':>9} {'bytes':>12} {'greedy':>12} {'greedy/ours':>11}"
    )
    for problem in PROBLEMS.values():
        with tempfile.TemporaryDirectory() as folder:
            directories = {name: Path(folder) / name for name in problem.pools}
            for directory in directories.values():
                directory.mkdir()
            problem.write(directories, scale)
            x = problem.build(directories)
        graph, keys = x.__dask_graph__(), x.__dask_keys__()
        stock = len(x.__dask_optimize__(graph, keys))
        plan = place_graph(graph, keys, transfers=True).plan
        greedy = place_graph(graph, keys, Options("majority"), transfers=True).plan
        tasks = sum(plan.tasks.values())
        print(
            f"{problem.name:32} {stock:>6} {tasks:>6} {tasks / stock:>6.2f} "
            f"{len(plan.transfers):>9} {plan.nbytes:>12,.0f} {greedy.nbytes:>12,.0f} "
            f"{greedy.nbytes / plan.nbytes:>11.2f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
