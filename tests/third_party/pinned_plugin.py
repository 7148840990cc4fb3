"""A pytest plugin that runs somebody else's tests with their inputs pinned to two pools.

``pytest -p tests.third_party.pinned_plugin --pools=placed --record=<directory>
--pyargs dask.array.tests``.

What "inputs pinned" means here: a graph in which nothing is pinned yet is an input, as
`da.from_array`, `da.ones` or a hand-written dictionary make it.  All its layers get the
annotations that `pool` would give them, the inputs of a test in turn those of pool ``a`` and
of pool ``b``.  So a computation on two inputs has to bring two pools together, and one on
a single input stays in one.  The names of keys stay as the tests expect them, because no
``with pool(...)`` is in force while they are made.

``--pools`` says what is done with the pins:

``off``
    Nothing is pinned, Dask is as it is installed.
``pinned``
    `propagate_pools()` is in force.  Local schedulers, which most tests use, then run what
    the optimiser makes on a client: pins kept, no transfers.
``placed``
    The optimiser is told that it works for a scheduler with workers in both pools, as the
    plugin of dask_pools tells it on a cluster: tasks are placed and fused pool by pool, and
    values are carried between pools by transfer tasks, which local schedulers run as well.
``scattered``
    As ``placed``, but the blocks of each input are in pools ``a`` and ``b`` in turn, so that
    the annotation of a layer differs from key to key, and nearly everything crosses.

Tests that start a cluster of their own get workers that belong to both pools; a pin to a
pool without workers would be refused, as it should.

Random numbers of NumPy and of Python are seeded before each test, so that runs can be compared.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from dask.array.optimization import optimize as optimize_arrays
from dask.delayed import optimize as optimize_delayed
from dask.highlevelgraph import HighLevelGraph

from dask_pools.graph import adapter, optimize
from dask_pools.graph.annotate import pool
from dask_pools.graph.submission import Submission
from dask_pools.model import PIN, Pool, Topology, pool_resource, restriction
from dask_pools.propagate import propagate_pools
from tests.third_party.outcomes import Outcomes

POOLS = ("a", "b")
#: The setting of Dask that gives resources to workers.
WORKER_RESOURCES = "distributed.worker.resources"


class BlockPin:
    """An annotation that differs from block to block."""

    def __init__(self, start: str) -> None:
        self.start = POOLS.index(start)

    def __call__(self, key: Any) -> tuple[str]:
        index = key[1:] if isinstance(key, tuple) else ()
        steps = sum(i for i in index if isinstance(i, int))
        return (POOLS[(self.start + steps) % len(POOLS)],)


class BlockRestriction(BlockPin):
    """What belongs to the pin of a block."""

    def __call__(self, key: Any) -> dict[str, float]:
        return restriction(*super().__call__(key))


class Pinning:
    """Pins what a test makes, input by input or block by block."""

    def __init__(self, *, by_block: bool) -> None:
        self.by_block = by_block
        self.pools: dict[str, str] = {}
        self.turn = itertools.cycle(POOLS)
        #: Set while graphs are optimised: what is made then is no input of a test.
        self.resting = threading.local()

    def restart(self) -> None:
        """Begin with the first pool again, so that each test stands for itself."""
        self.pools.clear()
        self.turn = itertools.cycle(POOLS)

    @contextmanager
    def rest(self) -> Iterator[None]:
        before = getattr(self.resting, "now", False)
        self.resting.now = True
        try:
            yield
        finally:
            self.resting.now = before

    def pin(self, graph: HighLevelGraph) -> None:
        """Pin all layers of a graph in which nothing is pinned yet."""
        layers = graph.layers.values()
        if getattr(self.resting, "now", False) or any(
            PIN in (layer.annotations or {}) for layer in layers
        ):
            return
        name = min(map(str, graph.layers), default="")
        # A dictionary of tasks gets the address of an object for a name, which is no name to
        # remember it by: another one may get the same.
        pool = next(self.turn) if name.isdigit() else self.pools.get(name) or next(self.turn)
        self.pools[name] = pool
        pin = BlockPin(pool) if self.by_block else (pool,)
        resources = BlockRestriction(pool) if self.by_block else restriction(pool)
        for layer in layers:
            layer.annotations = {**(layer.annotations or {}), PIN: pin, "resources": resources}

    def install(self) -> None:
        """Have every graph looked at when it is made."""
        stock = HighLevelGraph.__init__

        @functools.wraps(stock)
        def init(graph: HighLevelGraph, *args: Any, **kwargs: Any) -> None:
            stock(graph, *args, **kwargs)
            self.pin(graph)

        HighLevelGraph.__init__ = init


class Record:
    """Counts what the optimiser makes of the graphs of all tests, next to stock Dask."""

    def __init__(self, pinning: Pinning) -> None:
        self.pinning = pinning
        self.counts: Counter[str] = Counter()

    def install(self) -> None:
        place_graph = optimize.place_graph

        @functools.wraps(place_graph)
        def recorded(dsk: Any, keys: Any, *args: Any, **kwargs: Any) -> optimize.PlacedGraph:
            with self.pinning.rest():
                placed = place_graph(dsk, keys, *args, **kwargs)
                self.add(dsk, keys, placed)
            return placed

        optimize.place_graph = recorded

    def add(self, dsk: Any, keys: Any, placed: optimize.PlacedGraph) -> None:
        tasks = placed.plan.tasks
        self.counts.update(
            graphs=1,
            two_pools=all(tasks.get(pool) for pool in POOLS),
            transfers=len(placed.plan.transfers),
            tasks=sum(tasks.values()),
            stock=stock_tasks(dsk, keys) or sum(tasks.values()),
        )


def stock_tasks(dsk: Any, keys: Any) -> int | None:
    """Count the tasks that Dask would have left; None if it cannot do it.

    It cannot fuse chains of what `dask.graph_manipulation.clone` makes of layers that are not
    blockwise: their tasks have kept the keys of the original.
    """
    try:
        return len(dict(stock_optimizer(keys)(dsk, keys)))
    except ValueError as error:
        if "Cannot fuse tasks" not in str(error):
            raise
        return None


def stock_optimizer(keys: Any) -> Any:
    """Choose the optimiser that Dask would have used, from the keys that are wanted."""
    if all(map(adapter.is_delayed_key, adapter.flat_keys(keys))):
        return optimize_delayed
    return optimize_arrays


def no_residence(_: object) -> None:
    """Look up a value of an earlier computation: there is none."""


def two_pools() -> Submission:
    """Say what the plugin would say on a scheduler that has both pools."""
    topology = Topology(tuple(Pool(name, workers=1, nthreads=1) for name in POOLS))
    return Submission(topology=topology, residence=no_residence)


def propagation(pools: str) -> AbstractContextManager[Any]:
    """Enter what the option asks for, around one test."""
    if pools == "pinned":
        return propagate_pools()
    optimizer = optimize.PoolOptimizer(find_submission=two_pools)
    hooks = ("array_optimize", "delayed_optimize", "bag_optimize")
    return dask.config.set(dict.fromkeys(hooks, optimizer))


def give_workers(resources: dict[str, float]) -> None:
    """Give resources to all workers that tests will start, here or in processes of their own."""
    dask.config.set({WORKER_RESOURCES: resources})
    os.environ[f"DASK_{WORKER_RESOURCES.upper().replace('.', '__')}"] = repr(resources)


class Pools:
    """The hooks that pin, registered unless pools are off."""

    def __init__(self, pools: str) -> None:
        self.pools = pools
        self.pinning = Pinning(by_block=pools == "scattered")
        self.record = Record(self.pinning)

    def install(self) -> None:
        with pool(None):  # the first of a session changes how Dask names keys, and keeps pins
            pass
        give_workers({pool_resource(p): 1 for p in POOLS})
        self.pinning.install()
        self.record.install()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self.pinning.restart()
        with propagation(self.pools):
            return (yield)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pools", choices=["off", "pinned", "placed", "scattered"], default="off")
    parser.addoption("--record", type=Path, default=Path.cwd())


def pytest_configure(config: pytest.Config) -> None:
    counts: Counter[str] = Counter()
    if config.option.pools != "off":
        pools = Pools(config.option.pools)
        pools.install()
        counts = pools.record.counts
        config.pluginmanager.register(pools, "pools")
    config.pluginmanager.register(Outcomes(config.option.record, counts), "outcomes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the tests use NumPy's global generator
