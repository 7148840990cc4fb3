"""Loads: how long a placement keeps the links and the pools busy."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dask_pools.planning.cost import crossings
from dask_pools.planning.problem import PlacementProblem
from dask_pools.planning.work import Work


def work_of(problem: PlacementProblem) -> Work:
    """Return what is known of the time that a problem takes, or what is assumed.

    Parameters
    ----------
    problem : PlacementProblem

    Returns
    -------
    Work
        That of the problem. If it has none: a task takes a second per byte that it reads or
        makes, each pool has one thread, and a link takes a second per byte. Such seconds can
        only be compared with each other.
    """
    if problem.work is not None:
        return problem.work
    n, pools = problem.allowed.shape
    read = np.bincount(problem.consumers, problem.sizes[problem.values], minlength=n)
    return Work(problem.sizes + read, np.ones(pools), 1.0 - np.eye(pools))


#: Values and targets, as `dask_pools.planning.cost.crossings` returns them.
Crossings: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]


def link_times(
    problem: PlacementProblem, labels: NDArray[np.intp], crossing: Crossings | None = None
) -> NDArray[np.float64]:
    """Sum the seconds for which each link is busy.

    Parameters
    ----------
    problem : PlacementProblem
    labels : ndarray of intp, shape (n,)
        The pool of each value, or ``UNPLACED``.
    crossing : tuple of ndarray of intp, optional
        The ``crossings(problem, labels)``, if they are known already.

    Returns
    -------
    ndarray of float64, shape (P, P)
        Seconds of the link ``[source, target]``; every value is carried once to each pool
        that needs it, and latency is not counted.
    """
    pools = len(problem.pools)
    values, targets = crossing or crossings(problem, labels)
    links = labels[values] * pools + targets
    nbytes = np.bincount(links, problem.sizes[values], minlength=pools * pools)
    times: NDArray[np.float64] = nbytes.reshape(pools, pools) * work_of(problem).seconds
    return times


def pool_times(problem: PlacementProblem, labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum the seconds for which all threads of each pool are busy.

    Parameters
    ----------
    problem : PlacementProblem
    labels : ndarray of intp, shape (n,)
        The pool of each value, or ``UNPLACED``.

    Returns
    -------
    ndarray of float64, shape (P,)
        Seconds of work divided by the number of threads, as if work could be shared between
        them without a remainder.
    """
    work = work_of(problem)
    placed = labels >= 0
    total = np.bincount(labels[placed], work.durations[placed], minlength=len(problem.pools))
    times: NDArray[np.float64] = total / work.threads
    return times


def loads(
    problem: PlacementProblem, labels: NDArray[np.intp], crossing: Crossings | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the seconds for which links and pools are busy: `link_times` and `pool_times`."""
    return link_times(problem, labels, crossing), pool_times(problem, labels)


def makespan(problem: PlacementProblem, labels: NDArray[np.intp]) -> float:
    """Bound the time that a placement takes: by the busiest link and the busiest pool.

    Parameters
    ----------
    problem : PlacementProblem
    labels : ndarray of intp, shape (n,)
        The pool of each value, or ``UNPLACED``.

    Returns
    -------
    float
        Seconds, if links and pools all work at the same time. The true time is longer, as far
        as tasks wait for each other.

    Examples
    --------
    Four tasks of a second each read 100 MB; two run in place, two over a link of 50 MB/s:

    >>> problem = PlacementProblem(
    ...     pools=("ecmwf", "eumetsat"),
    ...     sizes=np.repeat([100e6, 0.0], 4),
    ...     allowed=np.array([[1, 0]] * 4 + [[1, 1]] * 4, dtype=bool),
    ...     values=np.arange(4),
    ...     consumers=np.arange(4, 8),
    ...     costs=np.array([[0, 1], [1, 0]]) / 50e6,
    ...     work=Work(
    ...         durations=np.repeat([0.0, 1.0], 4),
    ...         threads=np.array([1.0, 1.0]),
    ...         seconds=np.array([[0, 1], [1, 0]]) / 50e6,
    ...     ),
    ... )
    >>> makespan(problem, np.array([0, 0, 0, 0, 0, 0, 1, 1]))
    4.0
    >>> makespan(problem, np.array([0, 0, 0, 0, 0, 0, 0, 1]))
    3.0
    """
    links, pools = loads(problem, labels)
    return float(max(links.max(initial=0.0), pools.max(initial=0.0)))
