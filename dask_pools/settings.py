"""What the user says of a computation, checked before anything starts, and read."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from dask_pools.errors import LocationError
from dask_pools.graph.options import Options
from dask_pools.locations.current import current_locations
from dask_pools.model import Locations, Topology
from dask_pools.planning.budget import parse_budget
from dask_pools.planning.objective import check_objective
from dask_pools.planning.policies import BUILT_IN, Policy, get_policy
from dask_pools.topology.read import read_topology


def make_options(
    policy: str | Policy | None = None,
    objective: str = "bytes",
    topology: Topology | Mapping[str, Any] | str | PathLike[str] | None = None,
    budget: str | float | None = None,
    *,
    exact_order: bool = False,
    locate: bool = False,
) -> Options:
    """Check what the user says, and read what it refers to; as for `propagate_pools`."""
    check_objective(objective)
    if policy is None:
        policy = "makespan" if objective == "time" else "mincut"
    built_in = isinstance(policy, str) and policy in BUILT_IN
    read = read_topology(topology)
    currency = None if read is None else read.currency
    limit = None if budget is None else parse_budget(budget, currency)
    return Options(
        # The function itself, if the scheduler does not know its name: it is registered here.
        policy=policy if built_in else get_policy(policy),
        name=policy if isinstance(policy, str) else getattr(policy, "__name__", str(policy)),
        objective=objective,
        topology=read,
        budget=limit,
        locations=_locations(locate),
        exact_order=exact_order,
    )


def _locations(locate: object) -> Locations:
    """Return the locations by which reads are to be pinned; none if they are not to be."""
    if not isinstance(locate, bool):
        raise TypeError(
            f"locate is True or False, not {locate!r}: where data lives is said by set_locations, "
            "or in Dask's configuration"
        )
    locations = current_locations() if locate else Locations()
    if locate and not locations:
        raise LocationError(
            "locate=True pins reads by the locations of their data, and none is known. Say before "
            "where data lives, such as set_locations({'/data/ecmwf': 'ecmwf'}), or in Dask's "
            "configuration under dask_pools.locations"
        )
    return locations
