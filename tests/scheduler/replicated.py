"""What the tests of replicas have in common."""

from __future__ import annotations

from typing import Any

from distributed import wait

from dask_pools.scheduler.plugin import PoolsPlugin, installed_on
from dask_pools.scheduler.replicas.replicas import Replicas


async def take_care(c: Any, s: Any) -> Replicas:
    """Install the plugin, and return the part of it which takes care of replicas."""
    await c.register_plugin(PoolsPlugin())
    plugin = installed_on(s)
    assert plugin is not None
    return plugin.replicas


def holders(s: Any, future: Any) -> set[str]:
    """Return the addresses of the workers that hold a value, as the scheduler knows them."""
    return {ws.address for ws in s.tasks[future.key].who_has or ()}


def fetched(worker: Any, key: str) -> list[str]:
    """List the addresses from which a worker has fetched a value, each time."""
    return [entry["who"] for entry in worker.transfer_incoming_log if key in entry["keys"]]


async def make(c: Any, worker: Any, key: str = "value", nbytes: int = 1_000_000) -> Any:
    """Make a value on a worker."""
    future = c.submit(bytes, nbytes, key=key, workers=[worker.address])
    await wait(future)
    return future


def use(c: Any, value: Any, worker: Any, name: str = "") -> Any:
    """Have a task on a certain worker need a value, bound to nothing else."""
    return c.submit(
        len, value, key=f"use-{value.key}-{worker.address}{name}", workers=[worker.address]
    )
