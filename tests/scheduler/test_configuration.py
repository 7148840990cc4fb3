from __future__ import annotations

import logging
import math
import pickle
from typing import Any

import dask
import pytest
from distributed.utils_test import captured_logger, inc

from dask_pools.errors import ConfigurationError
from dask_pools.scheduler.configuration import (
    DEFAULT_MEMORY_SHARE,
    MEMORY_SHARE,
    POOL_TIMEOUT,
    SATURATION,
    read_configuration,
)
from dask_pools.scheduler.plugin import PoolsPlugin
from tests.scheduler.clusters import IN_A, cluster_of


def test_nothing_has_to_be_set() -> None:
    found = read_configuration()
    assert found.saturation == {}
    assert found.default_saturation is None
    assert found.memory_share == DEFAULT_MEMORY_SHARE
    assert found.pool_timeout == 60


@pytest.mark.parametrize(
    ("given", "by_pool", "default"),
    [
        (3, {}, 3.0),
        ("1.5", {}, 1.5),
        (math.inf, {}, math.inf),
        ({"ecmwf": 2}, {"ecmwf": 2.0}, None),
    ],
)
def test_saturation_is_for_all_pools_or_by_pool(
    given: Any, by_pool: dict[str, float], default: float | None
) -> None:
    with dask.config.set({SATURATION: given}):
        found = read_configuration()
    assert found.saturation == by_pool
    assert found.default_saturation == default


@pytest.mark.parametrize(("given", "seconds"), [("10 minutes", 600), (5, 5), (None, math.inf)])
def test_timeout_is_a_time_or_none_at_all(given: Any, seconds: float) -> None:
    with dask.config.set({POOL_TIMEOUT: given}):
        assert read_configuration().pool_timeout == seconds


@pytest.mark.parametrize(
    ("name", "given"),
    [
        (SATURATION, "many"),
        (SATURATION, 0),
        (SATURATION, True),
        (SATURATION, {"ecmwf": -1}),
        (MEMORY_SHARE, None),
        (MEMORY_SHARE, math.nan),
        (POOL_TIMEOUT, "soon"),
        (POOL_TIMEOUT, 0),
    ],
)
def test_setting_that_makes_no_sense_is_an_error_which_names_it(name: str, given: Any) -> None:
    with dask.config.set({name: given}), pytest.raises(ConfigurationError) as caught:
        read_configuration()
    message = str(caught.value)
    assert name in message
    assert repr(given if not isinstance(given, dict) else -1) in message
    assert "above 0" in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


@cluster_of(IN_A)
async def test_plugin_is_not_installed_with_settings_that_make_no_sense(c, s, a):
    before = set(s.plugins)
    with dask.config.set({MEMORY_SHARE: -1}), pytest.raises(ConfigurationError):
        await c.register_plugin(PoolsPlugin())
    assert set(s.plugins) == before
    assert await c.submit(inc, 1) == 2


@cluster_of(IN_A)
async def test_settings_are_read_anew_when_a_graph_arrives(c, s, a):
    plugin = PoolsPlugin()
    plugin.attach(s)
    with dask.config.set({SATURATION: 7, MEMORY_SHARE: 0.5}):
        await c.submit(inc, 1, key="x")
    assert plugin.slots.saturation("a") == 7
    assert plugin.pressure.share == 0.5
    with dask.config.set({MEMORY_SHARE: -1}), captured_logger("dask_pools", logging.ERROR) as log:
        assert await c.submit(inc, 2, key="y") == 3
    assert MEMORY_SHARE in log.getvalue()
    assert plugin.pressure.share == 0.5
