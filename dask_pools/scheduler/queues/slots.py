"""Which workers of a pool have room for another of its queued tasks.

The question is asked for every queued task, and answered without a look at all workers: those
with room are kept in line, the one whose load has changed last at the end.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dask_pools.model import TRANSFER
from dask_pools.scheduler.roster import PoolState, Roster

if TYPE_CHECKING:
    from distributed.scheduler import TaskState, WorkerState

#: So many workers are compared for one task, however large the pool. The best of a few taken
#: in turn is nearly as good as the best of all: what is added by the last of them is little.
COMPARED = 8


class Slots:
    """The slots of the workers of all pools, and who has one open.

    A worker has ``ceil(saturation * threads)`` slots, at least one, as in distributed. A
    worker of several pools has one number of slots for all, by the largest of their
    saturations: by different ones, the pool with more slots would keep the others out.

    A task takes a slot while it is processed there, whatever pool it is bound to. Two kinds
    do not: tasks that have seceded, as in distributed, and transfers. A transfer waits for a
    link most of the time, and reads of its pool must not wait with it.

    Parameters
    ----------
    roster : Roster
        The workers of each pool.
    saturation : callable
        Returns the number of tasks per thread of a worker of a pool, by the pool's name.
    """

    def __init__(self, roster: Roster, saturation: Callable[[str], float]) -> None:
        self.roster = roster
        self.saturation = saturation
        #: Pools in which somebody has had room since this was last emptied.
        self.opened: dict[str, None] = {}
        #: Workers by address whose load has changed since they were last looked at. That is
        #: done when somebody asks, once for all that has happened to a worker meanwhile.
        self.changed: dict[str, WorkerState] = {}
        #: By pool, the running workers with an open slot but for those that have changed.
        self._lines: dict[str, OrderedDict[str, WorkerState]] = {}
        #: The addresses of all of these.
        self._in_line: set[str] = set()
        #: The worker of each transfer that is processed now, and their number by address.
        self._carried_by: dict[TaskState, WorkerState] = {}
        self._carries: dict[str, int] = {}

    def look_at_all(self) -> None:
        """Learn the present state of all workers of pools."""
        for pool in self.roster.pools.values():
            for ws in sorted(pool.running, key=_address):
                self.changed[ws.address] = ws
                for ts in ws.processing:
                    self._count(ts, ws)

    def forget(self, ws: WorkerState, pools: Iterable[PoolState]) -> None:
        """Learn that a worker takes no tasks of some pools for now, or has left."""
        for pool in pools:
            if (line := self._lines.get(pool.name)) is not None:
                line.pop(ws.address, None)
        self._in_line.discard(ws.address)
        self.changed.pop(ws.address, None)

    def transitioned(self, ts: TaskState, start: str, finish: str, stimulus_id: str) -> None:  # noqa: ARG002
        """Follow transfers as they start and end; called after each transition."""
        if finish == "processing":
            if ts.processing_on is not None:
                self._count(ts, ts.processing_on)
        elif start == "processing" and ts in self._carried_by:
            ws = self._carried_by.pop(ts)
            self._carries[ws.address] -= 1
            if not self._carries[ws.address]:
                del self._carries[ws.address]
            if self.roster.pools_of(ws):  # it has not left
                self.changed[ws.address] = ws

    def has_room(self, pool: str) -> bool:
        """Say whether any worker of a pool has an open slot."""
        if self.changed:
            self._look()
        return bool(self._lines.get(pool))

    def in_line(self, pool: str) -> list[WorkerState]:
        """Return some workers of a pool with open slots, at most `COMPARED`."""
        if not self.has_room(pool):
            return []
        return list(itertools.islice(self._lines[pool].values(), COMPARED))

    def choose(self, pool: str) -> WorkerState | None:
        """Choose the worker for a queued task: the least loaded of those first in line."""
        return _least_loaded(self._lines[pool].values()) if self.has_room(pool) else None

    def opened_pools(self) -> list[str]:
        """Return the pools in which somebody has had room since this was last asked."""
        if self.changed:
            self._look()
        pools = list(self.opened)
        self.opened.clear()
        return pools

    def _look(self) -> None:
        # It is the same object for whoever notes a change.
        workers = list(self.changed.values())
        self.changed.clear()
        pools_of, in_line = self.roster.pools_of, self._in_line
        for ws in workers:
            pools = pools_of(ws)
            if not pools:
                continue
            if not self._is_open(ws, pools):
                # Often it was full before: it has finished a task, and got the next.
                if ws.address in in_line:
                    self.forget(ws, pools)
                continue
            self._in_line.add(ws.address)
            for pool in pools:
                line = self._lines.get(pool.name)
                if line is None:
                    line = self._lines[pool.name] = OrderedDict()
                line[ws.address] = ws
                line.move_to_end(ws.address)
                self.opened[pool.name] = None

    def _is_open(self, ws: WorkerState, pools: tuple[PoolState, ...]) -> bool:
        if ws not in pools[0].running:
            return False
        saturation = self.saturation(pools[0].name)
        if len(pools) > 1:
            saturation = max(self.saturation(pool.name) for pool in pools)
        taken = len(ws.processing) - len(ws.long_running)
        if self._carries:
            taken -= self._carries.get(ws.address, 0)
        # The same as to compare with the slots rounded up.
        return taken < saturation * ws.nthreads or taken < 1

    def _count(self, ts: TaskState, ws: WorkerState) -> None:
        if is_transfer(ts) and ts not in self._carried_by:
            self._carried_by[ts] = ws
            self._carries[ws.address] = self._carries.get(ws.address, 0) + 1
            self.changed[ws.address] = ws


def is_transfer(ts: TaskState) -> bool:
    """Ask whether a task carries a value into its pool."""
    return ts.annotations is not None and TRANSFER in ts.annotations


def _address(ws: WorkerState) -> str:
    return ws.address


def _least_loaded(line: Iterable[WorkerState]) -> WorkerState:
    few = itertools.islice(line, COMPARED)
    best = next(few)
    least = len(best.processing) / best.nthreads
    for ws in few:
        if not least:
            break
        load = len(ws.processing) / ws.nthreads
        if load < least:
            best, least = ws, load
    return best
