"""The errors of dask_pools: each says what was wrong, what is allowed and what to do.

All of them survive pickling, because most are raised on the scheduler and reach
the caller of ``compute()`` on the client.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BudgetError",
    "CatalogError",
    "ConfigurationError",
    "CoordinateLimitError",
    "CredentialsError",
    "DistributedChangedError",
    "ExpressionArraysError",
    "GraphvizError",
    "LocationError",
    "MeasurementError",
    "PinConflictError",
    "PlacementError",
    "PluginMissingError",
    "PoolError",
    "PoolLostError",
    "PoolNameError",
    "RemoteError",
    "ResidencyError",
    "SchedulerPackageError",
    "StoreChangedError",
    "TopologyError",
    "UnknownEntryError",
    "UnknownObjectiveError",
    "UnknownPolicyError",
    "UnknownPoolError",
    "WrongPoolError",
]


class PoolError(Exception):
    """Base class of every error that dask_pools raises on purpose."""


class BudgetError(PoolError, ValueError):
    """A computation would exceed its budget, or the budget cannot be understood."""


class CatalogError(PoolError, ValueError):
    """A catalog, or an entry of one, is not valid."""


class ConfigurationError(PoolError, ValueError):
    """A setting of dask_pools in the configuration of Dask is not valid."""


class CoordinateLimitError(PoolError, ValueError):
    """Opening data would send more to the client than is allowed."""


class CredentialsError(PoolError, PermissionError):
    """Credentials are where they must not be, or data is opened where there are none for it."""


class PoolLostError(PoolError, RuntimeError):
    """A pool has lost all its workers, and none has come back in time."""


class PoolNameError(PoolError, ValueError):
    """The name of a pool is not a well-formed name."""


class UnknownPoolError(PoolError, LookupError):
    """A pin names no pool that has workers on this cluster."""


class PinConflictError(PoolError, ValueError):
    """One key is pinned to different pools in two submissions."""


class PlacementError(PoolError, ValueError):
    """A placement problem, or the labels which a policy returned, are not valid."""


class RemoteError(PoolError, RuntimeError):
    """What a worker has sent, a result or an error, cannot be made again on the client."""


class ResidencyError(PoolError, ValueError):
    """A computation cannot be placed, because data would leave a pool that it must not leave.

    Parameters
    ----------
    message : str
        What was wrong.
    chain : tuple, default ()
        The tasks that force the crossing, each next to the one before it: their keys, or their
        indices in a placement problem.
    """

    def __init__(self, message: str, chain: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.chain = chain


class UnknownEntryError(PoolError, KeyError):
    """There is no entry of this name in a catalog."""

    def __str__(self) -> str:
        # A KeyError shows its message as the repr of a key.
        return str(self.args[0]) if self.args else ""


class UnknownObjectiveError(PoolError, LookupError):
    """There is no objective of this name."""


class UnknownPolicyError(PoolError, LookupError):
    """No placement policy is registered under this name."""


class TopologyError(PoolError, ValueError):
    """A description of pools and links is not valid."""


class LocationError(PoolError, ValueError):
    """A description of where data lives is not valid."""


class MeasurementError(PoolError, RuntimeError):
    """The links between the pools of a cluster could not be measured."""


class GraphvizError(PoolError, RuntimeError):
    """A picture needs the Graphviz program, which is not installed or has failed."""


class SchedulerPackageError(PoolError, RuntimeError):
    """The scheduler's environment has no dask_pools, or another version of it."""


class StoreChangedError(PoolError, RuntimeError):
    """A store is not any more as it was when a write into it was prepared."""


class WrongPoolError(PoolError, RuntimeError):
    """A task that may only run in one pool was about to run elsewhere."""


class DistributedChangedError(PoolError, RuntimeError):
    """A name that dask_pools builds on is not in this release of distributed."""


class PluginMissingError(PoolError, RuntimeError):
    """The scheduler plugin of dask_pools is not installed on this cluster."""


class ExpressionArraysError(PoolError, RuntimeError):
    """Dask's expression arrays are switched on; they ignore pins."""


def one_of(names: Iterable[str]) -> str:
    """Render names for a message, sorted and quoted.

    Examples
    --------
    >>> one_of(["b", "a"])
    "'a', 'b'"
    >>> one_of([])
    'none'
    """
    return ", ".join(repr(name) for name in sorted(names)) or "none"


def near_miss(name: str, names: Iterable[str]) -> str:
    """Suggest the most similar of some names, as the end of a message.

    Examples
    --------
    >>> near_miss("ecwmf", ["ecmwf", "eumetsat"])
    " Did you mean 'ecmwf'?"
    >>> near_miss("x", ["ecmwf"])
    ''
    """
    close = difflib.get_close_matches(name, sorted(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def unknown_pool(pin: tuple[str, ...], pools: Iterable[str], what: str) -> UnknownPoolError:
    """Make the error for a pin none of whose pools has workers.

    Parameters
    ----------
    pin : tuple of str
        The allowed pools, none of which has a worker.
    pools : iterable of str
        The pools that have workers now.
    what : str
        What is pinned, for example ``"task 'read-1f'"`` or ``"3 tasks, such as 'read-1f'"``.
    """
    pools = sorted(pools)
    wanted = one_of(pin)
    subject = f"pool {wanted}" if len(pin) == 1 else f"any of the pools {wanted}"
    hint = near_miss(pin[0], pools)
    return UnknownPoolError(
        f"No worker is in {subject}, to which the pin of {what} leads. "
        f"Pools with workers: {one_of(pools)}.{hint} "
        f"Correct the name in pool(...), or start workers with the resource "
        f"'pool-{pin[0]}=1'. Nothing has been run."
    )
