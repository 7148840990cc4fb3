"""Policies: the functions that turn a placement problem into a placement, and their names.

A policy is any function with the signature `Policy`. Pass it where a policy is asked for, or
give it a name with `register_policy`. `dask_pools.planning.place.place` calls it only for the
values about which there is something to decide, and checks what it returns.

Examples
--------
A policy which keeps every free value in the first pool that allows it:

>>> import numpy as np
>>> from dask_pools.planning.place import place
>>> from dask_pools.planning.problem import PlacementProblem, uniform_costs
>>> def first(problem):
...     return problem.allowed.argmax(axis=1)
>>> register_policy("first", first)
>>> policy_names()
('first', 'majority', 'makespan', 'mincut')
>>> problem = PlacementProblem(
...     pools=("ecmwf", "eumetsat"),
...     sizes=np.array([8.0, 80.0, 80.0]),
...     allowed=np.array([[True, False], [False, True], [True, True]]),
...     values=np.array([0, 1]),
...     consumers=np.array([2, 2]),
...     costs=uniform_costs(2),
... )
>>> place(problem, policy="first")
array([0, 1, 0])
>>> place(problem, policy="mincut")
array([0, 1, 1])
>>> unregister_policy("first")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from dask_pools.errors import UnknownPolicyError, near_miss, one_of
from dask_pools.planning.problem import PlacementProblem

#: From a valid problem to the label of each value: one of the pools allowed to it; shape (n,).
Policy: TypeAlias = Callable[[PlacementProblem], NDArray[np.intp]]

#: What a policy is, as a type variable: a decorator returns what it is given.
_Decorated = TypeVar("_Decorated", bound=Policy)


@dataclass(frozen=True, slots=True)
class Traits:
    """What `place` has to know of a policy, beside the function.

    Parameters
    ----------
    everything : bool, default False
        It is to be asked about all that is pinned, also about what could stay in one pool at
        no cost. For policies that look at more than what crosses, such as time.
    balanced : bool, default False
        What it returns may be exchanged for a placement of equal cost that shares the links
        and the work better. Otherwise the labels are kept as they are returned.
    lawful : bool, default False
        It lets nothing cross that may not, if it finds any way. If it does not, the problem is
        refused as one without a placement, instead of the policy as wrong.
    """

    everything: bool = False
    balanced: bool = False
    lawful: bool = False


#: Imported when they are asked for: not everybody who pins data plans in this process.
BUILT_IN = {
    "majority": ("dask_pools.planning.policies.majority", Traits()),
    "makespan": ("dask_pools.planning.policies.makespan", Traits(everything=True, lawful=True)),
    "mincut": ("dask_pools.planning.policies.mincut", Traits(balanced=True, lawful=True)),
}
_REGISTERED: dict[str, Policy] = {}
_TRAITS = "traits"


def policy_names() -> tuple[str, ...]:
    """Name the policies there are, sorted."""
    return tuple(sorted({*BUILT_IN, *_REGISTERED}))


def get_policy(policy: str | Policy) -> Policy:
    """Find a policy by name; a function is returned as it is.

    Raises
    ------
    UnknownPolicyError
        If no policy has this name.

    Examples
    --------
    >>> get_policy("mincat")
    Traceback (most recent call last):
    ...
    dask_pools.errors.UnknownPolicyError: There is no policy 'mincat'; ... Did you mean 'mincut'?
    """
    if callable(policy):
        return policy
    if policy in _REGISTERED:
        return _REGISTERED[policy]
    if policy in BUILT_IN:
        return cast("Policy", getattr(import_module(BUILT_IN[policy][0]), policy))
    raise UnknownPolicyError(
        f"There is no policy {policy!r}; there are {one_of(policy_names())}. Name one of them, "
        "pass a function, or give yours a name with register_policy(name, function)."
        f"{near_miss(str(policy), policy_names())}"
    )


def with_traits(
    *, everything: bool = False, balanced: bool = False, lawful: bool = False
) -> Callable[[_Decorated], _Decorated]:
    """Decorate a policy of one's own with its `Traits`.

    Parameters
    ----------
    everything, balanced, lawful : bool, default False
        See `Traits`.

    Examples
    --------
    >>> @with_traits(balanced=True)
    ... def cheapest(problem):
    ...     ...
    >>> traits_of(cheapest)
    Traits(everything=False, balanced=True, lawful=False)
    """

    def decorate(policy: _Decorated) -> _Decorated:
        setattr(policy, _TRAITS, Traits(everything, balanced, lawful))
        return policy

    return decorate


def traits_of(policy: str | Policy) -> Traits:
    """Find the traits of a policy: none, unless it is built in or decorated.

    Examples
    --------
    >>> traits_of("mincut")
    Traits(everything=False, balanced=True, lawful=True)
    """
    if isinstance(policy, str) and policy in BUILT_IN:
        return BUILT_IN[policy][1]
    found = getattr(get_policy(policy), _TRAITS, None)
    return found if isinstance(found, Traits) else Traits()


def register_policy(name: str, policy: Policy) -> None:
    """Give a policy a name, in this process.

    Raises
    ------
    ValueError
        If the name is taken.
    TypeError
        If the policy cannot be called.
    """
    if not callable(policy):
        raise TypeError(
            f"a policy is a function from a PlacementProblem to labels, not {policy!r} "
            f"of type {type(policy).__name__}"
        )
    if name in policy_names():
        raise ValueError(
            f"the policy name {name!r} is taken; taken are {one_of(policy_names())}. "
            "Choose another name, or unregister_policy(name) first if it is yours."
        )
    _REGISTERED[name] = policy


def unregister_policy(name: str) -> None:
    """Take the name from a policy that was registered.

    Raises
    ------
    UnknownPolicyError
        If no such name was registered.
    """
    if name not in _REGISTERED:
        raise UnknownPolicyError(
            f"No policy was registered as {name!r}; registered are {one_of(_REGISTERED)}."
            f"{near_miss(name, _REGISTERED)}"
        )
    del _REGISTERED[name]
