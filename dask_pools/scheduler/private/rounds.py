"""One round of distributed's work stealing, on some of its workers and tasks only.

distributed balances by one method that looks at all workers and at all tasks. Here it is run on
other objects in their place: a `View` of the scheduler that knows some workers, and a `Round` of
the stealing that knows some tasks. So what is stolen is decided by distributed, in its own way.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from distributed import Scheduler
from distributed.scheduler import SchedulerState
from distributed.stealing import WorkStealing

if TYPE_CHECKING:
    from distributed.scheduler import TaskState, WorkerState

#: Tasks that may be stolen, by the address of their worker and by level: the higher it is, the
#: longer is fetching their inputs in comparison with computing them.
Stealable: TypeAlias = "Mapping[str, tuple[set[TaskState], ...]]"

#: So many of the busiest workers are looked at by distributed if none is overloaded.
BUSIEST = 10
#: A round ends when so many tasks in a row were looked at in vain: the most loaded workers, and
#: the tasks that cost least to move, come first, so that what comes after is worth it less.
VAIN_LOOKS = 200


class OrderedWorkers(dict["WorkerState", None]):
    """A set of workers with an order."""

    def add(self, ws: WorkerState) -> None:
        """Add a worker at the end, unless it is there."""
        self[ws] = None

    def discard(self, ws: WorkerState) -> None:
        """Take a worker out, if it is there."""
        self.pop(ws, None)


class View:
    """A scheduler that knows only some of its workers; everything else is the scheduler's.

    Attributes
    ----------
    workers : dict
        By address, the workers that a round can have to do with.
    idle : dict
        Those that may steal.
    saturated : OrderedWorkers
        Those from which tasks are stolen; if it is empty, the busiest are.
    """

    #: Rounds are not timed one by one.
    digests = None

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.workers: dict[str, WorkerState] = {}
        self.idle: dict[str, WorkerState] = {}
        self.saturated = OrderedWorkers()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def valid_workers(self, _: TaskState) -> None:
        """Say that all workers may run a task: a round has chosen among them before."""

    def saturate(self, workers: Iterable[WorkerState]) -> None:
        """Say which workers are saturated."""
        self.saturated = OrderedWorkers((ws, None) for ws in workers)

    def look_at(
        self, victims: Iterable[WorkerState], occupancy: Mapping[WorkerState, float]
    ) -> None:
        """Choose the workers that a round has to do with: those that steal, and their victims.

        Parameters
        ----------
        victims : iterable of WorkerState
            Those from which tasks may be stolen if none is saturated.
        occupancy : mapping
            Seconds of work that workers have, with what is on its way.
        """
        if self.saturated:
            victims = sorted(self.saturated, key=lambda ws: (-occupancy[ws], ws.address))
            self.saturate(victims)
        else:
            victims = heapq.nlargest(BUSIEST, victims, key=occupancy.__getitem__)
        self.workers = {ws.address: ws for ws in victims} | self.idle


class PoolView(View):
    """A scheduler as it would be if the cluster were one pool.

    Whether a worker is idle or saturated depends on what the others have to do: those of the
    pool, here, so that another pool with much longer tasks, or with none, does not matter.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    occupancy : dict
        Seconds of work that each worker of the pool has.
    """

    def __init__(self, scheduler: Scheduler, occupancy: dict[WorkerState, float]) -> None:
        super().__init__(scheduler)
        self.idle_task_count: set[WorkerState] = set()
        self.occupancy = occupancy
        self.total_occupancy = sum(self.occupancy.values())
        self.total_nthreads = sum(ws.nthreads for ws in self.occupancy)

    def is_unoccupied(self, ws: WorkerState, occupancy: float, nprocessing: int) -> bool:
        """Ask whether a worker has little to do in comparison with the others of the pool."""
        return SchedulerState.is_unoccupied(cast(Any, self), ws, occupancy, nprocessing)

    def check_idle_saturated(self, ws: WorkerState, occ: float = -1.0) -> None:
        """Update whether a worker is idle or saturated, here and on the scheduler itself."""
        self._scheduler.check_idle_saturated(ws, occ)
        SchedulerState.check_idle_saturated(cast(Any, self), ws, occ)

    def find_idle(self, running: set[WorkerState]) -> bool:
        """Find the idle workers; says whether there are any, and others as well."""
        unoccupied = self.is_unoccupied
        found = [
            ws
            for ws, occupancy in self.occupancy.items()
            if unoccupied(ws, occupancy, len(ws.processing)) and ws in running
        ]
        self.idle = {ws.address: ws for ws in sorted(found, key=lambda ws: ws.address)}
        return 0 < len(found) < len(self.occupancy)

    def find_saturated(self) -> None:
        """Find the saturated workers."""
        for ws, occupancy in self.occupancy.items():
            if len(ws.processing) > ws.nthreads:
                SchedulerState.check_idle_saturated(cast(Any, self), ws, occupancy)

    def narrowed(self, idle: dict[str, WorkerState], victims: Iterable[WorkerState]) -> PoolView:
        """Return a view in which fewer workers are idle or saturated, all else being equal."""
        view = PoolView(self._scheduler, self.occupancy)
        view.idle = idle
        view.saturate(ws for ws in victims if ws in self.saturated)
        return view


def occupancies(scheduler: Scheduler, workers: Iterable[WorkerState]) -> dict[WorkerState, float]:
    """Return the seconds of work that workers have: what ``WorkerState.occupancy`` is.

    It takes a third of the time, because how long a kind of task takes is looked up once.
    """
    bandwidth, prefixes = scheduler.bandwidth, scheduler.task_prefixes
    durations: dict[str, float] = {}
    result: dict[WorkerState, float] = {}
    for ws in workers:
        seconds = ws._network_occ / bandwidth
        for name, count in ws.task_prefix_count.items():
            duration = durations.get(name)
            if duration is None:
                duration = durations[name] = scheduler._get_prefix_duration(prefixes[name])
            seconds += duration * count
        result[ws] = seconds
    return result


class Round:
    """distributed's work stealing, for one round of balancing over some workers and tasks.

    Parameters
    ----------
    stealing : WorkStealing
        The stealing of the scheduler; whatever is not said here is its.
    view : View
        The workers.
    stealable : mapping
        The tasks.
    """

    def __init__(self, stealing: WorkStealing, view: View, stealable: Stealable) -> None:
        self._stealing = stealing
        self._vain = 0
        self.scheduler = view
        self.stealable = stealable
        self.key_stealable = stealing.key_stealable
        #: Rounds in which something was stolen.
        self.count = 0

        self.in_flight = stealing.in_flight
        self._combined_occupancy = stealing._combined_occupancy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stealing, name)

    def run(self) -> None:
        """Ask the victims for tasks, as distributed does."""
        WorkStealing.balance(cast(Any, self))
        self._stealing.count += self.count

    def thief(
        self,
        ts: TaskState,
        thieves: set[WorkerState],
        occupancies: dict[WorkerState, float],
    ) -> WorkerState | None:
        """Choose the idle worker that is to steal a task; None if none may."""
        raise NotImplementedError

    def best(
        self,
        ts: TaskState,
        thieves: Iterable[WorkerState],
        occupancies: dict[WorkerState, float],
    ) -> WorkerState | None:
        """Choose among some workers as distributed does among all."""
        chosen: WorkerState | None = min(
            thieves,
            key=lambda ws: self.stealing_objective(ts, ws, occupancies=occupancies),
            default=None,
        )
        return chosen

    def stealing_objective(
        self, ts: TaskState, ws: WorkerState, *, occupancies: dict[WorkerState, float]
    ) -> tuple[float, ...]:
        """Say how bad it would be if a worker stole a task; called by distributed as well."""
        return WorkStealing.stealing_objective(cast(Any, self), ts, ws, occupancies=occupancies)

    def combined(self, occupancies: dict[WorkerState, float]) -> Callable[[WorkerState], float]:
        """Return what says how much work a worker has, with what is on its way to it."""
        coming = self._stealing.in_flight_occupancy
        return lambda ws: occupancies[ws] + coming[ws]

    def _get_thief(
        self,
        _: object,
        ts: TaskState,
        potential_thieves: set[WorkerState],
        *,
        occupancies: dict[WorkerState, float],
    ) -> WorkerState | None:
        self._vain += 1
        if self._vain > VAIN_LOOKS:
            potential_thieves.clear()  # which ends the round
            return None
        return self.thief(ts, potential_thieves, occupancies)

    def move_task_request(self, ts: TaskState, victim: WorkerState, thief: WorkerState) -> str:
        """Ask a worker for a task."""
        self._vain = 0
        return self._stealing.move_task_request(ts, victim, thief)
