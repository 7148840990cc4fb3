"""The schedulers, workers and clients of a process.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.processes`, and nothing else.
"""

from __future__ import annotations

from distributed.utils_test import gen_cluster

from dask_pools.scheduler.private import processes
from tests.scheduler.private.release import RELEASE


@gen_cluster(nthreads=[])
async def test_schedulers_of_the_process_are_listed(s):
    assert s in processes.schedulers(), f"{RELEASE} does not keep Scheduler._instances"


@gen_cluster(client=True)
async def test_clients_of_the_process_are_listed(c, s, a, b):
    assert c in processes.clients(), f"{RELEASE} does not keep Client._instances"


@gen_cluster()
async def test_workers_of_the_process_are_listed(s, a, b):
    assert {a, b} <= set(processes.workers()), f"{RELEASE} does not keep Worker._instances"
