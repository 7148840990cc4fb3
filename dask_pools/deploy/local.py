"""A cluster of pools on one machine: for laptops, notebooks and tests.

Each pool stands for a data centre. With ``data=``, its directory is seen by its own workers
only, so that a computation which would not run over real data centres does not run here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from distributed import Scheduler, SpecCluster, Status
from distributed.utils import NoOpAwaitable
from distributed.worker_memory import parse_memory_limit
from tornado.ioloop import PeriodicCallback

from dask_pools.deploy.spec import (
    HOST,
    check_count,
    check_dashboard_address,
    check_pools,
    check_scale,
    check_worker_options,
    worker_names,
    worker_spec,
)
from dask_pools.deploy.storage import GivenOptions, check_storage_options
from dask_pools.deploy.visibility import check_data, check_hide, choose_means, hidden_from
from dask_pools.deploy.worker import PoolWorker
from dask_pools.errors import one_of
from dask_pools.model import Pool, Topology, pool_resource
from dask_pools.scheduler.install import install
from dask_pools.scheduler.loss.loss import EXPECT_POOLS

logger = logging.getLogger(__name__)

#: How often it is looked whether all workers are there, in milliseconds.
LOOK = 1000


class PoolScheduler(Scheduler):
    """A scheduler that knows of pools from before its first worker."""

    async def start_unsafe(self) -> PoolScheduler:
        """Start, and install the plugin; if that fails, Dask closes the scheduler."""
        await super().start_unsafe()
        install(self)
        return self


class LocalPoolCluster(SpecCluster):
    """Start pools of workers on this machine.

    Workers are processes called ``<pool>-0``, ``<pool>-1`` and so on; the scheduler is in
    this process. Everything listens on 127.0.0.1 only.

    Parameters
    ----------
    pools : mapping of str to int
        Number of workers of each pool, at least 1.
    data : mapping of str to path, optional
        The directory that holds the data of a pool, for each pool that has any. Tasks that
        run in other pools find nothing there: to open a file under it is a
        `FileNotFoundError`, as it is at a site which does not have the data. The directories
        have to exist, to hold nothing but data, and to stay until the cluster is closed.
        Default: all workers see all files. This client, and the scheduler, always do.
    hide : {"auto", "namespaces", "guard"}
        How data is hidden. ``"namespaces"``: by the kernel, for any reader; needs Linux and
        root. ``"guard"``: by the interpreter, for files that are opened by Python; *not* for
        those opened in C (netCDF4, h5py), and not for ``os.path.exists``. ``"auto"`` (the
        default) takes namespaces where it can. Neither is a protection against malice.
    storage_options : mapping of str to (mapping or path), optional
        What opens the data of a pool, for each pool that needs it: a mapping of prefixes such
        as ``"s3://bucket"``, or protocols such as ``"s3"``, to options of fsspec with their
        secrets; or a file of YAML with such a mapping, or with a topology whose pools have one
        as ``storage_options``. Only the workers of the pool get it, and read the file.
    threads_per_worker : int
        Threads of each worker. Default 1.
    memory_limit : str, float, int or None
        Memory of each worker, as for `distributed.LocalCluster`: bytes (``"2 GiB"``), a
        fraction of the machine's, or None for no limit. Default ``"auto"``: an equal part
        of the machine's.
    dashboard_address : str or None
        Port of the dashboard, such as ``":8787"``. Default ``":0"``, any that is free; None
        for no dashboard.
    silence_logs : int or None
        Level of logs of the cluster that are shown. Default ``logging.WARNING``; None shows
        them as configured.
    name : str, optional
        Name of the cluster. Default: a random one.
    asynchronous : bool
        True in coroutines: ``async with LocalPoolCluster(..., asynchronous=True)``.
    **worker_options
        More options of each worker, as for `distributed.Nanny`: ``env``, ``preload``,
        ``local_directory``, ``resources`` and so on.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    UnknownPoolError
        If ``data`` or ``storage_options`` names a pool that is not in ``pools``.
    OSError
        If a data directory, or a file of storage options, does not exist or is something else.
    RuntimeError
        If ``hide="namespaces"`` is not possible.

    Examples
    --------
    >>> with LocalPoolCluster({"ecmwf": 1, "eumetsat": 1}) as cluster:
    ...     with cluster.get_client() as client:
    ...         total = client.submit(sum, [1, 2, 3], resources={"pool-ecmwf": 0}).result()
    >>> total
    6
    """

    #: By pool, the options of its workers; for the cluster's lifetime.
    _worker_options: dict[str, dict[str, Any]]

    def __init__(
        self,
        pools: Mapping[str, int],
        *,
        data: Mapping[str, str | os.PathLike[str]] | None = None,
        hide: str = "auto",
        storage_options: Mapping[str, GivenOptions] | None = None,
        threads_per_worker: int = 1,
        memory_limit: str | float | None = "auto",
        dashboard_address: str | None = ":0",
        silence_logs: int | None = logging.WARNING,
        name: str | None = None,
        asynchronous: bool = False,
        **worker_options: Any,
    ) -> None:
        numbers = check_pools(pools)
        hide = check_hide(hide)
        address = check_dashboard_address(dashboard_address)
        options = {
            **check_worker_options(worker_options),
            "host": HOST,
            "nthreads": check_count(threads_per_worker, "threads_per_worker", least=1),
            "memory_limit": parse_memory_limit(
                memory_limit, 1, sum(numbers.values()), logger=logger
            ),
            "silence_logs": silence_logs,
        }
        self._worker_options = {pool: dict(options) for pool in numbers}
        if directories := check_data(data, numbers):
            means = choose_means(hide)
            for pool in numbers:
                self._worker_options[pool] |= {
                    "worker_class": PoolWorker,
                    "hidden": hidden_from(pool, directories),
                    "means": means,
                }
        for pool, given in check_storage_options(storage_options, numbers).items():
            self._worker_options[pool] |= {"worker_class": PoolWorker, "storage_options": given}
        super().__init__(  # type: ignore[no-untyped-call]
            scheduler={
                "cls": PoolScheduler,
                "options": {
                    "host": HOST,
                    "port": 0,
                    # Without a dashboard there still is a server for metrics; it, too, must
                    # not listen elsewhere, nor on a port that somebody else may want.
                    "dashboard": address is not None,
                    "dashboard_address": address or f"{HOST}:0",
                },
            },
            workers={
                worker: worker_spec(pool, self._worker_options[pool])
                for pool, n in numbers.items()
                for worker in worker_names(pool, n)
            },
            silence_logs=silence_logs or False,
            name=name,
            asynchronous=asynchronous,
        )
        restoring = PeriodicCallback(self._restore, LOOK)
        self.periodic_callbacks["dask-pools-restore"] = restoring
        if not asynchronous and self.loop is not None:  # else Dask starts it, with the cluster
            self.loop.add_callback(restoring.start)

    def _restore(self) -> None:
        """Start the workers again that Dask has given up.

        It does so with those that are lost and not back within
        ``distributed.deploy.lost-worker-timeout``. A pool would stay without them for good.
        """
        if self.status is Status.running and not self.worker_spec.keys() <= self.workers.keys():
            super().scale(len(self.worker_spec))  # type: ignore[no-untyped-call]

    @property
    def topology(self) -> Topology:
        """The pools, with the workers that are connected now."""
        # Of the scheduler itself: the cluster's own scheduler_info is told of workers later.
        workers = list(self.scheduler.workers.values()) if self.scheduler else []
        members = {
            pool: [ws.nthreads for ws in workers if pool_resource(pool) in ws.resources]
            for pool in sorted(self._worker_options)
        }
        return Topology(tuple(Pool(pool, len(n), sum(n)) for pool, n in members.items()))

    def scale(  # type: ignore[override]
        self, numbers: Mapping[str, int] | int | None = None, /, **more: int
    ) -> NoOpAwaitable | None:
        """Ask for other numbers of workers in some pools; the other pools stay as they are.

        It returns at once. ``client.wait_for_workers`` waits for new workers; in coroutines
        ``await cluster`` waits until all is done. The tasks of a pool that is emptied, or whose
        first worker is being started, wait for as long as it takes.

        Parameters
        ----------
        numbers : mapping of str to int
            Number of workers by pool. The number 0 in place of the mapping empties all pools;
            no other number can be shared out between pools without more being said.
        **more : int
            The same, with the pool's name as the keyword.

        Raises
        ------
        UnknownPoolError
            If the cluster has no such pool.
        TypeError, ValueError
            If a number is not an integer, or negative.

        Examples
        --------
        >>> with LocalPoolCluster({"ecmwf": 1}) as cluster, cluster.get_client() as client:
        ...     cluster.scale(ecmwf=2)
        ...     client.wait_for_workers(2)
        ...     cluster.topology
        Topology(pools=(Pool(name='ecmwf', workers=2, nthreads=2),))
        """
        if numbers == 0:  # as SpecCluster does when it closes
            numbers = dict.fromkeys(self._worker_options, 0)
        if isinstance(numbers, int) or (numbers is None and not more):
            raise TypeError(
                f"scale({'' if numbers is None else numbers}) does not say which pool to scale. "
                f"Give a mapping, such as scale({{{min(self._worker_options)!r}: 2}}); "
                f"the pools are {one_of(self._worker_options)}"
            )
        checked = check_scale({**(numbers or {}), **more}, self._worker_options)
        for pool, n in checked.items():
            wanted = worker_names(pool, n)
            for worker, spec in list(self.worker_spec.items()):
                member = pool_resource(pool) in spec["options"]["resources"]
                if member and worker not in wanted:
                    del self.worker_spec[worker]
            for worker in wanted:
                self.worker_spec.setdefault(worker, worker_spec(pool, self._worker_options[pool]))
        # On the event loop, where it comes before the workers that go and come by it.
        if self.loop is not None:
            self.loop.add_callback(self._tell_scheduler, checked)
        # With the number that there is, Dask's own scale() only brings about what is specified.
        n = len(self.worker_spec)
        started: NoOpAwaitable | None = super().scale(n)  # type: ignore[no-untyped-call]
        return started

    def _tell_scheduler(self, numbers: Mapping[str, int]) -> None:
        """Say how many workers pools are to have: what is empty on purpose is not lost."""
        expect = self.scheduler.handlers.get(EXPECT_POOLS) if self.scheduler else None
        if expect is not None:
            expect(numbers)

    def adapt(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: Dask's adaptive scaling finds one number for the whole cluster.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(
            "Adaptive scaling finds one number of workers for the whole cluster, not one for "
            "each pool; use scale() with a mapping of pools to numbers"
        )

    def __repr__(self) -> str:
        pools = {pool.name: pool.workers for pool in self.topology.pools}
        text: str = super().__repr__()  # type: ignore[no-untyped-call]
        return f"{text.removesuffix(')')}, pools={pools})"

    def _repr_html_(self, cluster_status: str | None = None) -> str:
        pools = ", ".join(f"{pool.name} ({pool.workers})" for pool in self.topology.pools)
        cell = f'<td colspan="2" style="text-align: left;"><strong>Pools:</strong> {pools}</td>'
        html: str = super()._repr_html_(  # type: ignore[no-untyped-call]
            cluster_status=f"<tr>{cell}</tr>{cluster_status or ''}"
        )
        return html
