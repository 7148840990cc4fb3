"""Random computations on real pools: the same results, in their places, each value carried once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dask
import pytest
from distributed import Client, Scheduler, SpecCluster, Worker
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_pools import propagate_pools
from dask_pools.deploy.local import LocalPoolCluster
from dask_pools.deploy.spec import HOST, worker_names
from dask_pools.model import pool_resource
from dask_pools.planning.policies import policy_names
from tests.computations import Computation, assert_close
from tests.recorder import Recorder
from tests.strategies import computations

TWO, THREE = ("a", "b"), ("a", "b", "c")

pytestmark = [
    # Where an example fails, it takes a while to find a small one.
    pytest.mark.timeout(600),
    # It is distributed that does, in another thread, while an example is drawn.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
    pytest.mark.filterwarnings("ignore::dask.array.core.PerformanceWarning"),
]

#: What is said to `propagate_pools`.
any_settings = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(sorted(policy_names())),
        "objective": st.sampled_from(["bytes", "time"]),
        "exact_order": st.booleans(),
    }
)


def in_process(pools: dict[str, int]) -> SpecCluster:
    """Start workers in this process, which is faster than processes, and on a stock scheduler."""
    here = {"protocol": "tcp", "host": HOST, "dashboard": False, "dashboard_address": f"{HOST}:0"}
    workers = {
        name: {
            "cls": Worker,
            "options": {
                **here,
                "nthreads": 1,
                "resources": {pool_resource(pool): 1},
                "memory_limit": 0,
            },
        }
        for pool, n in pools.items()
        for name in worker_names(pool, n)
    }
    return SpecCluster(workers, {"cls": Scheduler, "options": here})


def watch(cluster: SpecCluster) -> Iterator[Recorder]:
    with cluster, Client(cluster) as client:
        recorder = Recorder(client, cluster.scheduler)
        cluster.scheduler.add_plugin(recorder)
        with propagate_pools():
            pass  # from here on bytes are counted
        yield recorder


@pytest.fixture(scope="module")
def two_pools() -> Iterator[Recorder]:
    """A cluster of two pools, with processes."""
    with dask.config.set({"distributed.admin.low-level-log-length": 1_000_000}):
        yield from watch(LocalPoolCluster({"a": 2, "b": 2}, dashboard_address=None))


@pytest.fixture(scope="module")
def three_pools() -> Iterator[Recorder]:
    """A cluster of three pools, in this process."""
    with dask.config.set({"distributed.admin.low-level-log-length": 1_000_000}):
        yield from watch(in_process({"a": 2, "b": 2, "c": 1}))


def check(recorder: Recorder, computation: Computation, said: dict[str, Any]) -> None:
    expected = computation.results()
    client = recorder.client
    # Dask's delayed values do not keep alive what was persisted.
    alive: list[Any] = []

    def persist(x: Any) -> Any:
        alive.append(client.persist(x))
        return alive[-1]

    with client.as_current(), propagate_pools(**said):
        collections = computation.build(persist)
        with computation.context():
            found = dask.compute(*collections)
    for result, other in zip(found, expected, strict=True):
        assert_close(result, other)
    del collections, alive[:]
    recorder.check()


@given(computations(TWO), any_settings)
@settings(max_examples=30)
def test_results_on_two_pools(two_pools, computation, said):
    check(two_pools, computation, said)


@given(computations(THREE), any_settings)
@settings(max_examples=40)
def test_results_on_three_pools(three_pools, computation, said):
    check(three_pools, computation, said)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(computations(TWO, 16), any_settings)
@settings(max_examples=300)
def test_long_computations_on_two_pools(two_pools, computation, said):
    check(two_pools, computation, said)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(computations(THREE, 16), any_settings)
@settings(max_examples=600)
def test_long_computations_on_three_pools(three_pools, computation, said):
    check(three_pools, computation, said)
