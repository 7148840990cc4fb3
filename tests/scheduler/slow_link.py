"""A slow link between the pools of a local cluster, for the pieces of shuffles.

What goes from a worker to another pool takes its time, one message after the other; now and
then the answer to one is lost, so that the sender takes it for undelivered and sends it again.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from dask.sizeof import sizeof
from distributed import Worker, WorkerPlugin
from distributed.shuffle._core import ShuffleRun


class SlowLink(WorkerPlugin):
    """Slows down what a worker sends to workers of other pools.

    Parameters
    ----------
    pools : dict
        The pool of each worker, by address; an unknown one is far away.
    rate : float
        Bytes per second.
    lost : float
        Share of the answers that are lost.
    """

    name = "slow-link"

    def __init__(self, pools: dict[str, str], rate: float, lost: float) -> None:
        self.pools, self.rate, self.lost = pools, rate, lost

    def setup(self, worker: Worker) -> None:
        stock, line = ShuffleRun._send, asyncio.Lock()
        chance = random.Random(str(worker.name))  # noqa: S311 - no secret
        worker.pieces_sent_far = 0  # type: ignore[attr-defined]

        async def send(run: Any, address: str, shards: Any) -> Any:
            if self.pools.get(address) == self.pools.get(run.local_address):
                return await stock(run, address, shards)
            nbytes = sizeof(shards)
            async with line:
                await asyncio.sleep(0.01 + nbytes / self.rate)
            answer = await stock(run, address, shards)
            worker.pieces_sent_far += nbytes  # type: ignore[attr-defined]
            if chance.random() < self.lost:
                raise OSError("the answer was lost on the way")
            return answer

        ShuffleRun._send = send  # type: ignore[method-assign]
