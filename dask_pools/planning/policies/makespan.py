"""The policy ``"makespan"``: as short a time as can be found, until links and pools are done.

A placement that moves few bytes may leave most of the work to a small site that happens to have
the data. The *makespan* (`dask_pools.planning.loads.makespan`) is the time of the busiest link
or pool, whichever is busier: the least time that a placement takes, if everything else can be
done meanwhile. To make it least is NP-hard even without any links (it is scheduling on parallel
machines), so three steps look for a good placement:

1. *Weights.* If each link and each pool had a price per second, a minimum cut would find the
   cheapest placement (`dask_pools.planning.weighted`); and there are prices for which the
   cheapest placements, mixed, take the least time that any mixture takes (they are the dual of
   that linear programme). They are looked for by multiplicative weights (Plotkin, Shmoys, Tardos
   1995): what was busy becomes dearer, and the cut is made again.
2. *Mixtures.* A cut moves like blocks all at once, though some of them should move, not all. So
   between the best placement so far and every new one, the groups of values in which they
   differ are shared out (`dask_pools.planning.sharing`). They are taken apart at arcs of small
   values, for several ideas of what is small: a block and what is made of it stay together, and
   the sum over all blocks does not keep these together.
3. *Single moves*, in small problems.

It starts with the placement of fewest bytes, and is never slower than that. Latencies, and
the order in which tasks have to run, are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dask_pools.planning.balance import balance
from dask_pools.planning.cost import cost
from dask_pools.planning.groups import effects
from dask_pools.planning.loads import loads
from dask_pools.planning.policies.mincut import mincut
from dask_pools.planning.problem import PlacementProblem
from dask_pools.planning.weighted import WeightedTimes

#: With two pools one cut is the best placement of all.
_EXACT = 2
#: Rounds of new weights; none after so many in vain; how fast weights follow what is busy.
_ROUNDS = 30
_PATIENCE = 10
_RATE = 0.7
#: Cuts times values stay below this number: some seconds.
_EFFORT = 2_000_000
#: Of many pools, so many are offered in each round.
_TARGETS = 3
#: So many ideas of what is a small value.
_THRESHOLDS = 4
#: Single moves are tried in problems of at most so many choices.
_CHOICES = 400
#: A placement that is so close to the least makespan is good enough.
_CLOSE = 0.01
#: A placement has to be faster by this share to be called faster.
_EQUAL = 1e-9


def makespan(problem: PlacementProblem) -> NDArray[np.intp]:
    """Place values so that the busiest link or pool is done as early as can be found.

    Parameters
    ----------
    problem : PlacementProblem
        Without ``work``, time is in proportion to bytes, and pools and links are equal.

    Returns
    -------
    ndarray of intp, shape (n,)
        The label of each value; the same for the same problem, always. Its makespan is not
        above that of the policy ``"mincut"``.

    Raises
    ------
    PlacementError
        If there are more than two pools and the arcs form a cycle.

    Examples
    --------
    A site with one thread has five blocks of 100 MB, which take ten seconds each. The other
    one has four threads, behind a link of 100 MB/s. Four of the blocks are worked on there:

    >>> from dask_pools.planning.work import Work
    >>> problem = PlacementProblem(
    ...     pools=("big", "small"),
    ...     sizes=np.repeat([1e8, 1e3], 5),
    ...     allowed=np.repeat([[False, True], [True, True]], 5, axis=0),
    ...     values=np.arange(5),
    ...     consumers=np.arange(5, 10),
    ...     costs=np.array([[0, 1e-8], [1e-8, 0]]),
    ...     work=Work(
    ...         durations=np.repeat([0.0, 10.0], 5),
    ...         threads=np.array([4.0, 1.0]),
    ...         seconds=np.array([[0, 1e-8], [1e-8, 0]]),
    ...     ),
    ... )
    >>> np.bincount(makespan(problem)[5:])
    array([4, 1])
    """
    search = _Search(problem)
    if len(problem.pools) > 1 and len(problem.sizes):
        search.mix()
        search.step()
    return search.best


class _Search:
    """The best placement that has been seen, and ways to see others."""

    def __init__(self, problem: PlacementProblem) -> None:
        self.problem = problem
        self.best = mincut(problem)
        self.rank = self.rank_of(self.best)
        self.see(balance(problem, self.best))

    def rank_of(self, labels: NDArray[np.intp]) -> tuple[bool, float, float]:
        """Rank a placement: first whether it is forbidden, its makespan, all times squared."""
        times = self._times(labels)
        forbidden = not np.isfinite(cost(self.problem, labels))
        return forbidden, float(times.max(initial=0.0)), float(times @ times)

    def see(self, labels: NDArray[np.intp]) -> bool:
        """Keep a placement if it is better than the best one; return whether it is."""
        rank = self.rank_of(labels)
        if not _less(rank, self.rank):
            return False
        self.best, self.rank = labels, rank
        return True

    # ---- weights

    def mix(self) -> None:
        """See the placements that are cheapest for many weights, and mixtures of them."""
        seen = {self.best.tobytes()}
        in_vain = 0
        for labels in self._cheapest():
            in_vain += 1
            if (name := labels.tobytes()) not in seen:
                seen.add(name)
                mixtures = self._mixtures(self.best, labels)
                if sum(self.see(mixed) for mixed in (labels, *mixtures)):
                    in_vain = 0
            if in_vain == _PATIENCE:
                return

    def _cheapest(self) -> Iterator[NDArray[np.intp]]:
        """Find the cheapest placements for weights that follow what was busy before."""
        problem = self.problem
        pools = len(problem.pools)
        weighted = WeightedTimes.of(problem)
        labels, times = self.best, self._times(self.best)
        blame = np.zeros(len(times))
        cuts = _EFFORT // len(problem.sizes)
        for _ in range(_ROUNDS):
            if not times.any():
                return
            blame += times / times.max()
            weights = np.exp(_RATE * (blame - blame.max()))
            of_links, of_pools = weights[:-pools].reshape(pools, pools), weights[-pools:]
            for pool in self._targets(of_pools / weighted.work.threads):
                if not cuts:
                    return
                stay, go = self._offer(labels, pool)
                labels = weighted.move(of_links, of_pools, stay, go)
                cuts -= 1
            times = self._times(labels)
            yield labels
            # No mean of times is greater than the greatest: with two pools, where the cut is
            # the cheapest of all placements, none has a smaller makespan than this.
            least = float(times @ weights / weights.sum())
            if pools == _EXACT and self.rank[1] <= least * (1 + _CLOSE):
                return

    def _times(self, labels: NDArray[np.intp]) -> NDArray[np.float64]:
        links, pools = loads(self.problem, labels)
        return np.concatenate([links.reshape(-1), pools])

    def _targets(self, prices: NDArray[np.float64]) -> list[int]:
        """List the pools that are offered in a round: those with the cheapest seconds."""
        cheapest = np.argsort(prices, kind="stable")
        return [int(pool) for pool in cheapest[: 1 if len(prices) == _EXACT else _TARGETS]]

    def _offer(
        self, labels: NDArray[np.intp], pool: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        allowed = self.problem.allowed
        if len(self.problem.pools) == _EXACT:
            return allowed.argmax(axis=1), 1 - allowed[:, ::-1].argmax(axis=1)
        return labels, np.where(allowed[:, pool], pool, labels)

    # ---- mixtures

    def _mixtures(self, stay: NDArray[np.intp], go: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        """Mix two placements in several ways."""
        problem = self.problem
        differs = stay != go
        if not differs.any():
            return
        inside = np.flatnonzero(differs[problem.values] & differs[problem.consumers])
        values, consumers = problem.values[inside], problem.consumers[inside]
        weight = problem.sizes[values]
        sizes = np.unique(weight)
        # Arcs of values below a threshold are taken apart: none of them, ..., all of them.
        steps = np.linspace(0, len(sizes), min(_THRESHOLDS, len(sizes) + 1)).astype(int)
        for threshold in np.append(sizes, np.inf)[steps].tolist():
            kept = weight >= threshold
            group = _groups(differs, values[kept], consumers[kept])
            found = effects(problem, stay, go, group)
            goes = found.choose([np.concatenate([found.links, found.pools]), found.transfers])
            yield np.where(differs & goes[group], go, stay)

    # ---- single moves

    def step(self) -> None:
        """Move single values, and neighbours together, as long as it helps."""
        problem = self.problem
        free = problem.allowed.sum(axis=1) > 1
        between = free[problem.values] & free[problem.consumers]
        single = np.repeat(np.flatnonzero(free)[:, None], 2, axis=1)
        pairs = np.stack([problem.values[between], problem.consumers[between]], axis=1)
        together = np.unique(np.concatenate([single, pairs]), axis=0)
        if len(together) * len(problem.pools) > _CHOICES:
            return
        both = problem.allowed[together[:, 0]] & problem.allowed[together[:, 1]]
        moves = np.argwhere(both).tolist()
        in_vain = turn = 0
        while in_vain < len(moves):
            which, target = moves[turn % len(moves)]
            turn += 1
            labels = self.best.copy()
            labels[together[which]] = target
            in_vain = 0 if self.see(labels) else in_vain + 1


def _groups(
    differs: NDArray[np.bool_], values: NDArray[np.intp], consumers: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Group the values that differ by the arcs between them; -1 for the others."""
    index = np.cumsum(differs) - 1
    size = int(np.count_nonzero(differs))
    pattern = coo_array(
        (np.ones(len(values), dtype=np.int8), (index[values], index[consumers])),
        shape=(size, size),
    )
    group = np.full(len(differs), -1)
    group[differs] = connected_components(pattern, directed=False)[1]
    return group


def _less(rank: tuple[bool, float, float], than: tuple[bool, float, float]) -> bool:
    """Compare ranks; times that are almost equal are equal."""
    if rank[0] != than[0]:
        return rank[0] < than[0]
    for number, other in zip(rank[1:], than[1:], strict=True):
        if abs(number - other) > _EQUAL * other:
            return number < other
    return False
