"""The order of values: who neighbours whom, which can be looked at side by side, sums of groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The neighbours of each value on one side of its arcs, one value after the other.

    Parameters
    ----------
    starts : ndarray of intp, shape (n + 1,)
        Where the neighbours of each value start in `ends`.
    ends : ndarray of intp, shape (m,)
        The neighbours.
    """

    starts: NDArray[np.intp]
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, own: NDArray[np.intp], others: NDArray[np.intp], n: int) -> Neighbours:
        """Gather the `others` of each of n values."""
        order = np.argsort(own, kind="stable")
        counts = np.bincount(own, minlength=n)
        return cls(np.concatenate([[0], np.cumsum(counts)]), others[order])

    def gather(self, values: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return for each neighbour of some values the position of the value, and itself."""
        counts = self.starts[values + 1] - self.starts[values]
        position = np.repeat(np.arange(len(values)), counts)
        before = np.cumsum(counts) - counts
        offset = np.arange(len(position)) - before[position]
        return position, self.ends[self.starts[values][position] + offset]


def levels(inputs: Neighbours, outputs: Neighbours) -> tuple[list[NDArray[np.intp]], int | None]:
    """Sort values topologically: those of one level need only values of earlier ones.

    Parameters
    ----------
    inputs, outputs : Neighbours
        What each value needs, and what needs it.

    Returns
    -------
    levels : list of ndarray of intp
    cyclic : int or None
        The first value that is in no level, because it depends on a cycle.

    Examples
    --------
    >>> values, consumers = np.array([0, 1, 2]), np.array([2, 2, 3])
    >>> inputs = Neighbours.of(consumers, values, 4)
    >>> levels(inputs, Neighbours.of(values, consumers, 4))
    ([array([0, 1]), array([2]), array([3])], None)
    """
    waiting = np.diff(inputs.starts)
    found = []
    ready = np.flatnonzero(waiting == 0)
    while len(ready):
        found.append(ready)
        freed = outputs.gather(ready)[1]
        np.subtract.at(waiting, freed, 1)
        ready = np.unique(freed[waiting[freed] == 0])
    return found, int((waiting > 0).argmax()) if waiting.any() else None


def sums(groups: NDArray[np.intp], numbers: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Sum up numbers by group, each 0 to ``count - 1``.

    Examples
    --------
    >>> sums(np.array([0, 2, 2]), np.array([1.0, 2.0, 3.0]), 3)
    array([1., 0., 5.])
    """
    found = np.bincount(groups, weights=numbers, minlength=count)
    return found.astype(np.float64, copy=False)
