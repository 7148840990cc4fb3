"""Placing a problem: settle what needs no policy, ask the policy for the rest, check, balance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.answer import check_answer, lawless
from dask_pools.planning.balance import balance
from dask_pools.planning.components import Components
from dask_pools.planning.conflict import first_forbidden
from dask_pools.planning.policies import Policy, get_policy, traits_of
from dask_pools.planning.problem import PlacementProblem
from dask_pools.planning.residency import conflict_error, prune


def place(problem: PlacementProblem, policy: str | Policy = "mincut") -> NDArray[np.intp]:
    """Place the values of a problem.

    Values that hang together with no pinned one stay ``UNPLACED``: they may run anywhere.
    Where everything that hangs together may be in one pool, it is placed there, at no cost; if
    there are several such pools, so that each has its share of the work. The policy is asked
    about the other values only, so that planning takes time for what needs a decision, unless
    it wants to be asked about all (`dask_pools.planning.policies.Traits`). Among placements
    which cost as much as that of the policy ``"mincut"``, the best balanced one is taken
    (`dask_pools.planning.balance.balance`).

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
        If the problem is not valid, or what the policy returned is not a placement of it, or
        one in which something crosses that may not.
    PlacementConflictError
        If there is no placement in which nothing crosses that may not.
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
    chosen, traits, who = get_policy(policy), traits_of(policy), f"The policy {policy!r}"
    pruned = prune(problem)
    components = Components.of(pruned)
    labels = components.settled()
    asked = components.undecided
    if traits.everything:
        asked = components.pinned[components.of_value]
    if asked.any():
        # What is bound to any pool at all is free, once it is known to have a place.
        rest = replace(pruned.restricted(asked), bound=None)
        found = chosen(rest)
        check_answer(rest, found, who, np.flatnonzero(asked))
        labels[asked] = found
        _check_rules(problem, labels, policy, who)
        if traits.balanced:
            labels[asked] = balance(rest, found)
    return labels if traits.everything else components.spread(pruned, labels)


def _check_rules(
    problem: PlacementProblem, labels: NDArray[np.intp], policy: str | Policy, who: str
) -> None:
    """Refuse a placement in which something crosses that may not."""
    conflict = first_forbidden(problem, labels)
    if conflict is None:
        return
    if traits_of(policy).lawful:
        # It has looked for a placement without, and found none.
        raise conflict_error(problem, conflict)
    raise lawless(problem, conflict.broken[0], who)
