"""How a scheduler queues tasks, and how it chooses a worker for one."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Collection, Mapping, MutableMapping, MutableSet
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from distributed.collections import HeapSet

from dask_pools.scheduler.private.base import Undo, changed, override

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Scheduler
    from distributed.scheduler import RecsMsgs, TaskState, WorkerState

#: Tasks in the order of their priorities; the same as in distributed.
Heap: TypeAlias = "HeapSet[TaskState]"

#: Moves one task: called with the scheduler, its key and the stimulus.
Step: TypeAlias = "Callable[..., RecsMsgs]"

TABLE = "_TRANSITIONS_TABLE"
SERVE = "stimulus_queue_slots_maybe_opened"
LOAD_CHANGED = "check_idle_saturated"
VALIDATE_QUEUED = "validate_queued"
VALID_WORKERS = "valid_workers"
DECIDE = "decide_worker_non_rootish"
OBJECTIVE = "worker_objective"

#: What is called, or read, and not replaced.
USED = (
    "queued",
    "idle_task_count",
    "WORKER_SATURATION",
    "rootish_tg_threshold",
    "rootish_tg_dependencies_threshold",
    "_add_to_processing",
    "_validate_ready",
    OBJECTIVE,
)

WAITS = ("waiting", "queued")
STARTS = ("waiting", "processing")
LEAVES = ("queued", "processing")


class QueueKeeper(Protocol):
    """Who decides about queued tasks that are not distributed's business."""

    def may_wait(self, ts: TaskState) -> bool:
        """Say whether a ready task is one of those that wait in a queue of ours for room."""

    def worker_at_once(self, ts: TaskState) -> WorkerState | None:
        """Choose the worker for a task that has just become ready; None queues it."""

    def worker_for_queued(self, ts: TaskState) -> WorkerState | None:
        """Choose the worker for a task of our queues; None leaves it there."""

    def serve(self, stimulus_id: str) -> None:
        """Send queued tasks to workers with room, distributed's own as well."""


class QueuesOfPools(Protocol):
    """The queued tasks that are not distributed's business."""

    #: All of them; always the same object.
    pool_of: dict[TaskState, str]

    def add(self, ts: TaskState, /) -> None:
        """Add a task."""

    def discard(self, ts: TaskState, /) -> None:
        """Remove a task."""


def new_heap() -> Heap:
    """Make an empty queue."""
    return HeapSet(key=operator.attrgetter("priority"))


def replace_queue(scheduler: Scheduler, queue: MutableSet[TaskState]) -> None:
    """Put something else in the place of the queue of a scheduler."""
    scheduler.queued = queue  # type: ignore[assignment]


def worker_saturation(scheduler: Scheduler) -> float:
    """Return how many tasks per thread distributed sends to a worker; infinite: no queue."""
    return float(scheduler.WORKER_SATURATION)


def has_room_for_unplaced(scheduler: Scheduler) -> bool:
    """Say whether distributed has a worker for a queued task without restrictions."""
    return bool(scheduler.idle_task_count)


def is_rootish(scheduler: Scheduler, ts: TaskState, nthreads: int) -> bool:
    """Ask whether a task would be queued by distributed, had the cluster `nthreads` threads.

    It is the rule of ``Scheduler.is_rootish`` but for its first sentence, by which no task
    with restrictions is ever queued.
    """
    if ts.run_spec is not None and ts.run_spec.data_producer:
        return True
    group = ts.group
    return (
        len(group) > 2 * nthreads
        and len(group.dependencies) < scheduler.rootish_tg_threshold
        and sum(map(len, group.dependencies)) < scheduler.rootish_tg_dependencies_threshold
    )


def is_queueable(ts: TaskState) -> bool:
    """Ask whether distributed allows a task to be queued: not actors, not outputs of P2P."""
    return ts._queueable and not ts.actor


def least_busy(
    scheduler: Scheduler, ts: TaskState, workers: Collection[WorkerState]
) -> WorkerState | None:
    """Choose the worker by distributed's objective; among equals the first by address."""
    if len(workers) == 1:
        return next(iter(workers))
    objective = scheduler.worker_objective
    return min(workers, key=lambda ws: (objective(ts, ws), ws.address), default=None)


def replace_choice(
    scheduler: Scheduler,
    valid_workers: Callable[[TaskState], set[WorkerState] | None],
    decide: Callable[[TaskState], WorkerState | None],
) -> Undo:
    """Replace who may run a task, and who of them is chosen for one that is not queued."""
    _check(scheduler, OBJECTIVE)
    with contextlib.ExitStack() as undo:
        undo.callback(override(scheduler, VALID_WORKERS, valid_workers))
        undo.callback(override(scheduler, DECIDE, decide))
        return undo.pop_all().close


def stock_choice(
    scheduler: Scheduler,
) -> tuple[
    Callable[[TaskState], set[WorkerState] | None], Callable[[TaskState], WorkerState | None]
]:
    """Return what `replace_choice` replaces."""
    _check(scheduler, VALID_WORKERS, DECIDE)
    return scheduler.valid_workers, scheduler.decide_worker_non_rootish


def keep_queues(
    scheduler: Scheduler,
    keeper: QueueKeeper,
    queues: QueuesOfPools,
    changed_workers: MutableMapping[str, WorkerState],
) -> Undo:
    """Let a scheduler ask somebody else about tasks that distributed would not queue.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    keeper : QueueKeeper
        Who is asked.
    queues : QueuesOfPools
        Where these tasks are. While there are none, the keeper does not serve.
    changed_workers : dict
        Gets every worker whose number of tasks has changed, by its address.
    """
    _check(scheduler, *USED)
    stock_serve = getattr(scheduler, SERVE, None)
    stock_load_changed = getattr(scheduler, LOAD_CHANGED, None)
    stock_validate = getattr(scheduler, VALIDATE_QUEUED, None)
    if stock_serve is None or stock_load_changed is None or stock_validate is None:
        raise changed(f"Scheduler.{SERVE}, {LOAD_CHANGED} or {VALIDATE_QUEUED}")

    ours = queues.pool_of

    def serve(*, stimulus_id: str) -> None:
        if ours:
            keeper.serve(stimulus_id)
        else:
            stock_serve(stimulus_id=stimulus_id)

    def load_changed(ws: WorkerState, occ: float = -1.0) -> None:
        stock_load_changed(ws, occ)
        changed_workers[ws.address] = ws

    def validate_queued(key: Key) -> None:
        ts = scheduler.tasks[key]
        if ts not in ours:
            stock_validate(key)
            return
        # It is as good as any, but that distributed queues no task with restrictions.
        restrictions, ts.resource_restrictions = ts.resource_restrictions, None
        try:
            stock_validate(key)
        finally:
            ts.resource_restrictions = restrictions

    with contextlib.ExitStack() as undo:
        undo.callback(_replace_transitions(scheduler, keeper, queues))
        undo.callback(override(scheduler, SERVE, serve))
        undo.callback(override(scheduler, LOAD_CHANGED, load_changed))
        undo.callback(override(scheduler, VALIDATE_QUEUED, validate_queued))
        return undo.pop_all().close


class _Steps:
    """The transitions of queued tasks: ours for tasks of ours, distributed's for all others."""

    def __init__(
        self, keeper: QueueKeeper, queues: QueuesOfPools, stock: Mapping[tuple[str, str], Step]
    ) -> None:
        self.keeper = keeper
        self.queues = queues
        self.stock = stock

    def start(self, state: Scheduler, key: Key, stimulus_id: str, **kwargs: Any) -> RecsMsgs:
        ts = state.tasks[key]
        if not ts.resource_restrictions or not self.keeper.may_wait(ts):
            return self.stock[STARTS](state, key, stimulus_id, **kwargs)
        if (ws := self.keeper.worker_at_once(ts)) is None:
            return {key: "queued"}, {}, {}
        return state._add_to_processing(ts, ws, stimulus_id=stimulus_id)

    def wait(self, state: Scheduler, key: Key, stimulus_id: str, **kwargs: Any) -> RecsMsgs:
        ts = state.tasks[key]
        # distributed queues none that is restricted.
        if not ts.resource_restrictions:
            return self.stock[WAITS](state, key, stimulus_id, **kwargs)
        if state.validate:
            state._validate_ready(ts)
        ts.state = "queued"
        self.queues.add(ts)
        return {}, {}, {}

    def leave(self, state: Scheduler, key: Key, stimulus_id: str, **kwargs: Any) -> RecsMsgs:
        ts = state.tasks[key]
        if ts not in self.queues.pool_of:
            return self.stock[LEAVES](state, key, stimulus_id, **kwargs)
        if (ws := self.keeper.worker_for_queued(ts)) is None:
            return {}, {}, {}
        self.queues.discard(ts)
        return state._add_to_processing(ts, ws, stimulus_id=stimulus_id)


def _replace_transitions(scheduler: Scheduler, keeper: QueueKeeper, queues: QueuesOfPools) -> Undo:
    before = vars(scheduler).get(TABLE)
    stock = getattr(scheduler, TABLE, {})
    for step in (WAITS, STARTS, LEAVES):
        if step not in stock:
            raise changed(f"transition from {step[0]!r} to {step[1]!r}")
    steps = _Steps(keeper, queues, stock)
    # The table is shared by all schedulers of the process; ours is this one's alone.
    table = {**stock, STARTS: steps.start, WAITS: steps.wait, LEAVES: steps.leave}
    setattr(scheduler, TABLE, table)

    def undo() -> None:
        if vars(scheduler).get(TABLE) is table:
            delattr(scheduler, TABLE)
            if before is not None:
                setattr(scheduler, TABLE, before)

    return undo


def _check(scheduler: Scheduler, *names: str) -> None:
    for name in names:
        if not hasattr(scheduler, name):
            raise changed(f"Scheduler.{name}")
