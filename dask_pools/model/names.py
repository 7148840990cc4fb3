"""Names: of pools, and of the annotations and resources by which Dask is told of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from dask_pools.errors import PoolNameError

#: Key of the layer (and task) annotation that holds a *pin*: the tuple of allowed pools.
PIN = "pool"
#: Key of the annotation of a task which a policy has *placed*: the name of its pool.
PLACEMENT = "placement"
#: Key of the annotation of a transfer task: (source pool, target pool).
TRANSFER = "transfer"
#: Worker resources with this prefix say which pool a worker belongs to.
RESOURCE_PREFIX = "pool-"

#: The pools in which a task may run, the preferred one first.
Pin: TypeAlias = tuple[str, ...]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_pool_name(name: object) -> str:
    """Return a pool's name if it is well formed.

    Parameters
    ----------
    name : str
        Letters, digits, ``_``, ``.`` and ``-``, beginning with a letter or a digit.

    Raises
    ------
    TypeError
        If it is not a string.
    PoolNameError
        If it is empty or has a character that is not allowed.

    Examples
    --------
    >>> check_pool_name("eu-west-1")
    'eu-west-1'
    """
    if not isinstance(name, str):
        raise TypeError(
            f"the name of a pool is a string such as 'ecmwf', not {name!r} "
            f"of type {type(name).__name__}"
        )
    if not _NAME.fullmatch(name):
        raise PoolNameError(
            f"{name!r} is not a name for a pool: use letters, digits, '_', '.' and '-', "
            "beginning with a letter or a digit, for example 'ecmwf' or 'eu-west-1'"
        )
    return name


def pool_resource(name: str) -> str:
    """Name the worker resource that makes a worker a member of a pool.

    Examples
    --------
    >>> pool_resource("ecmwf")
    'pool-ecmwf'
    """
    return RESOURCE_PREFIX + name


def pools_of_resources(resources: Iterable[str]) -> tuple[str, ...]:
    """Find the pools of a worker from the names of its resources, sorted.

    What cannot be the name of a pool is left out: no pin could lead there.

    Examples
    --------
    >>> pools_of_resources(["GPU", "pool-ecmwf", "pool-"])
    ('ecmwf',)
    """
    start = len(RESOURCE_PREFIX)
    names = [r[start:] for r in resources if r.startswith(RESOURCE_PREFIX)]
    return tuple(sorted(name for name in names if _NAME.fullmatch(name)))


def restriction(name: str) -> dict[str, float]:
    """Build the resource restriction of a task that has to run in a pool.

    The quantity is zero: membership is asked for, but nothing is used up, so that a
    pool never limits how many tasks run at once.

    Examples
    --------
    >>> restriction("ecmwf")
    {'pool-ecmwf': 0}
    """
    return {pool_resource(name): 0}
