"""What this process may open by itself: its pools, and their storage options."""

from __future__ import annotations

from distributed.core import Status

from dask_pools.model import pools_of_resources
from dask_pools.scheduler.private.processes import workers
from dask_pools.topology.kept import storage_options_here
from dask_pools.topology.storage import StorageOptions


def pools_here() -> tuple[str, ...]:
    """List the pools of the workers in this process, sorted."""
    alive = [worker for worker in workers() if worker.status is not Status.closed]
    pools = {pool for worker in alive for pool in pools_of_resources(worker.state.total_resources)}
    return tuple(sorted(pools))


def own_options() -> StorageOptions:
    """Return the storage options of this process.

    Raises
    ------
    ConfigurationError, CredentialsError
        If they are not as they have to be; see `dask_pools.topology.kept`.
    """
    return storage_options_here(pools_here())
