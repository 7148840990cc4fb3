"""Which worker brings a value into its pool, while all others there wait for it.

Several workers of a pool need a value that is in another pool. In stock Dask each of them
fetches it, and it crosses the link as many times. Here the first one that is told of the value
carries it; the others are told to wait, and as soon as it has arrived, to take it from there.
If the carrier's task leaves it before, a waiting worker takes over; whoever was forgotten asks
by itself, since a worker asks again and again for what it lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed.scheduler import TaskState, WorkerState

    from dask_pools.scheduler.roster import PoolState


class Incoming:
    """A value on its way into a pool: who carries it for which task, and who waits."""

    __slots__ = ("carrier", "task", "waiting")

    def __init__(self, carrier: WorkerState, task: TaskState) -> None:
        self.carrier = carrier
        self.task = task
        #: One of the tasks of each worker that waits.
        self.waiting: dict[WorkerState, TaskState] = {}

    def goes_on(self, pool: PoolState) -> bool:
        """Say whether the carrier still needs the value, and can fetch it."""
        return self.task.processing_on is self.carrier and self.carrier in pool.running

    def hand_over(self, pool: PoolState) -> WorkerState | None:
        """Make the first waiting worker the carrier that can be; None if there is none."""
        for ws, task in self.waiting.items():
            if task.processing_on is ws and ws in pool.running:
                self.carrier, self.task = ws, task
                del self.waiting[ws]
                return ws
        return None


class Carriers:
    """The values on their way into pools.

    Parameters
    ----------
    tell : callable
        Called with a worker and a value, when that worker has to be told of its holders anew.
    """

    def __init__(self, tell: Callable[[WorkerState, TaskState], None]) -> None:
        self.tell = tell
        #: By value and pool; until it has arrived, or does not exist any more.
        self.coming: dict[TaskState, dict[PoolState, Incoming]] = {}

    def __len__(self) -> int:
        return len(self.coming)

    def must_wait(
        self, value: TaskState, task: TaskState, ws: WorkerState, pools: Iterable[PoolState]
    ) -> bool:
        """Say whether a worker has to wait for a value that another one brings; else it carries.

        Parameters
        ----------
        value : TaskState
            A value that nobody holds in the worker's pools.
        task : TaskState
            The task on the worker that needs it.
        ws : WorkerState
            The worker.
        pools : iterable of PoolState
            Its pools, at least one.
        """
        incoming = self.coming.setdefault(value, {})
        for pool in pools:
            one = incoming.get(pool)
            if one is not None and one.carrier is not ws and one.goes_on(pool):
                one.waiting[ws] = task
                return True
        for pool in pools:
            one = incoming.setdefault(pool, Incoming(ws, task))
            if not one.goes_on(pool):
                one.carrier, one.task = ws, task
                one.waiting.pop(ws, None)
        return False

    def carries(self, task: TaskState) -> bool:
        """Say whether a value is on its way into a pool because of a task.

        Were the task stolen, the value would cross again for the thief.
        """
        return any(
            one.task is task
            for value in (task.dependencies if self.coming else ())
            for one in self.coming.get(value, {}).values()
        )

    def arrived(self, value: TaskState, pools: Iterable[PoolState]) -> None:
        """Tell those who wait for a value that it is in their pool."""
        incoming = self.coming.get(value)
        if incoming is None:
            return
        for pool in pools:
            one = incoming.pop(pool, None)
            for ws in one.waiting if one is not None else ():
                if ws in pool.members:
                    self.tell(ws, value)
        if not incoming:
            del self.coming[value]

    def transitioned(self, ts: TaskState, start: str, finish: str) -> None:
        """Have somebody else bring what a task needed that has left its worker."""
        if not self.coming:
            return
        if finish != "memory":
            self.coming.pop(ts, None)
        if start == "processing":
            for value in ts.dependencies:
                for pool, one in self.coming.get(value, {}).items():
                    if one.task is ts and (ws := one.hand_over(pool)) is not None:
                        self.tell(ws, value)
