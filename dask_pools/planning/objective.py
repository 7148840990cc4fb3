"""Objectives: what is to be little, as the cost of a byte on each link.

A policy knows costs only; what they stand for is said here. `make_work` says the rest that is
known of time, in which ties are broken whatever the objective is.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from dask_pools.errors import UnknownObjectiveError, near_miss, one_of
from dask_pools.model import Topology
from dask_pools.planning.work import Work

#: What a placement can keep small: what crosses, what that costs, how long all takes.
OBJECTIVES = ("bytes", "money", "time")
#: Bytes per second of a link of which nothing is known: one Gbit/s.
ASSUMED_BANDWIDTH = 125e6
#: With the objective "money", a byte that crosses counts, whatever its price is, this share of
#: the price of a byte on the cheapest link that is not free. So among placements of one price
#: that with fewer bytes is taken, and a cent is never paid to save less than a million times
#: the bytes that it would have paid for.
FREE_SHARE = 1e-6
#: Prices are per GB.
_GB = 1e9


def check_objective(name: str) -> str:
    """Return the name of an objective if there is one of this name.

    Raises
    ------
    UnknownObjectiveError
        If there is none.

    Examples
    --------
    >>> check_objective("money")
    'money'
    >>> check_objective("tine")
    Traceback (most recent call last):
    ...
    dask_pools.errors.UnknownObjectiveError: There is no objective 'tine'; ... mean 'time'?
    """
    if name not in OBJECTIVES:
        raise UnknownObjectiveError(
            f"There is no objective {name!r}; there are {one_of(OBJECTIVES)}. "
            f"Say which of these is to be little.{near_miss(str(name), OBJECTIVES)}"
        )
    return name


def cost_matrix(
    topology: Topology | None, pools: tuple[str, ...], objective: str = "bytes"
) -> NDArray[np.float64]:
    """Make the costs of a placement problem.

    Parameters
    ----------
    topology : Topology or None
        Rules, speeds and prices; None if nothing is known of them.
    pools : tuple of str
        The pools of the problem; P of them.
    objective : {"bytes", "money", "time"}, default "bytes"
        What a byte costs: one; its price, and a tiny share of that price on free links
        (`FREE_SHARE`), or one if all links are free; the seconds that it takes.

    Returns
    -------
    ndarray of float64, shape (P, P)
        Cost of a byte on the link ``[source, target]``: infinite where no data may cross, be
        it that the link does not allow it or that nothing may leave the source
        (``egress="none"``); zero on the diagonal.

    Raises
    ------
    UnknownObjectiveError
        If there is no such objective.

    Examples
    --------
    >>> from dask_pools.model import Link, Pool
    >>> topology = Topology(
    ...     (Pool("clinic", egress="none"), Pool("cloud"), Pool("home")),
    ...     (Link("cloud", "home", bandwidth=25e6, price=0.09),),
    ... )
    >>> cost_matrix(topology, topology.names)
    array([[ 0., inf, inf],
           [ 1.,  0.,  1.],
           [ 1.,  1.,  0.]])
    >>> cost_matrix(topology, ("cloud", "home"), "time")
    array([[0.e+00, 4.e-08],
           [8.e-09, 0.e+00]])
    """
    check_objective(objective)
    if objective == "time":
        costs = link_seconds(topology, pools)
    elif objective == "money":
        costs = _money(topology, pools)
    else:
        costs = 1.0 - np.eye(len(pools))
    if topology is not None:
        for i, source in enumerate(pools):
            if topology.pool(source).egress == "none":
                costs[i] = np.inf
        for i, j in permutations(range(len(pools)), 2):
            if not topology.link(pools[i], pools[j]).allowed:
                costs[i, j] = np.inf
        np.fill_diagonal(costs, 0.0)
    return costs


def link_seconds(topology: Topology | None, pools: tuple[str, ...]) -> NDArray[np.float64]:
    """Look up how long a byte takes on each link.

    Parameters
    ----------
    topology : Topology or None
    pools : tuple of str

    Returns
    -------
    ndarray of float64, shape (P, P)
        Seconds per byte on the link ``[source, target]``, by `ASSUMED_BANDWIDTH` where the
        bandwidth is not known; zero on the diagonal.
    """
    seconds = (1.0 - np.eye(len(pools))) / ASSUMED_BANDWIDTH
    if topology is not None:
        for i, j in permutations(range(len(pools)), 2):
            bandwidth = topology.link(pools[i], pools[j]).bandwidth
            if bandwidth is not None:
                seconds[i, j] = 1.0 / bandwidth
    return seconds


def threads(topology: Topology | None, pools: tuple[str, ...]) -> NDArray[np.float64]:
    """Look up how many worker threads each pool has; one where none is known.

    Parameters
    ----------
    topology : Topology or None
    pools : tuple of str

    Returns
    -------
    ndarray of float64, shape (P,)
    """
    if topology is None:
        return np.ones(len(pools))
    return np.array([max(topology.pool(name).nthreads, 1) for name in pools], dtype=np.float64)


def make_work(
    topology: Topology | None, pools: tuple[str, ...], durations: NDArray[np.float64]
) -> Work:
    """Describe how long the tasks and the links of a placement problem take.

    Parameters
    ----------
    topology : Topology or None
    pools : tuple of str
        The pools of the problem.
    durations : ndarray of float64, shape (n,)
        Seconds that each task takes on one thread.
    """
    return Work(durations, threads(topology, pools), link_seconds(topology, pools))


def _money(topology: Topology | None, pools: tuple[str, ...]) -> NDArray[np.float64]:
    """Look up prices per byte, with the share that lets free bytes count as well."""
    between = 1.0 - np.eye(len(pools))
    prices = np.zeros_like(between)
    if topology is not None:
        for i, j in permutations(range(len(pools)), 2):
            prices[i, j] = topology.link(pools[i], pools[j]).price / _GB
    if not prices.any():
        return between
    least = float(prices[prices > 0].min())
    costs: NDArray[np.float64] = prices + FREE_SHARE * least * between
    return costs
