"""Placing a problem: settle what needs no policy, ask the policy for the rest, check it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dask_pools.errors import PlacementError
from dask_pools.planning.policies import Policy, get_policy
from dask_pools.planning.problem import UNPLACED, PlacementProblem


def place(problem: PlacementProblem, policy: str | Policy = "mincut") -> NDArray[np.intp]:
    """Place the values of a problem.

    Values that hang together with no pinned one stay ``UNPLACED``: they may run anywhere.
    Where everything that hangs together may be in one pool, it is placed there, in the first
    such pool, at no cost. The policy is asked about the other values only, so that planning
    takes time for what needs a decision.

    Parameters
    ----------
    problem : PlacementProblem
    policy : str or callable, default "mincut"
        The name of a policy, or a function from a problem to labels.

    Returns
    -------
    ndarray of intp, shape (n,)
        The label of each value, an index into ``problem.pools``, or ``UNPLACED``.

    Raises
    ------
    PlacementError
        If the problem is not valid, or what the policy returned is not a placement of it.
    UnknownPolicyError
        If there is no policy of this name.

    Examples
    --------
    A small field of one pool is refined to a big grid and compared with a big field of the
    other. It moves before it grows; the last value has nothing to do with any pool.

    >>> from dask_pools.planning.cost import cost
    >>> from dask_pools.planning.problem import uniform_costs
    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.array([8.0, 800.0, 800.0, 800.0, 8.0]),
    ...     allowed=np.array([[1, 0], [1, 1], [0, 1], [1, 1], [1, 1]], dtype=bool),
    ...     values=np.array([0, 1, 2]),
    ...     consumers=np.array([1, 3, 3]),
    ...     costs=uniform_costs(2),
    ... )
    >>> labels = place(problem)
    >>> labels
    array([ 0,  1,  1,  1, -1])
    >>> cost(problem, labels)
    8.0
    """
    problem.validate()
    chosen = get_policy(policy)
    labels, undecided = _settle(problem)
    if undecided.any():
        # What is bound to any pool at all is free, once it is known to have a place.
        rest = replace(problem.restricted(undecided), bound=None)
        found = chosen(rest)
        _check(rest, found, np.flatnonzero(undecided), policy)
        labels[undecided] = found
    return labels


def _settle(problem: PlacementProblem) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Label the connected components that cost nothing; say which values are left."""
    n, pools = problem.allowed.shape
    pattern = coo_array(
        (np.ones(len(problem.values), dtype=np.int8), (problem.values, problem.consumers)),
        shape=(n, n),
    )
    count, component = connected_components(pattern, directed=False) if n else (0, np.arange(0))
    pinned = np.flatnonzero(problem.pinned)
    common = np.ones((count, pools), dtype=bool)
    for pool in range(pools):
        refused = pinned[~problem.allowed[pinned, pool]]
        common[component[refused], pool] = False
    labels = np.where(common.any(axis=1), common.argmax(axis=1), UNPLACED)
    labels[~np.isin(np.arange(count), component[pinned])] = UNPLACED
    undecided = np.logical_not(common.any(axis=1))
    return labels[component], undecided[component]


def _check(
    problem: PlacementProblem,
    labels: object,
    names: NDArray[np.intp],
    policy: str | Policy,
) -> None:
    """Refuse what is no placement; `names` are the values' indices in the whole problem."""
    who = f"The policy {policy!r}"
    n, pools = problem.allowed.shape
    if not isinstance(labels, np.ndarray) or not np.issubdtype(labels.dtype, np.integer):
        kind = f"dtype {labels.dtype}" if isinstance(labels, np.ndarray) else type(labels).__name__
        raise PlacementError(
            f"{who} returned {kind}: a policy returns a numpy array of integers, "
            "the index of a pool for each value."
        )
    if labels.shape != (n,):
        raise PlacementError(
            f"{who} returned labels of shape {labels.shape} for {n} values: "
            f"a policy returns one label for each value, shape ({n},)."
        )
    wrong = (labels < 0) | (labels >= pools)
    if wrong.any():
        i = int(wrong.argmax())
        raise PlacementError(
            f"{who} returned label {labels[i]} for value {names[i]}: labels are 0 to {pools - 1}, "
            f"for the pools {problem.pools}."
        )
    broken = ~problem.allowed[np.arange(n), labels]
    if broken.any():
        i = int(broken.argmax())
        allowed = tuple(np.array(problem.pools)[problem.allowed[i]].tolist())
        raise PlacementError(
            f"{who} put value {names[i]} in pool {problem.pools[labels[i]]!r}, which is not "
            f"allowed ({int(broken.sum())} such in all); allowed for it: {allowed}."
        )
