"""Taking everything back from a cluster, at the word of a client."""

from __future__ import annotations

from collections.abc import Callable

from dask_pools.scheduler.telemetry import LinkCounter

#: The operation of the scheduler by which a client has everything taken back.
UNINSTALL = "dask_pools_uninstall"


class Removal:
    """On the scheduler: takes back what is installed there, and on its workers.

    Parameters
    ----------
    detach : callable
        Takes back what is installed on the scheduler itself.
    links : LinkCounter
        What is installed on the workers.
    """

    def __init__(self, detach: Callable[[], None], links: LinkCounter) -> None:
        self.detach = detach
        self.links = links

    async def answer(self) -> bool:
        """Leave a stock scheduler at once, then workers with plain logs."""
        self.detach()
        await self.links.leave_workers()
        return True
