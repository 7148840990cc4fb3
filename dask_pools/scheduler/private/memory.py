"""The active memory manager of a scheduler, and how it moves the data of retiring workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from distributed.active_memory_manager import (
    ActiveMemoryManagerExtension,
    ActiveMemoryManagerPolicy,
    RetireWorker,
    Suggestion,
    SuggestionGenerator,
)

from dask_pools.scheduler.private.base import Undo, changed
from dask_pools.scheduler.private.replicas import RETIRE, operation, replace_operation

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

MANAGER = "amm"
#: Seconds between two rounds of a manager that is there for retiring workers only; Dask's own.
INTERVAL = 2.0


class GuardedManager(ActiveMemoryManagerExtension):
    """distributed's active memory manager, with questions to a subclass."""

    def begin(self) -> None:
        """Prepare for a round."""
        raise NotImplementedError

    def end(self) -> None:
        """Clean up after a round."""
        raise NotImplementedError

    def recipients(
        self, ts: TaskState, among: set[WorkerState], pending: set[WorkerState]
    ) -> set[WorkerState]:
        """Choose those of some workers that may get a new replica of a value."""
        raise NotImplementedError

    def droppers(
        self, ts: TaskState, among: set[WorkerState], pending: set[WorkerState]
    ) -> set[WorkerState]:
        """Choose those of the holders of a value that may drop their replica."""
        raise NotImplementedError

    def wanted_before_retiring(
        self, ws: WorkerState
    ) -> Iterator[tuple[TaskState, set[WorkerState]]]:
        """List what has to be copied before a worker retires although others hold it, and whereto.

        What nobody else holds is copied anyway.
        """
        raise NotImplementedError

    def is_safe_to_retire(self, address: str) -> bool:
        """Say whether all those copies have been made."""
        raise NotImplementedError

    def add_policy(self, policy: ActiveMemoryManagerPolicy) -> None:
        """Add a policy; the one by which distributed retires a worker becomes ours."""
        if type(policy) is RetireWorker:
            policy.__class__ = GuardedRetirement
        super().add_policy(policy)

    def _run_policies(self) -> None:
        self.begin()
        try:
            super()._run_policies()
        finally:
            self.end()

    def _find_recipient(
        self,
        ts: TaskState,
        candidates: set[WorkerState] | None,
        pending_repl: set[WorkerState],
    ) -> WorkerState | None:
        running = self.scheduler.running
        among = running if candidates is None else candidates & running
        chosen = self.recipients(ts, among, pending_repl)
        # What it is given is in its log: a choice that is none is not to be seen there.
        return super()._find_recipient(ts, candidates if chosen is among else chosen, pending_repl)

    def _find_dropper(
        self,
        ts: TaskState,
        candidates: set[WorkerState] | None,
        pending_drop: set[WorkerState],
    ) -> WorkerState | None:
        holders = ts.who_has or set()
        among = holders if candidates is None else candidates & holders
        chosen = self.droppers(ts, among, pending_drop)
        return super()._find_dropper(ts, candidates if chosen is among else chosen, pending_drop)


class GuardedRetirement(RetireWorker):
    """distributed's policy that empties a worker, which also leaves its pool what that needs."""

    __slots__ = ()

    manager: GuardedManager

    def run(self) -> SuggestionGenerator:
        """Suggest what to copy and to drop."""
        ws = self.manager.scheduler.workers.get(self.address)
        if ws is not None:
            for ts, recipients in self.manager.wanted_before_retiring(ws):
                yield Suggestion("replicate", ts, recipients)
        yield from super().run()
        # It leaves when no value is left that is only here: for us it may be too early.
        if ws is not None and not self.no_recipients and not self.is_safe():
            self.manager.policies.add(self)

    def is_safe(self) -> bool:
        """Say whether the pool has what it needs."""
        return self.manager.is_safe_to_retire(self.address)

    def done(self) -> bool:
        """Say whether the worker can be closed."""
        if self.no_recipients or self.address not in self.manager.scheduler.workers:
            return super().done()
        return super().done() and self.is_safe()


def memory_manager(scheduler: Scheduler) -> ActiveMemoryManagerExtension | None:
    """Return the active memory manager; None if there is none, or not Dask's own."""
    for name in ("_run_policies", "_find_recipient", "_find_dropper"):
        if not hasattr(ActiveMemoryManagerExtension, name):
            raise changed(f"ActiveMemoryManagerExtension.{name}")
    extension = scheduler.extensions.get(MANAGER)
    return extension if type(extension) is ActiveMemoryManagerExtension else None


def replace_manager(scheduler: Scheduler, cls: type[GuardedManager], **state: object) -> Undo:
    """Turn the active memory manager into a subclass, with more attributes.

    The object stays the same, and with it its policies and whether it is running.
    """
    extension = memory_manager(scheduler)
    if extension is None:
        return lambda: None
    extension.__class__ = cls
    vars(extension).update(state)
    for policy in extension.policies:
        if type(policy) is RetireWorker:
            policy.__class__ = GuardedRetirement

    def undo() -> None:
        if type(extension) is cls:
            extension.__class__ = ActiveMemoryManagerExtension  # type: ignore[assignment]
            for name in state:
                delattr(extension, name)
            for policy in extension.policies:
                if type(policy) is GuardedRetirement:
                    policy.__class__ = RetireWorker  # type: ignore[assignment]

    return undo


def retire_with(scheduler: Scheduler, make: Callable[[Scheduler], GuardedManager]) -> Undo:
    """Have workers retire by a manager of ours, also where the active memory manager is off.

    distributed makes one for the time being then, which knows no pools.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    make : callable
        Makes a manager that runs, and has no policies.
    """
    stock = operation(scheduler, RETIRE)
    # Retirements that use the manager which was put there for them.
    using = 0
    ours: GuardedManager | None = None
    before: list[Any] = []

    async def retire_workers(*args: Any, **kwargs: Any) -> Any:
        nonlocal using, ours
        present = scheduler.extensions.get(MANAGER)
        if ours is None and (present is None or not present.running):
            ours = make(scheduler)
            before[:] = [present]
            scheduler.extensions[MANAGER] = ours
        if ours is None:
            return await stock(*args, **kwargs)
        using += 1
        try:
            return await stock(*args, **kwargs)
        finally:
            using -= 1
            if not using:
                ours.stop()
                if scheduler.extensions.get(MANAGER) is ours:
                    _put_back(scheduler, before[0])
                ours = None

    return replace_operation(scheduler, RETIRE, retire_workers)


def _put_back(scheduler: Scheduler, manager: object) -> None:
    if manager is None:
        del scheduler.extensions[MANAGER]
    else:
        scheduler.extensions[MANAGER] = manager


def temporary_manager(
    scheduler: Scheduler, cls: type[GuardedManager], **state: object
) -> GuardedManager:
    """Make a manager that runs, has no policies, and does not answer clients."""
    manager = cls(scheduler, policies=set(), register=False, start=True, interval=INTERVAL)
    vars(manager).update(state)
    return manager
