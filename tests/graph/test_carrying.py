"""Tasks that bring values into pools."""

from __future__ import annotations

from operator import add

import numpy as np
from dask._task_spec import Task, TaskRef, execute_graph
from dask.order import order

from dask_pools.graph.carrying import Carried, carry
from dask_pools.graph.table import TaskTable
from dask_pools.model import Link
from dask_pools.planning.problem import PlacementProblem, uniform_costs


def task(key, *inputs):
    return Task(key, add, *(TaskRef(i) if isinstance(i, str) else i for i in inputs))


def carried(tasks: list[Task], labels: list[int], outputs: list[str], **copyable) -> Carried:
    table = TaskTable.of({t.key: t for t in tasks})
    n = len(table)
    problem = PlacementProblem(
        pools=("a", "b"),
        sizes=np.full(n, 8.0),
        allowed=np.ones((n, 2), dtype=bool),
        values=table.values,
        consumers=table.consumers,
        costs=uniform_costs(2),
    )
    rows = {table.index[key]: {key: table.nodes[table.index[key]]} for key in copyable}
    basis = np.zeros(n, dtype=np.int8)
    return carry(table, np.array(labels), problem, basis, outputs, rows)


def test_several_consumers_of_a_pool_share_a_transfer() -> None:
    found = carried(
        [task("x", 1, 2), task("y", "x", 1), task("z", "x", 2), task("s", "y", "z")],
        [0, 1, 1, 1],
        ["s"],
    )
    assert [(t.key, t.link) for t in found.moved.values()] == [("x", Link("a", "b"))]
    assert found.labels.tolist() == [0, 1, 1, 1, 1]
    assert found.crossing.tolist() == [True, False, False, False, False]
    assert execute_graph(found.table.tasks(), keys=["s"])["s"] == 9


def test_a_source_is_made_anew_and_no_more_where_nobody_needs_it() -> None:
    found = carried([task("x", 1, 2), task("y", "x", 1)], [0, 1], ["y"], x=True)
    assert not found.moved
    assert found.copies == 1
    assert found.table.keys == ["y", "copy-b-/x"]
    assert execute_graph(found.table.tasks(), keys=["y"])["y"] == 4


def test_a_source_that_is_wanted_stays() -> None:
    found = carried([task("x", 1, 2), task("y", "x", 1)], [0, 1], ["x", "y"], x=True)
    assert found.table.keys == ["x", "y", "copy-b-/x"]


def test_a_transfer_does_not_take_the_key_of_another_task() -> None:
    """As of a graph that was placed before; the task would then need itself."""
    taken = "transfer-a-b-/x"
    found = carried([task("x", 1, 2), task(taken, "x", 0), task("y", taken, 1)], [0, 1, 1], ["y"])
    order(found.table.tasks())
    assert execute_graph(found.table.tasks(), keys=["y"])["y"] == 4
