"""Values that may not leave a pool: from what the owners of data allow to what is confined.

A pool with ``egress="aggregates"`` lets out what was reduced, what never was its data, and
small values. The rule says where values may go inside of one computation. What is computed is
given to the user, wherever that is: the result of ``compute()`` is not held back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_pools.graph.rawness import Made, find_raw
from dask_pools.model import Topology
from dask_pools.planning.problem import PlacementProblem


def find_confined(
    made: Made,
    problem: PlacementProblem,
    topology: Topology | None,
    guessed: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_] | None:
    """Find the values that may not leave the pools in which they are.

    Parameters
    ----------
    made : Made
        The tasks, and the layers that they are made of.
    problem : PlacementProblem
        Of these tasks, and after them of the values from outside.
    topology : Topology or None
        The rules of the pools; None if there are none.
    guessed : ndarray of bool, shape (n,), optional
        Values whose size is a guess: they are taken to be over any limit. Default: none.

    Returns
    -------
    ndarray of bool, shape (n, P), or None
        For `PlacementProblem.confined`; None, at no cost, if no pool has such a rule.
    """
    rules = [] if topology is None else [topology.pool(name) for name in problem.pools]
    ruled = [i for i, pool in enumerate(rules) if pool.egress == "aggregates"]
    if not ruled:
        return None
    large = problem.sizes[:, np.newaxis] > np.array([rules[i].egress_limit for i in ruled])
    if guessed is not None:
        large |= guessed[:, np.newaxis]
    confined = np.zeros(problem.allowed.shape, dtype=np.bool_)
    confined[:, ruled] = find_raw(made, problem, ruled) & large
    return confined if confined.any() else None
