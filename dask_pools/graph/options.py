"""How a computation is to be placed: what the user says beside its pins."""

from __future__ import annotations

from dataclasses import dataclass, field

from dask_pools.model import Locations, Topology
from dask_pools.planning.budget import Budget
from dask_pools.planning.policies import Policy


@dataclass(frozen=True, slots=True)
class Options:
    """What `propagate_pools` and `plan` are told.

    Parameters
    ----------
    policy : str or callable
        How tasks are placed.
    name : str
        What the policy is called in plans.
    objective : {"bytes", "money", "time"}
        What is to be little.
    topology : Topology or None
        Rules, speeds and prices of pools and links; None if nothing is known of them.
    budget : Budget or None
        What may be spent between pools.
    locations : Locations
        Which data lives where, for what nobody has pinned; none if it is not to be pinned.
    exact_order : bool
        Whether reductions keep the order of their blocks, instead of being regrouped by pool.
    """

    policy: str | Policy = "mincut"
    name: str = "mincut"
    objective: str = "bytes"
    topology: Topology | None = None
    budget: Budget | None = None
    locations: Locations = field(default_factory=Locations)
    exact_order: bool = False
