"""Whether anything is under way, by computation, that could let the waiting values of a pool go."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from dask_pools.scheduler.pressure.computations import Computations

if TYPE_CHECKING:
    from distributed.scheduler import TaskState, WorkerState


class Motion:
    """The tasks that are being processed and serve others, by computation.

    Some do not count: a task that has seceded may itself wait for what is held back; one without
    waiters, such as an hour of writing a file, lets nothing go when it ends; and on a worker that
    is paused, nobody knows when it begins.

    Parameters
    ----------
    computations : Computations
        Which tasks belong together.
    crossing : container of TaskState
        The tasks that fetch values from another pool. They always serve: the values they fetch
        can go then.
    running : container of WorkerState
        The workers that take tasks.
    """

    def __init__(
        self,
        computations: Computations,
        crossing: Container[TaskState],
        running: Container[WorkerState],
    ) -> None:
        self._computations = computations
        self._crossing = crossing
        self._running = running
        #: By computation; those which were found not to count are missing.
        self._processing: dict[int, set[TaskState]] = {}

    def start(self, ts: TaskState) -> None:
        """Note that a task is being processed."""
        computation = self._computations.of(ts)
        tasks = self._processing.get(computation)
        if tasks is None:
            self._processing[computation] = {ts}
        else:
            tasks.add(ts)

    def end(self, ts: TaskState) -> None:
        """Note that a task is not processed any more, or has seceded."""
        computation = self._computations.of(ts)
        tasks = self._processing.get(computation)
        if tasks is not None:
            tasks.discard(ts)
            if not tasks:
                del self._processing[computation]

    def clear(self) -> None:
        """Forget all tasks."""
        self._processing.clear()

    def goes_on(self, computation: int) -> bool:
        """Say whether a task of a computation is processed that counts."""
        tasks = self._processing.get(computation)
        while tasks:
            ts = tasks.pop()
            if (ts.waiters or ts in self._crossing) and ts.processing_on in self._running:
                tasks.add(ts)
                return True
        self._processing.pop(computation, None)
        return False
