"""`client.replicate` and `scatter(broadcast=True)`: over each link once, then inside the pools."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dask.typing import Key
from distributed.core import Status
from distributed.metrics import time

from dask_pools.scheduler.private.replicas import Operation, copy_to, delete_from, replica_lock
from dask_pools.scheduler.replicas.spreading import choose_round, choose_surplus, choose_targets

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

    from dask_pools.scheduler.roster import PoolState, Roster


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for: so many replicas among these workers, copied in a tree this wide."""

    workers: frozenset[WorkerState]
    n: int
    branching: int


class Replicating:
    """On the scheduler: replicates values.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    roster : Roster
        The workers of its pools.
    needed_in : callable
        The pools that need a value.
    stock : callable
        What distributed does, which is done as long as there are no pools.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        roster: Roster,
        needed_in: Callable[[TaskState], Collection[PoolState]],
        stock: Operation,
    ) -> None:
        self.scheduler = scheduler
        self.roster = roster
        self.needed_in = needed_in
        self.stock = stock
        #: The pools into which values were replicated on purpose; as long as the values.
        self.kept: dict[TaskState, frozenset[PoolState]] = {}

    async def replicate(
        self,
        keys: Collection[Key],
        n: int | None = None,
        workers: Iterable[str] | None = None,
        branching_factor: int = 2,
        delete: bool = True,
        stimulus_id: str | None = None,
    ) -> dict[str, Any] | None:
        """Have so many workers hold replicas of values, or all of some workers.

        Parameters
        ----------
        keys : collection of keys
            The values.
        n : int, optional
            Number of replicas among the workers; by default, all of them.
        workers : iterable of str, optional
            Their addresses; by default, all that are running.
        branching_factor : int
            How many workers copy from one holder at once.
        delete : bool
            Whether replicas beyond that number are deleted.
        stimulus_id : str, optional
            For distributed's log of events.

        Returns
        -------
        dict or None
            What failed, if it is not possible.

        Raises
        ------
        ValueError
            If no replica would be left.
        """
        scheduler = self.scheduler
        if not self.roster.pools:
            answer: dict[str, Any] | None = await self.stock(
                keys=keys,
                n=n,
                workers=workers,
                branching_factor=branching_factor,
                delete=delete,
                stimulus_id=stimulus_id,
            )
            return answer
        async with replica_lock(scheduler):
            request = self._request(n, workers, branching_factor)
            values = [scheduler.tasks[key] for key in sorted(dict.fromkeys(keys), key=str)]
            lost = [ts.key for ts in values if not ts.who_has]
            if lost:
                return {"status": "partial-fail", "keys": lost}
            if delete:
                await self._delete(values, request, stimulus_id or f"replicate-{time()}")
            await self._copy(values, request)
            for ts in values:
                self._keep(ts, request)
        message = {
            "action": "replicate",
            "workers": [ws.address for ws in request.workers],
            "key-count": len(keys),
            "branching-factor": branching_factor,
        }
        scheduler.log_event("all", message)
        return None

    def forget(self, ts: TaskState) -> None:
        """Forget a value that does not exist any more."""
        self.kept.pop(ts, None)

    def _request(self, n: int | None, workers: Iterable[str] | None, branching: int) -> _Request:
        scheduler = self.scheduler
        if workers is None:
            chosen = frozenset(scheduler.running)
        else:
            named = [scheduler.workers[w] for w in scheduler.workers_list(workers)]
            chosen = frozenset(ws for ws in named if ws.status is Status.running)
        count = len(chosen) if n is None else min(n, len(chosen))
        if count <= 0:
            raise ValueError(
                f"{n} replicas among {len(chosen)} running workers would leave none: "
                "replicate cannot delete data, release the futures instead"
            )
        return _Request(chosen, count, branching)

    async def _delete(self, values: list[TaskState], request: _Request, stimulus_id: str) -> None:
        surplus: dict[WorkerState, list[Key]] = defaultdict(list)
        for ts, allowed, needing in self._each(values, request):
            who = choose_surplus(ts.who_has or set(), allowed, request.n, self._pool_of, needing)
            for ws in who:
                surplus[ws].append(ts.key)
        await asyncio.gather(
            *(delete_from(self.scheduler, ws.address, k, stimulus_id) for ws, k in surplus.items())
        )

    async def _copy(self, values: list[TaskState], request: _Request) -> None:
        failed: dict[TaskState, set[WorkerState]] = defaultdict(set)
        while values:
            gathers: dict[WorkerState, list[TaskState]] = defaultdict(list)
            copied: dict[TaskState, None] = {}
            for ts, allowed, needing in self._each(values, request):
                holders = ts.who_has or set()
                able = [ws for ws in allowed if ws not in failed[ts]]
                targets = choose_targets(holders, able, request.n, self._pool_of, needing)
                for ws in choose_round(targets, holders, self._pool_of, request.branching):
                    gathers[ws].append(ts)
                    copied[ts] = None
            answers = await asyncio.gather(*(self._gather(ws, who) for ws, who in gathers.items()))
            for (ws, tasks), keys in zip(gathers.items(), answers, strict=True):
                for ts in tasks:
                    # Also what the worker has got, and lost again at once.
                    if ts.key in keys or ws not in (ts.who_has or ()):
                        failed[ts].add(ws)
            values = list(copied)

    async def _gather(self, ws: WorkerState, values: list[TaskState]) -> set[Key]:
        who_has = {ts.key: [holder.address for holder in ts.who_has or ()] for ts in values}
        failed = await copy_to(self.scheduler, ws.address, who_has)
        message = {"action": "replicate-add", "who_has": who_has}
        self.scheduler.log_event(ws.address, message)
        return failed

    def _each(
        self, values: list[TaskState], request: _Request
    ) -> Iterable[tuple[TaskState, Sequence[WorkerState], list[PoolState | None]]]:
        """Go through the values that still exist, each with another worker in front."""
        workers = sorted(request.workers, key=lambda ws: ws.address)
        for i, ts in enumerate(values):
            if ts.state == "memory" and ts.who_has:
                first = i % len(workers)
                yield ts, workers[first:] + workers[:first], self._needing(ts)

    def _needing(self, ts: TaskState) -> list[PoolState | None]:
        return [*sorted(self.needed_in(ts), key=lambda pool: pool.name)]

    def _pool_of(self, ws: WorkerState) -> PoolState | None:
        pools = self.roster.pools_of(ws)
        return pools[0] if pools else None

    def _keep(self, ts: TaskState, request: _Request) -> None:
        here = (ts.who_has or set()) & request.workers
        pools = frozenset(pool for ws in here for pool in self.roster.pools_of(ws))
        if ts.state == "memory" and pools:
            self.kept[ts] = pools
