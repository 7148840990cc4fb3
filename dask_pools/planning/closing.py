"""Closing a problem of several pools: the parts whose optimum is found and proved, and the rest.

1. One sweep of the dual (`dask_pools.planning.dual`) over the core of the problem: where this
   hangs together as a tree, that is dynamic programming, and exact.
2. What is still open is restricted to itself and its surroundings. If all links cost the same,
   isolating cuts settle much of that (`dask_pools.planning.isolation`).
3. More sweeps, until they raise the bound no more.
4. Small components that are still open are solved exactly (`dask_pools.planning.exact`).
5. If only the bound is asked for, it is raised further (`dask_pools.planning.ascent`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.bracket import Bracket
from dask_pools.planning.isolation import claims, persistent, settled
from dask_pools.planning.prices import Prices
from dask_pools.planning.problem import UNPLACED, PlacementProblem

#: Rounds of sweeps over what the first one has left open.
_ROUNDS = 6
#: Subgradient steps at most, and as far as this effort goes: numbers that are looked at, which
#: take about two seconds.
_STEPS = 200
_EFFORT = 100_000_000
#: Components with up to so many variables are solved exactly.
_EXACT = 6000
#: The same for components of which no possible placement is known: that is looked for harder.
_SEARCH = 60_000


@dataclass(frozen=True, slots=True, eq=False)
class Closing:
    """How far a problem could be closed.

    Parameters
    ----------
    labels : ndarray of intp, shape (n,)
        The best placement that was found.
    gap : float
        By how much it may be dearer than the optimum, in the unit of the prices.
    open : ndarray of bool, shape (n,)
        The values of components that may be placed better.
    """

    labels: NDArray[np.intp]
    gap: float
    open: NDArray[np.bool_]


def close(
    problem: PlacementProblem, prices: Prices, labels: NDArray[np.intp] | None = None
) -> Closing:
    """Find the optimum of as much of a problem as possible.

    Parameters
    ----------
    problem : PlacementProblem
    prices : Prices
        The prices of that problem.
    labels : ndarray of intp, shape (n,), optional
        A placement to start from. It is thought to be a good one, so that bounds are raised
        towards its cost instead of looking for others.
    """
    given = labels is not None
    bracket = Bracket.of(problem, prices, labels)
    bracket.sweep(1)
    labels, open_ = bracket.placement(problem.allowed), bracket.open_values(len(problem.sizes))
    gap = bracket.gap(~bracket.open)
    if not open_.any():
        return Closing(labels, gap, open_)
    near, rest = surrounded(settled(problem, np.where(open_, UNPLACED, labels)), open_)
    if persistent(rest):
        claimed = claims(rest)
        rest = settled(rest, claimed)
    bracket = Bracket.of(rest, prices.restricted(near), labels[near])
    bracket.sweep(1 if given else _ROUNDS // 2)
    bracket.settle(_EXACT, _EXACT + len(labels) // 8)
    bracket.settle(_SEARCH, _SEARCH, refused=True)
    if given:
        size = max(rest.allowed.size * len(problem.pools), 1)
        bracket.sweep(_ROUNDS, read=False, steps=min(_STEPS, _EFFORT // size))
    labels[near] = bracket.placement(rest.allowed)
    open_[near] = bracket.open_values(len(rest.sizes))
    return Closing(labels, gap + bracket.gap(), open_)


def surrounded(
    problem: PlacementProblem, open_: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], PlacementProblem]:
    """Restrict a problem to open values, and to those on which their costs depend."""
    near = open_.copy()
    near[problem.values[open_[problem.consumers]]] = True
    near[problem.consumers[near[problem.values]]] = True
    return near, problem.restricted(near)
