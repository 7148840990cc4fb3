"""Why a value has to cross: what holds it in one pool, and what needs it in another.

A value crosses because of two pins. One is in the pool that sends it: mostly data from which
the value comes. One is in the pool that receives it: mostly data with which it is put together.
Both are looked for from the crossing outwards, nearest first, among what is in the same pool;
a pin that would allow the other pool as well is no reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.arcs import Arcs
from dask_pools.planning.problem import PlacementProblem

#: Which way to go from a value: to what its task needs, to what needs it, or both.
_Way: TypeAlias = Literal["inputs", "users", "both"]
#: A search ends after so many values, or steps: a reason that is further off explains little.
_MOST_VALUES, _MOST_STEPS = 100_000, 1_000


class Reasons:
    """The reasons for the crossings of a placement.

    Parameters
    ----------
    problem : PlacementProblem
    labels : ndarray of intp, shape (n,)
        The pool of each value, or ``UNPLACED``.
    name : callable
        Tells what people call a value.
    earlier : int
        Values from this number on were made by an earlier computation.
    """

    def __init__(
        self,
        problem: PlacementProblem,
        labels: NDArray[np.intp],
        name: Callable[[int], str],
        earlier: int,
    ) -> None:
        self._problem = problem
        self._labels = labels
        self._name = name
        self._earlier = earlier
        self._arcs = Arcs(problem)

    def of(self, value: int, target: int) -> tuple[str, str]:
        """Say why a value crosses to a pool.

        Parameters
        ----------
        value : int
            The value.
        target : int
            The pool that receives it.

        Returns
        -------
        tuple of str and str
            What holds it where it is, and what needs it where it goes.
        """
        return self._source(value, target), self._target(value, target)

    def _source(self, value: int, target: int) -> str:
        pool = int(self._labels[value])
        for way in ("inputs", "both"):
            pin = self._nearest(value, way, pool, target)
            if pin == value:
                return f"itself {self._pinned(pin)}"
            if pin is not None:
                origin = "comes from" if way == "inputs" else "belongs with"
                return f"{origin} {self._name(pin)}, {self._pinned(pin)}"
        return f"placed in {self._problem.pools[pool]}"

    def _target(self, value: int, target: int) -> str:
        users = self._problem.consumers[self._arcs.needing(np.array([value]))[0]]
        user = int(users[self._labels[users] == target].min())
        needed, pool = f"needed by {self._name(user)}", int(self._labels[value])
        ways: tuple[tuple[_Way, str], ...] = (
            ("inputs", "with"),
            ("users", "on the way to"),
            ("both", "beside"),
        )
        for way, relation in ways:
            pin = self._nearest(user, way, target, pool)
            if pin == user:
                return f"{needed}, {self._pinned(pin)}"
            if pin is not None:
                return f"{needed} {relation} {self._name(pin)}, {self._pinned(pin)}"
        return f"{needed}, placed in {self._problem.pools[target]}"

    def _pinned(self, value: int) -> str:
        allowed = np.flatnonzero(self._problem.allowed[value]).tolist()
        pools = " or ".join(self._problem.pools[i] for i in allowed)
        return f"{'kept in' if value >= self._earlier else 'pinned to'} {pools}"

    def _nearest(self, start: int, way: _Way, pool: int, other: int) -> int | None:
        """Find the nearest value in a pool that may not be in the other one."""
        labels, allowed = self._labels, self._problem.allowed
        seen = np.zeros(len(labels), dtype=np.bool_)
        front = np.array([start])
        visited = 0
        for _ in range(_MOST_STEPS):
            seen[front] = True
            visited += len(front)
            held = front[~allowed[front, other]]
            if len(held):
                return int(held[0])
            around = self._around(front, way)
            front = np.unique(around[(labels[around] == pool) & ~seen[around]])
            if not len(front) or visited > _MOST_VALUES:
                break
        return None

    def _around(self, front: NDArray[np.intp], way: _Way) -> NDArray[np.intp]:
        found = []
        if way != "users":
            found.append(self._problem.values[self._arcs.needed_by(front)[0]])
        if way != "inputs":
            found.append(self._problem.consumers[self._arcs.needing(front)[0]])
        return np.concatenate(found)
