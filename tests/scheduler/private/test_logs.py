"""What a worker notes of what it fetches.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.logs`, and nothing else.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from distributed import Worker, wait
from distributed.utils_test import gen_cluster

from dask_pools.scheduler.private import logs
from tests.scheduler.private.release import RELEASE, parameters


@gen_cluster(client=True)
async def test_worker_logs_what_it_fetches_through_append(c, s, a, b):
    seen: list[dict[str, Any]] = []

    class Noting(deque[dict[str, Any]]):
        def append(self, entry: dict[str, Any]) -> None:
            seen.append(entry)

    logs.replace_transfer_log(b, Noting(logs.transfer_log(b)))
    x = c.submit(bytes, 1000, key="x", workers=[a.address])
    y = c.submit(len, x, workers=[b.address])
    await wait(y)
    assert len(seen) == 1, f"{RELEASE} no longer appends to Worker.transfer_incoming_log"
    (entry,) = seen
    nbytes = s.tasks["x"].nbytes
    found = (entry.get("who"), entry.get("keys"), entry.get("total"))
    assert found == (a.address, {"x": nbytes}, nbytes), (
        f"{RELEASE} has changed the entries of Worker.transfer_incoming_log"
    )


@gen_cluster()
async def test_worker_plugins_are_kept_by_name_and_reach_workers_as_pickles(s, a, b):
    assert isinstance(s.worker_plugins, dict), f"{RELEASE} has changed Scheduler.worker_plugins"
    for operation in ("plugin-add", "plugin-remove"):
        assert operation in a.handlers, f"{RELEASE} has no operation {operation!r} of workers"
    assert parameters(Worker.plugin_add) >= {"plugin", "name"}
