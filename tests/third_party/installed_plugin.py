"""A pytest plugin with which every scheduler has the plugin of dask_pools from its start on.

``pytest -p tests.third_party.installed_plugin --pools=on --record=<directory> ...``

Schedulers are given the plugin in the way in which `LocalPoolCluster` gives it to its own: when
they have started, before any worker. Tests start them in the pytest process, or, where they are
synchronous, in another one; those of the command line (``dask scheduler``) are left alone. With
``--pools=off`` nothing is installed, and only the outcomes are written down.
"""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Scheduler, utils_test
from distributed.utils_test import run_scheduler

from dask_pools.scheduler.install import install
from tests.third_party.outcomes import Outcomes

if TYPE_CHECKING:
    import pytest


def install_on_all(counts: Counter[str]) -> None:
    """Have the plugin installed on every scheduler that starts, and count these."""
    stock = Scheduler.start_unsafe

    @functools.wraps(stock)
    async def start_unsafe(self: Scheduler) -> Scheduler:
        await stock(self)
        install(self)
        counts["schedulers"] += 1
        return self

    Scheduler.start_unsafe = start_unsafe


def run_scheduler_with_plugin(*args: Any, **kwargs: Any) -> None:
    """Run a scheduler in a process of its own, where nothing of this module was called before."""
    install_on_all(Counter())
    run_scheduler(*args, **kwargs)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pools", choices=["off", "on"], default="off")
    parser.addoption("--record", type=Path, default=Path.cwd())


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "flaky: of pytest-rerunfailures, which need not be there")
    counts: Counter[str] = Counter()
    if config.option.pools == "on":
        install_on_all(counts)
        utils_test.run_scheduler = run_scheduler_with_plugin
    config.pluginmanager.register(Outcomes(config.option.record, counts), "outcomes")
