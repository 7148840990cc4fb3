"""Groups of values that may change their pool together, and what that does to links and pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.loads import loads, work_of
from dask_pools.planning.problem import PlacementProblem
from dask_pools.planning.sharing import share


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What the groups of a placement do to its links and pools if they go.

    Parameters
    ----------
    each : ndarray of float64, shape (groups, R)
        What each group adds to every resource, if it goes; negative where it sets something
        free. The first resource is the number of transfers; then come the seconds of the links
        and of the pools which some group changes.
    base : ndarray of float64, shape (R,)
        What is in use if all groups stay; transfers are counted from there.
    links, pools : ndarray of intp
        Which of the resources are links, and which are pools.
    """

    each: NDArray[np.float64]
    base: NDArray[np.float64]
    links: NDArray[np.intp]
    pools: NDArray[np.intp]

    @property
    def transfers(self) -> NDArray[np.intp]:
        """Which of the resources is the number of transfers."""
        return np.zeros(1, dtype=np.intp)

    @property
    def idle(self) -> NDArray[np.bool_]:
        """The groups that change the time of no link and no pool; shape (groups,)."""
        return np.logical_not(self.each[:, 1:].any(axis=1))

    def choose(self, stages: Sequence[NDArray[np.intp]]) -> NDArray[np.bool_]:
        """Choose the groups that go, as `dask_pools.planning.sharing.share` does.

        Parameters
        ----------
        stages : sequence of ndarray of intp
            Resources the greatest of which is to be least; the first set comes first.
        """
        moving = ~self.idle
        stay_or_go = np.stack([np.zeros((len(self.base),) * 2), np.eye(len(self.base))])
        goes = np.zeros(len(self.each), dtype=np.bool_)
        goes[moving] = share(self.each[moving], stay_or_go, self.base, stages) == 1
        return goes


def effects(
    problem: PlacementProblem,
    stay: NDArray[np.intp],
    go: NDArray[np.intp],
    group: NDArray[np.intp],
) -> Effects:
    """Work out what each group of values does if it goes.

    A transfer belongs to the group of its value; if that has none, to the group of the
    consumers for which it is made. If these are in several groups, or one of them is in none,
    it is on nobody's account: it is counted as soon as it is needed when all stay or when all
    go. So effects add up exactly if groups have no transfers in common and need nothing of each
    other; else the sum is right if all stay, not too low if all go, and in between a guess.

    Parameters
    ----------
    problem : PlacementProblem
    stay, go : ndarray of intp, shape (n,)
        Two placements.
    group : ndarray of intp, shape (n,)
        The group of each value that may go; -1 for one that stays.
    """
    pools, work = len(problem.pools), work_of(problem)
    near = group >= 0
    moving = np.flatnonzero(near)
    near[problem.values[near[problem.consumers]]] = True
    arcs = np.flatnonzero(near[problem.values])
    after = stay.copy()
    after[moving] = go[moving]

    entries = []
    codes = []
    for labels, sign in ((stay, -1.0), (after, 1.0)):
        code, owner = _transfers(problem, arcs, labels, group)
        codes.append(code[owner < 0])
        values, targets = code[owner >= 0] // pools, code[owner >= 0] % pools
        owner = owner[owner >= 0]
        entries.append((owner, labels[values] * pools + targets, sign * problem.sizes[values]))
        entries.append((owner, np.full(len(owner), pools * (pools + 1)), np.full(len(owner), sign)))
        entries.append(
            (group[moving], pools * pools + labels[moving], sign * work.durations[moving])
        )
    owners, resources, amounts = (np.concatenate(column) for column in zip(*entries, strict=True))

    # Seconds only at the end: sums of bytes are exact, so that like groups do exactly the same.
    rate = np.concatenate([work.seconds.reshape(-1), 1 / work.threads, [1.0]])
    used = np.unique(resources)
    used = used[used < pools * (pools + 1)]
    column = np.zeros(len(rate), dtype=np.intp)
    column[used] = 1 + np.arange(len(used))
    shape = (int(group.max(initial=-1)) + 1, 1 + len(used))
    cell = owners * shape[1] + column[resources]
    # Without any entry bincount returns integers.
    total = np.bincount(cell, amounts, minlength=shape[0] * shape[1])
    each = total.reshape(shape).astype(np.float64, copy=False)
    each[:, 1:] *= rate[used]

    busy_links, busy_pools = loads(problem, stay)
    busy = np.concatenate([busy_links.reshape(-1), busy_pools])
    new = np.setdiff1d(codes[1], codes[0])
    link = stay[new // pools] * pools + new % pools
    np.add.at(busy, link, problem.sizes[new // pools] * rate[link])
    is_link = used < pools * pools
    place = 1 + np.arange(len(used))
    return Effects(each, np.append(0.0, busy[used]), place[is_link], place[~is_link])


def _transfers(
    problem: PlacementProblem,
    arcs: NDArray[np.intp],
    labels: NDArray[np.intp],
    group: NDArray[np.intp],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the transfers for some arcs as ``value * P + target``, and the group of each or -1."""
    values, consumers = problem.values[arcs], problem.consumers[arcs]
    crossing = labels[values] != labels[consumers]
    values, consumers = values[crossing], consumers[crossing]
    code = values * len(problem.pools) + labels[consumers]
    owner = np.where(group[values] >= 0, group[values], group[consumers])
    order = np.argsort(code, kind="stable")
    code, owner = code[order], owner[order]
    first = np.flatnonzero(np.diff(code, prepend=-1))
    if not len(first):
        return code, owner
    lowest, highest = np.minimum.reduceat(owner, first), np.maximum.reduceat(owner, first)
    return code[first], np.where(lowest == highest, lowest, -1)
