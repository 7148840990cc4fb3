"""How a scheduler tells workers who holds the values that they need."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any, TypeAlias

from dask.typing import Key

from dask_pools.scheduler.private.base import Undo, changed, override, replace_entry

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

#: Makes the message with which a task goes to its worker, by stealing, too.
TASK_MESSAGE = "_task_to_msg"
#: Answers a worker that asks who holds some values.
REFRESH = "handle_request_refresh_who_has"
REFRESH_MESSAGE = "request-refresh-who-has"
#: Asks a worker to fetch values which no task there needs.
ACQUIRE = "request_acquire_replicas"
#: Has a worker fetch values, and waits until it has.
GATHER = "gather_on_worker"
#: Called for every value that a worker holds from now on.
ADD_REPLICA = "add_replica"

#: The stimulus of a worker that asks for values of which it knows no holder begins like this;
#: that of one whose holders are all too busy to answer does not.
MISSING = "find-missing"

#: Addresses of the holders by key.
WhoHas: TypeAlias = Mapping[Key, Collection[str]]
#: The holders a worker is told for a task; those it leaves out are told as they are.
ForTask: TypeAlias = "Callable[[TaskState], WhoHas]"
#: The holders a worker is told when it asks, and whether it knows none any more.
ForQuestion: TypeAlias = "Callable[[WorkerState, TaskState, bool], Collection[str] | None]"
#: The holders from which a worker is asked to fetch a value.
ForCopy: TypeAlias = "Callable[[WorkerState, TaskState], Collection[str]]"
#: Called with a value and a worker that holds it from now on.
Arrived: TypeAlias = "Callable[[TaskState, WorkerState], None]"


def _stock(scheduler: Scheduler, name: str, *arguments: str) -> Callable[..., Any]:
    method: Callable[..., Any] | None = getattr(scheduler, name, None)
    if method is None:
        raise changed(f"Scheduler.{name}")
    parameters = inspect.signature(method).parameters
    wrapped = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if not wrapped and not set(arguments) <= set(parameters):
        raise changed(f"Scheduler.{name}({', '.join(arguments)})")
    return method


def choose_holders_of_tasks(scheduler: Scheduler, choose: ForTask) -> Undo:
    """Choose the holders that are named to the worker of a task, for each of its inputs.

    ``ts.processing_on`` is the worker which the message goes to, also if it has stolen the task.
    """
    stock = _stock(scheduler, TASK_MESSAGE, "ts")

    def task_message(ts: TaskState) -> dict[str, Any]:
        message: dict[str, Any] = stock(ts)
        if ts.dependencies and (chosen := choose(ts)):
            message["who_has"].update(chosen)
        return message

    return override(scheduler, TASK_MESSAGE, task_message)


def choose_holders_asked_for(scheduler: Scheduler, choose: ForQuestion) -> Undo:
    """Choose the holders that are named to a worker which asks; None names none for now."""
    stock = _stock(scheduler, REFRESH, "keys", "worker", "stimulus_id")

    def handle_request(keys: Iterable[Key], worker: str, stimulus_id: str) -> None:
        ws = scheduler.workers.get(worker)
        tasks = scheduler.tasks
        keys = list(keys)
        forgotten = keys if ws is None else [key for key in keys if key not in tasks]
        if forgotten:
            stock(keys=forgotten, worker=worker, stimulus_id=stimulus_id)
        if ws is None:
            return
        missing = stimulus_id.startswith(MISSING)
        known = [tasks[key] for key in keys if key in tasks]
        chosen = {ts.key: choose(ws, ts, missing) for ts in known}
        name_holders(
            scheduler, ws, {k: who for k, who in chosen.items() if who is not None}, stimulus_id
        )

    with contextlib.ExitStack() as undo:
        undo.callback(override(scheduler, REFRESH, handle_request))
        undo.callback(
            replace_entry(
                scheduler.stream_handlers,
                REFRESH_MESSAGE,
                handle_request,
                f"stream handler {REFRESH_MESSAGE!r} of the scheduler",
            )
        )
        return undo.pop_all().close


def name_holders(scheduler: Scheduler, ws: WorkerState, who_has: WhoHas, stimulus_id: str) -> None:
    """Tell a worker who holds some values; what it does not need any more, it ignores.

    It fetches what it lacks from them, and from nobody else. No holders at all, or itself,
    has it wait until it is told of others, or asks again.
    """
    if who_has:
        message = {"op": "refresh-who-has", "who_has": who_has, "stimulus_id": stimulus_id}
        scheduler.worker_send(ws.address, message)


def choose_holders_for_copies(scheduler: Scheduler, choose: ForCopy) -> Undo:
    """Choose the holders from which workers are asked to fetch copies."""
    _stock(scheduler, ACQUIRE, "addr", "keys", "stimulus_id")
    gather = _stock(scheduler, GATHER, "worker_address", "who_has")

    def request_acquire_replicas(addr: str, keys: Iterable[Key], *, stimulus_id: str) -> None:
        ws = scheduler.workers[addr]
        values = [scheduler.tasks[key] for key in keys]
        message = {
            "op": "acquire-replicas",
            "who_has": {ts.key: list(choose(ws, ts)) for ts in values},
            "nbytes": {ts.key: ts.nbytes for ts in values},
            "stimulus_id": stimulus_id,
        }
        scheduler.stream_comms[addr].send(message)

    async def gather_on_worker(worker_address: str, who_has: dict[Key, list[str]]) -> set[Key]:
        ws = scheduler.workers.get(worker_address)
        if ws is not None:
            who_has = {key: _among(choose, ws, key, who) for key, who in who_has.items()}
        failed: set[Key] = await gather(worker_address, who_has)
        return failed

    def _among(choose: ForCopy, ws: WorkerState, key: Key, given: list[str]) -> list[str]:
        ts = scheduler.tasks.get(key)
        chosen = set(choose(ws, ts)) if ts is not None and ts.who_has else set()
        return [address for address in given if address in chosen] or given

    with contextlib.ExitStack() as undo:
        undo.callback(override(scheduler, ACQUIRE, request_acquire_replicas))
        undo.callback(override(scheduler, GATHER, gather_on_worker))
        return undo.pop_all().close


def hear_of_arrivals(scheduler: Scheduler, arrived: Arrived, awaited: Sized) -> Undo:
    """Hear of every value that a worker holds from now on, made there or fetched.

    Nobody is told while `awaited` is empty: it is called for every task of the cluster.
    """
    stock = _stock(scheduler, ADD_REPLICA, "ts", "ws")

    def add_replica(ts: TaskState, ws: WorkerState) -> None:
        stock(ts, ws)
        if awaited:
            arrived(ts, ws)

    return override(scheduler, ADD_REPLICA, add_replica)
