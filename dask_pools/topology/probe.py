"""How fast one link is: a round trip, and values that are fetched over it.

A worker of the source makes values that do not compress, and a worker of the
target fetches them one after the other, as it does in any computation. How long that took is in
its own log of transfers; how long a round trip takes, it asks the other worker several times.
"""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from distributed import KilledWorker
from distributed.client import FutureCancelledError

from dask_pools.errors import MeasurementError
from dask_pools.graph.annotate import pool
from dask_pools.model import Link
from dask_pools.topology.quantities import DURATION, SIZE
from dask_pools.units import counted, format_bytes

if TYPE_CHECKING:
    from distributed import Client, Worker

logger = logging.getLogger(__name__)

#: Round trips whose median is taken, after one that opens the connection.
_PINGS = 9
#: Before anything else that waits on the worker.
_PRIORITY = 1_000_000


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one link.

    Parameters
    ----------
    link : Link
        With its bandwidth in bytes per second and its round trip in seconds, to three
        digits, and what else is known of it.
    nbytes : int
        Bytes in memory that were moved for it, as the receiving worker logged them.
    """

    link: Link
    nbytes: int


@dataclass(frozen=True, slots=True)
class Effort:
    """What the measurement of one link may cost.

    Parameters
    ----------
    nbytes : int
        Bytes of each of its transfers.
    rounds : int
        Number of its transfers.
    timeout : float
        Seconds after which it is given up.
    """

    nbytes: int
    rounds: int
    timeout: float

    @classmethod
    def of(cls, nbytes: str | float, rounds: int, timeout: str | float) -> Effort:
        """Check and convert what a caller asks for; `nbytes` for all rounds together."""
        number: object = rounds
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ValueError(f"rounds is a whole number, 1 or greater, not {rounds!r}")
        each = int(SIZE.read(nbytes) // rounds)
        if each < 1:
            raise ValueError(
                f"nbytes={nbytes!r} is too little for {counted(rounds, 'transfer')}: give some "
                "megabytes, such as '32 MB'"
            )
        seconds = DURATION.read(timeout)
        if not seconds > 0:
            raise ValueError(f"timeout is a time greater than 0, such as '5 min', not {timeout!r}")
        return cls(each, rounds, seconds)


def bandwidth_of(transfers: Iterable[tuple[int, float]], latency: float) -> float:
    """Estimate a bandwidth in bytes per second from transfers of (bytes, seconds).

    A transfer takes a round trip, and the time of its bytes. At least half of what it took is
    ascribed to the bytes: on a short and fast link the round trip is not known well enough.

    Examples
    --------
    >>> bandwidth_of([(10_000_000, 0.12), (10_000_000, 0.22), (10_000_000, 9.0)], latency=0.02)
    50000000.0
    """
    return statistics.median(
        nbytes / max(seconds - latency, seconds / 2) for nbytes, seconds in transfers
    )


async def measure_link(
    client: Client, link: Link, source: str, target: str, effort: Effort
) -> Measurement:
    """Measure one link, from one worker to another.

    Parameters
    ----------
    client : Client
        A client in its own event loop.
    link : Link
        What is known of the link.
    source, target : str
        Addresses of a worker of the pool that sends, and of one that receives.
    effort : Effort
        What it may cost.

    Raises
    ------
    MeasurementError
        If the workers do not reach each other, or not in time.
    """
    what = f"The link {link}, from worker {source} to {target}, could not be measured"
    advice = (
        "See whether these workers may connect to each other; if data must not cross this link, "
        "say `allowed: false` of it in the topology, and it is left out."
    )
    try:
        async with asyncio.timeout(effort.timeout):
            latency = await _round_trip(client, source, target)
            transfers = [
                await _transfer(client, source, target, effort.nbytes) for _ in range(effort.rounds)
            ]
    except TimeoutError as error:
        raise MeasurementError(
            f"{what}: it took more than {effort.timeout:g} s. {advice} Or give it more time, "
            "or fewer bytes."
        ) from error
    except (OSError, KilledWorker, FutureCancelledError) as error:
        raise MeasurementError(f"{what}: {error}. {advice}") from error
    speed = float(f"{bandwidth_of(transfers, latency):.3g}")
    found = replace(link, bandwidth=speed, latency=float(f"{latency:.3g}"))
    nbytes = sum(n for n, _ in transfers)
    moved = format_bytes(nbytes)
    logger.info("%s: %s/s, %.3g s, measured with %s", link, format_bytes(speed), latency, moved)
    return Measurement(found, nbytes)


async def _round_trip(client: Client, source: str, target: str) -> float:
    """Time how long the target waits for an answer of the source: the median, in seconds."""

    # Inside of this function, so that it goes to the worker by value: dask_pools may not be there.
    async def ping(dask_worker: Worker) -> list[float]:
        peer = dask_worker.rpc(source)
        seconds = []
        for _ in range(_PINGS + 1):
            start = time.perf_counter()
            await peer.echo(data=b"")
            seconds.append(time.perf_counter() - start)
        return seconds

    answers: dict[str, list[float]] = await client.run(ping, workers=[target])
    # The first one opened the connection.
    return statistics.median(answers[target][1:])


async def _transfer(client: Client, source: str, target: str, nbytes: int) -> tuple[int, float]:
    """Carry one value from worker to worker; return bytes and seconds from the target's log."""
    # A pin around the call is for data, and there is none here.
    with pool(None):
        value = client.submit(os.urandom, nbytes, workers=[source], pure=False, priority=_PRIORITY)
        copy = client.submit(len, value, workers=[target], pure=False, priority=_PRIORITY)
    key = value.key
    try:
        # In the client's event loop this is an awaitable, whatever its annotation says.
        await cast(Awaitable[int], copy.result())
        # It, too, goes to the worker by value.
        answers = await client.run(
            lambda dask_worker: [
                (entry["total"], entry["duration"])
                for entry in dask_worker.transfer_incoming_log
                if key in entry["keys"] and entry["who"] == source
            ],
            workers=[target],
        )
    finally:
        copy.release()
        value.release()
    if not answers[target]:
        raise MeasurementError(
            f"Worker {target} has no record of the transfer from {source}. Its log has to hold "
            "at least one entry: set distributed.admin.low-level-log-length in its Dask "
            "configuration to 1000, which is the default."
        )
    found: tuple[int, float] = answers[target][-1]
    return found
