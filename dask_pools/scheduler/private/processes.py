"""The schedulers, workers and clients of this process."""

from __future__ import annotations

from distributed import Client, Scheduler, Worker

from dask_pools.scheduler.private.base import changed


def schedulers() -> list[Scheduler]:
    """List the schedulers of this process, also those that are closed already."""
    instances = getattr(Scheduler, "_instances", None)
    if instances is None:
        raise changed("Scheduler._instances")
    return list(instances)


def clients() -> list[Client]:
    """List the clients of this process that are connected."""
    instances = getattr(Client, "_instances", None)
    if instances is None:
        raise changed("Client._instances")
    return [client for client in instances if client.status == "running"]


def workers() -> list[Worker]:
    """List the workers of this process, also those that are closed already."""
    instances = getattr(Worker, "_instances", None)
    if instances is None:
        raise changed("Worker._instances")
    return list(instances)
