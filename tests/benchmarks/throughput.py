"""The time of very many trivial tasks on four real workers."""

from __future__ import annotations

import time
from typing import Any

from dask._task_spec import List, Task, TaskRef
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from distributed import Client

from dask_pools import pool
from dask_pools.scheduler.install import install, remove_from
from tests.benchmarks.running import cluster_of, forget
from tests.benchmarks.table import print_table

TASKS = 1_000_000
#: So many results are added up by one task.
GROUP = 1000

#: By name: the pools of the two halves, and whether the plugin is there.
WAYS: dict[str, tuple[tuple[str | None, str | None], bool]] = {
    "stock, nothing pinned": ((None, None), False),
    "dask_pools, pinned": (("a", "b"), True),
}


def one() -> int:
    return 1


def work(name: str, number: int) -> MaterializedLayer:
    """Make trivial tasks."""
    keys = [(f"work-{name}", i) for i in range(number)]
    return MaterializedLayer({key: Task(key, one) for key in keys})


def sums(name: str, number: int) -> MaterializedLayer:
    """Make the tasks that add their results up, in groups."""
    added: dict[Any, Any] = {}
    for start in range(0, number, GROUP):
        key = (f"sum-{name}", start)
        group = range(start, min(start + GROUP, number))
        added[key] = Task(key, sum, List(*(TaskRef((f"work-{name}", i)) for i in group)))
    return MaterializedLayer(added)


def total(pools: tuple[str | None, str | None], number: int) -> Delayed:
    """Count the tasks, half of which are in each pool."""
    layers: dict[str, MaterializedLayer] = {}
    needs: dict[str, set[str]] = {}
    for half, where in zip("12", pools, strict=True):
        with pool(where):
            layers[f"work-{half}"] = work(half, number // 2)
            layers[f"sum-{half}"] = sums(half, number // 2)
        needs |= {f"work-{half}": set(), f"sum-{half}": {f"work-{half}"}}
    parts = [key for half in "12" for key in layers[f"sum-{half}"]]
    layers["total"] = MaterializedLayer({"total": Task("total", sum, List(*map(TaskRef, parts)))})
    needs["total"] = {"sum-1", "sum-2"}
    return Delayed("total", HighLevelGraph(layers, needs))


def measured(
    client: Client, pools: tuple[str | None, str | None], number: int
) -> tuple[float, float]:
    """Compute the number of tasks by running them.

    Returns the seconds, and those of the processor in this process: the scheduler's, above all.
    """
    forget(client, 600)
    lazy = total(pools, number)
    start, busy = time.perf_counter(), time.process_time()
    found = client.compute(lazy, optimize_graph=False).result()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    if found != number // 2 * 2:
        raise RuntimeError(f"{found} tasks have run, not {number}")
    return seconds, busy


def trivial(scale: float) -> None:
    """Print seconds, and tasks per second."""
    number = max(int(TASKS * scale), 2)
    found: dict[str, tuple[float, float]] = {}
    with cluster_of({"a": 2, "b": 2}) as (cluster, client):
        for way, (pools, ours) in WAYS.items():
            (install if ours else remove_from)(cluster.scheduler)
            found[way] = measured(client, pools, number)
        install(cluster.scheduler)
    stock, stock_busy = found["stock, nothing pinned"]
    rows = [
        [
            way,
            f"{seconds:.1f}",
            f"{number / seconds:,.0f}",
            f"{seconds / stock:.2f}",
            f"{busy / number * 1e6:.0f}",
            f"{busy / stock_busy:.2f}",
        ]
        for way, (seconds, busy) in found.items()
    ]
    heads = ["seconds", "tasks / s", "of stock", "scheduler, µs per task", "of stock"]
    print_table([f"{number:,} tasks on 4 workers", *heads], rows)
