"""Bytes that really cross on the library of problems, in four ways, next to the optimum.

    python -m tests.benchmarks.problems [SCALE]

Each problem runs on pools of real processes that see their own data only. Bytes are those of
the workers' logs, until the result is there in blocks (``persist``). The optimum is that of the
graph as it was built: the exact cut for two pools, a MILP for three. What dask_pools does by
default may be below it, since it regroups reductions.

The greedy rules choose for each task, or for each layer as the origin of dask_pools did, the
pool that holds most of its inputs. Stock Dask has its reads pinned by hand, and no plugin; what
it does depends on who is idle when, so the mean of some runs is shown.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from dask_pools import plan
from dask_pools.planning.policies import with_traits
from dask_pools.planning.policies.mincut import mincut
from tests.benchmarks.running import (
    Way,
    by_layer,
    by_task,
    cluster_of,
    crossed,
    nbytes_of,
    pooled,
    stock,
)
from tests.benchmarks.table import print_table
from tests.planning.oracle import exact
from tests.problems import PROBLEMS, Problem

#: By name, how to run, and how often.
WAYS: Mapping[str, tuple[Way, int]] = {
    "dask_pools": (pooled, 1),
    "greedy by task": (by_task, 1),
    "greedy by layer": (by_layer, 1),
    "stock Dask": (stock, 3),
}


def optimum(x: Any, pools: int) -> float:
    """Return the least bytes that can cross between the pools, for the graph as it is."""
    if pools == 2:
        bound = plan(x, persist=True, exact_order=True).bound
        assert bound is not None
        return bound
    found: list[float] = []

    @with_traits(everything=True)
    def asked(problem: Any) -> Any:
        found.append(exact(problem))
        return mincut(problem)

    plan(x, policy=asked, persist=True, exact_order=True)
    return found[0]


def build(problem: Problem, sites: Mapping[str, Path], scale: int) -> Any:
    """Write the data of a problem into the directories of its pools, and open it."""
    directories = {name: sites[name] / problem.name for name in problem.pools}
    for directory in directories.values():
        directory.mkdir()
    problem.write(directories, scale)
    return problem.build(directories)


def main(scale: int) -> None:
    """Print a table."""
    rows: list[list[str]] = []
    ratios: dict[str, list[float]] = {name: [] for name in WAYS}
    names = sorted({name for problem in PROBLEMS.values() for name in problem.pools})
    with tempfile.TemporaryDirectory() as folder:
        sites = {name: Path(folder) / name for name in names}
        for site in sites.values():
            site.mkdir()
        with cluster_of(dict.fromkeys(names, 2), data=sites) as (cluster, client):
            for problem in PROBLEMS.values():
                x = build(problem, sites, scale)
                expected = x.compute(scheduler="synchronous")
                least = optimum(x, len(problem.pools))
                cells = [problem.name, "MILP" if len(problem.pools) > 2 else "cut", f"{least:,.0f}"]
                for name, (way, times) in WAYS.items():
                    nbytes = fmean(
                        nbytes_of(crossed(way, x, cluster, client, expected)) for _ in range(times)
                    )
                    ratios[name].append(nbytes / least)
                    cells.append(f"{nbytes:,.0f} ({nbytes / least:.2f})")
                rows.append(cells)
    means = [math.exp(fmean(map(math.log, ratios[name]))) for name in WAYS]
    rows.append(["geometric mean", "", "", *(f"({mean:.2f})" for mean in means)])
    print_table(["problem", "by", "optimum, bytes", *WAYS], rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
