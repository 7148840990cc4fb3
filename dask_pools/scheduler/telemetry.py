"""Bytes per link, counted from the workers' own transfer logs.

All bytes are bytes in memory: what `dask.sizeof.sizeof` said of a value on the worker that
made it, as the scheduler knows it. The wire carries more (serialisation, headers) or less
(compression, off by default). Counted is what workers fetch from workers for their tasks;
what clients scatter and gather, and the shards of P2P shuffles, are not in these logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from dask.typing import Key

from dask_pools.errors import PluginMissingError
from dask_pools.model import Link
from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.transfers import NAME, OPERATION, pickled_counter

if TYPE_CHECKING:
    from distributed import Client, Scheduler

#: Operations of the scheduler; called through `link_bytes` and `crossings`.
LINK_BYTES = "dask_pools_link_bytes"
CROSSINGS = "dask_pools_crossings"

#: Bytes by (source pool, target pool): a link as it travels to the client.
BytesByPools: TypeAlias = dict[tuple[str, str], int]


class Crossing(NamedTuple):
    """One value that went over a link once.

    Parameters
    ----------
    key : str or tuple
        Its key.
    link : Link
        The pools of the worker that sent it and of the one that received it.
    nbytes : int
        Its size in memory, in bytes.
    """

    key: Key
    link: Link
    nbytes: int


class LinkCounter:
    """On the scheduler: asks the workers, and adds up by link.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler; nothing is installed on it by making this object.
    membership : Membership
        Its pools.

    Notes
    -----
    A worker which leaves takes its counts along. Those of the last time when somebody asked
    are kept, and go on being counted.
    """

    def __init__(self, scheduler: Scheduler, membership: Membership) -> None:
        self.scheduler = scheduler
        self.membership = membership
        #: By worker (its id, since an address can be used again): its address, and the
        #: bytes it had fetched, by source, when it was last asked. As long as this object.
        self.last_known: dict[str, tuple[str, dict[str, int]]] = {}

    async def count_on_workers(self) -> None:
        """Have all present and future workers count what they fetch."""
        if NAME in self.scheduler.worker_plugins:
            return
        self.scheduler.worker_plugins[NAME] = pickled_counter()
        await self._count_on(list(self.scheduler.workers))

    async def _count_on(self, workers: list[str]) -> None:
        message = {"op": "plugin-add", "plugin": pickled_counter(), "name": NAME}
        # One worker that does not answer must not keep the plugin off all others.
        await self.scheduler.broadcast(msg=message, workers=workers, on_error="ignore")

    def leave_future_workers(self) -> None:
        """Have workers that come from now on not count any more."""
        self.scheduler.worker_plugins.pop(NAME, None)

    async def leave_workers(self) -> None:
        """Give all present workers back their plain logs."""
        message = {"op": "plugin-remove", "name": NAME}
        await self.scheduler.broadcast(msg=message, on_error="ignore")

    async def link_bytes(self) -> BytesByPools:
        """Ask all workers, and return the bytes by (source pool, target pool)."""
        await self._ask()
        total: BytesByPools = {}
        for target, bytes_from in self.last_known.values():
            for source, nbytes in bytes_from.items():
                link = self.membership.link(source, target)
                if link is not None:
                    pools = (link.source, link.target)
                    total[pools] = total.get(pools, 0) + nbytes
        return total

    async def crossings(self) -> list[tuple[Key, str, str, int]]:
        """List (key, source pool, target pool, bytes) of what the workers' logs hold."""
        found = []
        for target, answer in (await self._ask(entries=True)).items():
            for source, sizes in answer["entries"]:
                link = self.membership.link(source, target)
                if link is not None:
                    found += [(k, link.source, link.target, n or 0) for k, n in sizes.items()]
        return found

    async def _ask(self, *, entries: bool = False) -> Mapping[str, Any]:
        message = {"op": OPERATION, "entries": entries}
        answers = await self.scheduler.broadcast(msg=message, on_error="ignore")
        # A worker which the plugin has not reached does not know the operation, and answers None.
        without = [address for address, answer in answers.items() if answer is None]
        if without:
            await self._count_on(without)
            answers |= await self.scheduler.broadcast(
                msg=message, workers=without, on_error="ignore"
            )
        counted = {}
        for address, answer in answers.items():
            ws = self.scheduler.workers.get(address)
            # It may have left while we asked.
            if answer is not None and ws is not None:
                self.last_known[ws.server_id] = (address, answer["bytes_from"])
                counted[address] = answer
        return counted


def link_bytes(client: Client) -> dict[Link, int]:
    """Count the bytes that have crossed each link since the scheduler plugin was installed.

    Parameters
    ----------
    client : Client
        A client of the cluster.

    Returns
    -------
    dict
        Bytes in memory by directed `Link`; links that nothing crossed are not in it. With an
        asynchronous client: an awaitable of it.

    Raises
    ------
    PluginMissingError
        If the scheduler has no plugin of dask_pools.

    Notes
    -----
    Bytes that a worker fetched count for the links between its pool and the pools of the
    workers which they came from. Of a worker that has left, those are counted which it had
    fetched when somebody last asked.
    """
    return cast(dict[Link, int], client.sync(_link_bytes, client))


async def _link_bytes(client: Client) -> dict[Link, int]:
    answer: BytesByPools = await _call(client, LINK_BYTES)
    return {Link(*pools): nbytes for pools, nbytes in sorted(answer.items())}


def crossings(client: Client) -> list[Crossing]:
    """List the values that crossed a link, as far as the workers' logs still hold them.

    Parameters
    ----------
    client : Client
        A client of the cluster.

    Returns
    -------
    list of Crossing
        One for each value and each time that a worker fetched it from another pool. With
        an asynchronous client: an awaitable of it. A worker's log holds its last
        transfers only, by default 1000 (``distributed.admin.low-level-log-length``).

    Raises
    ------
    PluginMissingError
        If the scheduler has no plugin of dask_pools.
    """
    return cast(list[Crossing], client.sync(_crossings, client))


async def _crossings(client: Client) -> list[Crossing]:
    answer = await _call(client, CROSSINGS)
    return [Crossing(key, Link(source, target), n) for key, source, target, n in answer]


async def _call(client: Client, operation: str) -> Any:
    assert client.scheduler is not None  # noqa: S101 - a client that is connected has one
    answer = await getattr(client.scheduler, operation)()
    # A scheduler answers None to an operation that it does not know.
    if answer is None:
        raise PluginMissingError(
            f"The scheduler at {client.scheduler.address} does not count bytes per link, because "
            "the plugin of dask_pools is not installed there. Call propagate_pools() first, "
            "or client.register_plugin(dask_pools.scheduler.plugin.PoolsPlugin())."
        )
    return answer
