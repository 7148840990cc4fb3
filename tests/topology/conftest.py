"""A cluster of two pools, each of one worker with a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dask_pools.deploy.local import LocalPoolCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalPoolCluster]:
    with LocalPoolCluster({"ecmwf": 1, "eumetsat": 1}, dashboard_address=None) as cluster:
        yield cluster
