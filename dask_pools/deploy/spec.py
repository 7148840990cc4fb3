"""What the workers of a local cluster are to be: names, numbers and options, as plain data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from distributed import Nanny, Worker

from dask_pools.errors import UnknownPoolError, near_miss, one_of
from dask_pools.model import RESOURCE_PREFIX, check_pool_name, pool_resource, pools_of_resources

#: Where everything listens: whoever is not on this machine has no business here.
HOST = "127.0.0.1"

#: Options of workers that the cluster sets itself.
_TAKEN = frozenset(
    {"scheduler_ip", "scheduler_port", "scheduler_file", "scheduler_sni", "nanny", "services"}
    | {"host", "interface", "port", "worker_port", "protocol", "security"}
    | {"contact_address", "listen_address", "dashboard", "dashboard_address"}
    | {"name", "nthreads", "memory_limit", "silence_logs", "worker_class", "data"}
    | {"args", "kwargs", "worker_kwargs"}  # not options, but what collects them
)


def check_pools(pools: Mapping[str, int]) -> dict[str, int]:
    """Check the number of workers of each pool of a new cluster.

    Raises
    ------
    TypeError
        If it is not a mapping of strings to integers.
    PoolNameError
        If the name of a pool is not well formed.
    ValueError
        If there is no pool, or one without a worker.
    """
    if not isinstance(pools, Mapping):
        raise TypeError(
            "pools are given as a mapping of names to numbers of workers, such as "
            f"{{'ecmwf': 2, 'eumetsat': 2}}, not {pools!r} of type {type(pools).__name__}"
        )
    if not pools:
        raise ValueError("a cluster needs at least one pool, such as {'ecmwf': 2}")
    return {
        check_pool_name(pool): check_count(n, f"the number of workers of pool {pool!r}", least=1)
        for pool, n in pools.items()
    }


def check_count(n: object, what: str, least: int) -> int:
    """Return a number if it is an integer, and large enough.

    Examples
    --------
    >>> check_count(2, "the number of threads", least=1)
    2
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"{what} is an integer, not {n!r} of type {type(n).__name__}")
    if n < least:
        raise ValueError(f"{what} is {n}, and has to be at least {least}")
    return n


def check_worker_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options that are passed on to each worker.

    Raises
    ------
    TypeError
        If a worker has no such option, or the cluster sets it itself.
    ValueError
        If resources are given that would make all workers members of a pool.
    """
    known = {*inspect.signature(Nanny).parameters, *inspect.signature(Worker).parameters} - _TAKEN
    own = [
        "data",
        "hide",
        "storage_options",
        "threads_per_worker",
        "memory_limit",
        "dashboard_address",
        "name",
    ]
    for option in options:
        if option not in known:
            raise TypeError(
                f"LocalPoolCluster has no option {option!r}.{near_miss(option, [*known, *own])} "
                f"Its own options are {one_of(own)}, and others of a worker, such as 'env'; "
                "numbers of workers are given by pool, and everything is on 127.0.0.1"
            )
    if clash := pools_of_resources(options.get("resources") or {}):
        raise ValueError(
            f"resources= is for all workers, so it cannot name the pools {one_of(clash)}: "
            f"the cluster sets the resources that begin with {RESOURCE_PREFIX!r}"
        )
    return dict(options)


def check_dashboard_address(address: str | None) -> str | None:
    """Complete the address of the dashboard with the host, on which alone it may listen.

    Examples
    --------
    >>> check_dashboard_address(":8787")
    '127.0.0.1:8787'

    Raises
    ------
    ValueError
        If it names another host, or no port.
    """
    if address is None:
        return None
    host, _, port = str(address).rpartition(":")
    if host not in ("", HOST, "localhost") or not port.isdecimal():
        raise ValueError(
            f"dashboard_address={address!r} is not ':<port>', such as ':8787'; ':0' takes any "
            f"free port, None shows no dashboard. A local cluster listens on {HOST} only"
        )
    return f"{HOST}:{port}"


def worker_names(pool: str, n: int) -> tuple[str, ...]:
    """Name the workers of a pool.

    Examples
    --------
    >>> worker_names("ecmwf", 2)
    ('ecmwf-0', 'ecmwf-1')
    """
    return tuple(f"{pool}-{i}" for i in range(n))


def worker_spec(pool: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe one worker of a pool, as `distributed.SpecCluster` wants it.

    Examples
    --------
    >>> worker_spec("ecmwf", {"nthreads": 2, "resources": {"GPU": 1}})["options"]
    {'nthreads': 2, 'resources': {'GPU': 1, 'pool-ecmwf': 1}}
    """
    resources = {**(options.get("resources") or {}), pool_resource(pool): 1}
    return {"cls": Nanny, "options": {**options, "resources": resources}}


def check_scale(numbers: Mapping[str, int], pools: Mapping[str, Any]) -> dict[str, int]:
    """Check the numbers of workers to which some pools are to be scaled.

    Parameters
    ----------
    numbers : mapping of str to int
        Wanted number of workers by pool.
    pools : mapping
        By name, the pools that the cluster has.

    Raises
    ------
    UnknownPoolError
        If the cluster has no such pool.
    TypeError, ValueError
        If a number is not an integer, or negative.
    """
    for pool in numbers:
        if pool not in pools:
            raise UnknownPoolError(
                f"This cluster has no pool {pool!r} to scale. Its pools: {one_of(pools)}."
                f"{near_miss(str(pool), pools)}"
            )
    return {
        pool: check_count(n, f"the number of workers of pool {pool!r}", least=0)
        for pool, n in numbers.items()
    }
