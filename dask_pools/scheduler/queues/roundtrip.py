"""How many reads a worker is given ahead, so that it does not wait for the scheduler.

A worker that has finished tells the scheduler, and gets the next task one round trip later. On
a cluster in one place that is nothing; to a pool 30 ms away, a thread that reads for 20 ms and was
given one task at a time would idle most of its life. So the round trip to each pool is measured in
the background, and as many tasks are sent ahead as a thread finishes within it. Not more: what
is read too early waits in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from distributed.metrics import monotonic

from dask_pools.scheduler.configuration import Configuration
from dask_pools.scheduler.private.base import Undo
from dask_pools.scheduler.private.queuing import worker_saturation
from dask_pools.scheduler.roster import PoolState, Roster

if TYPE_CHECKING:
    from distributed import Scheduler

logger = logging.getLogger(__name__)

#: Tasks per thread, at most. It covers 85 ms (over the Atlantic) for reads of 10 ms; shorter ones
#: cost scheduler and worker as much as they take. At 30 ms, 6 was within a tenth of what sending
#: everything at once gains, and each task more is a value more in memory.
MOST = 10.0
#: A round trip that is a smaller share of the time of a read is not worth a task in memory: the
#: tenth that distributed adds by default covers it.
NEGLIGIBLE = 0.05
#: Each read changes the mean duration by this share of the difference.
WEIGHT = 0.1

#: Seconds after which the round trips are measured again.
INTERVAL = 60.0
#: The same after the first time for some pool: while its workers come, the scheduler is busy.
SOON = 5.0
#: Seconds after which a worker does not answer any more.
TIMEOUT = 5.0
#: So many workers of a pool are asked, others the next time.
ASKED = 2
#: Each is asked so many times on one connection; the fastest answer counts, because nothing but
#: the way takes time in every one of them.
TIMES = 3

#: Asks a worker, by its address, for an answer that costs it nothing.
Ask = Callable[[str], Awaitable[object]]


def derived_saturation(stock: float, round_trip: float | None, duration: float | None) -> float:
    """Derive how many tasks a worker of a pool is given for each of its threads.

    Parameters
    ----------
    stock : float
        What distributed would give: the configuration's
        ``distributed.scheduler.worker-saturation``.
    round_trip : float or None
        Seconds from the scheduler to the pool and back; None if unknown.
    duration : float or None
        Seconds that a read takes on average; None if unknown.

    Returns
    -------
    float
        At least `stock`.

    Examples
    --------
    >>> derived_saturation(1.1, round_trip=0.03, duration=0.01)
    4.1
    >>> derived_saturation(1.1, round_trip=0.001, duration=1.0)
    1.1
    """
    if round_trip is None or duration is None or round_trip <= NEGLIGIBLE * duration:
        return stock
    ahead = round_trip / duration if duration > 0 else math.inf
    return max(stock, min(stock + ahead, MOST))


class RoundTrips:
    """The round trip to each pool, how long its reads take, and what follows.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    roster : Roster
        The workers of each pool.
    configuration : callable
        Returns the settings; called again after `forget_settings`.
    ask : callable, optional
        How a worker is asked. Default: to echo nothing, on a connection that is kept.
    clock : callable
        The time in seconds.

    Attributes
    ----------
    measured : dict
        Seconds of the round trip, by pool; those that were measured.
    durations : dict
        Mean seconds of the reads that finished, by pool; later ones count for more.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        roster: Roster,
        configuration: Callable[[], Configuration],
        *,
        ask: Ask | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._scheduler = scheduler
        self._roster = roster
        self._configuration = configuration
        self._ask = ask if ask is not None else self._echo
        self._clock = clock
        self._turn = 0
        self._news = asyncio.Event()
        self.measured: dict[str, float] = {}
        self.durations: dict[str, float] = {}
        #: By pool, what was answered last under the present settings: it is asked for far more
        #: often than it changes.
        self._saturations: dict[str, float] = {}

    def saturation(self, pool: str) -> float:
        """Return how many reads a worker of a pool is given for each of its threads.

        Returns
        -------
        float
            What is configured for the pool, else for all pools, else `derived_saturation`.
        """
        known = self._saturations.get(pool)
        if known is None:
            known = self._saturations[pool] = self._derive(pool)
        return known

    def forget_settings(self) -> None:
        """Learn that the settings may have changed."""
        self._saturations.clear()

    def _derive(self, pool: str) -> float:
        configuration = self._configuration()
        configured = configuration.saturation.get(pool, configuration.default_saturation)
        if configured is not None:
            return configured
        return derived_saturation(
            worker_saturation(self._scheduler), self.measured.get(pool), self.durations.get(pool)
        )

    def finished(self, pool: str, seconds: float) -> None:
        """Take into account how long a read has taken.

        Parameters
        ----------
        pool : str
            The pool in which it ran.
        seconds : float
            How long the worker has computed.
        """
        mean = self.durations.get(pool, seconds)
        self.durations[pool] = mean + WEIGHT * (seconds - mean)
        self._saturations.pop(pool, None)

    def install(self) -> Undo:
        """Begin to measure in the background; returns what ends it.

        Has to be called on the event loop of the scheduler.
        """
        background = asyncio.get_running_loop().create_task(
            self._keep_measuring(), name="dask-pools-round-trips"
        )
        self._roster.changed.append(self._changed)

        def undo() -> None:
            background.cancel()
            if self._changed in self._roster.changed:
                self._roster.changed.remove(self._changed)

        return undo

    def _changed(self, pool: PoolState) -> None:
        if pool.running and pool.name not in self.measured:
            self._news.set()
        elif not pool.members:
            # Whoever comes next under this name may be elsewhere.
            self.measured.pop(pool.name, None)
            self.durations.pop(pool.name, None)
            self._saturations.pop(pool.name, None)

    async def _keep_measuring(self) -> None:
        while True:
            asked, before = set(self._roster.pools), set(self.measured)
            await self.measure()
            self._news.clear()
            if not self._roster.pools.keys() <= asked:
                continue  # a pool has come meanwhile
            first = self.measured.keys() - before
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), SOON if first else INTERVAL)

    async def measure(self) -> None:
        """Measure the round trip to each pool once. A pool that does not answer stays as it is."""
        self._turn += 1
        pools = list(self._roster.pools.values())
        await asyncio.gather(*map(self._measure, pools))

    async def _measure(self, pool: PoolState) -> None:
        addresses = sorted(ws.address for ws in pool.running)
        start = ASKED * (self._turn - 1) % len(addresses) if addresses else 0
        chosen = (addresses[start:] + addresses[:start])[:ASKED]
        took = await asyncio.gather(*map(self._time, chosen))
        fastest = min(took, default=math.inf)
        if fastest < math.inf and pool.members:
            self.measured[pool.name] = fastest
            self._saturations.pop(pool.name, None)

    async def _time(self, address: str) -> float:
        """Time the round trip to a worker, in seconds; infinite if it does not answer."""
        try:
            return await asyncio.wait_for(self._fastest(address), TIMEOUT)
        except Exception as error:  # noqa: BLE001 - measuring must never disturb a scheduler
            logger.debug("Worker %s does not tell the round trip to it: %r", address, error)
            return math.inf

    async def _fastest(self, address: str) -> float:
        await self._ask(address)  # which connects
        took = []
        for _ in range(TIMES):
            start = self._clock()
            await self._ask(address)
            took.append(self._clock() - start)
        return min(took)

    async def _echo(self, address: str) -> object:
        return await self._scheduler.rpc(address).echo(data=None)
