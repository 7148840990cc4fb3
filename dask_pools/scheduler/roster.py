"""The workers of each pool as the scheduler sees them, kept as they come, go, pause and resume.

Every decision about a task that is bound to a pool starts here, so that none of them has to look
at all workers of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dask_pools.model import RESOURCE_PREFIX
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.workers import watch_workers

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

_PREFIX = len(RESOURCE_PREFIX)


class PoolState:
    """What the scheduler knows of the workers of one pool.

    Attributes
    ----------
    name : str
        Its name.
    members : set of WorkerState
        Its workers.
    running : set of WorkerState
        Those that take tasks: neither paused nor about to leave.
    nthreads : int
        Threads of all its workers.
    memory_limit : int
        Memory limits of all its workers, in bytes; 0 if one of them has none.
    """

    __slots__ = ("members", "memory_limit", "name", "nthreads", "running")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: set[WorkerState] = set()
        self.running: set[WorkerState] = set()
        self.nthreads = 0
        self.memory_limit = 0

    def __repr__(self) -> str:
        return f"<Pool {self.name!r}: {len(self.running)} of {len(self.members)} workers running>"

    def add_up(self) -> None:
        """Add up the threads and the memory of the members."""
        self.nthreads = sum(ws.nthreads for ws in self.members)
        limits = [ws.memory_limit for ws in self.members]
        self.memory_limit = sum(limits) if all(limits) else 0


class Roster:
    """The workers of each pool, by worker and by pool.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    membership : Membership
        The same by address, kept together with it.

    Notes
    -----
    It is up to date before the scheduler moves any task because of a worker: see
    `watch_workers`.
    """

    def __init__(self, scheduler: Scheduler, membership: Membership) -> None:
        self.scheduler = scheduler
        self.membership = membership
        #: Every pool that ever had a worker: its state stays one and the same object.
        self._known: dict[str, PoolState] = {}
        self._pools: dict[str, PoolState] = {}
        self._pools_of: dict[WorkerState, tuple[PoolState, ...]] = {}
        #: Called with a pool after its members, or those of them that run, have changed.
        self.changed: list[Callable[[PoolState], None]] = []
        #: Called before those, once, with the worker that has made the change, and its pools;
        #: a worker of no pool is heard of as well when it leaves, pauses or resumes.
        self.moved: list[Callable[[WorkerState, tuple[PoolState, ...]], None]] = []
        for ws in scheduler.workers.values():
            self._join(ws)

    @property
    def pools(self) -> Mapping[str, PoolState]:
        """The pools that have workers, by name."""
        return self._pools

    def pools_of(self, ws: WorkerState) -> tuple[PoolState, ...]:
        """Return the pools of a worker; empty if it has none, or has left."""
        return self._pools_of.get(ws, ())

    def running(self, pool: str) -> set[WorkerState]:
        """Return the workers of a pool that take tasks; the set itself, not to be changed."""
        state = self._pools.get(pool)
        return state.running if state is not None else _NOBODY

    def watch(self) -> Undo:
        """Follow the workers of the scheduler; returns what ends it."""
        return watch_workers(self.scheduler, self._join, self._leave, self._turn)

    def _join(self, ws: WorkerState) -> None:
        self.membership.join(ws.address, ws.resources, ws.nthreads)
        self._drop(ws)
        names = self.membership.pools_of(ws.address)
        if not names:
            return
        for name in names:
            self._pools[name] = self._known.setdefault(name, PoolState(name))
        pools = tuple(self._pools[name] for name in names)
        self._pools_of[ws] = pools
        running = ws in self.scheduler.running
        for pool in pools:
            pool.members.add(ws)
            if running:
                pool.running.add(ws)
            pool.add_up()
        self._tell(ws, pools)

    def _leave(self, address: str) -> None:
        self.membership.leave(address)
        ws = self.scheduler.workers[address]
        self._tell(ws, self._drop(ws))

    def _turn(self, ws: WorkerState, running: bool) -> None:
        pools = self.pools_of(ws)
        for pool in pools:
            (pool.running.add if running else pool.running.discard)(ws)
        self._tell(ws, pools)

    def _drop(self, ws: WorkerState) -> tuple[PoolState, ...]:
        pools = self._pools_of.pop(ws, ())
        for pool in pools:
            pool.members.discard(ws)
            pool.running.discard(ws)
            pool.add_up()
            if not pool.members:
                del self._pools[pool.name]
        return pools

    def _tell(self, ws: WorkerState, pools: tuple[PoolState, ...]) -> None:
        for note in self.moved:
            note(ws, pools)
        for pool in pools:
            for hear in self.changed:
                hear(pool)


_NOBODY: set[WorkerState] = set()


def bound_to(ts: TaskState) -> str | None:
    """Return the pool to which a task is bound by its restrictions; None if it is unplaced."""
    restrictions = ts.resource_restrictions
    if restrictions:
        for name in restrictions:
            if name.startswith(RESOURCE_PREFIX):
                return name[_PREFIX:]
    return None


def bound_only(ts: TaskState) -> str | None:
    """Return the pool of a task if that is all by which it is restricted.

    A task that needs a GPU as well, or a certain worker, or takes a quantity of its pool's
    resource, is bound to its pool, but not by this.
    """
    restrictions = ts.resource_restrictions
    if not restrictions or len(restrictions) != 1 or ts.worker_restrictions or ts.host_restrictions:
        return None
    ((name, quantity),) = restrictions.items()
    return name[_PREFIX:] if name.startswith(RESOURCE_PREFIX) and not quantity else None
