"""A pytest plugin that runs Dask's own tests of data frames with all sources pinned.

``pytest -p tests.third_party.framed_plugin --pools=taken --record=<directory> ...``

``--pools`` says what is done:

``off``
    Nothing, Dask is as it is installed.
``pinned``
    Every source that a test makes is pinned to pool ``a`` or ``b``, by what it reads.
``taken``
    The same; and where a frame has become tasks, their pins are taken off them, as on a
    scheduler. (What Dask has fused from two pools would be taken apart, but in none of its tests
    reads of two sources are fused: see `tests.graph.test_taking`.)
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask import _expr
from dask.dataframe.dask_expr._expr import Expr

from dask_pools.graph import adapter
from dask_pools.graph.adapter import recording
from dask_pools.graph.annotate import keep_pins, pool
from tests.third_party.outcomes import Outcomes

if TYPE_CHECKING:
    import pytest

ADDRESS = re.compile("0x[0-9a-f]+")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pools", choices=["off", "pinned", "taken"], default="off")
    parser.addoption("--record", type=Path, default=Path.cwd())


def pytest_configure(config: pytest.Config) -> None:
    counts: Counter[str] = Counter()
    if config.option.pools != "off":
        pin_sources(counts)
    if config.option.pools == "taken":
        take_off(counts)
    config.pluginmanager.register(Outcomes(config.option.record, counts), "outcomes")


def pin_sources(counts: Counter[str]) -> None:
    """Pin every source to one of two pools: equal ones to the same, whenever they are made."""
    keep_pins()
    made = vars(_expr.SingletonExpr)["__new__"].__func__

    def make(cls: type, *args: Any, **kwargs: Any) -> Any:
        if recording._kind(cls) != "pinned" or kwargs.get("_determ_token"):
            return made(cls, *args, **kwargs)
        said = ADDRESS.sub("", repr(args[0] if args else sorted(kwargs)))
        counts["sources"] += 1
        with pool("ab"[zlib.crc32(said.encode()) % 2]):
            return made(cls, *args, **kwargs)

    _expr.SingletonExpr.__new__ = staticmethod(make)


def take_off(counts: Counter[str]) -> None:
    """Take the pins off the tasks of frames where these are made."""
    plain = Expr.__dask_graph__

    def graph(self: Any) -> Any:
        tasks = plain(self)
        left, taken = adapter.take_pins(adapter.as_tasks(dict(tasks)))
        counts["taken"] += bool(taken)
        return left

    Expr.__dask_graph__ = graph
