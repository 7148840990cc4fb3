"""Data that must not leave its pool: where this leaves each value a place.

A value may cross from pool ``p`` to pool ``q`` if the link's cost is finite and the value is not
confined to ``p``. That is a constraint between each value and each of its consumers, and pins
are the domains of a constraint network. `prune` takes from every value the pools that leave one
of its neighbours none, again and again until nothing changes: arc consistency (A. K. Mackworth,
*Consistency in networks of relations*, Artificial Intelligence 8, 1977), all arcs of a round at
once.

*For two pools it decides.* Once it stops with a pool left for every value, put all values that
may still be in both pools into the first of them. Two such values are in one pool, which is
always possible. A value with one pool left next to such a one would have taken away the pool
that does not go with it; and two values with one pool left each would have done so to each
other. So there is a placement, and one as well with the second pool in place of the first:
every pool that is left is part of some placement.

*For more pools it is sound*: no placement loses a pool. But it may leave pools, even in a
problem that has no placement; to find that out is NP-hard. (See
`dask_pools.planning.conflict.first_forbidden`.)

Rounds are a breadth-first search from the pins. So the rounds in which the pools of a value were
lost lead back step by step to the nearest pins that took them: `find_conflict`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.errors import ResidencyError
from dask_pools.planning.arcs import Arcs
from dask_pools.planning.conflict import Conflict, find_chain
from dask_pools.planning.problem import PlacementProblem

#: Arcs that are looked at side by side, so that they need little memory beside the problem.
_AT_ONCE = 1 << 18
#: The round in which a pool was lost that was not lost.
_NEVER = np.iinfo(np.int32).max


class PlacementConflictError(ResidencyError):
    """A placement problem has no placement: data would have to cross where it may not.

    Parameters
    ----------
    message : str
        What was wrong.
    conflict : Conflict
        The values and the pools, by their indices.
    """

    def __init__(self, message: str, conflict: Conflict) -> None:
        super().__init__(message, conflict.chain)
        self.conflict = conflict

    def __reduce__(self) -> tuple[type[PlacementConflictError], tuple[str, Conflict]]:
        return type(self), (str(self), self.conflict)


def prune(problem: PlacementProblem) -> PlacementProblem:
    """Take away pools in which values cannot be, because data must not leave others.

    Parameters
    ----------
    problem : PlacementProblem

    Returns
    -------
    PlacementProblem
        The same with fewer pools allowed; the problem itself if data may go anywhere.

    Raises
    ------
    PlacementConflictError
        If some value has no pool left.

    Examples
    --------
    A raw field may not leave its pool, so that what is made of it is made there:

    >>> from dask_pools.planning.problem import uniform_costs
    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.array([80.0, 8.0, 80.0]),
    ...     allowed=np.array([[True, False], [False, True], [True, True]]),
    ...     values=np.array([0, 1]),
    ...     consumers=np.array([2, 2]),
    ...     costs=uniform_costs(2),
    ...     confined=np.array([[True, False], [False, False], [False, False]]),
    ... )
    >>> prune(problem).allowed[2]
    array([ True, False])
    """
    if not problem.forbids:
        return problem
    arcs = Arcs(problem)
    allowed = _narrowed(problem, arcs)
    if allowed.any(axis=1).all():
        return replace(problem, allowed=allowed)
    raise conflict_error(problem, _conflict(problem, arcs))


def find_conflict(problem: PlacementProblem) -> Conflict | None:
    """Find the shortest chain of values that shows that a problem has no placement.

    Parameters
    ----------
    problem : PlacementProblem

    Returns
    -------
    Conflict or None
        None if `prune` leaves a pool to each value.
    """
    if not problem.forbids:
        return None
    arcs = Arcs(problem)
    return None if _narrowed(problem, arcs).any(axis=1).all() else _conflict(problem, arcs)


def conflict_error(problem: PlacementProblem, conflict: Conflict) -> PlacementConflictError:
    """Make the error of a problem that has no placement, in terms of indices.

    Parameters
    ----------
    problem : PlacementProblem
    conflict : Conflict
        As found by `find_conflict` or `dask_pools.planning.conflict.first_forbidden`.
    """
    pools = problem.pools
    steps = " - ".join(
        f"{v} ({' or '.join(np.array(pools)[problem.allowed[v]].tolist())})" for v in conflict.chain
    )
    crossings = "; ".join(
        f"{c.value} may not go from {pools[c.source]!r} to {pools[c.target]!r} ("
        + ("the link is closed)" if c.rule == "link" else "it is confined)")
        for c in conflict.broken
    )
    others = f" together with {list(conflict.others)}" if conflict.others else ""
    return PlacementConflictError(
        f"There is no placement of these values{others}, each in the pools where it may be: "
        f"{steps}. {crossings}. Open the link, or allow other pools.",
        conflict,
    )


def _conflict(problem: PlacementProblem, arcs: Arcs) -> Conflict:
    """Find the conflict of a problem that has one."""
    rounds = np.full(problem.allowed.shape, _NEVER, dtype=np.int32)
    allowed = _narrowed(problem, arcs, rounds)
    empty = np.flatnonzero(~allowed.any(axis=1))
    # Of the values that have lost all their pools, one whose pins are nearest.
    lost = rounds[empty].sum(axis=1, dtype=np.int64)
    return find_chain(problem, rounds, int(empty[lost.argmin()]), arcs)


def _narrowed(
    problem: PlacementProblem, arcs: Arcs, rounds: NDArray[np.int32] | None = None
) -> NDArray[np.bool_]:
    """Narrow the allowed pools until nothing changes, or some value has none left.

    In each round only the arcs at values that lost a pool in the one before are looked at; in
    the first, those at pins, since a value that may be anywhere forbids its neighbours nothing.
    """
    narrowing = _Narrowing(problem, arcs, rounds)
    changed = np.flatnonzero(~problem.allowed.all(axis=1))
    while len(changed):
        changed = narrowing.round(changed)
        if not narrowing.allowed[changed].any(axis=1).all():
            break
    return narrowing.allowed


class _Narrowing:
    """The pools that are left to each value, and what a round takes away from them."""

    def __init__(
        self, problem: PlacementProblem, arcs: Arcs, rounds: NDArray[np.int32] | None
    ) -> None:
        self.problem = problem
        self.arcs = arcs
        self.allowed = problem.allowed.copy()
        self.rounds = rounds
        if rounds is not None:
            rounds[~self.allowed] = 0
        self.turn = 0
        self.open = np.isfinite(problem.costs).astype(np.float32)

    def round(self, changed: NDArray[np.intp]) -> NDArray[np.intp]:
        """Narrow the neighbours of values that have changed; return those that change."""
        problem = self.problem
        self.turn += 1
        left = self.allowed[changed]  # what goes in this round counts in the next one
        lost: list[NDArray[np.intp]] = []
        for arcs, which in _portions(*self.arcs.needing(changed)):
            reached = self._crossed(left[which] & ~self._confined(arcs), self.open)
            lost.append(self._keep(problem.consumers[arcs], left[which] | reached))
        for arcs, which in _portions(*self.arcs.needed_by(changed)):
            reached = self._crossed(left[which], self.open.T) & ~self._confined(arcs)
            lost.append(self._keep(problem.values[arcs], left[which] | reached))
        return _distinct(np.concatenate(lost)) if lost else changed[:0]

    def _crossed(
        self, pools: NDArray[np.bool_], passable: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Find the pools that can be reached from any of some pools; row by row."""
        reached: NDArray[np.bool_] = pools.astype(np.float32) @ passable > 0
        return reached

    def _confined(self, arcs: NDArray[np.intp]) -> NDArray[np.bool_] | np.bool_:
        confined = self.problem.confined
        return np.False_ if confined is None else confined[self.problem.values[arcs]]

    def _keep(self, others: NDArray[np.intp], possible: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Take from values what is not possible; return those that have lost something."""
        gone = self.allowed[others] & ~possible
        losing = gone.any(axis=1)
        losers = others[losing]
        rows, pools = np.nonzero(gone[losing])
        self.allowed[losers[rows], pools] = False
        if self.rounds is not None:
            self.rounds[losers[rows], pools] = self.turn
        return losers


def _distinct(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    """Sort numbers and leave out repetitions; several times as fast as `numpy.unique`.

    Examples
    --------
    >>> _distinct(np.array([3, 1, 3]))
    array([1, 3])
    """
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _portions(
    arcs: NDArray[np.intp], which: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Cut long lists of arcs into portions."""
    for start in range(0, len(arcs), _AT_ONCE):
        portion = slice(start, start + _AT_ONCE)
        yield arcs[portion], which[portion]
