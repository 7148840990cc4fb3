"""Who makes which output of a P2P shuffle: pools by what crosses, their workers by threads."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_pools.model import pools_of_resources
from dask_pools.scheduler.private.p2p import Partition, Shuffle, workers_allowed
from dask_pools.scheduler.roster import Roster, bound_only, bound_to
from dask_pools.scheduler.shuffles.shards import cheapest, received, spread

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

#: What a task is restricted to; tasks of one kind may run on the same workers.
Kind: TypeAlias = tuple[frozenset[str], frozenset[str], frozenset[tuple[str, float]]]

#: What stands for the pool of workers which have none: they hold data as others do.
NO_POOL = ""
#: So many steps backwards a transfer's data is looked for; mostly it is the first.
FURTHEST = 8


class Choice:
    """Who makes which output of one shuffle.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    roster : Roster
        The workers of its pools.
    shuffle : Shuffle
        The shuffle.
    workers : sequence of str
        The addresses of the workers that come into question.

    Attributes
    ----------
    stranded : set of str
        The pools without workers to which some output is bound; after `workers`.
    """

    def __init__(
        self, scheduler: Scheduler, roster: Roster, shuffle: Shuffle, workers: Sequence[str]
    ) -> None:
        self.scheduler = scheduler
        self.roster = roster
        self.shuffle = shuffle
        self.among = workers
        self.stranded: set[str] = set()
        #: Whether some input has to be where it is.
        self.bound = False
        #: The pools of each transfer step.
        self.places = {ts: self.locate(ts) for ts in shuffle.transfers}
        #: The pools in which each output is needed.
        self.needed: list[set[str]] = []
        #: The restrictions of each output, and who may run tasks of that kind.
        self.kinds: list[Kind | None] = []
        self.allowed: dict[Kind, set[WorkerState]] = {}
        for partition in shuffle.partitions:
            self._look_at(shuffle.outputs.get(partition))

    @property
    def concerns_pools(self) -> bool:
        """Whether anything has to be in a pool, or was put there.

        Of a shuffle that only happens to run in pools, distributed makes use of all workers.
        """
        return (
            self.bound
            or any(self.needed)
            or any(bound_to(ts) for ts in self.shuffle.outputs.values())
        )

    def workers(self) -> dict[Partition, str]:
        """Choose a worker for every output."""
        names = {name for found in (*self.places.values(), *self.needed) for name in found}
        for allowed in self.allowed.values():
            names.update(name for ws in allowed for name in self.pools_of(ws))
        members = {name: self.members(name) for name in sorted(names)}
        members = {name: found for name, found in members.items() if found}
        best = self._best(members)
        alike: dict[tuple[Kind | None, bytes], list[int]] = defaultdict(list)
        for column, kind in enumerate(self.kinds):
            alike[kind, best[:, column].tobytes()].append(column)
        chosen: dict[Partition, str] = {}
        for (kind, _), columns in alike.items():
            pools = [
                found
                for found, use in zip(members.values(), best[:, columns[0]], strict=True)
                if use
            ]
            able = self._able(kind, list(dict.fromkeys(ws for found in pools for ws in found)))
            share = spread(len(columns), [ws.nthreads for ws in able]).tolist()
            for column, i in zip(columns, share, strict=True):
                chosen[self.shuffle.partitions[column]] = able[i].address
        return chosen

    # ---- what is known of the workers

    def pools_of(self, ws: WorkerState) -> tuple[str, ...]:
        """Name the pools of a worker, `NO_POOL` if it has none."""
        return tuple(pool.name for pool in self.roster.pools_of(ws)) or (NO_POOL,)

    def members(self, pool: str) -> list[WorkerState]:
        """List the workers of a pool that take tasks and come into question."""
        if pool == NO_POOL:
            found = {ws for ws in self.scheduler.running if not self.roster.pools_of(ws)}
        else:
            found = self.roster.running(pool)
        return self._in_turn(found)

    def _in_turn(self, workers: Iterable[WorkerState]) -> list[WorkerState]:
        """Order workers, each time beginning with another one as distributed does."""
        some = set(self.among) if len(self.among) < len(self.scheduler.workers) else None
        found = sorted(
            (ws for ws in workers if some is None or ws.address in some),
            key=lambda ws: ws.address,
        )
        first = bisect_left([ws.address for ws in found], self.among[0])
        return found[first:] + found[:first]

    def _able(self, kind: Kind | None, members: list[WorkerState]) -> list[WorkerState]:
        """Choose those of some workers that may make outputs of a kind."""
        if kind is not None:
            members = [ws for ws in members if ws in self.allowed[kind]]
        # Where nobody can make them now, their pieces have to be somewhere all the same.
        return members or self._hosts(kind)

    def _hosts(self, kind: Kind | None) -> list[WorkerState]:
        """List workers that keep the pieces of outputs which nobody can make now."""
        resources = kind[2] if kind is not None else frozenset()
        pools = pools_of_resources(name for name, _ in resources)
        there = [self.roster.pools[name] for name in pools if name in self.roster.pools]
        paused = [ws for pool in there for ws in pool.members]
        if not paused:
            self.stranded.update(pools)
        everybody = [ws for ws in map(self.scheduler.workers.get, self.among) if ws is not None]
        return self._in_turn(paused) or everybody

    # ---- what is known of the outputs

    def _look_at(self, ts: TaskState | None) -> None:
        if ts is None:  # nobody wants it, but it is made of pieces all the same
            self.kinds.append(None)
            self.needed.append(set())
            return
        kind = _kind(ts)
        self.kinds.append(kind)
        if kind is not None and kind not in self.allowed:
            pool = bound_only(ts)
            self.allowed[kind] = (
                workers_allowed(self.scheduler, ts) if pool is None else self.roster.running(pool)
            )
        self.needed.append({pool for d in ts.dependents if (pool := bound_to(d)) is not None})

    def _best(self, members: Mapping[str, list[WorkerState]]) -> NDArray[np.bool_]:
        """Mark the pools in which the fewest bytes cross for each output; (pools, outputs)."""
        shape = (len(members), len(self.kinds))
        if not members:
            return np.zeros(shape, dtype=np.bool_)
        row = {name: i for i, name in enumerate(members)}
        needed = np.zeros(shape, dtype=np.bool_)
        for column, pools in enumerate(self.needed):
            needed[[row[name] for name in pools if name in row], column] = True
        possible = np.ones(shape, dtype=np.bool_)
        for kind, allowed in self.allowed.items():
            able = [any(ws in allowed for ws in found) for found in members.values()]
            columns = [i for i, other in enumerate(self.kinds) if other == kind]
            possible[:, columns] = np.array(able, dtype=np.bool_)[:, None]
        if len(row) == 1:
            return possible
        inputs, sizes = self._inputs(row)
        return cheapest(inputs, sizes, needed, possible)

    # ---- what is known of the inputs

    def locate(self, ts: TaskState) -> tuple[str, ...]:
        """Name the pools in which a transfer step runs, by its own place or that of its data."""
        found: tuple[str, ...] = ()
        for _ in range(FURTHEST):
            self.bound |= _is_bound(ts)
            found = found or self.here(ts) or self._heaviest(ts.dependencies)
            if not ts.dependencies or (found and self.bound):
                break
            ts = min(ts.dependencies, key=lambda d: (not _is_bound(d), str(d.key)))
        return found

    def _heaviest(self, values: Iterable[TaskState]) -> tuple[str, ...]:
        """Name the pools that hold, or will hold, most of some values."""
        weights: dict[tuple[str, ...], int] = defaultdict(int)
        for ts in values:
            if names := self.here(ts):
                weights[names] += max(ts.nbytes, 1)
        return max(weights, key=lambda names: (weights[names], names), default=())

    def here(self, ts: TaskState) -> tuple[str, ...]:
        """Name the pools to which a task is bound, or in which it runs or has its value."""
        if pool := bound_to(ts):
            return (pool,)
        if ts.processing_on is not None:
            return self.pools_of(ts.processing_on)
        return tuple(sorted({name for ws in ts.who_has or () for name in self.pools_of(ws)}))

    def _inputs(self, row: Mapping[str, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tell what each output receives from each pool, and in all."""
        rows = {ts: [row[p] for p in pools if p in row] for ts, pools in self.places.items()}
        chunks, blocks = self.shuffle.chunks, self.shuffle.blocks
        n = len(self.shuffle.partitions)
        if chunks is None or blocks is None:
            weights = _weights(self.shuffle.transfers)
            totals = np.zeros(len(row))
            for ts, weight in weights.items():
                totals[rows[ts]] += weight
            return np.repeat(totals[:, None] / n, n, axis=1), np.full(n, sum(weights.values()) / n)
        old, new = chunks
        held = np.zeros((len(row), *map(len, old)))
        for index, ts in blocks.items():
            for i in rows[ts]:
                held[i][index] = 1.0
        inputs = np.stack([received(one, old, new).reshape(-1) for one in held])
        return inputs, received(np.ones(held.shape[1:]), old, new).reshape(-1)


def _is_bound(ts: TaskState) -> bool:
    """Ask whether a task has to be where it is: in its pool, or as a value that somebody keeps."""
    return bound_to(ts) is not None or bool(ts.who_has and ts.who_wants)


def _kind(ts: TaskState) -> Kind | None:
    if not (ts.worker_restrictions or ts.host_restrictions or ts.resource_restrictions):
        return None
    return (
        frozenset(ts.worker_restrictions or ()),
        frozenset(ts.host_restrictions or ()),
        frozenset((ts.resource_restrictions or {}).items()),
    )


def _weights(transfers: Sequence[TaskState]) -> dict[TaskState, float]:
    """Tell how many bytes each transfer step sends; the mean of the others where unknown."""
    known = {
        ts: float(sum(d.nbytes for d in ts.dependencies))
        for ts in transfers
        if ts.dependencies and all(d.nbytes >= 0 for d in ts.dependencies)
    }
    mean = sum(known.values()) / len(known) if known else 0.0
    return {ts: known.get(ts, mean) or 1.0 for ts in transfers}
