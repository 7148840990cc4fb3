"""The answer of a policy: whether it is a placement of the problem that it was asked about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_pools.errors import PlacementError
from dask_pools.planning.conflict import Crossing
from dask_pools.planning.problem import PlacementProblem


def check_answer(
    problem: PlacementProblem,
    labels: object,
    who: str,
    names: NDArray[np.intp] | None = None,
) -> None:
    """Check that labels are a placement: one pool for each value, and one that is allowed.

    Parameters
    ----------
    problem : PlacementProblem
    labels : object
        What a policy returned.
    who : str
        The policy, for messages.
    names : ndarray of intp, shape (n,), optional
        What the values are called in messages. Default: by their indices.

    Raises
    ------
    PlacementError
        If they are not.
    """
    n, pools = problem.allowed.shape
    names = np.arange(n) if names is None else names
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


def lawless(problem: PlacementProblem, crossing: Crossing, who: str) -> PlacementError:
    """Make the error for an answer in which something crosses that may not.

    Parameters
    ----------
    problem : PlacementProblem
    crossing : Crossing
        What crosses.
    who : str
        The policy.
    """
    return PlacementError(
        f"{who} lets value {crossing.value}, which task {crossing.consumer} needs, cross from "
        f"pool {problem.pools[crossing.source]!r} to {problem.pools[crossing.target]!r}, where it "
        "may not. A policy that looks at problem.forbidden(values, sources, targets), such as "
        "'mincut', may find another way."
    )
