r"""The best move: every value keeps its pool or goes to one other, decided for all at once.

A move offers each value two pools, *stay* and *go*; the best choice among these 2**n is one
minimum cut (source side = stay). What a value v pays for the pool q depends on whether v goes,
and on whether any of its consumers will be in q. The consumers that are in q if they stay, if
there are several, share a hub; so do those which are in q if they go:

    staying consumers of v in q          going consumers of v in q

      u1 --implies--\                         /--implies--> u1
      u2 --implies--> hub --price--> v     v --price--> hub --implies--> u2

The hub is on the source side as soon as one of the staying consumers is; if v has gone, its
arc to v is cut and paid, once. The mirrored hub does the same for those who go. With two pools
one move (stay = first pool, go = second) is the whole problem, for any directed costs.

With more pools one case has no such gadget: v could spare the dearer price for q by going, as
long as a consumer stays in q. Then the difference is charged to v for staying, whether the
consumer stays or not: an upper bound that is tight when all stay, so that the best move never
makes a placement dearer. It cannot occur if the values that have a choice all stay in one pool or
all go to one pool, and all costs are equal; nor if they all stay in one pool and all go to one
other, whatever the costs.

What may not cross is not a matter of price. The moves with the fewest forbidden crossings are
found first, by a cut of its own; it leaves implications ("if this consumer stays, so does the
value"), which the cut for the price has to obey and which take nothing from its resolution. A
placement without forbidden crossings keeps that in every move. (One that has some may become
dearer otherwise, but never gets more of them.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.cuts import SINK, SOURCE, Cuts
from dask_pools.planning.prices import Prices
from dask_pools.planning.problem import PlacementProblem


def best_move(
    problem: PlacementProblem,
    prices: Prices,
    stay: NDArray[np.intp],
    go: NDArray[np.intp],
    *,
    transfers: bool = True,
) -> NDArray[np.intp]:
    """Let every value stay or go so that the placement costs least.

    Among moves of equal cost, those with the fewest transfers are preferred; among these,
    values follow most of their inputs, and values without inputs most of their consumers; in
    doubt they stay. The result does not depend on the order of values or arcs.

    Parameters
    ----------
    problem : PlacementProblem
    prices : Prices
        The prices of that problem.
    stay, go : ndarray of intp, shape (n,)
        Two placements, both allowed; equal for a value that has no choice.
    transfers : bool, default True
        Whether to look for the fewest transfers, which is a cut of its own.

    Returns
    -------
    ndarray of intp, shape (n,)
        For every value the label of one of the two.
    """
    if not (stay != go).any():
        return stay
    node, cuts = ties(problem, prices, stay, go, *([_one_transfer] if transfers else []))
    sides = _settle(problem, stay, go, node, cuts)
    return np.where((stay != go) & (sides < 0), go, stay)


def ties(
    problem: PlacementProblem,
    prices: Prices,
    stay: NDArray[np.intp],
    go: NDArray[np.intp],
    *then: Charge,
) -> tuple[NDArray[np.intp], Cuts]:
    """Find all the best moves between two placements at once.

    Parameters
    ----------
    problem : PlacementProblem
    prices : Prices
        The prices of that problem.
    stay, go : ndarray of intp, shape (n,)
        Two placements, both allowed; equal for a value that has no choice.
    *then : callable
        Further objectives, to choose among the moves that cost least: each a function from
        values, sources and targets to the integers that carrying each value there counts.

    Returns
    -------
    node_of_value : ndarray of intp, shape (n,)
        The node of each value in `cuts`; that of a value without a choice is the source.
    cuts : Cuts
        The moves that cost least: a value whose node is on the source side stays, one whose
        node is on the sink side goes. If none is better than to stay, no node is on the sink
        side for good, and each of the ``cuts.groups()`` can go at no cost, on its own or with
        others. These are all there are if the values that have a choice stay in one pool and go
        to one other; else some that cost nothing may be missing (see above).

    Examples
    --------
    Two equal fields are added in the first pool, twice; both sums could go to the other one:

    >>> from dask_pools.planning.problem import uniform_costs
    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.full(6, 8.0),
    ...     allowed=np.array([[1, 0], [0, 1], [1, 1]] * 2, dtype=bool),
    ...     values=np.array([0, 1, 3, 4]),
    ...     consumers=np.array([2, 2, 5, 5]),
    ...     costs=uniform_costs(2),
    ... )
    >>> stay = np.array([0, 1, 0, 0, 1, 0])
    >>> go = np.array([0, 1, 1, 0, 1, 1])
    >>> node_of_value, cuts = ties(problem, Prices.of(problem), stay, go)
    >>> count, group = cuts.groups()
    >>> count, group[node_of_value]
    (2, array([-1, -1,  0, -1, -1,  1]))
    """
    network = _Network.of(problem, stay, go, stay != go)
    cuts = Cuts.all(network.nodes, network.tails, network.heads)
    forbidden = problem.forbidden if problem.forbids else None
    if forbidden is not None:
        cuts = cuts.narrow(*network.arcs(lambda *ways: forbidden(*ways).astype(np.int64)))
    for charge in (prices.charge, *then):
        cuts = cuts.narrow(*network.arcs(charge, forbidden))
    return network.node, cuts


#: From values, sources and targets to the price of carrying each value there.
Charge: TypeAlias = Callable[
    [NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]], NDArray[np.int64]
]
#: From values, sources and targets to whether each value may not be carried there.
Forbidden: TypeAlias = Callable[
    [NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]], NDArray[np.bool_]
]


def _one_transfer(
    _values: NDArray[np.intp], sources: NDArray[np.intp], targets: NDArray[np.intp]
) -> NDArray[np.int64]:
    return np.not_equal(sources, targets).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Hubs:
    """For each value and pool that consumers share: the node that stands for "any of them"."""

    values: NDArray[np.intp]
    pools: NDArray[np.intp]
    nodes: NDArray[np.intp]
    #: Nodes of consumers, and the hub of each, where a hub has more than one.
    members: NDArray[np.intp]
    hubs: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        codes: NDArray[np.intp],
        members: NDArray[np.intp],
        shape: tuple[int, int],
        first: int,
    ) -> _Hubs:
        """Group consumers by the code ``value * pools + pool``; number new nodes from `first`."""
        seen = np.zeros(shape[0] * shape[1], dtype=bool)
        seen[codes] = True
        distinct = np.flatnonzero(seen)
        group = (np.cumsum(seen, dtype=np.int32) - 1)[codes]
        shared = np.bincount(group, minlength=len(distinct)) > 1
        nodes = np.empty(len(distinct), dtype=np.intp)
        # A consumer that has no companion needs no hub: it is its own.
        nodes[group] = members
        nodes[shared] = first + np.arange(np.count_nonzero(shared))
        joined = shared[group]
        return cls(
            values=distinct // shape[1],
            pools=distinct % shape[1],
            nodes=nodes,
            members=members[joined],
            hubs=nodes[group[joined]],
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    """The network of a move, without its capacities."""

    stay: NDArray[np.intp]
    go: NDArray[np.intp]
    #: The node of each value; the terminal of a value without a choice is not used.
    node: NDArray[np.intp]
    #: Value and pool of the consumers which have no choice.
    values: NDArray[np.intp]
    pools: NDArray[np.intp]
    staying: _Hubs
    going: _Hubs
    nodes: int

    @classmethod
    def of(
        cls,
        problem: PlacementProblem,
        stay: NDArray[np.intp],
        go: NDArray[np.intp],
        free: NDArray[np.bool_],
    ) -> _Network:
        n, p = problem.allowed.shape
        node = np.full(n, SOURCE)
        node[free] = np.arange(2, 2 + np.count_nonzero(free))
        nodes = 2 + int(np.count_nonzero(free))

        choice = free[problem.consumers]
        values, consumers = problem.values[~choice], problem.consumers[~choice]
        settled = np.zeros(n * p, dtype=bool)
        settled[values * p + stay[consumers]] = True
        # What can never cost anything needs no hub: a receiving pool which has a consumer
        # anyway, and the pool of a value that has no choice.
        fixed = np.flatnonzero(~free)
        paid = settled.copy()
        paid[fixed * p + stay[fixed]] = True

        values, consumers = problem.values[choice], problem.consumers[choice]
        hubs: list[_Hubs] = []
        for labels in (stay, go):
            codes = values * p + labels[consumers]
            useful = ~paid[codes]
            found = _Hubs.of(codes[useful], node[consumers[useful]], (n, p), nodes)
            nodes += int(np.count_nonzero(found.nodes >= nodes))
            hubs.append(found)
        certain = np.flatnonzero(settled)
        certain = certain[free[certain // p]]
        return cls(stay, go, node, certain // p, certain % p, hubs[0], hubs[1], nodes)

    @property
    def tails(self) -> NDArray[np.intp]:
        """Tails of the implications: a consumer that stays makes its hub stay; see `heads`."""
        return np.concatenate([self.staying.members, self.going.hubs])

    @property
    def heads(self) -> NDArray[np.intp]:
        """Heads of the implications."""
        return np.concatenate([self.staying.hubs, self.going.members])

    def arcs(
        self,
        charge: Charge,
        forbidden: Forbidden | None = None,
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
        """Make the arcs, with the prices of a value on its way from one pool to another.

        Where one of two ways is `forbidden`, implications decide, and prices need not; the
        price of the other way is due, whatever the value does.
        """
        for_staying = np.zeros(self.nodes, dtype=np.int64)
        for_going = np.zeros(self.nodes, dtype=np.int64)

        def both(
            values: NDArray[np.intp], pools: NDArray[np.intp]
        ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            stays = charge(values, self.stay[values], pools)
            goes = charge(values, self.go[values], pools)
            if forbidden is None:
                return stays, goes
            return (
                np.where(forbidden(values, self.stay[values], pools), goes, stays),
                np.where(forbidden(values, self.go[values], pools), stays, goes),
            )

        stays, goes = both(self.values, self.pools)
        np.add.at(for_staying, self.node[self.values], stays)
        np.add.at(for_going, self.node[self.values], goes)

        tails, heads, capacities = [], [], []
        for hubs, arriving in ((self.staying, False), (self.going, True)):
            stays, goes = both(hubs.values, hubs.pools)
            own = self.node[hubs.values]
            terminal = np.full(len(own), SOURCE if arriving else SINK)
            if arriving:
                tails += [terminal, own]
                heads += [hubs.nodes, hubs.nodes]
                more, less = stays, goes
                bound = for_going
            else:
                tails += [hubs.nodes, hubs.nodes]
                heads += [terminal, own]
                more, less = goes, stays
                bound = for_staying
            capacities += [np.minimum(stays, goes), np.maximum(more - less, 0)]
            np.add.at(bound, own, np.maximum(less - more, 0))
        # Only the difference matters; the terminals gather the sums of values without a choice.
        for_staying[[SOURCE, SINK]] = for_going[[SOURCE, SINK]] = 0
        common = np.minimum(for_staying, for_going)
        every = np.arange(self.nodes)
        tails += [every, np.full(self.nodes, SOURCE)]
        heads += [np.full(self.nodes, SINK), every]
        capacities += [for_staying - common, for_going - common]
        return np.concatenate(tails), np.concatenate(heads), np.concatenate(capacities)


def _settle(
    problem: PlacementProblem,
    stay: NDArray[np.intp],
    go: NDArray[np.intp],
    node: NDArray[np.intp],
    cuts: Cuts,
) -> NDArray[np.int8]:
    """Choose one of several equally good cuts; return the side of each value."""
    count, group = cuts.groups()
    if not count:
        return cuts.sides[node]
    known = cuts.sides[node] != 0
    labels = np.where(cuts.sides[node] > 0, stay, go)
    votes = np.zeros(count, dtype=np.int64)
    for ones, others in (
        (problem.values, problem.consumers),
        (problem.consumers, problem.values),
    ):
        ask = known[ones] & ~known[others]
        voters, choosers = ones[ask], others[ask]
        ballot = (labels[voters] == stay[choosers]).astype(np.int64)
        ballot -= labels[voters] == go[choosers]
        box = group[node[choosers]]
        undecided = votes[box] == 0
        round_ = np.zeros(count, dtype=np.int64)
        np.add.at(round_, box[undecided], ballot[undecided])
        votes += round_
    sides = cuts.sides[node]
    sides[~known] = np.where(votes[group[node[~known]]] < 0, -1, 1)
    return sides
