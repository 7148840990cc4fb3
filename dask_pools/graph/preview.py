"""From what the optimiser has decided to the plan that people read.

In two steps. `make_plan` counts, at every submission: a few passes of NumPy over the tasks.
`explain_plan` adds, for whoever asks for the plan, what tasks read, the names of the arrays that
cross, and why they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph.reasons import Reasons
from dask_pools.graph.titles import Titles
from dask_pools.model import Link, Topology
from dask_pools.planning.basis import Basis
from dask_pools.planning.cost import crossings
from dask_pools.planning.parts import ArrayPlan, LinkPlan, PoolPlan, Transfer
from dask_pools.planning.plan import SHOWN, Plan
from dask_pools.planning.problem import PlacementProblem

#: Prices are per GB.
_GB = 1e9
_BASES = tuple(Basis)


def make_plan(
    problem: PlacementProblem,
    labels: NDArray[np.intp],
    *,
    tasks: Mapping[str | None, int],
    transfers: tuple[Transfer, ...] = (),
    crossing: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None,
    basis: NDArray[np.int8] | None = None,
    topology: Topology | None = None,
    policy: str = "mincut",
    objective: str = "bytes",
    cost: float | None = None,
    bound: float | None = None,
    copies: int = 0,
    regrouped: int = 0,
) -> Plan:
    """Make the plan of a placement: counts, bytes, seconds and money.

    Parameters
    ----------
    problem : PlacementProblem
        What was placed; with its work, if the seconds of pools are wanted.
    labels : ndarray of intp, shape (n,)
        The pool of each value, or ``UNPLACED``.
    tasks : mapping of str or None to int
        Number of tasks in each pool, as they will run; under None those that may run anywhere.
    transfers : tuple of Transfer
        What crosses; `explain_plan` makes it if it is not given.
    crossing : pair of ndarray of intp, optional
        The `crossings` of this placement, if they are known already.
    basis : ndarray of int8, shape (t,) with t <= n, optional
        What each size rests on (`Basis`). Sizes of the values after these are exact: those
        values are there already. Default: all sizes are assumed.
    topology : Topology, optional
        Speeds, prices and threads; what it does not know, the plan does not know either.
    policy, objective : str
        What placed the tasks, and what was to be little.
    cost : float, optional
        The cost in the unit of the objective. Default: that of the plan itself.
    bound : float, optional
        No placement costs less, in the same unit.
    copies, regrouped : int, default 0
        As in a `Plan`.
    """
    crossing = crossings(problem, labels) if crossing is None else crossing
    plan = Plan(
        tasks=dict(tasks),
        transfers=transfers,
        by_pool=_pools(problem, labels, tasks, topology),
        by_link=_links(problem, labels, crossing, topology, objective),
        shares=_shares(problem, crossing[0], basis),
        policy=policy,
        objective=objective,
        bound=bound,
        currency="USD" if topology is None else topology.currency,
        copies=copies,
        regrouped=regrouped,
    )
    if cost is None:
        cost = {"money": plan.money, "time": plan.seconds}.get(objective, plan.nbytes)
    # What costs nothing needs no search for what costs less.
    return replace(plan, cost=cost, bound=0.0 if cost == 0 else bound)


def explain_plan(
    plan: Plan,
    problem: PlacementProblem,
    labels: NDArray[np.intp],
    *,
    names: Sequence[Key],
    crossing: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None,
    basis: NDArray[np.int8] | None = None,
    nbytes_read: NDArray[np.float64] | None = None,
    sources: Mapping[str, tuple[str, ...]] | None = None,
    variables: Mapping[str, str] | None = None,
    earlier: int | None = None,
) -> Plan:
    """Add to a plan what tasks read, the names of what crosses, and why it has to.

    Parameters
    ----------
    plan : Plan
        Of `make_plan`.
    problem, labels, crossing, basis
        As there.
    names : sequence of keys, length n
        The key of each value.
    nbytes_read : ndarray of float64, shape (n,), optional
        Bytes that each task reads (`Reads.nbytes`). Default: the plan does not say.
    sources : mapping of str to tuple of str, optional
        Arrays that the tasks of a layer read (`Reads.arrays`).
    variables : mapping of str to str, optional
        Names of xarray's variables by layer (`variable_names`).
    earlier : int, optional
        Values from this number on were made by an earlier computation. Default: none was.
    """
    titles = Titles(variables or {}, sources or {})
    values, targets = crossings(problem, labels) if crossing is None else crossing
    codes = _padded(basis, len(problem.sizes))[values].tolist()
    links = _Links(problem.pools)
    ways = (labels[values] * len(problem.pools) + targets).tolist()
    keys = [names[v] for v in values.tolist()]
    nbytes = problem.sizes[values].tolist()
    transfers = [
        Transfer(key, links[way], size, _BASES[code], titles[key])
        for key, way, size, code in zip(keys, ways, nbytes, codes, strict=True)
    ]
    reasons = Reasons(
        problem,
        labels,
        name=lambda value: titles[names[value]],
        earlier=len(names) if earlier is None else earlier,
    )
    arrays: list[ArrayPlan] = []
    for members in _largest_groups(transfers, ways):
        first = max(members, key=nbytes.__getitem__)
        because = reasons.of(int(values[first]), int(targets[first]))
        parts = [transfers[i] for i in members]
        arrays.append(
            ArrayPlan(
                name=parts[0].name,
                link=parts[0].link,
                transfers=len(parts),
                nbytes=float(sum(part.nbytes for part in parts)),
                basis=max(part.basis for part in parts),
                because=because,
            )
        )
        transfers[first] = replace(transfers[first], because=because)
    read = plan.by_pool if nbytes_read is None else _with_reads(plan, problem, labels, nbytes_read)
    return replace(plan, transfers=tuple(transfers), by_array=tuple(arrays), by_pool=read)


def _largest_groups(transfers: Sequence[Transfer], ways: Sequence[int]) -> list[list[int]]:
    """Gather transfers by name and link; return those with most bytes, by their positions.

    Arrays of one name, such as a variable opened from many stores, are told of as one.
    """
    numbers: dict[tuple[object, int], int] = {}
    group = np.fromiter(
        (
            numbers.setdefault((t.name, way), len(numbers))
            for t, way in zip(transfers, ways, strict=True)
        ),
        dtype=np.intp,
        count=len(transfers),
    )
    nbytes = np.bincount(group, weights=[t.nbytes for t in transfers], minlength=len(numbers))
    largest = np.argsort(-nbytes, kind="stable")[:SHOWN].tolist()
    return [np.flatnonzero(group == number).tolist() for number in largest]


class _Links(dict[int, Link]):
    """The links between pools, by their number; each is made once."""

    __slots__ = ("_pools",)

    def __init__(self, pools: tuple[str, ...]) -> None:
        self._pools = pools

    def __missing__(self, way: int) -> Link:
        source, target = divmod(way, len(self._pools))
        link = self[way] = Link(self._pools[source], self._pools[target])
        return link


def _pools(
    problem: PlacementProblem,
    labels: NDArray[np.intp],
    tasks: Mapping[str | None, int],
    topology: Topology | None,
) -> tuple[PoolPlan, ...]:
    """Tell what each pool does, as far as it costs little to know."""
    seconds: dict[str, float] = {}
    if problem.work is not None:
        total = _by_pool(problem, labels, problem.work.durations) / problem.work.threads
        seconds = dict(zip(problem.pools, total.tolist(), strict=True))
    names = sorted({*problem.pools, *(name for name in tasks if name is not None)})
    return tuple(
        PoolPlan(
            name,
            tasks.get(name, 0),
            seconds=seconds.get(name),
            threads=0 if topology is None else topology.pool(name).nthreads,
        )
        for name in names
    )


def _with_reads(
    plan: Plan, problem: PlacementProblem, labels: NDArray[np.intp], reads: NDArray[np.float64]
) -> tuple[PoolPlan, ...]:
    total = _by_pool(problem, labels, reads).tolist()
    nbytes = dict(zip(problem.pools, total, strict=True))
    return tuple(replace(pool, nbytes_read=nbytes.get(pool.name, 0.0)) for pool in plan.by_pool)


def _by_pool(
    problem: PlacementProblem, labels: NDArray[np.intp], amounts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add up what belongs to the values of each pool; unplaced ones are in the last place."""
    pools = len(problem.pools)
    where = np.where(labels < 0, pools, labels)
    sums = np.bincount(where, weights=amounts, minlength=pools + 1)[:pools]
    return sums.astype(np.float64)


def _links(
    problem: PlacementProblem,
    labels: NDArray[np.intp],
    crossing: tuple[NDArray[np.intp], NDArray[np.intp]],
    topology: Topology | None,
    objective: str,
) -> tuple[LinkPlan, ...]:
    values, targets = crossing
    pools = len(problem.pools)
    ways = labels[values] * pools + targets
    count = np.bincount(ways, minlength=pools * pools)
    nbytes = np.bincount(ways, weights=problem.sizes[values], minlength=pools * pools)
    # Assumed speeds are shown only where the placement was chosen by them.
    assumed = problem.work.seconds if problem.work is not None and objective == "time" else None
    found: list[LinkPlan] = []
    for way in np.flatnonzero(count).tolist():
        i, j = divmod(way, pools)
        link, crossed = Link(problem.pools[i], problem.pools[j]), float(nbytes[way])
        known = link if topology is None else topology.link(link.source, link.target)
        seconds = None if assumed is None else crossed * float(assumed[i, j])
        if known.bandwidth is not None:
            seconds = crossed / known.bandwidth
        money = None if topology is None else crossed / _GB * known.price
        found.append(LinkPlan(link, int(count[way]), crossed, seconds, money))
    return tuple(found)


def _shares(
    problem: PlacementProblem, values: NDArray[np.intp], basis: NDArray[np.int8] | None
) -> dict[Basis, float]:
    """Add up the bytes of what crosses by what their number rests on."""
    codes = _padded(basis, len(problem.sizes))[values]
    count = np.bincount(codes, minlength=len(_BASES))
    nbytes = np.bincount(codes, weights=problem.sizes[values], minlength=len(_BASES))
    return {b: float(nbytes[b]) for b in _BASES if count[b]}


def _padded(basis: NDArray[np.int8] | None, n: int) -> NDArray[np.int8]:
    """Say what each of n sizes rests on."""
    if basis is None:
        return np.full(n, Basis.ASSUMED, dtype=np.int8)
    padded = np.full(n, Basis.EXACT, dtype=np.int8)
    padded[: len(basis)] = basis
    return padded
