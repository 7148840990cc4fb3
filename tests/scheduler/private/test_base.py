"""How something is replaced.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.base`, and nothing else.
"""

from __future__ import annotations

from distributed.utils_test import gen_cluster

from dask_pools.scheduler.private import base
from tests.scheduler.private.release import RELEASE


@gen_cluster(client=True)
async def test_handler_of_our_own_can_be_called_and_removed(c, s, a, b):
    async def answer() -> dict[tuple[str, str], int]:
        return {("a", "b"): 1}

    undo = base.add_handler(s, "dask_pools_test", answer)
    assert await c.scheduler.dask_pools_test() == {("a", "b"): 1}
    undo()
    undo()
    assert await c.scheduler.dask_pools_test() is None, (
        f"{RELEASE} no longer answers None to an operation that it does not know"
    )
