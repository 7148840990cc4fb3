"""The exact optimum of a small core, by a mixed integer linear program.

For every node v, pool p and other pool q in which v may be needed, x[v, p] = "v is in p" and
z[v, p, q] = "v is carried from p to q". A consumer u of v in q needs x[v, q] or a z[v, p, q],
which needs x[v, p]. Only the x have to be whole. HiGHS (through scipy) solves that by branch and
bound, the same way every time: it is given a limit of nodes of its search, never of time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from dask_pools.planning.core import Core

#: Variables times nodes of its search after which it is given up, with the best placement and
#: bound so far.
_EFFORT = 100_000
#: Share of the largest price by which HiGHS may be wrong.
_TOLERANCE = 2e-6


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """The cheapest placement of a core.

    Parameters
    ----------
    labels : ndarray of intp, shape (k,)
        The pool of each node.
    bound : float
        What no placement can be cheaper than, in the unit of the prices; with a margin for
        the tolerances of the solver.
    complete : bool
        Whether it is the optimum, or the best that was found until the search was given up.
    """

    labels: NDArray[np.intp]
    bound: float
    complete: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Program:
    """The variables: x[node, pool] first, then the ways z."""

    #: The node, source and target of each z.
    nodes: NDArray[np.intp]
    sources: NDArray[np.intp]
    targets: NDArray[np.intp]
    prices: NDArray[np.float64]
    #: Rows of "a consumer's x needs a supply": value, pool and consumer.
    values: NDArray[np.intp]
    pools: NDArray[np.intp]
    consumers: NDArray[np.intp]

    @classmethod
    def of(cls, core: Core) -> _Program:
        k, p = core.allowed.shape
        arc, pools = np.nonzero(core.allowed[core.consumers] & ~core.paid[core.values])
        values, consumers = core.values[arc], core.consumers[arc]
        needed = np.zeros((k, p), dtype=bool)
        needed[values, pools] = True
        ways = core.ways(slice(0, k))
        possible = core.allowed[:, :, None] & needed[:, None, :] & ~np.eye(p, dtype=bool)
        possible &= ways < core.forbidden[:, None, None]
        nodes, sources, targets = np.nonzero(possible)
        prices = ways[nodes, sources, targets]
        return cls(nodes, sources, targets, prices, values, pools, consumers)

    def constraints(self, k: int, p: int) -> LinearConstraint:
        """Every node is somewhere; what is carried is there; what is needed arrives."""
        z = k * p + np.arange(len(self.nodes))
        carried = np.arange(len(z))
        supply = np.arange(len(self.values))
        # The supplies of (value, pool): the z of that pair, one after the other.
        pair = self.nodes * p + self.targets
        order = np.argsort(pair, kind="stable")
        wanted = self.values * p + self.pools
        first = np.searchsorted(pair[order], wanted)
        count = np.searchsorted(pair[order], wanted, side="right") - first
        row = np.repeat(supply, count)
        way = order[np.arange(len(row)) - np.repeat(np.cumsum(count) - count - first, count)]
        somewhere = np.repeat(np.arange(k), p)
        blocks = [
            (somewhere, np.arange(k * p), 1.0),
            (k + carried, z, -1.0),
            (k + carried, self.nodes * p + self.sources, 1.0),
            (k + len(z) + supply, wanted, 1.0),
            (k + len(z) + supply, self.consumers * p + self.pools, -1.0),
            (k + len(z) + row, z[way], 1.0),
        ]
        rows = np.concatenate([block[0] for block in blocks])
        columns = np.concatenate([block[1] for block in blocks])
        entries = np.concatenate([np.full(len(block[0]), block[2]) for block in blocks])
        shape = (k + len(z) + len(supply), k * p + len(z))
        low = np.zeros(shape[0])
        low[:k] = 1
        high = np.full(shape[0], np.inf)
        high[:k] = 1
        return LinearConstraint(
            coo_array((entries, (rows, columns)), shape=shape).tocsr(), low, high
        )


def variables(core: Core) -> NDArray[np.intp]:
    """Estimate how many variables the program of each component has; shape (components,)."""
    pools = core.allowed.shape[1]
    linked = np.bincount(core.values, minlength=len(core.names)) > 0
    here = core.allowed.sum(axis=1) * (1 + linked * (pools - 1))
    return np.bincount(core.component, weights=here).astype(np.intp)


def solve(core: Core) -> Solution | None:
    """Find the cheapest placement of a core.

    Parameters
    ----------
    core : Core
        A small one; best a single component.

    Returns
    -------
    Solution or None
        None if nothing was found, or if there is no placement without a forbidden crossing.
    """
    k, p = core.allowed.shape
    program = _Program.of(core)
    objective = np.concatenate([core.unary.ravel(), program.prices])
    open_ = core.allowed & (core.unary < core.forbidden[:, None])
    objective[: k * p][~open_.ravel()] = 0
    scale = max(float(objective.max(initial=0)), 1.0)
    solved = milp(
        objective / scale,
        integrality=(np.arange(len(objective)) < k * p).astype(np.uint8),
        bounds=Bounds(
            0, np.concatenate([open_.ravel().astype(float), np.ones(len(program.nodes))])
        ),
        constraints=program.constraints(k, p),
        options={"mip_rel_gap": 0, "node_limit": 1 + _EFFORT // len(objective)},
    )
    if solved.x is None:
        return None
    labels = solved.x[: k * p].reshape(k, p).argmax(axis=1)
    bound = (float(solved.mip_dual_bound) - _TOLERANCE) * scale
    return Solution(labels, bound, complete=solved.status == 0)
