"""The work stealing of a scheduler, and how another kind takes its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from distributed import Scheduler
from distributed.stealing import WorkStealing

from dask_pools.model import TRANSFER
from dask_pools.scheduler.private.base import Undo, changed

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

STEALING = "stealing"
#: Number of levels into which tasks are sorted, see `Stealable`.
LEVELS = len(WorkStealing.cost_multipliers)

#: So many tasks may have come since the last round before they are looked at one by one.
NEWCOMERS = 1000

#: What is called, or replaced, of the stealing.
OF_STEALING = (
    "_combined_occupancy",
    "_get_thief",
    "balance",
    "move_task_request",
    "put_key_in_stealable",
    "recalculate_cost",
    "remove_key_from_stealable",
    "remove_worker",
    "restart",
    "stealing_objective",
)
#: What is called of the scheduler.
OF_SCHEDULER = (
    "_get_prefix_duration",
    "check_idle_saturated",
    "get_comm_cost",
    "is_unoccupied",
    "valid_workers",
)


class Ledger(Protocol):
    """Is told of the tasks that may be stolen."""

    #: Whether it keeps any tasks apart.
    divides: bool

    def put(self, ts: TaskState, address: str, level: int, /) -> bool:
        """Note a task that may be stolen from now on, and where it is.

        Returns whether distributed is not to keep it with the others of its worker.
        """

    def remove(self, ts: TaskState, address: str, /) -> None:
        """Forget a task that was noted, and where it was."""

    def forget_worker(self, address: str, /) -> None:
        """Forget a worker that has left."""

    def clear(self) -> None:
        """Forget all tasks."""


class RoundStealing(WorkStealing):
    """distributed's work stealing, keeping some tasks apart, and balancing in its own rounds.

    Where there are pools, tasks are sorted by what it costs to move them not when they come to a
    worker, as in distributed, but in the next round: most have finished by then.
    """

    #: What is told of the tasks that may be stolen; from installation to removal.
    book: Ledger
    #: The tasks that have come to a worker since the last round; the first of them came first.
    newcomers: dict[TaskState, None]

    def balance(self) -> None:
        """Move tasks from workers that have too many to idle ones."""
        raise NotImplementedError

    def put_present(self) -> None:
        """Note the tasks that distributed knows already; called once."""
        for ts in list(self.key_stealable):
            self.recalculate_cost(ts)

    def put_newcomers(self) -> None:
        """Sort the tasks that have come since this was called last."""
        newcomers, self.newcomers = self.newcomers, {}
        for ts in newcomers:
            self._put(ts)

    def divide(self) -> None:
        """Ask anew which tasks are to be kept apart."""
        self.put_newcomers()
        self.book.clear()
        for ts, (address, level) in self.key_stealable.items():
            tasks = self.stealable[address][level]
            (tasks.discard if self.book.put(ts, address, level) else tasks.add)(ts)

    def put_key_in_stealable(self, ts: TaskState) -> None:
        """Note a task that has come to a worker; called by distributed, like all that follows."""
        if not self.book.divides:
            self._put(ts)
            return
        newcomers = self.newcomers
        newcomers[ts] = None
        if len(newcomers) > NEWCOMERS:
            first = next(iter(newcomers))
            del newcomers[first]
            self._put(first)

    def _put(self, ts: TaskState) -> None:
        annotations = ts.annotations
        if annotations is not None and TRANSFER in annotations:
            return  # it is never stolen
        WorkStealing.put_key_in_stealable(self, ts)
        place = self.key_stealable.get(ts)
        if place is not None and self.book.put(ts, *place):
            address, level = place
            self.stealable[address][level].discard(ts)

    def remove_key_from_stealable(self, ts: TaskState) -> None:
        """Forget a task that has left its worker, or is about to be stolen."""
        if ts in self.newcomers:
            del self.newcomers[ts]
            return
        place = self.key_stealable.get(ts)
        if place is not None:
            self.book.remove(ts, place[0])
            WorkStealing.remove_key_from_stealable(self, ts)

    def remove_worker(self, scheduler: Scheduler, worker: str, **kwargs: Any) -> None:
        """Forget a worker that has left."""
        super().remove_worker(scheduler, worker, **kwargs)
        self.book.forget_worker(worker)

    def restart(self, scheduler: Any) -> None:
        """Forget all tasks."""
        super().restart(scheduler)
        self.newcomers.clear()
        self.book.clear()


def stealing(scheduler: Scheduler) -> WorkStealing | None:
    """Return the work stealing of a scheduler; None if it is switched off, or not Dask's own."""
    for owner, names in ((WorkStealing, OF_STEALING), (Scheduler, OF_SCHEDULER)):
        for name in names:
            if not callable(getattr(owner, name, None)):
                raise changed(f"{owner.__name__}.{name}")
    extension = scheduler.extensions.get(STEALING)
    return extension if type(extension) is WorkStealing else None


def replace_stealing(scheduler: Scheduler, cls: type[RoundStealing], **state: object) -> Undo:
    """Turn the work stealing of a scheduler into a subclass, with more attributes.

    The object stays the same, and with it what is stolen at the moment.
    """
    extension = stealing(scheduler)
    if extension is None:
        return lambda: None
    stock, own = type(extension), set(vars(extension))
    extension.__class__ = cls
    vars(extension).update(state, newcomers={})
    cast(RoundStealing, extension).put_present()
    _bind_balance(scheduler, extension)

    def undo() -> None:
        if type(extension) is cls:
            extension.put_newcomers()
            extension.__class__ = stock  # type: ignore[assignment]
            for name in vars(extension).keys() - own:
                delattr(extension, name)
            for ts in list(extension.key_stealable):
                extension.recalculate_cost(ts)
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
