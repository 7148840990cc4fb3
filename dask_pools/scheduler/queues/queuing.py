"""Queues of the tasks that are bound to a pool, one per pool.

distributed sends root tasks to workers only as slots open, so that the values of the first are
used up before the next are read. It does so for tasks without restrictions alone; tasks bound
to a pool would all be sent at once, and fill the memory of their pool. Here they wait, too.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import math
from time import time
from typing import TYPE_CHECKING, TypeAlias

from distributed.core import Status

from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.queuing import (
    has_room_for_unplaced,
    is_queueable,
    is_rootish,
    keep_queues,
    replace_queue,
)
from dask_pools.scheduler.queues.queues import BackPressure, NoPressure, Queues
from dask_pools.scheduler.queues.slots import Slots, is_transfer
from dask_pools.scheduler.roster import PoolState, Roster, bound_only, bound_to

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Scheduler
    from distributed.scheduler import TaskState, TaskStateState, WorkerState

#: What is put for a pool where the tasks without one are meant; no pool has this name.
_UNPLACED = ""

#: The next task of a pool: its priority, the pool, and the task itself.
_Turn: TypeAlias = "tuple[tuple[float, ...], str, TaskState]"


class Queuing:
    """Lets root tasks that are bound to a pool wait for room in their pool.

    Those are the tasks which distributed would queue if they were not restricted and their
    pool were the cluster. Tasks which need something else than their pool (a GPU, a certain
    worker), transfers, actors, and the outputs of P2P are sent at once, as are the tasks of a
    pool with infinite saturation.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    roster : Roster
        The workers of each pool.
    slots : Slots
        Who of them has room.
    pressure : BackPressure, optional
        Holds back the tasks of a pool although there is room; nobody by default.

    Notes
    -----
    Tasks that use what others have made are never queued, and so come first. Queued ones come
    in the order of their priorities over all pools and none; one whose pool is full, or held
    back, is passed over, so that no pool waits for another. As long as no task of a pool is
    queued, distributed's own code deals with all others.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        roster: Roster,
        slots: Slots,
        pressure: BackPressure | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.roster = roster
        self.slots = slots
        self.pressure: BackPressure = NoPressure() if pressure is None else pressure
        #: The queued tasks; made when it is installed.
        self.queues: Queues
        #: Whether they will be served as soon as the present event is dealt with.
        self._woken = False
        self._installed = False

    def install(self) -> Undo:
        """Queue tasks from now on; returns what ends it, and sends what is still queued."""
        scheduler = self.scheduler
        with contextlib.ExitStack() as undo:
            stock = scheduler.queued
            show = functools.partial(replace_queue, scheduler)
            self.queues = Queues(stock, self.pressure, show)
            undo.callback(keep_queues(scheduler, self, self.queues, self.slots.changed))
            self.slots.look_at_all()
            self.roster.moved.append(self._moved)
            undo.callback(self.roster.moved.remove, self._moved)
            hooks = undo.pop_all()
        self._installed = True

        def end() -> None:
            if self._installed:
                self._installed = False
                hooks.close()
                self._hand_over()
                replace_queue(scheduler, stock)

        return end

    def touch(self, pool: str) -> None:
        """Note that a pool may have become able to run a queued task.

        It is looked at when distributed next looks at its own queue, which is the last step of
        every event that could open a slot.
        """
        self.slots.opened[pool] = None

    def wake(self, pool: str) -> None:
        """Note the same where no such event is under way; may be called at any time."""
        self.touch(pool)
        if not self._woken:
            self._woken = True
            self.scheduler.loop.add_callback(self._wake)

    # What distributed asks

    def may_wait(self, ts: TaskState) -> bool:
        """Say whether a ready task waits for room in its pool."""
        pool = bound_only(ts)
        if pool is None:
            return False
        state = self.roster.pools.get(pool)
        if not is_rootish(self.scheduler, ts, 0 if state is None else state.nthreads):
            return False
        if is_transfer(ts) or not is_queueable(ts):
            return False
        return not math.isinf(self.slots.saturation(pool))

    def worker_at_once(self, ts: TaskState) -> WorkerState | None:
        """Choose the worker for a task that is ready now; None if it has to queue."""
        pool = bound_to(ts)
        if pool is None or not self.slots.has_room(pool):
            return None
        if self.queues.of(pool) or self.pressure.holds_back(pool):
            # There is room, so that nobody else has to finish before it is its turn.
            self.wake(pool)
            return None
        return self.slots.choose(pool)

    def worker_for_queued(self, ts: TaskState) -> WorkerState | None:
        """Choose the worker for a queued task; None if its pool is full."""
        return self.slots.choose(self.queues.pool_of[ts])

    def serve(self, stimulus_id: str) -> None:
        """Send queued tasks to the workers of the pools that may have got room."""
        pools = self.slots.opened_pools()
        if self.queues.unplaced:
            pools.append(_UNPLACED)
        turns = [turn for pool in pools if (turn := self._turn(pool)) is not None]
        heapq.heapify(turns)
        while turns:
            _, pool, ts = heapq.heappop(turns)
            # What was sent before it can have made it needless, or have taken the room.
            if ts.state == "queued":
                self.scheduler.transitions({ts.key: "processing"}, stimulus_id)
                if ts.state == "queued":
                    continue
            if (turn := self._turn(pool)) is not None:
                heapq.heappush(turns, turn)

    def _turn(self, pool: str) -> _Turn | None:
        ts: TaskState | None
        if pool == _UNPLACED:
            queue = self.queues.unplaced
            if not queue or not has_room_for_unplaced(self.scheduler):
                return None
            ts = queue.peek()
        else:
            queue = self.queues.of(pool)
            if not queue or not self.slots.has_room(pool):
                return None
            holds_back = self.pressure.holds_back(pool)
            ts = self.pressure.pick(pool, queue) if holds_back else queue.peek()
        return None if ts is None else (ts.priority or (), pool, ts)

    def _wake(self) -> None:
        self._woken = False
        if self._installed and not self._is_closing():
            self.serve(f"pool-slots-{time()}")

    def _moved(self, ws: WorkerState, pools: tuple[PoolState, ...]) -> None:
        self.slots.forget(ws, pools)
        if self.roster.pools_of(ws):
            self.slots.changed[ws.address] = ws
        for pool in pools:
            # New resources of a worker are no event after which distributed looks at its queue.
            if self.queues.of(pool.name):
                self.wake(pool.name)

    def _hand_over(self) -> None:
        """Give the tasks of the queues of pools back to distributed, which queues none of them."""
        # Those that come last are dealt with first.
        tasks = sorted(self.queues.pool_of, key=lambda ts: ts.priority or (), reverse=True)
        if not self._is_closing():
            recommendations: dict[Key, TaskStateState] = {ts.key: "released" for ts in tasks}
            self.scheduler.transitions(recommendations, f"pool-queues-end-{time()}")
            return
        for ts in tasks:
            self.queues.discard(ts)
            self.queues.unplaced.add(ts)

    def _is_closing(self) -> bool:
        return self.scheduler.status in {Status.closing, Status.closed}
