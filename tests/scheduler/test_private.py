"""Each name of distributed that is not documented and that we use.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private`, and nothing else.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections import deque
from typing import Any

import pytest
from distributed import Scheduler, Worker, wait
from distributed.stealing import WorkStealing
from distributed.utils_test import gen_cluster, inc

from dask_pools.errors import DistributedChangedError
from dask_pools.scheduler import private

RELEASE = f"distributed {importlib.metadata.version('distributed')}"


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


@gen_cluster(client=True)
async def test_submitted_graphs_come_through_a_stream_handler(c, s, a, b):
    seen: list[dict[str, Any]] = []
    stock = private.update_graph(s)

    async def handler(**message: Any) -> None:
        seen.append(message)
        await stock(**message)

    undo = private.replace_update_graph(s, handler)
    assert await c.submit(inc, 1, key="x") == 2
    undo()
    assert await c.submit(inc, 2, key="y") == 3
    assert len(seen) == 1, f"{RELEASE} no longer calls the stream handler 'update-graph'"
    assert seen[0].keys() >= {"keys", "annotations"}, (
        f"{RELEASE} has changed the message of a submitted graph"
    )
    assert private.update_graph(s) == stock


@gen_cluster(client=True)
async def test_task_states_are_made_by_a_method_of_the_instance(c, s, a, b):
    seen: list[dict[str, Any]] = []
    stock = private.create_tasks(s)

    def create(**graph: Any) -> dict[str, float]:
        seen.append(graph)
        return stock(**graph)

    undo = private.replace_create_tasks(s, create)
    assert await c.submit(inc, 1, key="x") == 2
    undo()
    assert await c.submit(inc, 2, key="y") == 3
    assert len(seen) == 1, f"{RELEASE} no longer calls Scheduler.{private.CREATE_TASKS}"
    assert seen[0].keys() >= private.CREATE_TASKS_ARGUMENTS, (
        f"{RELEASE} has changed the arguments of Scheduler.{private.CREATE_TASKS}"
    )
    assert private.create_tasks(s) == stock


def test_task_states_are_made_within_one_step_of_the_event_loop() -> None:
    function = getattr(Scheduler, private.CREATE_TASKS)
    assert not inspect.iscoroutinefunction(function), (
        f"{RELEASE} has made Scheduler.{private.CREATE_TASKS} a coroutine: what we compare "
        "with the state of the scheduler could change before it acts"
    )


@gen_cluster(client=True)
async def test_error_before_the_first_task_state_reaches_the_client(c, s, a, b):
    def create(**graph: Any) -> dict[str, float]:
        raise ZeroDivisionError("refused")

    private.replace_create_tasks(s, create)
    with pytest.raises(ZeroDivisionError, match="refused"):
        await c.submit(inc, 1)
    assert not s.tasks, f"{RELEASE} makes task states before Scheduler.{private.CREATE_TASKS}"


@gen_cluster()
async def test_workers_change_their_resources_through_a_handler(s, a, b):
    seen: list[str] = []
    undo = private.replace_set_resources(s, seen.append)
    await a.set_resources(GPU=1)
    undo()
    await b.set_resources(GPU=1)
    assert seen == [a.address], f"{RELEASE} no longer calls the handler 'set_resources'"
    assert set(s.resources["GPU"]) == {a.address, b.address}


@gen_cluster(client=True)
async def test_handler_of_our_own_can_be_called_and_removed(c, s, a, b):
    async def answer() -> dict[tuple[str, str], int]:
        return {("a", "b"): 1}

    undo = private.add_handler(s, "dask_pools_test", answer)
    assert await c.scheduler.dask_pools_test() == {("a", "b"): 1}
    undo()
    undo()
    assert await c.scheduler.dask_pools_test() is None, (
        f"{RELEASE} no longer answers None to an operation that it does not know"
    )


class Nobody(private.GuardedStealing):
    """Allows nothing, and notes that it was asked."""

    asked: list[str]

    def can_move_anything(self) -> bool:
        self.asked.append("anything")
        return True

    def thieves_for(self, ts: Any, thieves: set[Any]) -> set[Any]:
        self.asked.append("thieves")
        return set()


@gen_cluster()
async def test_stealing_asks_for_a_thief_and_can_be_swapped_in_place(s, a, b):
    extension = private.stealing(s)
    assert type(extension) is WorkStealing, f"{RELEASE} has no extension 'stealing' of its own"
    wanted = {"self", "scheduler", "ts", "potential_thieves", "occupancies"}
    assert parameters(WorkStealing._get_thief) == wanted, (
        f"{RELEASE} has changed the arguments of WorkStealing._get_thief"
    )
    assert "_get_thief" in inspect.getsource(WorkStealing.balance), (
        f"{RELEASE} no longer asks WorkStealing._get_thief who may steal a task"
    )
    undo = private.replace_stealing(s, Nobody, asked=[])
    ours: Any = s.extensions["stealing"]
    s.periodic_callbacks["stealing"].callback()
    assert ours.asked[:1] == ["anything"], (
        f"{RELEASE} no longer balances by the callback of periodic_callbacks['stealing']"
    )
    assert ours._get_thief(s, None, {object()}, occupancies={}) is None
    assert private.stealing(s) is None
    undo()
    undo()
    assert private.stealing(s) is extension
    assert not hasattr(extension, "asked")
    assert s.periodic_callbacks["stealing"].callback.__func__ is WorkStealing.balance


@gen_cluster(nthreads=[])
async def test_schedulers_of_the_process_are_listed(s):
    assert s in private.schedulers(), f"{RELEASE} does not keep Scheduler._instances"


@gen_cluster(client=True)
async def test_clients_of_the_process_are_listed(c, s, a, b):
    assert c in private.clients(), f"{RELEASE} does not keep Client._instances"


@gen_cluster(client=True)
async def test_scheduler_tells_whether_it_is_handling_a_graph(c, s, a, b):
    stock = private.create_tasks(s)
    seen = [private.is_updating(s)]

    def create(**graph: Any) -> dict[str, float]:
        seen.append(private.is_updating(s))
        return stock(**graph)

    private.replace_create_tasks(s, create)
    await c.submit(inc, 1)
    seen.append(private.is_updating(s))
    assert seen == [False, True, False], f"{RELEASE} has changed Scheduler._active_graph_updates"


@gen_cluster(client=True)
async def test_worker_logs_what_it_fetches_through_append(c, s, a, b):
    seen: list[dict[str, Any]] = []

    class Noting(deque[dict[str, Any]]):
        def append(self, entry: dict[str, Any]) -> None:
            seen.append(entry)

    private.replace_transfer_log(b, Noting(private.transfer_log(b)))
    x = c.submit(bytes, 1000, key="x", workers=[a.address])
    y = c.submit(len, x, workers=[b.address])
    await wait(y)
    assert len(seen) == 1, f"{RELEASE} no longer appends to Worker.transfer_incoming_log"
    (entry,) = seen
    nbytes = s.tasks["x"].nbytes
    found = (entry.get("who"), entry.get("keys"), entry.get("total"))
    assert found == (a.address, {"x": nbytes}, nbytes), (
        f"{RELEASE} has changed the entries of Worker.transfer_incoming_log"
    )


@gen_cluster()
async def test_worker_plugins_are_kept_by_name_and_reach_workers_as_pickles(s, a, b):
    assert isinstance(s.worker_plugins, dict), f"{RELEASE} has changed Scheduler.worker_plugins"
    for operation in ("plugin-add", "plugin-remove"):
        assert operation in a.handlers, f"{RELEASE} has no operation {operation!r} of workers"
    assert parameters(Worker.plugin_add) >= {"plugin", "name"}


def test_annotations_are_read_of_new_tasks_only_and_by_key_before_the_whole() -> None:
    """What `restrictions` writes is read by Scheduler._apply_annotations in this order."""
    wanted = {"self", "tasks", "annotations_by_type", "global_annotations"}
    assert parameters(Scheduler._apply_annotations) == wanted, (
        f"{RELEASE} has changed the arguments of Scheduler._apply_annotations"
    )


class Empty:
    """A scheduler from which distributed has removed everything."""

    def __init__(self) -> None:
        self.stream_handlers: dict[str, Any] = {}
        self.handlers: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (private.update_graph, "update-graph"),
        (lambda s: private.replace_update_graph(s, None), "update-graph"),
        (private.create_tasks, "Scheduler._create_taskstate_from_graph"),
        (lambda s: private.replace_set_resources(s, None), "set_resources"),
        (private.is_updating, "Scheduler._active_graph_updates"),
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
        private.create_tasks(Changed())  # type: ignore[arg-type]
