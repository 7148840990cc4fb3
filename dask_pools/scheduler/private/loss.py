"""Tasks that wait for a worker: which they are, how they look for one again, how they fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from distributed.protocol import pickle

from dask_pools.scheduler.private.base import changed

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState

#: The states of a task that is ready and has no worker.
READY = ("no-worker", "queued")
#: The methods of the scheduler that are called here.
METHODS = ("transition", "transitions", "stimulus_queue_slots_maybe_opened")
#: The steps from state to state that tasks are sent through.
STEPS = (
    ("no-worker", "released"),
    ("no-worker", "erred"),
    ("queued", "released"),
    ("queued", "erred"),
    ("released", "waiting"),
)


def require_waiting(scheduler: Scheduler) -> None:
    """Check that this release keeps and moves waiting tasks in the way it is done here.

    Raises
    ------
    DistributedChangedError
        If it does not.
    """
    for name in METHODS:
        if not callable(getattr(scheduler, name, None)):
            raise changed(f"Scheduler.{name}")
    for name in ("unrunnable", "queued"):
        if not hasattr(scheduler, name):
            raise changed(f"Scheduler.{name}")
    steps = getattr(scheduler, "_TRANSITIONS_TABLE", {})
    for start, finish in STEPS:
        if (start, finish) not in steps:
            raise changed(f"transition from {start!r} to {finish!r}")


def ready_tasks(scheduler: Scheduler) -> Iterator[TaskState]:
    """List the tasks that could run, had they a worker."""
    yield from scheduler.unrunnable
    yield from scheduler.queued


def by_urgency(tasks: Iterable[TaskState]) -> list[TaskState]:
    """Sort tasks as the scheduler would run them."""
    return sorted(tasks, key=lambda ts: ts.priority or ())


def resubmit(scheduler: Scheduler, tasks: Iterable[TaskState], stimulus_id: str) -> None:
    """Have ready tasks look for a worker again, as if they had just become ready.

    Each goes through the state ``released``, of which plugins hear.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    tasks : iterable of TaskState
        Tasks in one of the states `READY`.
    stimulus_id : str
        What makes them move, for distributed's log of transitions.
    """
    # distributed takes the last recommendation first: it has to be the most urgent one.
    backwards = reversed(by_urgency(tasks))
    scheduler.transitions({ts.key: "waiting" for ts in backwards}, stimulus_id)
    scheduler.stimulus_queue_slots_maybe_opened(stimulus_id=stimulus_id)


def fail(
    scheduler: Scheduler, tasks: Iterable[TaskState], error: Exception, stimulus_id: str
) -> None:
    """Have ready tasks fail with one exception, and with them all that depends on them.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    tasks : iterable of TaskState
        Tasks in one of the states `READY`.
    error : Exception
        What their futures raise.
    stimulus_id : str
        What makes them fail, for distributed's log of transitions.
    """
    pickled = pickle.dumps(error)
    recommendations = {}
    for ts in tasks:
        # distributed looks into the keywords `exception`, `cause` and the texts only.
        recommendations.update(
            scheduler.transition(
                ts.key,
                "erred",
                stimulus_id,
                exception=pickled,
                cause=ts.key,
                exception_text=str(error),
                traceback_text="",
            )
        )
    scheduler.transitions(recommendations, stimulus_id)
    scheduler.stimulus_queue_slots_maybe_opened(stimulus_id=stimulus_id)
