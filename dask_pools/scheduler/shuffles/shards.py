"""In which pools the outputs of a P2P shuffle are best made; plain functions over arrays.

The pieces that a shuffle sends cross a link unless their input and their output are in one
pool. So of each output it is asked how much of it comes from each pool::

    time ->          pool a        pool b
    old chunks   |-----|-----|--------------|
    new chunks   |--------|--------|--------|
                     a      a or b      b

A rechunk knows it from the chunks; into each output of a hash shuffle every input sends its
share. An output is itself carried to every pool in which it is needed, which counts as well.
What is deliberately not looked at here is how busy the pools are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def received(
    held: NDArray[np.float64], old: Sequence[Sequence[float]], new: Sequence[Sequence[float]]
) -> NDArray[np.float64]:
    """Count the elements that each block of a rechunk receives from some blocks of its input.

    Parameters
    ----------
    held : ndarray of float64
        The share of each block of the input that is counted, 0 to 1; one axis per dimension.
    old, new : sequence of sequences of float
        Sizes of the chunks along each axis, before and after; not-a-number where the size is
        unknown, along which axis the chunks stay as they are.

    Returns
    -------
    ndarray of float64
        Number of elements for each block of the output. Chunks of unknown size count as 1.

    Examples
    --------
    Of three blocks of 2, 2 and 4 elements, the first two are held:

    >>> received(np.array([1.0, 1.0, 0.0]), [[2, 2, 4]], [[3, 3, 2]])
    array([3., 1., 0.])
    """
    found = held
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        sizes, wanted = np.array(before, dtype=np.float64), np.array(after, dtype=np.float64)
        if np.isnan(sizes).any():
            continue
        edges = np.concatenate([[0.0], np.cumsum(sizes)])
        # What lies left of each new edge is what the old chunks left of it hold, and a part of
        # the chunk in which it lies; an output receives the difference between its edges.
        at = np.concatenate([[0.0], np.cumsum(wanted)])
        chunk = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(sizes) - 1)
        density = np.moveaxis(found, axis, 0)
        column = (-1, *(1,) * (density.ndim - 1))
        whole = np.zeros((len(edges), *density.shape[1:]))
        np.cumsum(density * sizes.reshape(column), axis=0, out=whole[1:])
        left = whole[chunk] + density[chunk] * (at - edges[chunk]).reshape(column)
        found = np.moveaxis(np.diff(left, axis=0), 0, axis)
    return found


def cheapest(
    inputs: NDArray[np.float64],
    sizes: NDArray[np.float64],
    needed: NDArray[np.bool_],
    possible: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Find the pools in which the fewest bytes cross for each output.

    Parameters
    ----------
    inputs : ndarray of float64, shape (P, n)
        What each of n outputs receives from each of P pools, in bytes or in elements.
    sizes : ndarray of float64, shape (n,)
        The size of each output, in the same unit; at least the sum of what it receives.
    needed : ndarray of bool, shape (P, n)
        Whether some consumer of the output is bound to the pool.
    possible : ndarray of bool, shape (P, n)
        Whether the output can be made in the pool.

    Returns
    -------
    ndarray of bool, shape (P, n)
        The pools of least cost, several where it is equal; none where none is possible. Among
        equals one in which the output is needed is better: it is spared the way there.

    Examples
    --------
    Most of the input is in the first pool; but the second output is needed in the other:

    >>> inputs = np.array([[7.0, 7.0], [3.0, 3.0]])
    >>> needed = np.array([[False, False], [False, True]])
    >>> cheapest(inputs, inputs.sum(axis=0), needed, np.ones((2, 2), bool))
    array([[ True, False],
           [False,  True]])
    """
    elsewhere = needed.sum(axis=0) - needed
    costs = np.where(possible, (sizes - inputs) + sizes * elsewhere, np.inf)
    least = costs.min(axis=0)
    # Sums of shares that are equal on paper differ in their last digits.
    found: NDArray[np.bool_] = possible & (costs <= least + 1e-9 * np.maximum(sizes, 1.0))
    direct = found & needed
    return np.where(direct.any(axis=0), direct, found)


def spread(count: int, threads: Sequence[int]) -> NDArray[np.intp]:
    """Share neighbouring outputs among workers, by their threads.

    Parameters
    ----------
    count : int
        Number of outputs.
    threads : sequence of int
        Number of threads of each worker.

    Returns
    -------
    ndarray of intp, shape (count,)
        The worker of each output. Neighbours stay together, as they do in distributed.

    Examples
    --------
    >>> spread(6, [1, 2])
    array([0, 0, 1, 1, 1, 1])
    """
    ends = np.cumsum(threads)
    slots = np.arange(count) * ends[-1] // count
    owner: NDArray[np.intp] = np.searchsorted(ends, slots, side="right")
    return owner
