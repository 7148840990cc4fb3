"""One lazy computation over data in several places: each task runs where its data is.

Every public name is here, and is imported from its module when it is first used, so that
``import dask_pools`` costs next to nothing.

Examples
--------
>>> import dask.array as da
>>> from dask_pools import get_pool, pool
>>> with pool("ecmwf"):
...     x = da.ones(10, chunks=5)
>>> get_pool(x)
'ecmwf'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dask_pools.data.catalog.catalog import Catalog
    from dask_pools.data.frames import read_csv, read_parquet
    from dask_pools.data.frames_home import to_parquet
    from dask_pools.data.many import open_mfdataset
    from dask_pools.data.open import open_dataset, open_datatree, open_zarr
    from dask_pools.data.store import to_zarr
    from dask_pools.deploy.local import LocalPoolCluster
    from dask_pools.errors import (
        BudgetError,
        CatalogError,
        ConfigurationError,
        CoordinateLimitError,
        CredentialsError,
        DistributedChangedError,
        ExpressionArraysError,
        GraphvizError,
        LocationError,
        MeasurementError,
        PinConflictError,
        PlacementError,
        PluginMissingError,
        PoolError,
        PoolLostError,
        PoolNameError,
        RemoteError,
        ResidencyError,
        SchedulerPackageError,
        StoreChangedError,
        TopologyError,
        UnknownEntryError,
        UnknownObjectiveError,
        UnknownPolicyError,
        UnknownPoolError,
        WrongPoolError,
    )
    from dask_pools.graph.annotate import get_pool, pool
    from dask_pools.locations.current import current_locations, pool_of, set_locations
    from dask_pools.locations.read import read_locations
    from dask_pools.model import Link, Location, Locations, Pool, Topology
    from dask_pools.observe.visualize import visualize_pools
    from dask_pools.planner import plan
    from dask_pools.planning.plan import Plan
    from dask_pools.planning.policies import register_policy
    from dask_pools.propagate import propagate_pools, propagate_pools_in_collection
    from dask_pools.scheduler.install import uninstall
    from dask_pools.scheduler.telemetry import link_bytes
    from dask_pools.topology.classes import link_class
    from dask_pools.topology.measure import measure_links
    from dask_pools.topology.read import read_topology
    from dask_pools.topology.write import write_topology

#: The one place where the version is written; the build reads it here.
__version__ = "0.1.0"

__all__ = [
    "BudgetError",
    "Catalog",
    "CatalogError",
    "ConfigurationError",
    "CoordinateLimitError",
    "CredentialsError",
    "DistributedChangedError",
    "ExpressionArraysError",
    "GraphvizError",
    "Link",
    "LocalPoolCluster",
    "Location",
    "LocationError",
    "Locations",
    "MeasurementError",
    "PinConflictError",
    "PlacementError",
    "Plan",
    "PluginMissingError",
    "Pool",
    "PoolError",
    "PoolLostError",
    "PoolNameError",
    "RemoteError",
    "ResidencyError",
    "SchedulerPackageError",
    "StoreChangedError",
    "Topology",
    "TopologyError",
    "UnknownEntryError",
    "UnknownObjectiveError",
    "UnknownPolicyError",
    "UnknownPoolError",
    "WrongPoolError",
    "current_locations",
    "get_pool",
    "link_bytes",
    "link_class",
    "measure_links",
    "open_dataset",
    "open_datatree",
    "open_mfdataset",
    "open_zarr",
    "plan",
    "pool",
    "pool_of",
    "propagate_pools",
    "propagate_pools_in_collection",
    "read_csv",
    "read_locations",
    "read_parquet",
    "read_topology",
    "register_policy",
    "set_locations",
    "to_parquet",
    "to_zarr",
    "uninstall",
    "visualize_pools",
    "write_topology",
]

#: The module of each public name.
_HOMES = {
    "BudgetError": "dask_pools.errors",
    "Catalog": "dask_pools.data.catalog.catalog",
    "CatalogError": "dask_pools.errors",
    "ConfigurationError": "dask_pools.errors",
    "CoordinateLimitError": "dask_pools.errors",
    "CredentialsError": "dask_pools.errors",
    "DistributedChangedError": "dask_pools.errors",
    "ExpressionArraysError": "dask_pools.errors",
    "GraphvizError": "dask_pools.errors",
    "Link": "dask_pools.model",
    "LocalPoolCluster": "dask_pools.deploy.local",
    "Location": "dask_pools.model",
    "LocationError": "dask_pools.errors",
    "Locations": "dask_pools.model",
    "MeasurementError": "dask_pools.errors",
    "PinConflictError": "dask_pools.errors",
    "PlacementError": "dask_pools.errors",
    "Plan": "dask_pools.planning.plan",
    "PluginMissingError": "dask_pools.errors",
    "Pool": "dask_pools.model",
    "PoolError": "dask_pools.errors",
    "PoolLostError": "dask_pools.errors",
    "PoolNameError": "dask_pools.errors",
    "RemoteError": "dask_pools.errors",
    "ResidencyError": "dask_pools.errors",
    "SchedulerPackageError": "dask_pools.errors",
    "StoreChangedError": "dask_pools.errors",
    "Topology": "dask_pools.model",
    "TopologyError": "dask_pools.errors",
    "UnknownEntryError": "dask_pools.errors",
    "UnknownObjectiveError": "dask_pools.errors",
    "UnknownPolicyError": "dask_pools.errors",
    "UnknownPoolError": "dask_pools.errors",
    "WrongPoolError": "dask_pools.errors",
    "current_locations": "dask_pools.locations.current",
    "get_pool": "dask_pools.graph.annotate",
    "link_bytes": "dask_pools.scheduler.telemetry",
    "link_class": "dask_pools.topology.classes",
    "measure_links": "dask_pools.topology.measure",
    "open_dataset": "dask_pools.data.open",
    "open_datatree": "dask_pools.data.open",
    "open_mfdataset": "dask_pools.data.many",
    "open_zarr": "dask_pools.data.open",
    "plan": "dask_pools.planner",
    "pool": "dask_pools.graph.annotate",
    "pool_of": "dask_pools.locations.current",
    "propagate_pools": "dask_pools.propagate",
    "propagate_pools_in_collection": "dask_pools.propagate",
    "read_csv": "dask_pools.data.frames",
    "read_locations": "dask_pools.locations.read",
    "read_parquet": "dask_pools.data.frames",
    "read_topology": "dask_pools.topology.read",
    "register_policy": "dask_pools.planning.policies",
    "set_locations": "dask_pools.locations.current",
    "to_parquet": "dask_pools.data.frames_home",
    "to_zarr": "dask_pools.data.store",
    "uninstall": "dask_pools.scheduler.install",
    "visualize_pools": "dask_pools.observe.visualize",
    "write_topology": "dask_pools.topology.write",
}


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value: object = getattr(import_module(home), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
