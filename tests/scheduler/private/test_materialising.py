"""How a scheduler makes tasks of what a client has sent.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.materialising`, and nothing else.
"""

from __future__ import annotations

import threading
from typing import Any

import dask
import pytest
from dask.delayed import delayed
from distributed.utils_test import gen_cluster, inc

from dask_pools.scheduler.private import graphs
from dask_pools.scheduler.private.materialising import EXPRESSION, change_tasks
from tests.scheduler.private.release import RELEASE


class Changing:
    """Has all graphs of a scheduler changed, and notes them."""

    def __init__(self, scheduler: Any, error: Exception | None = None) -> None:
        self.seen: list[tuple[Any, dict[Any, Any], Any]] = []
        self.prepared: list[Any] = []
        self.threads: list[int] = []
        self.messages: list[dict[str, Any]] = []
        self.error = error
        self.stock = graphs.update_graph(scheduler)
        graphs.replace_update_graph(scheduler, self.update_graph)

    async def update_graph(self, **message: Any) -> None:
        self.messages.append(message)
        await self.stock(**change_tasks(message, self.prepared.append, self.change))

    def change(self, expression: Any, tasks: Any, said: Any) -> tuple[Any, Any]:
        self.seen.append((expression, tasks, said))
        self.threads.append(threading.get_ident())
        if self.error is not None:
            raise self.error
        y = tasks["y"].substitute({"x": "between"})
        between = tasks["x"].copy()
        between.key = "between"
        return {"between": between, "y": y}, {"priority": {"y": 7}}


def graph() -> Any:
    with dask.annotate(retries=1):
        x = delayed(inc)(1, dask_key_name="x")
    return delayed(inc)(x, dask_key_name="y")


@gen_cluster(client=True)
async def test_tasks_and_annotations_are_changed_in_a_thread_of_their_own(c, s, a, b):
    changing = Changing(s)
    assert await c.compute(graph(), optimize_graph=False) == 3
    assert len(changing.seen) == 1, f"{RELEASE} does not ask an expression for its tasks any more"
    expression, tasks, said = changing.seen[0]
    assert changing.prepared == [expression]
    assert set(tasks) == {"x", "y"}
    assert said == {"retries": {"x": 1}}, f"{RELEASE} has changed the annotations of expressions"
    assert changing.threads != [threading.get_ident()], f"{RELEASE} makes tasks on the event loop"


@gen_cluster(client=True)
async def test_added_tasks_get_their_priorities(c, s, a, b):
    Changing(s)
    future = c.compute(graph(), optimize_graph=False)
    await future
    tasks = {key: s.tasks[key] for key in ("between", "y")}
    assert "x" not in s.tasks
    assert tasks["y"].annotations == {"priority": 7}
    assert all(ts.priority for ts in tasks.values()), (
        f"{RELEASE} puts tasks into an order before it makes them"
    )


@gen_cluster(client=True)
async def test_plain_tasks_are_left_alone(c, s, a, b):
    changing = Changing(s)
    assert await c.submit(inc, 1) == 2
    assert await c.get({"x": (inc, 1), "y": (inc, "x"), "culled": (inc, 1)}, "y", sync=False) == 3
    assert changing.seen == []
    assert all(EXPRESSION in message for message in changing.messages), (
        f"{RELEASE} sends the expression by another name"
    )
    assert "culled" not in s.tasks


@gen_cluster(client=True)
async def test_error_reaches_the_client(c, s, a, b):
    Changing(s, ZeroDivisionError("refused"))
    with pytest.raises(ZeroDivisionError, match="refused"):
        await c.compute(graph(), optimize_graph=False)
    assert not s.tasks


@gen_cluster(client=True)
async def test_expression_that_cannot_be_unpickled_is_the_same_error_as_ever(c, s, a, b):
    class Broken:
        def __reduce__(self) -> Any:
            return _fail, ()

    Changing(s)
    with pytest.raises(RuntimeError, match="deserialization of the task graph"):
        await c.compute(delayed(inc)(Broken()), optimize_graph=False)


def _fail() -> None:
    raise ValueError("never")


def test_message_without_an_expression_is_handed_on() -> None:
    assert change_tasks({"keys": {"x"}}, None, None) == {"keys": {"x"}}  # type: ignore[arg-type]
