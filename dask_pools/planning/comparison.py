"""Plans of one computation by several policies, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dask_pools.planning.plan import Plan


def compare(plans: Mapping[str, Plan]) -> Plan:
    """Put plans of one computation side by side.

    Parameters
    ----------
    plans : mapping of str to Plan
        At least one plan, by the names of the policies that made them.

    Returns
    -------
    Plan
        The first one, which shows the figures of the others as well (`Plan.alternatives`).

    Examples
    --------
    >>> from dask_pools.model import Link
    >>> from dask_pools.planning.plan import Transfer
    >>> link = Link("ecmwf", "eumetsat")
    >>> tasks = {"ecmwf": 3, "eumetsat": 1}
    >>> few = Plan(tasks, (Transfer("mean", link, 8e6),), cost=8e6, bound=8e6)
    >>> many = Plan(tasks, (Transfer("read", link, 2e7),), cost=2e7, bound=8e6)
    >>> compare({"majority": many, "mincut": few})
    <dask_pools.Plan: 4 tasks in 2 pools, 20 MB in 1 transfer>
    ...
    Policies      transfers  bytes  above the optimum   largest pool
        majority          1  20 MB      at most 150 %  75 % of tasks
        mincut            1   8 MB               none  75 % of tasks
    ...
    """
    (name, first), *others = plans.items()
    return replace(first, policy=name, alternatives=dict(others))
