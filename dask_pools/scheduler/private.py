"""Every name of distributed that is used here without being documented, in one place.

The rest of the package reads and replaces them through these functions alone. What
replaces something returns the function that takes it back. Each function has a test that
names the release of distributed when a new one has changed what it relies on.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from distributed import Client, Scheduler
from distributed.stealing import WorkStealing

from dask_pools.errors import DistributedChangedError

if TYPE_CHECKING:
    from distributed import Worker
    from distributed.scheduler import SchedulerState, TaskState, WorkerState

#: Takes a replacement back; harmless when called again.
Undo: TypeAlias = Callable[[], None]
#: The handler of a submitted graph; all arguments by name.
UpdateGraph: TypeAlias = Callable[..., Awaitable[None]]
#: Makes the task states of a materialised graph, and returns counts; all arguments by name.
CreateTasks: TypeAlias = Callable[..., dict[str, float]]

UPDATE_GRAPH = "update-graph"
CREATE_TASKS = "_create_taskstate_from_graph"
SET_RESOURCES = "set_resources"
STEALING = "stealing"

#: The arguments of `CREATE_TASKS` that are read or changed.
CREATE_TASKS_ARGUMENTS = frozenset(
    {"dsk", "keys", "client", "annotations_by_type", "global_annotations"}
)


def changed(name: str) -> DistributedChangedError:
    """Make the error for a name that this release of distributed does not have."""
    release = importlib.metadata.version("distributed")
    return DistributedChangedError(
        f"distributed {release} has no {name} as dask_pools knows it; "
        "install a release of dask_pools that supports this one, or an earlier distributed"
    )


def _replace(table: MutableMapping[str, Any], name: str, value: object, what: str) -> Undo:
    if name not in table:
        raise changed(what)
    stock = table[name]
    table[name] = value

    def undo() -> None:
        # Somebody who has come after us has wrapped ours; taking it away would drop theirs.
        if table.get(name) is value:
            table[name] = stock

    return undo


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
    return _replace(scheduler.stream_handlers, UPDATE_GRAPH, handler, what)


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
    before = vars(scheduler).get(CREATE_TASKS)
    setattr(scheduler, CREATE_TASKS, function)

    def undo() -> None:
        if vars(scheduler).get(CREATE_TASKS) is function:
            delattr(scheduler, CREATE_TASKS)
            if before is not None:
                setattr(scheduler, CREATE_TASKS, before)

    return undo


def replace_set_resources(scheduler: Scheduler, after: Callable[[str], None]) -> Undo:
    """Call a function with the address of each worker which has changed its resources."""
    what = f"handler {SET_RESOURCES!r} of the scheduler"
    stock = scheduler.handlers.get(SET_RESOURCES)
    if stock is None:
        raise changed(what)

    def set_resources(worker: str, resources: dict[str, float] | None = None) -> Any:
        result = stock(worker=worker, resources=resources)
        after(worker)
        return result

    return _replace(scheduler.handlers, SET_RESOURCES, set_resources, what)


def add_handler(scheduler: Scheduler, name: str, handler: Callable[..., Any]) -> Undo:
    """Let clients call a function on the scheduler by name."""
    scheduler.handlers[name] = handler

    def undo() -> None:
        if scheduler.handlers.get(name) is handler:
            del scheduler.handlers[name]

    return undo


class GuardedStealing(WorkStealing):
    """distributed's work stealing, with two questions to a subclass."""

    def thieves_for(self, ts: TaskState, thieves: set[WorkerState]) -> set[WorkerState]:
        """Choose those of the idle workers that may steal a task."""
        raise NotImplementedError

    def can_move_anything(self) -> bool:
        """Say whether a round of balancing could move any task at all."""
        raise NotImplementedError

    def balance(self) -> None:
        """Move tasks from workers that have too many to idle ones."""
        if self.can_move_anything():
            super().balance()

    def _get_thief(
        self,
        scheduler: SchedulerState,
        ts: TaskState,
        potential_thieves: set[WorkerState],
        *,
        occupancies: dict[WorkerState, float],
    ) -> WorkerState | None:
        thieves = self.thieves_for(ts, potential_thieves)
        if not thieves:
            return None
        return super()._get_thief(scheduler, ts, thieves, occupancies=occupancies)


def stealing(scheduler: Scheduler) -> WorkStealing | None:
    """Return the work stealing of a scheduler; None if it is switched off, or not Dask's own."""
    if not hasattr(WorkStealing, "_get_thief"):
        raise changed("WorkStealing._get_thief")
    extension = scheduler.extensions.get(STEALING)
    return extension if type(extension) is WorkStealing else None


def replace_stealing(scheduler: Scheduler, cls: type[GuardedStealing], **state: object) -> Undo:
    """Turn the work stealing of a scheduler into a subclass, with more attributes.

    The object stays the same, and with it what is stolen at the moment.
    """
    extension = stealing(scheduler)
    if extension is None:
        return lambda: None
    stock = type(extension)
    extension.__class__ = cls
    vars(extension).update(state)
    _bind_balance(scheduler, extension)

    def undo() -> None:
        if type(extension) is cls:
            extension.__class__ = stock  # type: ignore[assignment]
            for name in state:
                delattr(extension, name)
            _bind_balance(scheduler, extension)

    return undo


def _bind_balance(scheduler: Scheduler, extension: WorkStealing) -> None:
    # The periodic callback has taken the method of the class of that time; none is
    # there while the scheduler starts, or after Scheduler.close.
    periodic = scheduler.periodic_callbacks.get(STEALING)
    if periodic is not None:
        if not hasattr(periodic, "callback"):
            raise changed("PeriodicCallback.callback")
        periodic.callback = extension.balance


def schedulers() -> list[Scheduler]:
    """List the schedulers of this process, also those that are closed already."""
    instances = getattr(Scheduler, "_instances", None)
    if instances is None:
        raise changed("Scheduler._instances")
    return list(instances)


def is_updating(scheduler: Scheduler) -> bool:
    """Ask whether a scheduler is handling a submitted graph just now."""
    updates = getattr(scheduler, "_active_graph_updates", None)
    if updates is None:
        raise changed("Scheduler._active_graph_updates")
    return bool(updates)


def transfer_log(worker: Worker) -> deque[dict[str, Any]]:
    """Return a worker's log of what it has fetched from other workers.

    Each entry has, among others, ``who`` (the address it came from), ``keys`` (sizes by
    key) and ``total`` (their sum), sizes being bytes in memory, as `dask.sizeof.sizeof`
    measured them on the worker which made the value; not bytes on the wire.
    """
    # No error of ours here: this function goes to workers that may not have the package.
    return worker.transfer_incoming_log


def replace_transfer_log(worker: Worker, log: deque[dict[str, Any]]) -> None:
    """Give a worker another log of what it fetches."""
    worker.transfer_incoming_log = log


def clients() -> list[Client]:
    """List the clients of this process that are connected."""
    instances = getattr(Client, "_instances", None)
    if instances is None:
        raise changed("Client._instances")
    return [client for client in instances if client.status == "running"]
