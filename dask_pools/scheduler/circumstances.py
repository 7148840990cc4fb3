"""What the scheduler would tell the optimiser, asked for by a client that plans."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, cast

from dask.typing import Key

from dask_pools.errors import PluginMissingError
from dask_pools.graph.submission import Learned, Residence, Submission
from dask_pools.model import Pool, Topology

if TYPE_CHECKING:
    from distributed import Client

#: The operation of the scheduler; called through `circumstances`.
CIRCUMSTANCES = "dask_pools_circumstances"


class Circumstances:
    """On the scheduler: answers what a submission would be told now.

    Parameters
    ----------
    describe : callable
        Describes a submission, as for the optimiser.
    """

    def __init__(self, describe: Callable[[], Submission]) -> None:
        self.describe = describe

    async def answer(self, keys: Sequence[Key]) -> dict[str, Any]:
        """Describe the pools, what was learned, and where some values are, in plain data."""
        now = self.describe()
        found = {key: now.residence(key) for key in keys}
        return {
            "pools": [(pool.name, pool.workers, pool.nthreads) for pool in now.topology.pools],
            "learned": [(kind, known.nbytes, known.seconds) for kind, known in now.learned.items()],
            "residences": [(key, r.pin, r.nbytes) for key, r in found.items() if r is not None],
        }


def circumstances(client: Client, keys: Collection[Key]) -> Submission:
    """Ask the scheduler what it would tell the optimiser.

    Parameters
    ----------
    client : Client
        A client of the cluster.
    keys : collection of keys
        The values of earlier computations that the graph uses.

    Returns
    -------
    Submission
        The pools that have workers now, where these values are, and what earlier runs have
        shown. With an asynchronous client: an awaitable of it.

    Raises
    ------
    PluginMissingError
        If the scheduler has no plugin of dask_pools.
    """
    return cast(Submission, client.sync(_circumstances, client, list(keys)))


async def _circumstances(client: Client, keys: list[Key]) -> Submission:
    assert client.scheduler is not None  # noqa: S101 - a client that is connected has one
    answer = await getattr(client.scheduler, CIRCUMSTANCES)(keys=keys)
    # A scheduler answers None to an operation that it does not know.
    if answer is None:
        raise PluginMissingError(
            f"The scheduler at {client.scheduler.address} does not know of pools, because the "
            "plugin of dask_pools is not installed there. Call propagate_pools() first, or "
            "client.register_plugin(dask_pools.scheduler.plugin.PoolsPlugin())."
        )
    residences = {key: Residence(tuple(pin), n) for key, pin, n in answer["residences"]}
    return Submission(
        topology=Topology(tuple(Pool(*numbers) for numbers in answer["pools"])),
        residence=residences.get,
        known=residences,
        learned={kind: Learned(n, seconds) for kind, n, seconds in answer["learned"]},
    )
