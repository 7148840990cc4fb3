"""Random work for pools: pinned, mirrored, free and unplaced, with the results it has to have.

Whatever reads data asks in which pool it runs, and fails in any but its own. Data are small
whole numbers, so that sums are exact in whatever order.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias, cast

import dask
import dask.array as da
import numpy as np
from dask.delayed import delayed
from distributed import Client, Future, worker_client

from dask_pools import pool
from tests.sources import require, values

SHAPE = (8, 6)

#: What tasks wait for which stall, by name; of this process only.
GATES: dict[str, threading.Event] = {}


class ExpectedError(Exception):
    """What tasks raise on purpose."""


def pass_gate(name: str | None) -> None:
    """Wait until somebody has opened a gate."""
    if name in GATES:
        GATES[name].wait()


def read_block(
    seed: int, pools: tuple[str, ...], gate: str | None, block_info: Any = None
) -> np.ndarray:
    """Read a block of an array."""
    require(pools)
    pass_gate(gate)
    return values(seed, SHAPE, "i8")[
        tuple(slice(*ends) for ends in block_info[None]["array-location"])
    ]


def read_value(seed: int, pools: tuple[str, ...], gate: str | None = None, *after: object) -> int:
    """Read a number."""
    require(pools)
    pass_gate(gate)
    return seed


def read_from_task(seed: int, pools: tuple[str, ...], here: tuple[str, ...]) -> int:
    """Submit a read from inside of a task."""
    require(here)
    with worker_client() as client, pool(*pools):
        future = client.submit(read_value, seed, pools, pure=False)
        try:
            return cast(int, future.result())
        finally:
            future.release()  # by hand: its error would hold it


def fail(pools: tuple[str, ...]) -> None:
    """Raise an error."""
    require(pools)
    raise ExpectedError


#: Pools in which something is read, each with how often it had lost all workers before;
#: -1 if it had none just then.
Pools: TypeAlias = dict[str, int]


@dataclass
class Work:
    """Something that was submitted: what it is, its future, what has to come out, its pools."""

    kind: str
    future: Future
    expected: Any = field(repr=False)
    pools: Pools


@dataclass
class Array:
    """An array, what it holds, and its pools."""

    lazy: da.Array
    expected: np.ndarray
    pools: Pools


class Workload:
    """Makes and submits random work.

    Parameters
    ----------
    client : Client
        An asynchronous client.
    pools : tuple of str
        The names of the pools.
    random : Random
        Chooses.
    emptied : callable
        Says how often a pool has lost all its workers; -1 if it has none.
    chunks : tuple of int
        How arrays are cut.
    stalls : float
        The share of reads that wait at a gate; 0 if workers are other processes.
    """

    def __init__(
        self,
        client: Client,
        pools: tuple[str, ...],
        random: Random,
        emptied: Callable[[str], int] = lambda _: 0,
        chunks: tuple[int, int] = (2, 3),
        stalls: float = 0.2,
    ) -> None:
        self.client = client
        self.pools = pools
        self.emptied = emptied
        self.chunks = chunks
        self.stalls = stalls
        self.random = random
        self.serial = itertools.count(1)
        #: Arrays that are kept in the workers' memory, and used again.
        self.persisted: list[Array] = []
        self.gates: list[str] = []
        self.kinds: tuple[Callable[[], Work], ...] = (
            *[self.computed] * 6,
            *[self.kept, self.mapped, self.chained, self.delayed] * 2,
            *[self.nested, self.failing],
            self.shuffled,  # takes longer than all others together
        )

    def submit(self) -> Work:
        """Submit something."""
        return self.random.choice(self.kinds)()

    def mark(self, pools: tuple[str, ...]) -> Pools:
        """Note how often some pools have been without workers."""
        return {name: self.emptied(name) for name in pools}

    def pin(self) -> tuple[str, ...]:
        """Choose a pool, two pools that hold the same, or none."""
        return tuple(self.random.sample(self.pools, self.random.choice((0, 1, 1, 1, 2))))

    def gate(self) -> str | None:
        """Choose whether something stalls, and give its gate a name."""
        if self.random.random() >= self.stalls:
            return None
        name = f"gate-{id(self)}-{next(self.serial)}"
        GATES[name] = threading.Event()
        self.gates.append(name)
        return name

    def open_gates(self) -> None:
        """Let go on whatever stalls."""
        for name in self.gates:
            GATES.pop(name).set()
        self.gates.clear()

    def read(self) -> Array:
        """Make an array that is read in a pool, or in any."""
        pools, seed = self.pin(), next(self.serial)
        with pinned(pools):
            lazy = da.map_blocks(
                read_block,
                seed,
                pools,
                self.gate(),
                chunks=da.core.normalize_chunks(self.chunks, SHAPE),
                dtype="i8",
                meta=np.empty((0, 0), "i8"),
                name=f"read-{seed}",
            )
        return Array(lazy, values(seed, SHAPE, "i8"), self.mark(pools))

    def expression(self) -> Array:
        """Make an array out of one to three inputs."""
        found = self.leaf()
        for _ in range(self.random.randrange(3)):
            other = self.leaf()
            combine = self.random.choice((np.add, np.subtract, np.maximum, joined))
            found = Array(
                combine(found.lazy, other.lazy),
                combine(found.expected, other.expected),
                merged(found.pools, other.pools),
            )
            change = self.random.choice((np.negative, doubled, centred, lambda x: x))
            found = Array(change(found.lazy), change(found.expected), found.pools)
        return found

    def leaf(self) -> Array:
        if self.persisted and self.random.random() < 0.3:
            return self.random.choice(self.persisted)
        return self.read()

    def computed(self) -> Work:
        """Compute an array, or its sum."""
        x = self.expression()
        whole = self.random.random() < 0.5
        lazy = x.lazy if whole else x.lazy.sum()
        expected = x.expected if whole else x.expected.sum()
        # Tasks that the optimiser has not seen have no transfers, but do have pins.
        optimised = self.random.random() < 0.8
        future = self.client.compute(lazy, optimize_graph=optimised)
        return Work("compute", future, expected, x.pools)

    def kept(self) -> Work:
        """Persist an array, which later work may use."""
        x = self.expression()
        x.lazy = self.client.persist(x.lazy)
        self.persisted = [*self.persisted[-2:], x]
        return Work("persist", self.client.compute(x.lazy), x.expected, x.pools)

    def shuffled(self) -> Work:
        """Rechunk by P2P."""
        x = self.expression()
        lazy = x.lazy.rechunk((8, 1), method="p2p") + 1
        return Work("p2p", self.client.compute(lazy), x.expected + 1, x.pools)

    def mapped(self) -> Work:
        """Submit many reads, and a sum that is pinned elsewhere, or unplaced."""
        pools, sum_pools = self.pin(), self.pin()
        seeds = [next(self.serial) for _ in range(self.random.randrange(2, 12))]
        with pinned(pools):
            reads = self.client.map(read_value, seeds, pools=pools, gate=self.gate(), pure=False)
        with pinned(sum_pools):
            total = self.client.submit(sum, reads, pure=False)
        return Work("map", total, sum(seeds), self.mark(pools + sum_pools))

    def chained(self) -> Work:
        """Submit tasks that go from pool to pool."""
        found: Future | None = None
        pools: tuple[str, ...] = ()
        seed = next(self.serial)
        for _ in range(self.random.randrange(1, 5)):
            here = self.pin()
            with pinned(here):
                found = self.client.submit(read_value, seed, here, self.gate(), found, pure=False)
            pools += here
        assert found is not None
        return Work("chain", found, seed, self.mark(pools))

    def delayed(self) -> Work:
        """Compute delayed values, with the optimiser and without."""
        pools, seeds, lazy = (), [], []
        for _ in range(self.random.randrange(1, 4)):
            here, seed = self.pin(), next(self.serial)
            with pinned(here):
                lazy.append(delayed(read_value)(seed, here, self.gate(), pure=False))
            seeds.append(seed)
            pools += here
        optimised = self.random.random() < 0.5
        future = self.client.compute(delayed(sum)(lazy), optimize_graph=optimised)
        return Work("delayed", future, sum(seeds), self.mark(pools))

    def nested(self) -> Work:
        """Submit a task that submits a task."""
        here, there, seed = self.pin(), self.pin(), next(self.serial)
        if not there:
            there = self.pools[:1]
        with pinned(here):
            future = self.client.submit(read_from_task, seed, there, here, pure=False)
        return Work("nested", future, seed, self.mark(here + there))

    def failing(self) -> Work:
        """Submit a task that fails, and one that needs it."""
        here, there = self.pin(), self.pin()
        with pinned(here):
            failed = self.client.submit(fail, here, pure=False)
        with pinned(there):
            future = self.client.submit(read_value, 0, there, None, failed, pure=False)
        return Work("fail", future, ExpectedError, self.mark(here + there))


@contextlib.contextmanager
def pinned(pools: tuple[str, ...]) -> Iterator[None]:
    """Pin to some pools; to none, leave free."""
    with pool(*pools) if pools else dask.annotate():
        yield


def merged(x: Pools, y: Pools) -> Pools:
    """Take the pools of two inputs together, at the earlier time."""
    return {name: min(p[name] for p in (x, y) if name in p) for name in {*x, *y}}


def joined(x: Any, y: Any) -> Any:
    """Put half of one array after half of another."""
    return (da if isinstance(x, da.Array) else np).concatenate([x[:4], y[4:]])


def doubled(x: Any) -> Any:
    return x * 2


def centred(x: Any) -> Any:
    """Subtract from all rows their maximum: a reduction, and its result sent back."""
    return x - x.max(axis=0)
