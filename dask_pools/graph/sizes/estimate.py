"""How many bytes the value of each task has and how long it takes, before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.sizes.blocks import Blocks
from dask_pools.graph.sizes.single import Singles, Told
from dask_pools.graph.submission import Learned
from dask_pools.planning.basis import Basis

#: Bytes that one thread is assumed to work through in a second, those it takes in and those it
#: makes together, where nothing was learned of a kind of task. A guess: reading and unpacking a
#: compressed chunk is about as fast, arithmetic in memory faster, a transform slower.
ASSUMED_RATE = 200e6

#: Which task needs which value: for each need the position of the value and of the task. Values
#: from outside come after the tasks.
Needs = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """What is known of the values of tasks before they run, in the order of the tasks.

    Parameters
    ----------
    nbytes : ndarray of float64, shape (n,)
        Bytes in memory, as `dask.sizeof.sizeof` counts them: a view counts as what it shows,
        a broadcast view as what is repeated. Finite and not negative.
    basis : ndarray of int8, shape (n,)
        What that rests on: numbers of `Basis`.
    seconds : ndarray of float64, shape (n,)
        Seconds that each task takes on one thread.
    """

    nbytes: NDArray[np.float64]
    basis: NDArray[np.int8]
    seconds: NDArray[np.float64]


def estimate(
    tasks: Mapping[Key, adapter.GraphNode],
    blocks: Mapping[str, Blocks],
    outside: Mapping[Key, float],
    learned: Mapping[str, Learned],
    needs: Needs | None = None,
    told: Told | None = None,
) -> Sizes:
    """Estimate the size of the value of every task, and how long the task takes.

    Parameters
    ----------
    tasks : mapping
        The graph, a task for each key; fastest if keys of one layer follow each other.
    blocks : mapping
        What `describe_blocks` found.
    outside : mapping
        Sizes of values that tasks need and that are not in the graph, in bytes.
    learned : mapping of str to Learned
        What was learned of each kind of task; used where a size is not exact.
    needs : tuple of two ndarrays of intp, optional
        Which task needs which value; found out here if not given, which takes longer.
    told : Told, optional
        What is known of data frames.

    Notes
    -----
    A size is exact where chunks and type say it, or if a value is in the graph or there already;
    else the mean over earlier results of the same kind of task; else assumed from what the task
    takes in. The time is the mean over earlier runs, else as bytes at `ASSUMED_RATE`; literals
    and aliases take none.

    Examples
    --------
    >>> tasks = adapter.as_tasks({("x", 0): (abs, -1), ("x", 1): (abs, -1), "y": (abs, -1)})
    >>> blocks = {"x": Blocks(((2, 3),), itemsize=8)}
    >>> sizes = estimate(tasks, blocks, {}, {"y": Learned(nbytes=100.0, seconds=2.0)})
    >>> sizes.nbytes
    array([ 16.,  24., 100.])
    >>> [str(Basis(basis)) for basis in sizes.basis]
    ['exact', 'exact', 'learned']
    >>> sizes.seconds
    array([8.0e-08, 1.2e-07, 2.0e+00])
    """
    count = len(tasks)
    nbytes = np.full(count, np.nan)
    basis = np.full(count, Basis.ASSUMED, dtype=np.int8)
    seconds = np.full(count, np.nan)
    kinds = _Kinds(learned)
    start = 0
    for name, run in groupby(tasks, _name):
        keys = list(run)
        stop = start + len(keys)
        part = slice(start, stop)
        known = blocks.get(name) if isinstance(name, str) else None
        if known is not None and not known.doubts:
            nbytes[part], basis[part] = _blocks(known, cast(list[tuple[Any, ...]], keys))
        kind = kinds.of(name)
        if kind is not None:
            _apply(kind, nbytes[part], basis[part], seconds[part])
        start = stop
    aliases, literals = adapter.plain_nodes(tasks)
    singles = Singles(
        tasks, blocks, outside, nbytes, basis, lambda key: kinds.of(_name(key)), told=told or Told()
    )
    singles.tell()
    singles.count(literals)
    singles.agree(aliases)
    singles.visit(np.flatnonzero(np.isnan(nbytes)).tolist())
    seconds[aliases] = 0.0
    seconds[literals] = 0.0
    _add_seconds(seconds, nbytes, needs or _needs(tasks, outside), outside)
    return Sizes(nbytes, basis, seconds)


def _name(key: Key) -> object:
    return key[0] if type(key) is tuple and key else key


def _blocks(
    known: Blocks, keys: Sequence[tuple[Any, ...]]
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Return the sizes of the blocks of an array; NaN for keys that are pieces of blocks."""
    nbytes = known.nbytes(keys)
    if nbytes is None:
        nbytes = np.full(len(keys), np.nan)
        proper = [i for i, key in enumerate(keys) if known.has(key[1:])]
        if proper:
            found = known.nbytes([keys[i] for i in proper])
            nbytes[proper] = np.nan if found is None else found
    basis = np.where(np.isnan(nbytes), np.int8(Basis.ASSUMED), np.int8(known.basis))
    return nbytes, basis


class _Kinds:
    """Looks up what was learned, once for each layer."""

    def __init__(self, learned: Mapping[str, Learned]) -> None:
        self.learned = learned
        self.found: dict[object, Learned | None] = {}

    def of(self, name: object) -> Learned | None:
        """Return what was learned of the tasks of a layer, None if nothing was."""
        if not self.learned:
            return None
        if name not in self.found:
            self.found[name] = self.learned.get(adapter.kind_of(name))
        return self.found[name]


def _apply(
    kind: Learned,
    nbytes: NDArray[np.float64],
    basis: NDArray[np.int8],
    seconds: NDArray[np.float64],
) -> None:
    """Use what was learned of a kind of task, where nothing is better.

    Where nothing is known yet, something better may still be found.
    """
    if kind.nbytes is not None:
        unsure = (basis != Basis.EXACT) & ~np.isnan(nbytes)
        nbytes[unsure] = kind.nbytes
        basis[unsure] = Basis.LEARNED
    if kind.seconds is not None:
        seconds[:] = kind.seconds


def _needs(tasks: Mapping[Key, adapter.GraphNode], outside: Mapping[Key, float]) -> Needs:
    index = {key: i for i, key in enumerate((*tasks, *outside))}
    found = [
        (index[d], i)
        for i, task in enumerate(tasks.values())
        for d in adapter.dependencies(task)
        if d in index
    ]
    pairs = np.array(found, dtype=np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _add_seconds(
    seconds: NDArray[np.float64],
    nbytes: NDArray[np.float64],
    needs: Needs,
    outside: Mapping[Key, float],
) -> None:
    """Assume the time of what nothing was learned of."""
    values, consumers = needs
    every = np.concatenate([nbytes, np.fromiter(outside.values(), np.float64, len(outside))])
    taken = np.bincount(consumers, weights=every[values], minlength=len(nbytes))
    unknown = np.isnan(seconds)
    seconds[unknown] = (taken + nbytes)[unknown] / ASSUMED_RATE
