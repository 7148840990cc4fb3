"""Balance: the choice among placements of one cost.

If two equal fields of two pools are added, it is all the same for the bytes where each block is
added. It is not for the time: if all blocks are added in one pool, one direction of the link
carries everything, and one pool does all the work. So among placements of equal cost that one is
taken for which, in this order,

1. the busiest link is busy for the shortest time;
2. the busiest pool is, per worker thread;
3. the transfers are fewest.

Which values can change their pool at no cost is known from the cut (Picard and Queyranne 1980;
`dask_pools.planning.moves.ties`): groups of values, each of which can go on its own. They are
shared out by `dask_pools.planning.sharing`. More than two pools are balanced in pairs. A group
goes as a whole, also where a part of it could; latencies are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.cost import crossings
from dask_pools.planning.groups import effects
from dask_pools.planning.loads import loads
from dask_pools.planning.moves import best_move, ties
from dask_pools.planning.prices import Prices
from dask_pools.planning.problem import PlacementProblem

#: Pairs of pools are balanced as long as pairs times values stay below this number: some
#: seconds.
_EFFORT = 2_000_000
#: More than two pools are gone through so often, as long as it helps.
_ROUNDS = 4
_ONE_PAIR = 2
#: Times that differ by less than this share are equal.
_EQUAL = 1e-9


def balance(problem: PlacementProblem, labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Choose among the placements that cost as much as a given one.

    Parameters
    ----------
    problem : PlacementProblem
        Without ``work``, time is in proportion to bytes, and pools and links are equal.
    labels : ndarray of intp, shape (n,)
        The pool of every value: a placement that no swap of two pools improves.

    Returns
    -------
    ndarray of intp, shape (n,)
        A placement that costs the same, and is at least as good in every other respect, the
        first one first. The same for the same problem, always.

    Examples
    --------
    Four blocks of a field of each pool are added. All in one place, or half of them in each:

    >>> from dask_pools.planning.loads import link_times
    >>> from dask_pools.planning.problem import uniform_costs
    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.full(12, 8.0),
    ...     allowed=np.repeat([[True, False], [False, True], [True, True]], 4, axis=0),
    ...     values=np.arange(8),
    ...     consumers=np.tile(np.arange(8, 12), 2),
    ...     costs=uniform_costs(2),
    ... )
    >>> labels = balance(problem, np.repeat([0, 1, 0], 4))
    >>> labels[8:]
    array([0, 1, 0, 1])
    >>> link_times(problem, labels)
    array([[ 0., 16.],
           [16.,  0.]])
    """
    prices = Prices.of(problem)
    for _ in range(_ROUNDS if len(problem.pools) > _ONE_PAIR else 1):
        before = labels
        for one, other in _pairs(problem, labels):
            labels = _balanced(problem, prices, labels, one, other)
        if labels is before:
            break
    return labels


def _pairs(problem: PlacementProblem, labels: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """List the pairs of pools between which something may be balanced, those in use most first.

    Either something crosses between them, or some value has been given both to choose from.
    """
    pools = len(problem.pools)
    values, targets = crossings(problem, labels)
    busy = np.zeros((pools, pools))
    np.add.at(busy, (labels[values], targets), problem.sizes[values])
    several = problem.allowed.sum(axis=1) > 1
    mirrored = problem.allowed[several & problem.pinned].astype(np.float64)
    used = np.zeros((pools, pools), dtype=np.bool_)
    used[labels[values], targets] = True
    used |= mirrored.T @ mirrored > 0
    ones, others = np.nonzero(np.triu(used | used.T, 1))
    most = max(1, _EFFORT // max(len(labels), 1))
    for i in np.argsort(-(busy + busy.T)[ones, others], kind="stable")[:most].tolist():
        yield int(ones[i]), int(others[i])


def _balanced(
    problem: PlacementProblem,
    prices: Prices,
    labels: NDArray[np.intp],
    one: int,
    other: int,
) -> NDArray[np.intp]:
    """Balance two pools; what is elsewhere stays there."""
    swap = np.arange(len(problem.pools))
    swap[[one, other]] = other, one
    both = problem.allowed[:, one] & problem.allowed[:, other]
    go = np.where(both, swap[labels], labels)
    group = _tied(problem, prices, labels, go)
    tied = group >= 0
    if not tied.any():
        return labels
    found = effects(problem, labels, go, group)
    goes = found.choose([found.links, found.pools, found.transfers])
    moved = np.where(tied & goes[group], go, labels)
    if (idle := tied & found.idle[group]).any():
        # What weighs nothing follows the others, so that fewest transfers are made.
        moved = best_move(problem, prices, moved, np.where(idle, go, moved))
    if (moved == labels).all():
        return labels
    now, before = (_Standing.of(problem, prices, placed) for placed in (moved, labels))
    return moved if now.better(before) else labels


def _tied(
    problem: PlacementProblem, prices: Prices, stay: NDArray[np.intp], go: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Group the values that can go at no cost; -1 for the others."""
    free = stay != go
    # Only transfers of these and to these can change: all consumers of their values matter.
    sources = free.copy()
    sources[problem.values[free[problem.consumers]]] = True
    near = sources.copy()
    near[problem.consumers[sources[problem.values]]] = True
    part = problem.restricted(near)
    node, cuts = ties(part, replace(prices, sizes=prices.sizes[near]), stay[near], go[near])
    group = np.full(len(stay), -1)
    group[near] = cuts.groups()[1][node]
    group[~free] = -1
    return group


@dataclass(frozen=True, slots=True, eq=False)
class _Standing:
    """All that counts of a placement, in its order."""

    #: Forbidden crossings, and what the others cost.
    cost: tuple[int, int]
    #: Seconds of the links, and of the pools; the busiest first.
    times: tuple[NDArray[np.float64], ...]
    transfers: int

    @classmethod
    def of(cls, problem: PlacementProblem, prices: Prices, labels: NDArray[np.intp]) -> _Standing:
        values, targets = crossing = crossings(problem, labels)
        sources = labels[values]
        refused = int(np.count_nonzero(problem.forbidden(values, sources, targets)))
        paid = int(prices.charge(values, sources, targets).sum())
        times = loads(problem, labels, crossing)
        return cls((refused, paid), tuple(np.sort(t, axis=None)[::-1] for t in times), len(values))

    def better(self, than: _Standing) -> bool:
        """Compare: if the busiest is as busy, the second busiest decides, and so on.

        So pairs of pools get better also while another pair has the busiest link.
        """
        if self.cost != than.cost:
            return self.cost < than.cost
        for now, before in zip(self.times, than.times, strict=True):
            differs = np.flatnonzero(np.abs(now - before) > _EQUAL * before.max(initial=0.0))
            if len(differs):
                return bool(now[differs[0]] < before[differs[0]])
        return self.transfers < than.transfers
