"""What planning costs: seconds per task, next to Dask's own way, in one run.

    python -m tests.benchmarks.planning_time [TASKS ...]

The computation is the origin's at a larger size: an ensemble in one pool, reduced over its
members, minus observations of another pool, then a mean in time. Dask's own way is to
optimise, materialise and order the same graph without pins, ours to place it as well.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from dask.order import order
from dask.utils import ensure_dict

from dask_pools import pool
from dask_pools.graph.optimize import place_graph


def source(
    name: str | None, seed: int, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> da.Array:
    """Make an array that would be read from files, in blocks."""

    def block(block_info: Any = None) -> np.ndarray:
        return np.zeros(block_info[None]["chunk-shape"], dtype="f4")

    with pool(name):
        return da.map_blocks(
            block,
            chunks=da.core.normalize_chunks(chunks, shape),
            dtype="f4",
            meta=np.empty((0,) * len(shape), dtype="f4"),
            name=f"source-{name}-{seed}-{shape}",
        )


def computation(tasks: int, ecmwf: str | None, eumetsat: str | None) -> da.Array:
    """Build the computation with about so many tasks after fusion."""
    members, tiles = 8, 16
    times = max(tasks // (tiles * (members + 6)), 1)
    shape = (members, times * 4, tiles * 100)
    predictions = source(ecmwf, 0, shape, (1, 4, 100))
    observations = source(eumetsat, 1, shape[1:], (4, 100))
    return ((predictions * 2 - 1).mean(axis=0) - (observations + 1)).mean(axis=0)


def seconds(work: Callable[[], dict[Any, Any]]) -> tuple[float, int]:
    """Time a piece of work; return how long it took and how many tasks it made."""
    start = time.perf_counter()
    graph = work()
    return time.perf_counter() - start, len(graph)


def stock(x: da.Array) -> dict[Any, Any]:
    """Optimise, materialise and order as Dask does."""
    graph = ensure_dict(x.__dask_optimize__(x.dask, x.__dask_keys__()))
    order(graph)
    return graph


def ours(x: da.Array) -> dict[Any, Any]:
    """Do the same with placement."""
    graph = ensure_dict(place_graph(x.dask, x.__dask_keys__(), transfers=True).graph)
    order(graph)
    return graph


def main(sizes: list[int]) -> None:
    """Print a table."""
    heads = f"{'Dask µs/task':>13} {'ours µs/task':>13} {'ratio':>6} {'peak':>8}"
    print(f"{'tasks':>9} {'ours':>9} {heads}")
    for size in sizes:
        plain, tasks = seconds(lambda n=size: stock(computation(n, None, None)))
        pooled, more = seconds(lambda n=size: ours(computation(n, "ecmwf", "eumetsat")))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{tasks:>9,} {more:>9,} {plain / tasks * 1e6:>13.1f} {pooled / tasks * 1e6:>13.1f} "
            f"{pooled / plain:>6.2f} {peak:>5.1f} GiB"
        )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
