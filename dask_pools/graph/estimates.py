"""What a placement rests on, where the sizes of values were not known exactly.

The scheduler compares it with what the values turn out to be
(`dask_pools.scheduler.arrivals.corrections`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph.carrying import Carried
from dask_pools.planning.basis import Basis


class Estimate(NamedTuple):
    """The size that was taken for one value, in bytes, and what that rests on."""

    nbytes: float
    basis: Basis


@dataclass(frozen=True, eq=False)
class Estimates:
    """The sizes with which one graph was placed.

    Parameters
    ----------
    watched : list of keys
        The values whose real sizes may show that free tasks should be elsewhere: those of
        inexact size that are carried for a free task, or used by one that also takes a value
        from another pool.
    keys : list of keys
        All tasks of the graph as it is sent to the scheduler, but for its transfers.
    nbytes : ndarray of float64
        The size that was taken for each of them, in bytes.
    basis : ndarray of int8
        What each size rests on: numbers of `Basis`.
    pools : tuple of str
        The pools there were.
    costs : ndarray of float64, shape (P, P)
        What a byte cost on each link.
    """

    watched: list[Key]
    keys: list[Key]
    nbytes: NDArray[np.float64]
    basis: NDArray[np.int8]
    pools: tuple[str, ...]
    costs: NDArray[np.float64]

    @cached_property
    def _index(self) -> dict[Key, int]:
        return dict(zip(self.keys, range(len(self.keys)), strict=True))

    def __contains__(self, key: object) -> bool:
        return key in self._index

    def of(self, key: Key) -> Estimate | None:
        """Return the size that was taken for a value; None if it is none of the graph."""
        i = self._index.get(key)
        return None if i is None else Estimate(float(self.nbytes[i]), Basis(int(self.basis[i])))


def find_estimates(
    keys: Sequence[Key],
    rows: NDArray[np.intp],
    carried: Carried,
    free: NDArray[np.bool_],
    sizes: tuple[NDArray[np.float64], NDArray[np.int8]],
    prices: tuple[tuple[str, ...], NDArray[np.float64]],
) -> Estimates | None:
    """Find out whether it hangs on inexact sizes where tasks are placed.

    Parameters
    ----------
    keys : list of keys
        The tasks as they are sent to the scheduler; k of them.
    rows : ndarray of intp, shape (k,)
        The row of each in the graph with its transfers.
    carried : Carried
        That graph.
    free : ndarray of bool, shape (n,)
        The tasks that have no pin, by their rows before values were carried.
    sizes : tuple of two ndarrays, shape (n,)
        Bytes of each value and what that rests on, by the same rows.
    prices : tuple of a tuple of str and an ndarray
        The pools, and the cost of a byte from each to each.

    Returns
    -------
    Estimates or None
        None if there is nothing to watch: all sizes are exact, or nothing crosses for free
        tasks.
    """
    nbytes, basis = sizes
    if not len(carried.moved) or not (basis != Basis.EXACT).any():
        return None
    old = carried.origin >= 0
    origin = carried.origin[old]
    n = len(carried.labels)
    inexact, movable = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    inexact[old] = basis[origin] != Basis.EXACT
    movable[old] = free[origin]
    watched = _decisive(carried, movable) & inexact
    if not watched[rows].any():
        return None
    sent = np.flatnonzero(old[rows])
    row = carried.origin[rows[sent]]
    return Estimates(
        watched=[keys[i] for i in np.flatnonzero(watched[rows]).tolist()],
        keys=[keys[i] for i in sent.tolist()],
        nbytes=nbytes[row],
        basis=basis[row],
        pools=prices[0],
        costs=prices[1],
    )


def _decisive(carried: Carried, movable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the values on whose size it hangs where a movable task should be."""
    n = len(carried.labels)
    inside = carried.table.values < n
    values, consumers = carried.table.values[inside], carried.table.consumers[inside]
    transfer = carried.sources >= 0
    used_by_movable = np.zeros(n, dtype=np.bool_)
    used_by_movable[values[transfer[values] & movable[consumers]]] = True
    takes_from_afar = np.zeros(n, dtype=np.bool_)
    takes_from_afar[consumers[transfer[values]]] = True
    takes_from_afar &= movable
    found = np.zeros(n, dtype=np.bool_)
    found[values[transfer[consumers] & used_by_movable[consumers]]] = True
    found[values[takes_from_afar[consumers]]] = True
    return found
