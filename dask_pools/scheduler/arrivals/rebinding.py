"""Bind a task which the scheduler knows, and no worker yet, to another pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_pools.model import PLACEMENT, TRANSFER, restriction
from dask_pools.scheduler.arrivals.restrictions import RESOURCES, without_pools
from dask_pools.scheduler.roster import bound_to

if TYPE_CHECKING:
    from distributed.scheduler import TaskState


def rebind(ts: TaskState, pool: str) -> None:
    """Change the pool of a task, in all that is said of it and of the transfers of its value.

    Restrictions and annotations are shared by many tasks, those which stay among them: new ones
    take their place.

    Parameters
    ----------
    ts : TaskState
        The task. It must not be processed by a worker.
    pool : str
        The pool to which it is bound from now on.
    """
    before = bound_to(ts)
    said = dict(ts.annotations or {})
    resources = {**without_pools(ts.resource_restrictions), **restriction(pool)}
    ts.resource_restrictions = said[RESOURCES] = resources
    if PLACEMENT in said:
        said[PLACEMENT] = pool
    if TRANSFER in said:
        said[TRANSFER] = (said[TRANSFER][0], pool)
    ts.annotations = said
    for consumer in ts.dependents:
        theirs = consumer.annotations
        # One that carries a copy from elsewhere goes on doing so.
        if theirs and TRANSFER in theirs and theirs[TRANSFER][0] == before:
            consumer.annotations = {**theirs, TRANSFER: (pool, theirs[TRANSFER][1])}
