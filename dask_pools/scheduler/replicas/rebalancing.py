"""`client.rebalance` inside of pools: memory is evened out, and nothing crosses a link."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dask.typing import Key

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import WorkerState

    from dask_pools.scheduler.private.replicas import Operation
    from dask_pools.scheduler.roster import PoolState, Roster


class Rebalancing:
    """On the scheduler: rebalances pool by pool.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    roster : Roster
        The workers of its pools.
    stock : callable
        What distributed does, here with the workers of one pool after the other.
    """

    def __init__(self, scheduler: Scheduler, roster: Roster, stock: Operation) -> None:
        self.scheduler = scheduler
        self.roster = roster
        self.stock = stock

    async def rebalance(
        self,
        keys: Iterable[Key] | None = None,
        workers: Iterable[str] | None = None,
        stimulus_id: str | None = None,
    ) -> dict[str, Any]:
        """Even out the memory of the workers of each pool, and of those without a pool.

        Parameters
        ----------
        keys : iterable of keys, optional
            The values that may be moved; by default, all.
        workers : iterable of str, optional
            The addresses of the workers among which they may be; by default, of all.
        stimulus_id : str, optional
            For distributed's log of events.

        Returns
        -------
        dict
            ``{"status": "OK"}``; or ``"partial-fail"``, and the ``keys`` which do not exist or
            could not be moved.
        """
        here = self.scheduler.workers
        chosen = here.values() if workers is None else [here[address] for address in workers]
        allowed = None if keys is None else set(keys)
        failed: dict[Key, None] = {}
        for group in self._groups(chosen):
            answer = await self.stock(
                keys=allowed,
                # Of those that have left while another pool was rebalanced, nothing is to move.
                workers=[ws.address for ws in group if here.get(ws.address) is ws],
                stimulus_id=stimulus_id,
            )
            failed.update(dict.fromkeys(answer.get("keys", ())))
        return {"status": "partial-fail", "keys": list(failed)} if failed else {"status": "OK"}

    def _groups(self, workers: Iterable[WorkerState]) -> list[list[WorkerState]]:
        groups: dict[tuple[PoolState, ...], list[WorkerState]] = {}
        for ws in workers:
            # Those of two pools go by themselves, lest they pass on what crosses then.
            groups.setdefault(self.roster.pools_of(ws), []).append(ws)
        return list(groups.values())
