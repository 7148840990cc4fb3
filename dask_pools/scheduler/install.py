"""Put the plugin onto schedulers, take it back, and find out whether a scheduler can have it."""

from __future__ import annotations

import asyncio
import pkgutil
import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from distributed import default_client
from distributed.core import Status
from distributed.utils import sync

from dask_pools import __version__
from dask_pools.errors import DistributedChangedError, SchedulerPackageError
from dask_pools.graph.submission import Submission
from dask_pools.scheduler.fallback import WHY_FALLBACK, fallback_on
from dask_pools.scheduler.plugin import PoolsPlugin, installed_on
from dask_pools.scheduler.private.graphs import is_updating
from dask_pools.scheduler.private.processes import clients, schedulers
from dask_pools.scheduler.removal import UNINSTALL, Removal

if TYPE_CHECKING:
    from distributed import Client, Scheduler

#: What it costs if distributed is not as we know it.
_PLAIN = (
    "Until then computations are placed, but their tasks are bound to their pools by Dask's plain "
    "restrictions only: without queues per pool and back-pressure (they take more memory), "
    "without placement of what is submitted task by task, with Dask's own work stealing, "
    "replicas and P2P across pools; and tasks of a pool that has lost its workers wait until "
    "some come back."
)
#: The clients by which `ensure_installed` has installed the plugin; for as long as they live.
_ENSURED: WeakSet[Client] = WeakSet()
#: The clusters of which somebody was warned, by the ids of their schedulers; for the process.
_WARNED: set[str] = set()


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
        in their logs, and counted. If this release of distributed is not as we know it, there
        are plain restrictions only: see `fallback_on`.
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

    Warns
    -----
    RuntimeWarning
        If distributed is not as we know it, and plain restrictions are used; once a cluster.
    """
    if not client.asynchronous:
        require_scheduler_package(client)
        client.register_plugin(PoolsPlugin())
        _warn_of_fallback(client.sync(_why_fallback, client))
        return
    try:
        here = schedulers_here()
    except DistributedChangedError as error:
        _warn_of_fallback((str(client.id), str(error)))
        return
    for scheduler in here:
        if client.scheduler is not None and client.scheduler.address == scheduler.address:
            install(scheduler)
            fallback = fallback_on(scheduler)
            if fallback is not None:
                _warn_of_fallback((scheduler.id, fallback.reason))


async def ensure_installed(client: Client) -> None:
    """Install the plugin on the scheduler of a client, once for each client.

    Parameters
    ----------
    client : Client
        A connected client, in whose event loop this coroutine runs.

    Raises
    ------
    SchedulerPackageError
        If the package is missing in the scheduler's environment, or is of another version.

    Warns
    -----
    RuntimeWarning
        As `install_on_client` does.
    """
    if client in _ENSURED:
        return
    await _require_scheduler_package(client)
    await client.register_plugin(PoolsPlugin())
    _warn_of_fallback(await _why_fallback(client))
    _ENSURED.add(client)


async def _why_fallback(client: Client) -> tuple[str, str] | None:
    assert client.scheduler is not None  # noqa: S101 - a client that is connected has one
    # A scheduler answers None to an operation that it does not know: one without a fallback.
    answer = await getattr(client.scheduler, WHY_FALLBACK)()
    return None if answer is None else (answer[0], answer[1])


def _warn_of_fallback(reason: tuple[str, str] | None) -> None:
    if reason is None:
        return
    cluster, what = reason
    if cluster not in _WARNED:
        _WARNED.add(cluster)
        warnings.warn(f"{what}. {_PLAIN}", RuntimeWarning, stacklevel=4)


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
    for client in _clients(current):
        try:
            install_on_client(client)
        except SchedulerPackageError as error:
            if client is current:
                raise
            warnings.warn(f"Pools are not kept on another cluster: {error}", stacklevel=3)


def _clients(current: Client | None) -> list[Client]:
    """List the clients of this process; the current one alone if others cannot be found."""
    try:
        return clients()
    except DistributedChangedError:
        return [] if current is None else [current]


def submission_here() -> Submission | None:
    """Describe the submission that a scheduler is handling in this process, and install there.

    For an optimiser which finds no `SUBMISSION` although a scheduler has called it, because
    nobody could install the plugin before. It takes effect for this very submission.

    Returns
    -------
    Submission or None
        None if no scheduler of this process is handling a submission, or several are, of
        which nobody can say which one called; or if distributed does not tell. What is pinned
        is bound to its first pool then, and nothing else is placed.
    """
    try:
        busy = [scheduler for scheduler in schedulers_here() if is_updating(scheduler)]
    except DistributedChangedError:
        return None
    if len(busy) != 1:
        return None
    (scheduler,) = busy
    plugin = _attach(scheduler)
    scheduler.loop.add_callback(plugin.links.count_on_workers)
    return (fallback_on(scheduler) or plugin.submissions).describe()


def uninstall(client: Client) -> None:
    """Take everything back that dask_pools has changed on a cluster.

    Leaves a stock scheduler, which may go on with what it was given: queued tasks are sent to
    their pools at once, bound tasks stay bound by Dask's plain restrictions. Harmless if nothing
    is installed. Whoever calls `propagate_pools` again installs it again.

    Parameters
    ----------
    client : Client
        A client of the cluster.

    Returns
    -------
    None
        With an asynchronous client: an awaitable of it.

    Examples
    --------
    >>> from dask_pools import LocalPoolCluster, uninstall
    >>> with LocalPoolCluster({"ecmwf": 1}) as cluster, cluster.get_client() as client:
    ...     uninstall(client)
    """
    _ENSURED.discard(client)
    done: None = client.sync(_uninstall, client)
    return done


async def _uninstall(client: Client) -> None:
    assert client.scheduler is not None  # noqa: S101 - a client that is connected has one
    # A scheduler without the plugin does not know the operation, and answers None.
    await getattr(client.scheduler, UNINSTALL)()


def remove_from(scheduler: Scheduler) -> None:
    """Take everything back from a scheduler of this process, as `uninstall` does.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler. If it has no plugin, nothing is done.
    """
    plugin = installed_on(scheduler)
    if plugin is None:
        return
    if _on_loop_of(scheduler):
        plugin.detach()
        scheduler.loop.add_callback(plugin.links.leave_workers)
    else:
        sync(scheduler.loop, Removal(plugin.detach, plugin.links).answer)


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
