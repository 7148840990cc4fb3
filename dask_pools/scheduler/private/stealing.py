"""The work stealing of a scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distributed import Scheduler
from distributed.stealing import WorkStealing

from dask_pools.scheduler.private.base import Undo, changed

if TYPE_CHECKING:
    from distributed.scheduler import SchedulerState, TaskState, WorkerState

STEALING = "stealing"


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
