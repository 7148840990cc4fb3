"""Names by which a scheduler takes graphs.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.graphs`, and nothing else.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from dask._task_spec import Task, TaskRef
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from distributed import Event, Scheduler
from distributed.utils_test import async_poll_for, gen_cluster, inc

from dask_pools.errors import DistributedChangedError
from dask_pools.scheduler.private import graphs
from tests.scheduler.private.release import RELEASE, Empty, parameters


@gen_cluster(client=True)
async def test_submitted_graphs_come_through_a_stream_handler(c, s, a, b):
    seen: list[dict[str, Any]] = []
    stock = graphs.update_graph(s)

    async def handler(**message: Any) -> None:
        seen.append(message)
        await stock(**message)

    undo = graphs.replace_update_graph(s, handler)
    assert await c.submit(inc, 1, key="x") == 2
    undo()
    assert await c.submit(inc, 2, key="y") == 3
    assert len(seen) == 1, f"{RELEASE} no longer calls the stream handler 'update-graph'"
    assert seen[0].keys() >= {"keys", "annotations"}, (
        f"{RELEASE} has changed the message of a submitted graph"
    )
    assert graphs.update_graph(s) == stock


@gen_cluster(client=True)
async def test_task_states_are_made_by_a_method_of_the_instance(c, s, a, b):
    seen: list[dict[str, Any]] = []
    stock = graphs.create_tasks(s)

    def create(**graph: Any) -> dict[str, float]:
        seen.append(graph)
        return stock(**graph)

    undo = graphs.replace_create_tasks(s, create)
    assert await c.submit(inc, 1, key="x") == 2
    undo()
    assert await c.submit(inc, 2, key="y") == 3
    assert len(seen) == 1, f"{RELEASE} no longer calls Scheduler.{graphs.CREATE_TASKS}"
    assert seen[0].keys() >= graphs.CREATE_TASKS_ARGUMENTS, (
        f"{RELEASE} has changed the arguments of Scheduler.{graphs.CREATE_TASKS}"
    )
    assert graphs.create_tasks(s) == stock


def test_task_states_are_made_within_one_step_of_the_event_loop() -> None:
    function = getattr(Scheduler, graphs.CREATE_TASKS)
    assert not inspect.iscoroutinefunction(function), (
        f"{RELEASE} has made Scheduler.{graphs.CREATE_TASKS} a coroutine: what we compare "
        "with the state of the scheduler could change before it acts"
    )


@gen_cluster(client=True)
async def test_error_before_the_first_task_state_reaches_the_client(c, s, a, b):
    def create(**graph: Any) -> dict[str, float]:
        raise ZeroDivisionError("refused")

    graphs.replace_create_tasks(s, create)
    with pytest.raises(ZeroDivisionError, match="refused"):
        await c.submit(inc, 1)
    assert not s.tasks, f"{RELEASE} makes task states before Scheduler.{graphs.CREATE_TASKS}"


def waited(name: str) -> int:
    Event(name).wait()
    return 1


def graph_of(key: str, **tasks: Task) -> Delayed:
    return Delayed(key, HighLevelGraph({key: MaterializedLayer(tasks)}, {key: set()}))


@gen_cluster(client=True)
async def test_what_nothing_needs_after_a_collision_of_keys_is_forgotten(c, s, a, b):
    """The same key arrives again, with another dependency: distributed keeps the first."""
    counts: list[dict[str, float]] = []
    stock = graphs.create_tasks(s)

    def create(**graph: Any) -> dict[str, float]:
        counts.append(stock(**graph))
        return counts[-1]

    undo = graphs.replace_create_tasks(s, create)
    read = Task("read", waited, "go")
    first = c.compute(graph_of("y", read=read, y=Task("y", inc, TaskRef("read"))))
    again = {
        "read": read,
        "carried": Task("carried", inc, TaskRef("read")),
        "y": Task("y", inc, TaskRef("carried")),
        "z": Task("z", inc, TaskRef("y")),
    }
    await async_poll_for(lambda: "y" in s.tasks, timeout=10)
    second = c.compute(graph_of("z", **again), optimize_graph=False)
    await async_poll_for(lambda: "z" in s.tasks, timeout=10)
    undo()
    assert [count[graphs.COLLISIONS] for count in counts] == [0, 1], (
        f"{RELEASE} no longer counts collisions of keys as {graphs.COLLISIONS!r}"
    )
    assert s.tasks["carried"].state == "released", (
        f"{RELEASE} does not leave tasks behind: forget_orphans is not needed any more"
    )
    graphs.forget_orphans(s, again, "test")
    assert s.tasks.keys() == {"read", "y", "z"}
    await Event("go").set()
    assert await second == 3
    del first, second
    await async_poll_for(lambda: not s.tasks, timeout=10)


@gen_cluster(client=True)
async def test_scheduler_tells_whether_it_is_handling_a_graph(c, s, a, b):
    stock = graphs.create_tasks(s)
    seen = [graphs.is_updating(s)]

    def create(**graph: Any) -> dict[str, float]:
        seen.append(graphs.is_updating(s))
        return stock(**graph)

    graphs.replace_create_tasks(s, create)
    await c.submit(inc, 1)
    seen.append(graphs.is_updating(s))
    assert seen == [False, True, False], f"{RELEASE} has changed Scheduler._active_graph_updates"


def test_annotations_are_read_of_new_tasks_only_and_by_key_before_the_whole() -> None:
    """What `restrictions` writes is read by Scheduler._apply_annotations in this order."""
    wanted = {"self", "tasks", "annotations_by_type", "global_annotations"}
    assert parameters(Scheduler._apply_annotations) == wanted, (
        f"{RELEASE} has changed the arguments of Scheduler._apply_annotations"
    )


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (graphs.update_graph, "update-graph"),
        (lambda s: graphs.replace_update_graph(s, None), "update-graph"),
        (graphs.create_tasks, "Scheduler._create_taskstate_from_graph"),
        (graphs.is_updating, "Scheduler._active_graph_updates"),
    ],
)
def test_missing_name_is_an_error_with_the_release(use: Any, name: str) -> None:
    with pytest.raises(DistributedChangedError, match=name) as caught:
        use(Empty())
    assert RELEASE in str(caught.value)
    assert "install a release of dask_pools that supports this one" in str(caught.value)


def test_changed_arguments_are_an_error() -> None:
    class Changed:
        def _create_taskstate_from_graph(self, graph: object) -> None: ...

    with pytest.raises(DistributedChangedError, match="_create_taskstate_from_graph"):
        graphs.create_tasks(Changed())  # type: ignore[arg-type]
