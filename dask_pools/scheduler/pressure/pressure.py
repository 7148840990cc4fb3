"""Holds back the reads of a pool whose memory is taken by values that wait for another pool.

When two pools are joined over a slow link, each reads much faster than values cross. What is
read waits in memory for the values of the other pool, or to be fetched by it: in the end,
everything. So further reads wait as soon as such values take more than a share of the memory of
the pool; `dask_pools.scheduler.pressure.abroad` says which values these are.

    share of memory taken?  no --> the first read of the queue
           | yes
    a read that completes a consumer?  yes --> that one: its consumer runs, and lets values go
           | no
    a read of a computation in which nothing crosses?  yes --> that one: it cannot wait for a pool
           | no
    anything under way that could let values go?  yes --> none, until then
           | no
    the first read of the queue: with nothing under way, nothing would ever change

What it does not do: hold back because of values that wait for reads of their own pool, that are
wanted by a client (they stay whatever is read), or of pools some worker of which has no limit.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from dask.utils import format_bytes

from dask_pools.scheduler.pressure.abroad import Abroad
from dask_pools.scheduler.pressure.computations import Computations
from dask_pools.scheduler.pressure.motion import Motion
from dask_pools.scheduler.pressure.reads import Reads
from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.pressure import watch_secessions
from dask_pools.scheduler.roster import PoolState, Roster, bound_to

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskGroup, TaskPrefix, TaskState, TaskStateState

    from dask_pools.scheduler.private.queuing import Heap

logger = logging.getLogger(__name__)

#: A consumer that lacks more inputs is not looked at: reading them all would not be done soon.
NEARLY_COMPLETE = 8
#: States of tasks that may have a size: finished, or gone after that.
_SIZED: tuple[TaskStateState, ...] = ("memory", "released", "forgotten")


class Load:
    """What waits in one pool for other pools.

    Attributes
    ----------
    pool : str
        Its name.
    waiting : int
        Bytes of the values in its memory that wait for another pool.
    expected : int
        Bytes of those that are being read, and will wait; as far as one can know.
    reads : Reads
        Its queued reads.
    """

    __slots__ = ("expected", "pool", "reads", "values", "waiting")

    def __init__(self, pool: str, reads: Reads) -> None:
        self.pool = pool
        self.reads = reads
        self.waiting = 0
        self.expected = 0
        #: Number of the values in both, by the computation that could let them go.
        self.values: dict[int, int] = {}

    def count(self, computation: int, change: int) -> None:
        """Count a value in, or out."""
        number = self.values.get(computation, 0) + change
        if number:
            self.values[computation] = number
        else:
            self.values.pop(computation, None)


class Pressure:
    """Back-pressure by bytes: says which of the queued reads of a full pool may go on.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    roster : Roster
        The workers of each pool.
    share : float
        Share of the memory limits of a pool's workers that values may take which wait for
        another pool; infinite never holds back.
    wake : callable
        Called with the name of a pool that was held back, and may go on. It must not send
        tasks at once: distributed may be in the middle of moving others.
    """

    def __init__(
        self, scheduler: Scheduler, roster: Roster, share: float, wake: Callable[[str], None]
    ) -> None:
        self.scheduler = scheduler
        self.roster = roster
        self.share = share
        self.wake = wake
        self.computations = Computations(scheduler.task_groups)
        self.abroad = Abroad(self._held, self._freed, self._crosses)
        self.motion = Motion(self.computations, self.abroad.crossing, scheduler.running)
        self._loads: dict[str, Load] = {}
        #: Whether queued reads are followed: from when something crosses until none is queued.
        self._tracks = False
        #: The pool of each queued read, while they are.
        self._queued: dict[TaskState, str] = {}
        #: Number of unfinished tasks that fetch from another pool, by computation.
        self._crossings: dict[int, int] = {}
        #: How each waiting value was counted: where, for which computation, bytes.
        self._values: dict[TaskState, tuple[Load, int, int]] = {}
        #: The same for values that are being made.
        self._expected: dict[TaskState, tuple[Load, int, int]] = {}
        #: Pools for which no read was picked when it was asked for last.
        self._stopped: dict[str, None] = {}
        #: Whether something has changed by which a stopped pool may go on.
        self._news = False
        #: Whether tasks fetch from other pools, or values wait for them. As long as it is False,
        #: `transitioned` need not be called but for tasks that begin to wait.
        self.follows = False
        #: Whether what is in motion was asked for since then, and is kept therefore.
        self._follows_motion = False

    def install(self) -> Undo:
        """Learn the present state of all tasks, and follow it; returns what ends it.

        Transitions have to be told by `transitioned`, and queues by `queued` and `dequeued`.
        """
        for ts in self.scheduler.tasks.values():
            if ts.state in {"waiting", "queued", "no-worker", "processing"}:
                self.abroad.transitioned(ts, "waiting")
        self._find_following()
        with contextlib.ExitStack() as undo:
            self.roster.changed.append(self._pool_changed)
            undo.callback(self.roster.changed.remove, self._pool_changed)
            undo.callback(watch_secessions(self.scheduler, self._seceded))
            return undo.pop_all().close

    def waiting(self, pool: str) -> int:
        """Return the bytes in the memory of a pool that wait for another pool."""
        load = self._loads.get(pool)
        return 0 if load is None else load.waiting

    def holds_back(self, pool: str) -> bool:
        """Say whether the next read of a pool has to be chosen by `pick`."""
        load = self._loads.get(pool) if self.follows else None
        return load is not None and self._is_full(load)

    def pick(self, pool: str, queue: Heap) -> TaskState | None:
        """Choose the next read of a pool that is held back.

        Parameters
        ----------
        pool : str
            Its name.
        queue : HeapSet
            Its queue; not empty.

        Returns
        -------
        TaskState or None
            None if none of them may go on; the pool is woken when that has changed.
        """
        load = self._load(pool)
        ts = load.reads.first()
        if ts is None:
            if self._moves(load):
                self._stop(load)
                return None
            ts = queue.peek()
            logger.debug("Pool %r reads %r, or nothing would go on", pool, ts.key)
        return ts

    def queued(self, ts: TaskState) -> None:
        """Note that a read waits in the queue of its pool."""
        if self._tracks and self._track(ts):
            self._news = True
            if self._crossings and self._crosses_in(self.computations.of(ts)):
                for waiter in ts.waiters or ():
                    self._look_at(waiter)

    def dequeued(self, ts: TaskState) -> None:
        """Note that a read does not wait in a queue any more."""
        pool = self._queued.pop(ts, None) if self._tracks else None
        if pool is not None:
            self._load(pool).reads.discard(ts)
            # Not as soon as nothing crosses: in a moment all may have to be looked at again.
            self._tracks = self.follows or bool(self._queued)

    def _track_all(self) -> None:
        if not self._tracks:
            self._tracks = True
            for ts in self.scheduler.queued:
                self._track(ts)

    def _track(self, ts: TaskState) -> bool:
        pool = bound_to(ts)
        if pool is None:
            return False
        self._queued[ts] = pool
        self._load(pool).reads.add(ts)
        return True

    def transitioned(self, ts: TaskState, start: str, finish: str, stimulus_id: str) -> None:
        """Follow a task that has moved to another state; called after each transition."""
        if finish == "waiting":
            self.computations.wanted(ts, stimulus_id)
            if not (ts.dependencies or self.follows):
                return  # a read, and nothing crosses
        self.abroad.transitioned(ts, finish)
        if self.follows or self.abroad.is_busy():
            self._follow(ts, start, finish)

    def _follow(self, ts: TaskState, start: str, finish: str) -> None:
        """Follow a task while some fetch from other pools."""
        self._track_all()
        if finish == "processing":
            if self._follows_motion:
                self.motion.start(ts)
        elif start == "processing":
            self.motion.end(ts)
            self._news = True
        if self._crossings or self._expected:
            self._expect(ts, finish)
            if self._crosses_in(self.computations.of(ts)):
                if finish == "memory":
                    for waiter in ts.waiters or ():
                        self._look_at(waiter)
                elif finish == "waiting":
                    self._look_at(ts)
        if self._news and self._stopped:
            self._reconsider()
        self._find_following()

    def _find_following(self) -> None:
        """Find out whether there is anything to follow."""
        self.follows = bool(self._expected) or self.abroad.is_busy()
        if self.follows:
            self._track_all()
            return
        self._tracks = bool(self._queued)
        if self._follows_motion:
            self._follows_motion = False
            self.motion.clear()

    def rebound(self, ts: TaskState) -> None:
        """Look anew at a task which has got another pool before it was sent to a worker."""
        self.abroad.rebound(ts)
        if self._news and self._stopped:
            self._reconsider()
        self._find_following()

    # What counts

    def _held(self, value: TaskState, waiter: TaskState) -> None:
        if value.who_wants:
            return
        pool = bound_to(value) or self._place_of(value)
        if pool is not None:
            record = (self._load(pool), self.computations.of(waiter), value.get_nbytes())
            self._values[value] = record
            record[0].waiting += record[2]
            record[0].count(record[1], +1)

    def _freed(self, value: TaskState) -> None:
        record = self._values.pop(value, None)
        if record is not None:
            record[0].waiting -= record[2]
            record[0].count(record[1], -1)
            self._news = True

    def _crosses(self, ts: TaskState, does: bool) -> None:
        computation = self.computations.of(ts)
        number = self._crossings.get(computation, 0) + (1 if does else -1)
        if number:
            self._crossings[computation] = number
            return
        del self._crossings[computation]
        self._news = True
        for load in self._loads.values():
            load.reads.crosses_no_more(computation)

    def _crosses_in(self, computation: int) -> bool:
        return computation in self._crossings

    def _place_of(self, value: TaskState) -> str | None:
        """Return the pool of the worker that has an unplaced value."""
        ws = min(value.who_has or (), key=lambda ws: ws.address, default=None)
        pools = () if ws is None else self.roster.pools_of(ws)
        return pools[0].name if pools else None

    def _expect(self, ts: TaskState, finish: str) -> None:
        """Count a value that is being made, if it will wait for another pool."""
        record = self._expected.pop(ts, None)
        if record is not None:
            record[0].expected -= record[2]
            record[0].count(record[1], -1)
            self._news = True
        if finish != "processing" or (pool := bound_to(ts)) is None:
            return
        size = _mean_size(ts.group) or _mean_size(ts.prefix)
        if not size or ts.who_wants or ts in self.abroad.crossing:
            return
        for waiter in ts.waiters or ():
            if self.abroad.would_hold(ts, waiter):
                record = (self._load(pool), self.computations.of(waiter), size)
                self._expected[ts] = record
                record[0].expected += size
                record[0].count(record[1], +1)
                return

    # What follows

    def _load(self, pool: str) -> Load:
        load = self._loads.get(pool)
        if load is None:
            load = self._loads[pool] = Load(pool, Reads(self.computations, self._crosses_in))
        return load

    def _is_full(self, load: Load) -> bool:
        state = self.roster.pools.get(load.pool)
        if state is None or not state.memory_limit:
            return False
        return load.waiting + load.expected > self.share * state.memory_limit

    def _stop(self, load: Load) -> None:
        if load.pool not in self._stopped:
            self._stopped[load.pool] = None
            logger.debug(
                "Pool %r reads no more for now: %s wait there for other pools, and %s will",
                load.pool,
                format_bytes(load.waiting),
                format_bytes(load.expected),
            )

    def _moves(self, load: Load) -> bool:
        if not self._follows_motion:
            self._follows_motion = True
            for ws in self.scheduler.workers.values():
                for ts in ws.processing:
                    if ts not in ws.long_running:
                        self.motion.start(ts)
        return any(self.motion.goes_on(computation) for computation in list(load.values))

    def _look_at(self, consumer: TaskState) -> None:
        """Find out whether some queued reads of one pool are all that a task still lacks."""
        missing = consumer.waiting_on
        if not missing or not len(missing) < min(len(consumer.dependencies), NEARLY_COMPLETE + 1):
            return
        pools = set()
        for ts in missing:
            pool = self._queued.get(ts)
            if pool is None:
                if ts.state != "processing" or ts in self.abroad.crossing:
                    return
                pool = bound_to(ts)
            pools.add(pool)
        if len(pools) == 1 and (pool := pools.pop()) is not None:
            for ts in missing:
                if ts in self._queued:
                    self._load(pool).reads.completes(ts)
                    self._news = True

    def _reconsider(self) -> None:
        """Wake the pools for which a read could be picked now."""
        self._news = False
        for pool in list(self._stopped):
            load = self._loads[pool]
            if not self._is_full(load) or load.reads.first() is not None or not self._moves(load):
                del self._stopped[pool]
                self.wake(pool)

    def _pool_changed(self, pool: PoolState) -> None:
        # Workers with their memory have come or gone; or they are paused, and tasks of theirs
        # will not go on for which any pool has waited. The scheduler knows that a moment later.
        self._stopped[pool.name] = None
        stopped, self._stopped = self._stopped, {}
        for name in stopped:
            self.wake(name)

    def _seceded(self, ts: TaskState) -> None:
        self.motion.end(ts)
        self._reconsider()


def _mean_size(tasks: TaskGroup | TaskPrefix) -> int:
    """Return the mean bytes of the finished tasks of a kind; 0 if there are none."""
    finished = sum(tasks.states[state] for state in _SIZED)
    return tasks.nbytes_total // finished if finished else 0
