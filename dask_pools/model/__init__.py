"""The words of dask_pools as data: pools, links, pins, and how Dask is told of them.

Frozen, standard library only; every other module builds on this one.
"""

from __future__ import annotations

from dask_pools.model.links import Link, LinkClass, link_properties
from dask_pools.model.locations import LOCATIONS, Location, Locations
from dask_pools.model.names import (
    PIN,
    PLACEMENT,
    RESOURCE_PREFIX,
    TRANSFER,
    Pin,
    check_pool_name,
    pool_resource,
    pools_of_resources,
    restriction,
)
from dask_pools.model.topology import Egress, Pool, Topology

__all__ = [
    "LOCATIONS",
    "PIN",
    "PLACEMENT",
    "RESOURCE_PREFIX",
    "TRANSFER",
    "Egress",
    "Link",
    "LinkClass",
    "Location",
    "Locations",
    "Pin",
    "Pool",
    "Topology",
    "check_pool_name",
    "link_properties",
    "pool_resource",
    "pools_of_resources",
    "restriction",
]
