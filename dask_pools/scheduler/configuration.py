"""What those who run a cluster can set, in the configuration of Dask on its scheduler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask
from dask.utils import parse_timedelta

from dask_pools.errors import ConfigurationError

#: Where the settings are in Dask's configuration.
SATURATION = "dask_pools.saturation"
MEMORY_SHARE = "dask_pools.memory-share"
POOL_TIMEOUT = "dask_pools.pool-timeout"

DEFAULT_MEMORY_SHARE = 0.2
DEFAULT_POOL_TIMEOUT = "60s"


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of the scheduler's part.

    Parameters
    ----------
    saturation : mapping of str to float
        By pool, how many reads are sent to a worker for each of its threads, at least.
    default_saturation : float or None
        The same for all other pools; None derives it from the round trip to the pool.
    memory_share : float
        Share of the memory limits of a pool's workers that values may take which wait for
        another pool, before further reads are held back; infinite never holds back.
    pool_timeout : float
        Seconds after which tasks fail whose pool has no workers; infinite waits for ever.
    """

    saturation: Mapping[str, float]
    default_saturation: float | None
    memory_share: float
    pool_timeout: float


def read_configuration() -> Configuration:
    """Read and check the settings.

    Raises
    ------
    ConfigurationError
        If one of them is not as described.

    Examples
    --------
    >>> import dask
    >>> with dask.config.set({"dask_pools.saturation": {"eumetsat": 3}}):
    ...     read_configuration().saturation
    {'eumetsat': 3.0}
    """
    given = dask.config.get(SATURATION, None)
    by_pool = given if isinstance(given, Mapping) else {}
    return Configuration(
        saturation={str(pool): _positive(SATURATION, value) for pool, value in by_pool.items()},
        default_saturation=None if given is None or by_pool else _positive(SATURATION, given),
        memory_share=_positive(MEMORY_SHARE, dask.config.get(MEMORY_SHARE, DEFAULT_MEMORY_SHARE)),
        pool_timeout=_seconds(POOL_TIMEOUT, dask.config.get(POOL_TIMEOUT, DEFAULT_POOL_TIMEOUT)),
    )


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not number > 0:
        raise ConfigurationError(
            f"{name} is {value!r} in Dask's configuration on the scheduler, and has to be a "
            f"number above 0; .inf sets no limit"
        )
    return number


def _seconds(name: str, value: Any) -> float:
    try:
        seconds = math.inf if value is None else float(parse_timedelta(value))
    except (KeyError, TypeError, ValueError):
        seconds = math.nan
    if not seconds > 0:
        raise ConfigurationError(
            f"{name} is {value!r} in Dask's configuration on the scheduler, and has to be a time "
            "above 0 such as '60s' or '10 minutes'; null waits for ever"
        )
    return seconds
