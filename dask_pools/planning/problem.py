"""The placement problem as arrays: values, where each may be, who needs it, what links cost.

A *value* is the result of one task; the two share an index. A policy sees nothing else of a
computation, so that it can be tested without Dask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_pools.errors import PlacementError
from dask_pools.planning.work import Work

#: Label of a value that needs no place: its task may run anywhere.
UNPLACED = -1


@dataclass(frozen=True, slots=True, eq=False)
class PlacementProblem:
    """Values to place in pools so that few bytes cross between pools.

    Parameters
    ----------
    pools : tuple of str
        Names of the pools, sorted; P of them. A *label* is an index into it.
    sizes : ndarray of float64, shape (n,)
        Bytes of each value, not negative.
    allowed : ndarray of bool, shape (n, P)
        The pools in which each value may be; all true for a free value.
    values, consumers : ndarray of intp, shape (m,)
        Arc ``i`` says that the task ``consumers[i]`` needs the value ``values[i]``.
    costs : ndarray of float64, shape (P, P)
        Cost of a byte on the directed link ``[source, target]``; zero on the diagonal,
        infinite where nothing may cross.
    bound : ndarray of bool, shape (n,), optional
        Values that have to be in a pool although they may be in any of them, as a pin to all
        the pools there are; the others that may be in any are free. Default: none.
    confined : ndarray of bool, shape (n, P), optional
        Values which may not leave a pool, as long as they are in it. Default: none.
    work : Work, optional
        How long tasks and links take, for objectives of time and to choose between placements
        of equal cost. Default: time in proportion to bytes, pools and links of equal speed.

    Examples
    --------
    A field in each of two pools, and their sum, which is free:

    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.array([8.0, 80.0, 80.0]),
    ...     allowed=np.array([[True, False], [False, True], [True, True]]),
    ...     values=np.array([0, 1]),
    ...     consumers=np.array([2, 2]),
    ...     costs=uniform_costs(2),
    ... )
    >>> problem.validate()
    >>> problem.pinned
    array([ True,  True, False])
    """

    pools: tuple[str, ...]
    sizes: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    values: NDArray[np.intp]
    consumers: NDArray[np.intp]
    costs: NDArray[np.float64]
    bound: NDArray[np.bool_] | None = None
    confined: NDArray[np.bool_] | None = None
    work: Work | None = None

    @property
    def pinned(self) -> NDArray[np.bool_]:
        """Whether each value is bound to its allowed pools; shape (n,)."""
        narrowed: NDArray[np.bool_] = ~np.logical_and.reduce(self.allowed, axis=1)
        return narrowed if self.bound is None else narrowed | self.bound

    def validate(self) -> None:
        """Check that shapes and numbers make sense.

        That the arcs form no cycle is not checked here: only a policy that follows the order
        of the tasks depends on it.

        Raises
        ------
        PlacementError
            If they do not; the message names the array and the index.
        """
        n, p = len(self.sizes), len(self.pools)
        if p == 0:
            raise PlacementError(
                "A placement problem without pools has no solution: give at least one pool."
            )
        if list(self.pools) != sorted(set(self.pools)):
            raise PlacementError(
                f"The pools of a placement problem must be sorted and named once, not {self.pools}."
            )
        _check_shape("sizes", self.sizes, (n,), "one number of bytes for each value")
        _check_shape("allowed", self.allowed, (n, p), "(values, pools)")
        _check_shape("consumers", self.consumers, self.values.shape[:1], "one for each arc")
        _check_shape("values", self.values, self.consumers.shape[:1], "one for each arc")
        _check_shape("costs", self.costs, (p, p), "(pools, pools)")
        if self.confined is not None:
            _check_shape("confined", self.confined, (n, p), "(values, pools)")
        if self.work is not None:
            self.work.validate(n, p)
        if self.bound is not None:
            _check_shape("bound", self.bound, (n,), "one truth value for each value")
        _check_numbers("sizes", self.sizes, "bytes")
        _check_numbers("costs", self.costs, "cost per byte", np.isposinf(self.costs))
        if self.costs.diagonal().any():
            i = int(self.costs.diagonal().nonzero()[0][0])
            raise PlacementError(
                f"costs[{i}, {i}] is {self.costs[i, i]}: nothing crosses inside "
                f"pool {self.pools[i]!r}, so the diagonal must be 0."
            )
        for name, ends in (("values", self.values), ("consumers", self.consumers)):
            _check_ends(name, ends, n)
        nowhere = ~self.allowed.any(axis=1)
        if nowhere.any():
            i = int(nowhere.argmax())
            raise PlacementError(
                f"Value {i} is allowed in no pool ({int(nowhere.sum())} such in all): "
                f"allow at least one of {self.pools}."
            )

    def forbidden(
        self,
        values: NDArray[np.intp],
        sources: NDArray[np.intp] | int,
        targets: NDArray[np.intp] | int,
    ) -> NDArray[np.bool_]:
        """Say whether values may not be carried from a source to a target.

        Parameters
        ----------
        values : ndarray of intp, shape (k,)
        sources, targets : ndarray of intp, shape (k,), or int
            Labels of pools.

        Returns
        -------
        ndarray of bool, shape (k,)
            True if the link may carry nothing, or the value is confined to its source.
        """
        closed: NDArray[np.bool_] = np.isposinf(self.costs)[sources, targets]
        if self.confined is not None:
            closed = closed | self.confined[values, sources] & np.not_equal(sources, targets)
        return np.broadcast_to(closed, np.shape(values))

    @property
    def forbids(self) -> bool:
        """Whether there is anything that may not cross a link."""
        closed = bool(np.isposinf(self.costs).any())
        return closed or (self.confined is not None and bool(self.confined.any()))

    def restricted(self, keep: NDArray[np.bool_]) -> PlacementProblem:
        """Leave out values, and every arc at one of them.

        Parameters
        ----------
        keep : ndarray of bool, shape (n,)
            The values that stay, in their order.
        """
        index = np.cumsum(keep) - 1
        arcs = keep[self.values] & keep[self.consumers]
        return PlacementProblem(
            pools=self.pools,
            sizes=self.sizes[keep],
            allowed=self.allowed[keep],
            values=index[self.values[arcs]],
            consumers=index[self.consumers[arcs]],
            costs=self.costs,
            bound=None if self.bound is None else self.bound[keep],
            confined=None if self.confined is None else self.confined[keep],
            work=None if self.work is None else self.work.restricted(keep),
        )


def uniform_costs(pools: int) -> NDArray[np.float64]:
    """Make costs under which every byte on every link counts the same.

    Examples
    --------
    >>> uniform_costs(2)
    array([[0., 1.],
           [1., 0.]])
    """
    return 1.0 - np.eye(pools)


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...], meaning: str) -> None:
    if array.shape != shape:
        raise PlacementError(
            f"{name} of a placement problem has shape {array.shape}; it must be {shape}: {meaning}."
        )


def _check_numbers(
    name: str,
    array: NDArray[np.float64],
    meaning: str,
    excepted: NDArray[np.bool_] | np.bool_ = np.False_,
) -> None:
    wrong = ~(np.isfinite(array) & (array >= 0) | excepted)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        finite = "finite" if excepted is np.False_ else "finite, or inf if nothing may cross,"
        raise PlacementError(
            f"{name}{list(where)} is {array[where]}: {meaning} must be {finite} and not negative."
        )


def _check_ends(name: str, ends: NDArray[np.intp], n: int) -> None:
    if not np.issubdtype(ends.dtype, np.integer):
        raise PlacementError(
            f"{name} of a placement problem has dtype {ends.dtype}; it must hold integers, "
            "the indices of values."
        )
    wrong = (ends < 0) | (ends >= n)
    if wrong.any():
        i = int(wrong.argmax())
        raise PlacementError(
            f"{name}[{i}] is {ends[i]}: arc {i} leads to no value; the values are 0 to {n - 1}."
        )
