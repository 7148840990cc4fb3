"""Sharing many items out, so that no link and no pool gets too much.

An *item* is a set of values that goes one of several ways as a whole: a block of a sum that may
be made in either pool, or all that hangs together with a mirrored input. Each way loads some
resources: links, pools. Wanted is the choice for which the busiest resource is least busy; then,
without giving that up, the same for a second kind of resources; and so on.

This is number partitioning, hence NP-hard, and there may be a million items. But most of them
are alike: they are the blocks of a few arrays. So items are sorted into *kinds*, and one linear
programme for each objective finds what share of every kind goes each way. Rounding its solution
puts at most as many items on the wrong side as there are resources (a basic solution has no more
fractions), and a descent over single items and sets of alike ones takes most of that back.

The items of one kind that go different ways alternate: whatever order they are computed in,
both directions of a link are in use at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

#: Up to so many kinds of items are told apart; a linear programme of this size takes
#: milliseconds.
_KINDS = 400
#: Features are told apart at first by this share of the largest, then ever more coarsely, by
#: so many steps for each power of two; zero leaves just the sign.
_FINEST = 2.0**-40
_STEPS = (16, 4, 1, 0)
#: Loads that differ by less than this share of the whole are equal.
_EQUAL = 1e-9
#: The descent makes no more moves than this, and looks at no more numbers for each of them.
_MOVES = 64
_NUMBERS = 2_000_000


def share(
    features: NDArray[np.float64],
    ways: NDArray[np.float64],
    base: NDArray[np.float64],
    stages: Sequence[NDArray[np.intp]],
) -> NDArray[np.intp]:
    """Choose one of several ways for each item.

    Parameters
    ----------
    features : ndarray of float64, shape (items, F)
        What distinguishes items, such as their seconds of work.
    ways : ndarray of float64, shape (K, F, R)
        How much of each resource an item uses for each unit of each feature if it goes way
        ``k``; negative if it sets the resource free.
    base : ndarray of float64, shape (R,)
        What of each resource is in use whatever is chosen.
    stages : sequence of ndarray of intp
        Resources the greatest of which is to be least, by their indices; the first set comes
        first. A set of one resource is a quantity that is to be little.

    Returns
    -------
    ndarray of intp, shape (items,)
        The way of each item. Deterministic; items that are alike alternate.

    Examples
    --------
    Six tasks of two seconds and one of six, for two pools, the second of which is twice as
    fast and has work for three seconds already:

    >>> seconds = np.array([[2.0]] * 6 + [[6.0]])
    >>> ways = np.array([[[1.0, 0.0]], [[0.0, 0.5]]])
    >>> way = share(seconds, ways, np.array([0.0, 3.0]), [np.arange(2)])
    >>> [float(seconds[way == k].sum()) for k in (0, 1)]
    [8.0, 10.0]
    """
    if not len(features):
        return np.zeros(0, dtype=np.intp)
    weights = np.abs(features) / _largest(features)
    kind, counts = _kinds(features, weights)
    total = [np.bincount(kind, feature, minlength=len(counts)) for feature in features.T]
    mean = np.stack(total, axis=1) / counts[:, None]
    loads: NDArray[np.float64] = np.einsum("cf,kfr->ckr", mean, ways)
    numbers = _rounded(_relaxed(counts, loads, base, stages), counts)
    numbers = _descended(numbers, loads, base, stages)
    return _alternating(kind, weights.max(axis=1, initial=0.0), numbers)


def _largest(features: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.abs(features).max(axis=0)
    return np.where(largest > 0, largest, 1.0)


# ---- kinds of items


def _kinds(
    features: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Tell items apart, as finely as few enough kinds result; return kinds and their numbers."""
    kind, counts = _distinct(np.rint(features / _largest(features) / _FINEST))
    for steps in _STEPS:
        if len(counts) <= _KINDS:
            break
        size = np.rint(steps * np.log2(np.maximum(weights, _FINEST))) + 1 - np.log2(_FINEST) * steps
        kind, counts = _distinct(np.sign(features) * size)
    if len(counts) > _KINDS:
        # Signs in a great many combinations: what is left is one mixed kind.
        kind = np.minimum(kind, _KINDS - 1)
        counts = np.bincount(kind)
    return kind, counts


def _distinct(codes: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Tell rows apart by a sum, which is the same for different rows only by accident."""
    # Added up column by column: a product of matrices may order the terms as it likes.
    mixed = np.zeros(len(codes))
    for column, factor in zip(codes.T, np.sqrt(np.arange(2.0, 2 + codes.shape[1])), strict=True):
        mixed += column * factor
    _, kind, counts = np.unique(mixed, return_inverse=True, return_counts=True)
    return kind.reshape(-1), counts


# ---- shares


def _relaxed(
    counts: NDArray[np.intp],
    loads: NDArray[np.float64],
    base: NDArray[np.float64],
    stages: Sequence[NDArray[np.intp]],
) -> NDArray[np.float64]:
    """Find how much of each kind goes each way, in fractions of items; shape (C, K)."""
    kinds, ways = loads.shape[:2]
    whole = (loads * counts[:, None, None]).reshape(kinds * ways, -1)
    found = np.zeros(kinds * ways)
    found[::ways] = 1.0
    limits: list[_Rows] = []
    for stage in stages:
        touched = stage[whole[:, stage].any(axis=0)]
        if not len(touched):
            continue
        unit = float((np.abs(base[touched]) + np.abs(whole[:, touched]).sum(axis=0)).max())
        rows = whole[:, touched].T / unit, -base[touched] / unit
        untouched = np.setdiff1d(stage, touched)
        floor = float(base[untouched].max(initial=-np.inf)) / unit
        solved = _least_peak(rows, limits, (kinds, ways), floor)
        if solved is None:
            break  # at the edge of the solver's tolerance: what the earlier stages found is kept
        found, peak = solved
        limits.append((rows[0], rows[1] + peak + _EQUAL))
    return np.maximum(found.reshape(kinds, ways), 0.0) * counts[:, None]


#: Coefficients of shares, and what their sum must not exceed.
_Rows: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]


def _least_peak(
    rows: _Rows, limits: list[_Rows], shape: tuple[int, int], floor: float
) -> tuple[NDArray[np.float64], float] | None:
    """Find the shares for which the greatest excess of some rows is least, within limits.

    Returns
    -------
    shares : ndarray of float64, shape (C * K,)
    peak : float
        That excess, at least `floor`. None instead of both if the solver gives up.
    """
    # scipy.optimize takes a third of a second to import.
    from scipy.optimize import linprog

    kinds, ways = shape
    last = [np.zeros(len(room)) for _, room in limits] + [-np.ones(len(rows[1]))]
    above = np.concatenate([*(row for row, _ in limits), rows[0]])
    every_item_goes = coo_array(
        (np.ones(kinds * ways), (np.repeat(np.arange(kinds), ways), np.arange(kinds * ways))),
        shape=(kinds, kinds * ways + 1),
    )
    # The stubs know of no sparse matrices here.
    minimise: Any = linprog
    solved = minimise(
        np.append(np.zeros(kinds * ways), 1.0),
        A_ub=coo_array(np.column_stack([above, np.concatenate(last)])),
        b_ub=np.concatenate([*(room for _, room in limits), rows[1]]),
        A_eq=every_item_goes,
        b_eq=np.ones(kinds),
        bounds=np.array([(0.0, 1.0)] * (kinds * ways) + [(floor, np.inf)]),
        method="highs-ds",
    )
    return (solved.x[:-1], float(solved.x[-1])) if solved.success else None


def _rounded(shares: NDArray[np.float64], counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Make whole numbers of shares: those with the largest remainders are rounded up."""
    # Almost whole is whole: the solver's last digits decide nothing.
    numbers = np.floor(shares + _EQUAL * np.maximum(counts[:, None], 1)).astype(np.intp)
    missing = counts - numbers.sum(axis=1)
    rank = np.argsort(np.argsort(numbers - shares, axis=1, kind="stable"), axis=1)
    numbers += rank < missing[:, None]
    # Rounded up too often, by that tolerance.
    numbers[np.arange(len(counts)), numbers.argmax(axis=1)] += counts - numbers.sum(axis=1)
    return numbers


def _descended(
    numbers: NDArray[np.intp],
    loads: NDArray[np.float64],
    base: NDArray[np.float64],
    stages: Sequence[NDArray[np.intp]],
) -> NDArray[np.intp]:
    """Send items another way, a power of two of one kind at a time, while it helps."""
    numbers = numbers.copy()
    kinds, ways, resources = loads.shape
    level = base + np.einsum("ck,ckr->r", numbers, loads)
    slack = [_EQUAL * float(np.abs(level[stage]).max(initial=0.0)) for stage in stages]
    steps = 2 ** np.arange(int(numbers.max(initial=1)).bit_length())
    steps = steps[: _NUMBERS // max(kinds * ways * (ways - 1) * resources, 1)]
    grid = np.meshgrid(np.arange(kinds), np.arange(ways), np.arange(ways), steps, indexing="ij")
    kind, source, target, step = (index.reshape(-1) for index in grid)
    for _ in range(_MOVES):
        can = np.flatnonzero((source != target) & (numbers[kind, source] >= step))
        change = loads[kind[can], target[can]] - loads[kind[can], source[can]]
        best = _best_move(level, change * step[can, None], stages, slack)
        if best is None:
            break
        move = can[best]
        numbers[kind[move], source[move]] -= step[move]
        numbers[kind[move], target[move]] += step[move]
        level = base + np.einsum("ck,ckr->r", numbers, loads)
    return numbers


def _best_move(
    level: NDArray[np.float64],
    changes: NDArray[np.float64],
    stages: Sequence[NDArray[np.intp]],
    slack: list[float],
) -> int | None:
    """Find the change of loads that is best in the first stage in which any is, without harm."""
    left = np.arange(len(changes))
    for stage, equal in zip(stages, slack, strict=True):
        if not len(left) or not len(stage):
            continue
        peak = (level[stage] + changes[left][:, stage]).max(axis=1)
        now = float(level[stage].max())
        if peak.min() < now - equal:
            return int(left[peak.argmin()])
        left = left[peak <= now + equal]
    return None


def _alternating(
    kind: NDArray[np.intp], weight: NDArray[np.float64], numbers: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Give the items of each kind their ways, the heavy ones first, evenly in turn."""
    order = np.lexsort((-weight, kind))
    ways = np.empty(len(kind), dtype=np.intp)
    start = 0
    for shares in numbers:
        way = np.repeat(np.arange(len(shares)), shares)
        turn = np.concatenate([(np.arange(share_) + 0.5) / max(share_, 1) for share_ in shares])
        stop = start + len(way)
        ways[order[start:stop]] = way[np.argsort(turn, kind="stable")]
        start = stop
    return ways
