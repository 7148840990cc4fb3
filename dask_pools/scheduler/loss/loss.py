"""Pools that lose all their workers: their tasks go to mirrors, or wait, or fail with a name.

Only a pool that has had workers, or that its cluster has announced, is waited for: the name of
any other may be a mistake, and is refused when it is submitted.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dask_pools.errors import ConfigurationError, PoolLostError
from dask_pools.model import pool_resource
from dask_pools.scheduler.arrivals.rebinding import rebind
from dask_pools.scheduler.configuration import POOL_TIMEOUT, read_configuration
from dask_pools.scheduler.loss.succession import Survivors, successors
from dask_pools.scheduler.private.base import Undo, add_handler
from dask_pools.scheduler.private.loss import (
    READY,
    by_urgency,
    fail,
    ready_tasks,
    require_waiting,
    resubmit,
)
from dask_pools.scheduler.roster import PoolState, Roster, bound_to
from dask_pools.units import counted, format_seconds

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState

logger = logging.getLogger(__name__)

#: The operation of the scheduler by which a cluster says how many workers its pools are to have.
EXPECT_POOLS = "dask_pools_expect_pools"
#: States of a task that has not run yet, and will.
WAITING = (*READY, "waiting")


@dataclass(slots=True)
class _Absence:
    """The wait for a pool that was lost.

    Attributes
    ----------
    seconds : float
        After how long its tasks fail; infinite for never.
    timer : object or None
        What ends it; None if nothing does.
    told : bool
        Whether the log has it that tasks wait.
    """

    seconds: float
    timer: Any
    told: bool = False


class Loss:
    """What becomes of the tasks of pools without workers.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    roster : Roster
        The workers of its pools.
    """

    def __init__(self, scheduler: Scheduler, roster: Roster) -> None:
        self.scheduler = scheduler
        self.roster = roster
        #: Whether a pool has no workers that had some, or was announced. As long as it is False,
        #: `transitioned` need not be called.
        self.lacks = False
        #: The pools that had workers when we last heard of them.
        self._present: set[str] = set()
        #: The pools that had workers at any time, or were announced.
        self._known: set[str] = set()
        #: The pools that were lost and are waited for, until they are back or given up.
        self._absent: dict[str, _Absence] = {}
        #: By pool, how many workers its cluster is about to start; 0 if it emptied the pool on
        #: purpose, and will fill it again. Until the cluster takes it back, or keeps its word.
        self._promised: dict[str, int] = {}
        #: The pools of which the log has said that tasks move away; until they are back.
        self._told_of_moves: set[str] = set()
        #: What the next `_attend` is about: tasks that have got stuck, by pool; None stands for
        #: all tasks of the pool.
        self._due: dict[str, set[TaskState] | None] = {}
        #: Called with each waiting task that has moved, when all of them have, and its old pool.
        self.changed: list[Callable[[TaskState, str], None]] = []
        #: The new pools of tasks that are on their way; during one call of `_move` only.
        self._moving: dict[TaskState, str] = {}

    def install(self) -> Undo:
        """Follow the workers, and let clusters say what they expect; returns what ends it.

        Raises
        ------
        DistributedChangedError
            If this release of distributed keeps waiting tasks in another way.
        """
        require_waiting(self.scheduler)
        self._present = set(self.roster.pools)
        self._known = set(self._present)
        with ExitStack() as undo:
            self.roster.changed.append(self._changed)
            undo.callback(self._forget)
            undo.callback(add_handler(self.scheduler, EXPECT_POOLS, self.expect))
            return undo.pop_all().close

    def _forget(self) -> None:
        if self._changed in self.roster.changed:
            self.roster.changed.remove(self._changed)
        for pool in list(self._absent):
            self._end(pool)
        self._promised.clear()
        self._due.clear()

    # ---- what others ask and tell

    def awaited(self) -> Collection[str]:
        """Name the pools without workers whose tasks are to wait."""
        return (self._absent.keys() | self._promised.keys()) - self.roster.pools.keys()

    def expect(self, numbers: Mapping[str, int | None]) -> bool:
        """Hear from a cluster how many workers some of its pools are to have.

        Clusters call it by the operation `EXPECT_POOLS` of the scheduler.

        Parameters
        ----------
        numbers : mapping of str to int or None
            By pool: 0 if it is emptied on purpose, to be filled again when there is work for it;
            a positive number if workers are being started; None if nobody sees to it any more.
            Tasks wait without limit in a pool that was emptied, and in one that is being
            started until its first worker has come. Whatever is lost after that is a loss.

        Returns
        -------
        bool
            True. A scheduler that does not know the operation answers None.
        """
        for pool, number in numbers.items():
            self._promised.pop(pool, None)
            here = pool in self.roster.pools
            if number is not None and (number == 0 or not here):
                self._promised[pool] = number
                self._known.add(pool)
                self._end(pool)
            elif not here and pool in self._known:
                self._begin(pool)
                self._attend_soon(pool, None)
        self._find_lacking()
        return True

    def transitioned(self, ts: TaskState, start: str, finish: str, stimulus_id: str) -> None:  # noqa: ARG002
        """Take note of a task that needs a pool without workers; called after each transition.

        It has to be the last of the parts that hear of a transition: the others still see a task
        that is taken out of a pool's queue as one of this pool.
        """
        if finish in READY:
            pool = bound_to(ts)
            if pool in self._known and pool not in self.roster.pools:
                self._attend_soon(pool, ts)
        elif finish == "released" and ts in self._moving:
            rebind(ts, self._moving.pop(ts))

    # ---- pools come and go

    def _find_lacking(self) -> None:
        self.lacks = not self._known <= self.roster.pools.keys()

    def _changed(self, state: PoolState) -> None:
        pool = state.name
        if not state.members:
            if pool in self._present:
                self._present.discard(pool)
                self._begin(pool)
                self._attend_soon(pool, None)
        elif pool not in self._present:
            self._present.add(pool)
            self._known.add(pool)
            self._told_of_moves.discard(pool)
            if self._promised.get(pool):
                del self._promised[pool]
            self._end(pool)
            # It may be a mirror of what waits for others.
            for other in self.awaited():
                self._attend_soon(other, None)
        self._find_lacking()

    def _begin(self, pool: str) -> None:
        """Begin to wait for a pool, unless its cluster sees to it."""
        if pool in self._absent or pool in self._promised:
            return
        seconds = _pool_timeout()
        timer = None
        if math.isfinite(seconds):
            timer = self.scheduler.loop.call_later(seconds, self._give_up, pool)
        self._absent[pool] = _Absence(seconds, timer)

    def _end(self, pool: str) -> None:
        absence = self._absent.pop(pool, None)
        if absence is not None and absence.timer is not None:
            self.scheduler.loop.remove_timeout(absence.timer)

    def _attend_soon(self, pool: str, ts: TaskState | None) -> None:
        """Attend to a pool when the scheduler has moved all tasks that it is about to move."""
        if not self._due:
            self.scheduler.loop.add_callback(self._attend)
        if ts is None:
            self._due[pool] = None
        elif (stuck := self._due.setdefault(pool, set())) is not None:
            stuck.add(ts)

    def _attend(self) -> None:
        due, self._due = self._due, {}
        due = {pool: due[pool] for pool in sorted(due) if pool not in self.roster.pools}
        whole = {pool for pool, stuck in due.items() if stuck is None}
        bound = self._bound(whole) if whole else {}
        for pool, stuck in due.items():
            tasks = bound[pool] if stuck is None else [ts for ts in stuck if _waits(ts, pool)]
            moved = self._move(pool, successors(pool, tasks, self._survivors()))
            waiting = sum(_waits(ts, pool) for ts in tasks)
            if waiting:
                self._begin(pool)
            self._tell(pool, waiting, moved)

    def _bound(self, pools: Collection[str]) -> dict[str, list[TaskState]]:
        """List all tasks of some pools."""
        found: dict[str, list[TaskState]] = {pool: [] for pool in pools}
        for ts in self.scheduler.tasks.values():
            # Most tasks are bound to the other pools, or to none: two look-ups each.
            if ts.resource_restrictions and (pool := bound_to(ts)) in found:
                found[pool].append(ts)
        return found

    def _survivors(self) -> Survivors:
        pools = self.roster.pools
        largest = max(pools.values(), key=lambda p: (p.nthreads, p.name), default=None)
        return Survivors(pools, self._holders, largest.name if largest is not None else None)

    def _holders(self, ts: TaskState) -> set[str]:
        return {pool.name for ws in ts.who_has or () for pool in self.roster.pools_of(ws)}

    # ---- to another pool

    def _move(self, lost: str, places: Mapping[TaskState, str]) -> Counter[str]:
        """Bind tasks to their new pools, and have those look for a worker that can run."""
        ready = {ts: pool for ts, pool in places.items() if ts.state in READY}
        for ts, pool in places.items():
            if ts not in ready and ts.state != "processing":
                rebind(ts, pool)
        for ts in places if self.changed else ():
            if ts.state == "waiting":
                for hear in self.changed:
                    hear(ts, lost)
        if ready:
            # Not before they are taken from the queue of their old pool: see `transitioned`.
            self._moving = ready.copy()
            resubmit(self.scheduler, ready, f"pool-lost-{lost}")
            self._moving = {}
        return Counter(pool for ts, pool in places.items() if ts.state in WAITING or ts in ready)

    def _tell(self, pool: str, waiting: int, moved: Counter[str]) -> None:
        """Tell the log what becomes of the tasks of a pool without workers."""
        if moved:
            goals = ", ".join(f"{n:,} in {other!r}" for other, n in sorted(moved.items()))
            message = "Pool %r has no worker any more: %s will run elsewhere: %s"
            # Tasks that get ready later follow one by one: dozens of lines would say the same.
            level = logging.DEBUG if pool in self._told_of_moves else logging.WARNING
            self._told_of_moves.add(pool)
            logger.log(level, message, pool, counted(moved.total(), "task"), goals)
        absence = self._absent.get(pool)
        if absence is not None and not absence.told:
            absence.told = waiting > 0
            level = logging.WARNING if waiting else logging.INFO
            message = "Pool %r has no worker any more: %s, and %s"
            logger.log(level, message, pool, _waiting(waiting), _outlook(absence.seconds))

    def _give_up(self, pool: str) -> None:
        """Fail what is left of a pool that has not come back in time."""
        seconds = self._absent.pop(pool).seconds
        tasks = self._bound({pool})[pool]
        places = successors(pool, tasks, self._survivors(), for_good=True)
        failing = [ts for ts in ready_tasks(self.scheduler) if bound_to(ts) == pool]
        failing = by_urgency(ts for ts in failing if ts not in places)
        if failing:
            waiting = sum(_waits(ts, pool) and ts not in places for ts in tasks)
            error = _pool_lost(pool, seconds, waiting, failing[0])
            logger.error("%s", error)
            fail(self.scheduler, failing, error, f"pool-timeout-{pool}")
        # What needed those has failed along with them, and is not to be moved.
        alive = {ts: other for ts, other in places.items() if ts.state in WAITING}
        self._tell(pool, 0, self._move(pool, alive))


def _waits(ts: TaskState, pool: str) -> bool:
    return ts.state in WAITING and bound_to(ts) == pool


def _pool_timeout() -> float:
    try:
        return read_configuration().pool_timeout
    except ConfigurationError as error:
        # Whatever is wrong with it, the tasks must not wait for ever.
        logger.error("%s; 60 s are taken", error)  # noqa: TRY400 - the message says it all
        return 60.0


def _waiting(number: int) -> str:
    return f"{counted(number, 'task')} wait{'s' * (number == 1)} for it"


def _outlook(seconds: float) -> str:
    if math.isinf(seconds):
        return f"{POOL_TIMEOUT} sets no limit to that"
    return f"will fail in {format_seconds(seconds)} if none comes"


def _pool_lost(pool: str, seconds: float, waiting: int, first: TaskState) -> PoolLostError:
    return PoolLostError(
        f"Pool {pool!r} has had no worker for {format_seconds(seconds)}, and {_waiting(waiting)}, "
        f"such as {first.key!r}. Start workers with the resource "
        f"'{pool_resource(pool)}=1', and compute again (client.retry(futures) goes on with what "
        f"is done). If the data is elsewhere as well, name its mirrors: pool({pool!r}, ...). If "
        f"workers take longer to come back, raise {POOL_TIMEOUT} in Dask's configuration on the "
        "scheduler."
    )
