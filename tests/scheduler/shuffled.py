"""Shuffles of small data in pools, and the bytes that their pieces take over links."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dask.sizeof import sizeof
from distributed import SchedulerPlugin
from distributed.shuffle._core import ShuffleRun

from dask_pools.model import pools_of_resources
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.roster import Roster
from dask_pools.scheduler.shuffles.p2p import Shuffles

#: Shuffles by P2P, of arrays and of frames. Stealing, which knows of pools too, is another part.
P2P: dict[str, Any] = {
    "distributed.scheduler.work-stealing": False,
    "array.rechunk.method": "p2p",
    "dataframe.shuffle.method": "p2p",
    "distributed.p2p.storage.disk": False,
}


@contextlib.contextmanager
def counted_pieces(scheduler: Any) -> Iterator[Counter[tuple[str, str]]]:
    """Count the bytes of the pieces that workers of this process send, by their pools."""
    counts: Counter[tuple[str, str]] = Counter()
    pools = {
        ws.address: "".join(pools_of_resources(ws.resources)) for ws in scheduler.workers.values()
    }
    stock = ShuffleRun._send

    async def send(self: Any, address: str, shards: Any) -> Any:
        counts[pools[self.local_address], pools[address]] += sizeof(shards)
        return await stock(self, address, shards)

    ShuffleRun._send = send  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        ShuffleRun._send = stock  # type: ignore[method-assign]


class Started(SchedulerPlugin):
    """Notes in which pools the steps of shuffles are started, also those started in vain."""

    STEPS = ("p2p", "transfer", "barrier", "join")

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.pools: set[str] = set()
        scheduler.add_plugin(self, name="started")

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if finish == "processing" and any(step in str(key) for step in self.STEPS):
            ws = self.scheduler.tasks[key].processing_on
            self.pools.update(pools_of_resources(ws.resources))


def crossing(counts: Counter[tuple[str, str]]) -> float:
    """Tell the share of the bytes which went from one pool to another."""
    far = sum(nbytes for (source, target), nbytes in counts.items() if source != target)
    return far / sum(counts.values())


def install(scheduler: Any) -> Any:
    """Keep the shuffles of a scheduler in their pools; returns what takes it back."""
    roster = Roster(scheduler, Membership())
    unwatch = roster.watch()
    undo = Shuffles(scheduler, roster).install()

    def both() -> None:
        undo()
        unwatch()

    return both
