"""What planning costs: processor time per task and memory, next to Dask's own way, in one run.

    python -m tests.benchmarks.planning_time [TASKS ...] [--pools POOLS] [--best-of TIMES]

Dask's own way is to optimise, materialise and order a graph without pins; ours is to place it
as well. Both are measured in turn, each time in a new process, so that what else the machine
does hits both; the best of a few times counts. Time is that of the processor. Memory is what
the process holds at its peak above what it held when the collection was there. Python's
garbage collector is as it is by default; ours pauses it while it makes tasks.

With two pools the computation is the origin's at a larger size: an ensemble in one pool, reduced
over its members, minus observations of another pool, then a mean in time. With more, each pool
has an archive: these are joined, and their variance in time is compared with observations.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import dask.array as da
import numpy as np
from dask.order import order
from dask.utils import ensure_dict

from dask_pools import pool
from dask_pools.graph.optimize import place_graph
from tests.benchmarks.table import print_table

#: Number of blocks of a grid.
TILES = 16


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


def forecast(tasks: int, names: Sequence[str | None]) -> da.Array:
    """Build the computation of two pools, with about so many tasks after fusion."""
    members = 8
    times = max(tasks // (TILES * (members + 6)), 1)
    shape = (members, times * 4, TILES * 100)
    predictions = source(names[0], 0, shape, (1, 4, 100))
    observations = source(names[1], 1, shape[1:], (4, 100))
    return ((predictions * 2 - 1).mean(axis=0) - (observations + 1)).mean(axis=0)


def archives(tasks: int, names: Sequence[str | None]) -> da.Array:
    """Build the computation of many pools, with about so many tasks after fusion."""
    times = max(tasks // (TILES * len(names) * 4), 1)
    shape = (times * 4, TILES * 100)
    parts = [source(name, i, shape, (4, 100)) for i, name in enumerate(names)]
    joined = da.concatenate(parts, axis=0)
    anomaly = joined - joined.mean(axis=0)
    observations = source(names[0], len(names), shape, (4, 100))
    return (anomaly**2).mean(axis=0) - observations.mean(axis=0)


def computation(tasks: int, pools: int, *, pinned: bool) -> da.Array:
    """Build the computation for a number of pools."""
    names = [f"pool-{i}" if pinned else None for i in range(pools)]
    return (forecast if pools == 2 else archives)(tasks, names)


def optimised(x: da.Array) -> dict[Any, Any]:
    """Optimise and materialise as Dask does."""
    return ensure_dict(x.__dask_optimize__(x.dask, x.__dask_keys__()))


def placed(x: da.Array) -> dict[Any, Any]:
    """Do the same with placement."""
    return ensure_dict(place_graph(x.dask, x.__dask_keys__(), transfers=True).graph)


WAYS: dict[str, Callable[[da.Array], dict[Any, Any]]] = {"stock": optimised, "ours": placed}


def measure(way: str, tasks: int, pools: int) -> dict[str, float]:
    """Measure one way, once, in this process: seconds, and MiB at the peak."""
    pinned = way == "ours"
    order(WAYS[way](computation(100, pools, pinned=pinned)))  # imports what is imported late
    x = computation(tasks, pools, pinned=pinned)
    gc.collect()  # what is left over from building it belongs to neither
    before = peak()
    start = time.process_time()
    graph = WAYS[way](x)
    made = time.process_time()
    order(graph)
    end = time.process_time()
    return {
        "tasks": len(graph),
        "made": made - start,
        "total": end - start,
        "memory": peak() - before,
    }


def peak() -> float:
    """Tell the most memory that this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measured(way: str, tasks: int, pools: int) -> dict[str, float]:
    """Measure one way, once, in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(measure, way, tasks, pools).result()


def compare(tasks: int, pools: int, times: int) -> list[str]:
    """Measure both ways in turn, and write the best of each down as a row."""
    runs = [{way: measured(way, tasks, pools) for way in WAYS} for _ in range(times)]
    stock, ours = (min((run[way] for run in runs), key=lambda run: run["total"]) for way in WAYS)
    return as_row(stock, ours, pools)


def as_row(stock: dict[str, float], ours: dict[str, float], pools: int) -> list[str]:
    """Write one run of each way down."""
    count = stock["tasks"]
    cells = [f"{count:,.0f}", f"{ours['tasks']:,.0f}", str(pools)]
    for part in stock, ours:
        made, ordered = part["made"], part["total"] - part["made"]
        cells.append(f"{made / count * 1e6:.1f} + {ordered / count * 1e6:.1f}")
    return [
        *cells,
        f"{(ours['total'] / stock['total'] - 1) * 100:+.0f} %",
        f"{ours['made']:.1f} s",
        f"{stock['memory'] / 2**10:.2f}",
        f"{(ours['memory'] - stock['memory']) / 2**10:+.2f}",
    ]


HEADS = (
    *("tasks", "with pools", "pools", "Dask, µs/task", "ours, µs/task", "on top"),
    *("ours, planned", "Dask, GiB", "ours, more"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--pools", type=int, default=2)
    parser.add_argument("--best-of", type=int, default=3)
    given = parser.parse_args(arguments)
    print_table(HEADS, (compare(tasks, given.pools, given.best_of) for tasks in given.tasks))
    print("\nµs/task: optimise and materialise + order, per task of Dask's own graph.")


if __name__ == "__main__":
    main()
