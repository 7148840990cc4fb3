"""Put the plugin onto schedulers, and find out whether a scheduler can have it."""

from __future__ import annotations

import asyncio
import pkgutil
import warnings
from typing import TYPE_CHECKING, Any

from distributed import default_client
from distributed.core import Status
from distributed.utils import sync

from dask_pools import __version__
from dask_pools.errors import SchedulerPackageError
from dask_pools.graph.submission import Submission
from dask_pools.scheduler.plugin import PoolsPlugin, installed_on
from dask_pools.scheduler.private.graphs import is_updating
from dask_pools.scheduler.private.processes import clients, schedulers

if TYPE_CHECKING:
    from distributed import Client, Scheduler


def schedulers_here() -> list[Scheduler]:
    """List the running schedulers of this process, sorted by address."""
    running = [s for s in schedulers() if s.status is Status.running]
    return sorted(running, key=lambda scheduler: scheduler.address)


def install(scheduler: Scheduler) -> PoolsPlugin:
    """Install the plugin on a scheduler of this process; harmless if it is there already.

    Parameters
    ----------
    scheduler : Scheduler
        A running scheduler, for example ``LocalCluster(...).scheduler``.

    Returns
    -------
    PoolsPlugin
        The plugin that is installed there. When called from a coroutine on the scheduler's
        own event loop, its workers are reached a moment later; what they fetch meanwhile is
        in their logs, and counted.

    Raises
    ------
    DistributedChangedError
        If this release of distributed is not as we know it.
    """
    plugin = _attach(scheduler)
    if _on_loop_of(scheduler):
        scheduler.loop.add_callback(plugin.links.count_on_workers)
    else:
        sync(scheduler.loop, plugin.links.count_on_workers)
    return plugin


def _attach(scheduler: Scheduler) -> PoolsPlugin:
    if not _on_loop_of(scheduler):
        return sync(scheduler.loop, _attach_soon, scheduler)
    installed = installed_on(scheduler)
    if installed is not None:
        return installed
    plugin = PoolsPlugin()
    plugin.attach(scheduler)
    return plugin


async def _attach_soon(scheduler: Scheduler) -> PoolsPlugin:
    return _attach(scheduler)


def install_on_client(client: Client) -> None:
    """Install the plugin on the scheduler of a client; harmless if it is there already.

    Parameters
    ----------
    client : Client
        A connected client. With an asynchronous client, whose scheduler cannot be waited
        for, this is done for a scheduler of this process only; others are left to
        `submission_here`.

    Raises
    ------
    SchedulerPackageError
        If the package is missing in the scheduler's environment, or is of another version.
    """
    if not client.asynchronous:
        require_scheduler_package(client)
        client.register_plugin(PoolsPlugin())
        return
    for scheduler in schedulers_here():
        if client.scheduler is not None and client.scheduler.address == scheduler.address:
            install(scheduler)


def install_for_clients() -> None:
    """Install the plugin on the schedulers of all clients that are connected.

    Raises
    ------
    SchedulerPackageError
        If the package is missing in the environment of the current client's scheduler, or is
        of another version. For other clients this is a warning: they may not be meant.
    """
    try:
        current = default_client()
    except ValueError:
        current = None
    for client in clients():
        try:
            install_on_client(client)
        except SchedulerPackageError as error:
            if client is current:
                raise
            warnings.warn(f"Pools are not kept on another cluster: {error}", stacklevel=3)


def submission_here() -> Submission | None:
    """Describe the submission that a scheduler is handling in this process, and install there.

    For an optimiser which finds no `SUBMISSION` although a scheduler has called it, because
    nobody could install the plugin before. It takes effect for this very submission.

    Returns
    -------
    Submission or None
        None if no scheduler of this process is handling a submission, or several are, of
        which nobody can say which one called.
    """
    busy = [scheduler for scheduler in schedulers_here() if is_updating(scheduler)]
    if len(busy) != 1:
        return None
    (scheduler,) = busy
    plugin = _attach(scheduler)
    scheduler.loop.add_callback(plugin.links.count_on_workers)
    return plugin.submissions.describe()


def uninstall(scheduler: Scheduler) -> None:
    """Leave a stock scheduler, and workers with their plain logs.

    Parameters
    ----------
    scheduler : Scheduler
        A scheduler of this process. If it has no plugin, nothing is done.
    """
    plugin = installed_on(scheduler)
    if plugin is None:
        return
    if _on_loop_of(scheduler):
        plugin.detach()
        scheduler.loop.add_callback(plugin.links.leave_workers)
    else:
        sync(scheduler.loop, _detach, plugin)


async def _detach(plugin: PoolsPlugin) -> None:
    plugin.detach()
    await plugin.links.leave_workers()


def _on_loop_of(scheduler: Scheduler) -> bool:
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return False
    return running is scheduler.loop.asyncio_loop  # type: ignore[attr-defined]


def require_scheduler_package(client: Client) -> Any:
    """Check that the scheduler's environment has dask_pools, of the same version.

    What is run there to find out is part of Python itself.

    Parameters
    ----------
    client : Client
        A client of the cluster.

    Returns
    -------
    None
        With an asynchronous client: an awaitable of it.

    Raises
    ------
    SchedulerPackageError
        If the package is missing there, or is of another version.
    """
    return client.sync(_require_scheduler_package, client)


async def _require_scheduler_package(client: Client) -> None:
    install_it = f"Install dask_pools=={__version__} in the scheduler's environment, and restart it"
    where = client.scheduler.address if client.scheduler is not None else None
    try:
        there = await client.run_on_scheduler(pkgutil.resolve_name, "dask_pools:__version__")
    except ImportError as error:
        raise SchedulerPackageError(
            f"The scheduler at {where} cannot import dask_pools ({error}). {install_it}."
        ) from error
    if there != __version__:
        raise SchedulerPackageError(
            f"The scheduler at {where} has dask_pools {there}, this process has {__version__}. "
            f"{install_it}; or install dask_pools=={there} here."
        )
