"""How a scheduler takes the graphs that clients submit."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from dask.typing import Key

from dask_pools.scheduler.private.base import Undo, changed, override, replace_entry

if TYPE_CHECKING:
    from distributed import Scheduler

#: The handler of a submitted graph; all arguments by name.
UpdateGraph: TypeAlias = Callable[..., Awaitable[None]]
#: Makes the task states of a materialised graph, and returns counts; all arguments by name.
CreateTasks: TypeAlias = Callable[..., dict[str, float]]

UPDATE_GRAPH = "update-graph"
CREATE_TASKS = "_create_taskstate_from_graph"

#: What it counts: keys that are known already, of tasks with other dependencies.
COLLISIONS = "key_collisions"

#: The arguments of `CREATE_TASKS` that are read or changed.
CREATE_TASKS_ARGUMENTS = frozenset(
    {
        "actors",
        "annotations_by_type",
        "client",
        "dsk",
        "global_annotations",
        "keys",
        "ordered",
        "stimulus_id",
        "submitting_task",
    }
)


def update_graph(scheduler: Scheduler) -> UpdateGraph:
    """Return the handler of graphs that clients submit."""
    try:
        handler: UpdateGraph = scheduler.stream_handlers[UPDATE_GRAPH]
    except KeyError:
        raise changed(f"stream handler {UPDATE_GRAPH!r} of the scheduler") from None
    return handler


def replace_update_graph(scheduler: Scheduler, handler: UpdateGraph) -> Undo:
    """Put another handler in the place of the one that takes submitted graphs."""
    what = f"stream handler {UPDATE_GRAPH!r} of the scheduler"
    return replace_entry(scheduler.stream_handlers, UPDATE_GRAPH, handler, what)


def create_tasks(scheduler: Scheduler) -> CreateTasks:
    """Return the function that makes task states from a materialised graph.

    It runs in the handler of submitted graphs, after the last ``await``, so that what it
    compares with the scheduler's state is still true when it acts. An exception of it is
    reported for all keys of the submission to the client.
    """
    function: CreateTasks | None = getattr(scheduler, CREATE_TASKS, None)
    if function is None or CREATE_TASKS_ARGUMENTS - _arguments(function):
        raise changed(f"Scheduler.{CREATE_TASKS}")
    return function


def _arguments(function: Callable[..., Any]) -> frozenset[str]:
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return CREATE_TASKS_ARGUMENTS  # a wrapper that hands on whatever it gets
    return frozenset(parameters)


def replace_create_tasks(scheduler: Scheduler, function: CreateTasks) -> Undo:
    """Put another function in the place of the one that makes task states, on this instance."""
    return override(scheduler, CREATE_TASKS, function)


def is_updating(scheduler: Scheduler) -> bool:
    """Ask whether a scheduler is handling a submitted graph just now."""
    updates = getattr(scheduler, "_active_graph_updates", None)
    if updates is None:
        raise changed("Scheduler._active_graph_updates")
    return bool(updates)


def forget_orphans(scheduler: Scheduler, keys: Iterable[Key], stimulus_id: str) -> None:
    """Forget tasks that were made just now, and which nothing needs.

    Of two tasks with the same key and other dependencies distributed keeps the first. What
    only the second would have needed waits for nothing then, and would stay for ever.
    """
    known = (ts for key in keys if (ts := scheduler.tasks.get(key)) is not None)
    orphans = [
        ts.key for ts in known if ts.state == "released" and not (ts.dependents or ts.who_wants)
    ]
    scheduler.transitions(dict.fromkeys(orphans, "forgotten"), stimulus_id)
