"""Where the values of earlier submissions are, as the optimiser has to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask.typing import Key

from dask_pools.graph.submission import Residence
from dask_pools.model import Pin, pools_of_resources
from dask_pools.scheduler.membership import Membership

if TYPE_CHECKING:
    from distributed import Scheduler


def residence_of(scheduler: Scheduler, membership: Membership, key: Key) -> Residence | None:
    """Find where a value is, or will be made; None if the scheduler does not know it.

    May be called from the thread in which graphs are materialised.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    membership : Membership
        The pools of its workers.
    key : str or tuple
        The key of the value.
    """
    ts = scheduler.tasks.get(key)
    if ts is None:
        return None
    # One step of the interpreter, so that the event loop cannot change it meanwhile.
    holders = list(ts.who_has or ())
    found = {pool for ws in holders for pool in membership.pools_of(ws.address)}
    # Its own pool, where it is held elsewhere as well: a transfer's copy does not stay.
    pools: Pin = pools_of_resources(ts.resource_restrictions or ())
    if holders and found.isdisjoint(pools):
        pools = tuple(sorted(found))
    return Residence(pools, ts.nbytes if ts.nbytes >= 0 else None)
