"""A check that every policy has to pass: it is run over a fixed set of problems.

The problems are those at which policies break: without values, without arcs, with mirrors, with
directed and closed links, with values of no bytes, with two arcs of the same, and large ones.
All of them have a placement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_pools.errors import PlacementError
from dask_pools.planning.answer import check_answer, lawless
from dask_pools.planning.conflict import first_forbidden
from dask_pools.planning.policies import Policy, get_policy, traits_of
from dask_pools.planning.problem import PlacementProblem, uniform_costs
from dask_pools.planning.residency import prune
from dask_pools.planning.work import Work

_POOLS = ("a", "b", "c", "d", "e")
#: Arcs lead from a value to one of so many that follow it.
_NEAR = 12


def check_policy(policy: str | Policy) -> None:
    """Check that a policy keeps its contract.

    Its labels have to be a placement; it must leave the problem as it is; and it must return
    the same for the same problem. If it says of itself that it is lawful
    (`dask_pools.planning.policies.Traits`), nothing may cross that may not. Whether its
    placements are good is not checked: `dask_pools.planning.cost.cost` tells.

    Parameters
    ----------
    policy : str or callable
        The name of a policy, or the function.

    Raises
    ------
    PlacementError
        If it does not; the message names the problem of `sample_problems`.
    UnknownPolicyError
        If there is no policy of this name.
    Exception
        What the policy raises itself, with a note that names the problem.

    Examples
    --------
    >>> check_policy("mincut")
    >>> check_policy(lambda problem: np.zeros(len(problem.sizes), dtype=int))
    Traceback (most recent call last):
    ...
    dask_pools.errors.PlacementError: On the problem 'all values pinned' the policy ...
    """
    chosen = get_policy(policy)
    lawful = traits_of(policy).lawful
    for name, problem in sample_problems():
        who = f"On the problem {name!r} the policy {policy!r}"
        pruned = prune(problem)
        given = _copy(pruned)
        try:
            labels = chosen(given)
            again = chosen(_copy(pruned))
        except Exception as error:
            error.add_note(f"{who} was at work.")
            raise
        check_answer(pruned, labels, who)
        _check_unchanged(given, pruned, who)
        if not np.array_equal(labels, again):
            raise PlacementError(
                f"{who} returned two different placements when it was asked twice: a plan has to "
                "be what is run. Seed random numbers, and do not go through sets."
            )
        conflict = first_forbidden(problem, labels)
        if lawful and conflict is not None:
            raise lawless(problem, conflict.broken[0], who)


def sample_problems() -> Iterator[tuple[str, PlacementProblem]]:
    """Make the problems of `check_policy`, each with its name; the same ones every time.

    Yields
    ------
    name : str
    problem : PlacementProblem
        It has a placement in which nothing crosses that may not.
    """
    for pools in (1, 2, 3):
        yield f"no values, {pools} pools", _problem(pools, [], {}, [])
        yield f"one free value, {pools} pools", _problem(pools, [8], {}, [])
        yield f"no arcs, {pools} pools", _problem(pools, [8, 0, 8], {0: [0]}, [])
    both = [(0, 2), (1, 2)]
    yield "all values pinned", _problem(2, [8, 8], {0: [0], 1: [1]}, [(0, 1)])
    yield "a sum", _problem(2, [8, 80, 80], {0: [0], 1: [1]}, both)
    yield "an arc that is there twice", _problem(2, [8, 8, 8], {0: [0], 1: [1]}, [*both, *both])
    yield "values of no bytes", _problem(3, [0, 0, 0], {0: [0], 1: [2]}, both)
    yield "mirrors", _problem(3, [8, 8, 8], {0: [0, 1], 1: [1, 2]}, both)
    yield "mirrors without a common pool", _problem(4, [8, 8, 8], {0: [0, 1], 1: [2, 3]}, both)
    yield "an input without a home", _problem(2, [8, 80, 8, 1], {0: [1], 3: [0]}, [*both, (2, 3)])
    for pools in (2, 3, 4, 5):
        for seed in range(2):
            problem = _random(seed, pools, 24)
            yield f"random, {pools} pools, seed {seed}", problem
            yield f"closed links, {pools} pools, seed {seed}", _closed(problem)
            yield f"confined values, {pools} pools, seed {seed}", _confined(problem)
    yield "10 000 values, 2 pools", _random(0, 2, 10_000)
    yield "200 values, 5 pools", _random(0, 5, 200)


def _problem(
    pools: int, sizes: list[float], pins: dict[int, list[int]], arcs: list[tuple[int, int]]
) -> PlacementProblem:
    allowed = np.ones((len(sizes), pools), dtype=np.bool_)
    for value, pin in pins.items():
        allowed[value] = np.isin(np.arange(pools), pin)
    ends = np.array(arcs, dtype=np.intp).reshape(-1, 2)
    return PlacementProblem(
        pools=_POOLS[:pools],
        sizes=np.array(sizes, dtype=np.float64),
        allowed=allowed,
        values=ends[:, 0],
        consumers=ends[:, 1],
        costs=uniform_costs(pools),
    )


def _random(seed: int, pools: int, n: int) -> PlacementProblem:
    """Make a DAG with pins, mirrors, values of no bytes, directed costs, and times."""
    rng = np.random.default_rng([seed, pools, n])
    values = rng.integers(0, n - 1, 2 * n)
    consumers = np.minimum(values + rng.integers(1, _NEAR, 2 * n), n - 1)
    allowed = np.ones((n, pools), dtype=np.bool_)
    pinned = np.flatnonzero(rng.random(n) < 1 / 3)
    allowed[pinned] = np.arange(pools) == rng.integers(pools, size=len(pinned))[:, None]
    mirrored = pinned[::4]
    allowed[mirrored, rng.integers(pools, size=len(mirrored))] = True
    costs = uniform_costs(pools) * rng.uniform(0.2, 3.0, (pools, pools))
    return PlacementProblem(
        pools=_POOLS[:pools],
        sizes=np.floor(rng.exponential(8.0, n)),
        allowed=allowed,
        values=values.astype(np.intp),
        consumers=consumers.astype(np.intp),
        costs=costs,
        work=Work(rng.exponential(1.0, n), rng.integers(1, 9, pools).astype(np.float64), costs),
    )


def _closed(problem: PlacementProblem) -> PlacementProblem:
    """Let nothing leave the first pool: what descends from there has to stay there."""
    here = np.logical_not(problem.allowed[:, 1:].any(axis=1))
    allowed = problem.allowed.copy()
    allowed[_descendants(problem, here), 0] = True
    costs = problem.costs.copy()
    costs[0, 1:] = np.inf
    return replace(problem, allowed=allowed, costs=costs)


def _confined(problem: PlacementProblem) -> PlacementProblem:
    """Confine what is pinned to the last pool; what needs it may be there."""
    here = np.logical_not(problem.allowed[:, :-1].any(axis=1))
    allowed = problem.allowed.copy()
    allowed[problem.consumers[here[problem.values]]] = True
    confined = np.zeros_like(allowed)
    confined[here, -1] = True
    return replace(problem, allowed=allowed, confined=confined)


def _descendants(problem: PlacementProblem, of: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found = of.copy()
    while True:
        more = found.copy()
        more[problem.consumers[found[problem.values]]] = True
        if (more == found).all():
            return found
        found = more


def _copy(problem: PlacementProblem) -> PlacementProblem:
    arrays: dict[str, Any] = {
        field.name: value.copy()
        for field in fields(problem)
        if isinstance(value := getattr(problem, field.name), np.ndarray)
    }
    return replace(problem, **arrays)


def _check_unchanged(problem: PlacementProblem, before: PlacementProblem, who: str) -> None:
    for field in fields(problem):
        now, then = getattr(problem, field.name), getattr(before, field.name)
        if isinstance(then, np.ndarray) and not np.array_equal(now, then):
            raise PlacementError(
                f"{who} has changed the array {field.name!r} of the problem: it is used "
                "afterwards, so that a policy has to work on a copy."
            )
