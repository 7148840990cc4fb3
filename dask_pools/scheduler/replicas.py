"""Copies that transfers leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask.typing import Key

from dask_pools.model import TRANSFER

if TYPE_CHECKING:
    from distributed import Scheduler


def drop_carried(scheduler: Scheduler, key: Key, stimulus_id: str) -> None:
    """Have the worker that has run a transfer forget the value under its old key.

    It holds the value twice then: as the result of the transfer, for the tasks of its pool, and
    under the key that it has at home. A worker at home which needs the latter could fetch it
    from there, and it would cross back.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    key : str or tuple
        A task that has just come into memory. Nothing is done if it is no transfer.
    stimulus_id : str
        What made it come there, for distributed's log of events.
    """
    ts = scheduler.tasks.get(key)
    if ts is None or not ts.annotations or TRANSFER not in ts.annotations:
        return
    for ws in list(ts.who_has or ()):
        keys = [
            value.key
            for value in ts.dependencies
            if value.who_has and ws in value.who_has and len(value.who_has) > 1
        ]
        if keys:
            scheduler.request_remove_replicas(ws.address, keys, stimulus_id=stimulus_id)
