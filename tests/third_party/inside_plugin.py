"""A pytest plugin that runs somebody else's tests inside of one pool, each as a whole.

``pytest -p tests.third_party.inside_plugin --pools=on --record=<directory> ...``

Every test runs inside of ``with pool("a"), propagate_pools()``, so that whatever it builds,
computes or submits is pinned. Every scheduler has the plugin of dask_pools from its start on, and
every worker belongs to the pool. With ``--pools=off`` only the outcomes are written down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import pytest
from distributed import utils_test

from dask_pools.graph import optimize
from dask_pools.graph.annotate import pool
from dask_pools.model import pool_resource
from dask_pools.propagate import HOOKS, propagate_pools
from tests.third_party.installed_plugin import install_on_all, run_scheduler_with_plugin
from tests.third_party.outcomes import Outcomes
from tests.third_party.pinned_plugin import WORKER_RESOURCES, give_workers

if TYPE_CHECKING:
    from typing import Any

POOL = "a"


def count_graphs(counts: Counter[str]) -> None:
    """Count the graphs that are optimised in this process."""
    place_graph = optimize.place_graph

    def counted(*args: Any, **kwargs: Any) -> optimize.PlacedGraph:
        placed = place_graph(*args, **kwargs)
        counts.update(graphs=1, pinned=POOL in placed.plan.tasks)
        return placed

    optimize.place_graph = counted


class Inside:
    """The hook that runs tests in their pool."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        with pool(POOL), propagate_pools():
            hooks = {name: dask.config.get(name) for name in HOOKS}
            with dask.config.set(hooks, config=utils_test.original_config):
                return (yield)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pools", choices=["off", "on"], default="off")
    parser.addoption("--record", type=Path, default=Path.cwd())


def pytest_configure(config: pytest.Config) -> None:
    counts: Counter[str] = Counter()
    if config.option.pools == "on":
        resources = {pool_resource(POOL): 1}
        give_workers(resources)
        # distributed's `gen_cluster` resets Dask's configuration to what this has.
        dask.config.set({WORKER_RESOURCES: resources}, config=utils_test.original_config)
        count_graphs(counts)
        install_on_all(counts)
        utils_test.run_scheduler = run_scheduler_with_plugin
        config.pluginmanager.register(Inside(), "inside")
    config.pluginmanager.register(Outcomes(config.option.record, counts), "outcomes")
