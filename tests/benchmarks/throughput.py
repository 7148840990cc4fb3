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
    "stock, pinned": (("a", "b"), False),
    "dask_pools, nothing pinned": ((None, None), True),
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


def measured(client: Client, pools: tuple[str | None, str | None], number: int) -> float:
    """Compute the number of tasks by running them; return the seconds."""
    forget(client, 120)
    lazy = total(pools, number)
    start = time.perf_counter()
    found = client.compute(lazy, optimize_graph=False).result()
    seconds = time.perf_counter() - start
    if found != number // 2 * 2:
        raise RuntimeError(f"{found} tasks have run, not {number}")
    return seconds


def trivial(scale: float) -> None:
    """Print seconds, and tasks per second."""
    number = max(int(TASKS * scale), 2)
    rows = []
    with cluster_of({"a": 2, "b": 2}) as (cluster, client):
        for way, (pools, ours) in WAYS.items():
            (install if ours else remove_from)(cluster.scheduler)
            seconds = measured(client, pools, number)
            rows.append([way, f"{seconds:.1f}", f"{number / seconds:,.0f}"])
        install(cluster.scheduler)
    first = float(rows[0][1])
    rows = [[*row, f"{float(row[1]) / max(first, 0.1):.2f}"] for row in rows]
    print_table([f"{number:,} tasks on 4 workers", "seconds", "tasks / s", "of stock"], rows)
