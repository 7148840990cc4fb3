"""From pins and placements of tasks to the restrictions which the scheduler keeps.

Plain functions over the annotations of one submission: no scheduler in here. Its tasks
are of two kinds: those with an annotation of their own (``pool`` or ``placement``), and
all others, which follow the pin of the whole submission, if it has one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dask.typing import Key

from dask_pools.errors import UnknownPoolError, near_miss, one_of, unknown_pool
from dask_pools.graph.annotate import as_pin
from dask_pools.model import PIN, PLACEMENT, RESOURCE_PREFIX, TRANSFER, Pin, restriction

#: The annotations of tasks, by kind and key.
Annotations: TypeAlias = MutableMapping[str, dict[Key, Any]]
#: The annotations of a whole submission.
Overall: TypeAlias = Mapping[str, Any]

RESOURCES = "resources"
#: A preference for workers, which Dask lets a task leave. A task would leave its pool by it.
LOOSE = ("allow_other_workers", "loose_restrictions")
PREFERRED = ("workers", "restrictions")


@dataclass(frozen=True, slots=True)
class Choice:
    """The pool of every task of a submission that is bound to one.

    Parameters
    ----------
    pools : dict
        The pool of each task with an annotation of its own.
    default : str or None
        The pool of all other tasks; None leaves them free.
    """

    pools: dict[Key, str]
    default: str | None


def speaks_of_pools(annotations: Mapping[str, Any], overall: Overall | None) -> bool:
    """Ask whether a submission has any pin or placement.

    Examples
    --------
    >>> speaks_of_pools({"resources": {"x": {"GPU": 1}}}, None)
    False
    >>> speaks_of_pools({}, {"pool": ("ecmwf",)})
    True
    """
    if PIN in annotations or PLACEMENT in annotations:
        return True
    return overall is not None and PIN in overall


def is_restricted(overall: Overall | None) -> bool:
    """Ask whether a whole submission is restricted by its user, beside by its pin.

    Examples
    --------
    >>> is_restricted({"pool": ("ecmwf",), "resources": {"pool-ecmwf": 0}})
    False
    >>> is_restricted({"workers": ["tcp://10.0.0.1:1"]})
    True
    """
    if not overall:
        return False
    resources = overall.get(RESOURCES)
    if callable(resources) or any(overall.get(name) for name in PREFERRED):
        return True
    return bool(without_pools(resources) if overall.get(PIN) else resources)


def restricted_keys(annotations: Mapping[str, Mapping[Key, Any]]) -> Iterator[Key]:
    """Yield the tasks that have restrictions of their own, some of them several times.

    Examples
    --------
    >>> list(restricted_keys({"workers": {"x": ["tcp://10.0.0.1:1"], "y": []}}))
    ['x']
    """
    for kind in (*PREFERRED, RESOURCES):
        yield from (key for key, value in annotations.get(kind, {}).items() if value)


def overall_pin(overall: Overall | None) -> Pin | None:
    """Return the pin of a whole submission."""
    return as_pin(overall.get(PIN)) if overall else None


def choose_pools(
    tasks: Collection[Key],
    annotations: Mapping[str, Mapping[Key, Any]],
    default: Pin | None,
    alive: Collection[str],
    awaited: Collection[str] = (),
) -> Choice:
    """Choose one pool for every task that is pinned or placed.

    A placement holds as long as its pool has workers and the task's pin allows it; otherwise
    it is the first pool of the pin that has workers. A pool whose workers are awaited is as
    good if there is no other.

    Parameters
    ----------
    tasks : collection of keys
        The tasks of the submission. Annotations of other keys (culled ones) are ignored.
    annotations : dict
        ``pool`` and ``placement`` of single tasks, by kind and key.
    default : tuple of str or None
        The pin of tasks without a pin of their own.
    alive : collection of str
        The pools that have workers now.
    awaited : collection of str
        Pools without workers whose tasks are to wait for some.

    Raises
    ------
    UnknownPoolError
        If a task is left for which no pool has workers, nor awaits any.

    Examples
    --------
    >>> choose_pools(["x", "y"], {"pool": {"x": ("a", "b")}}, None, {"b"})
    Choice(pools={'x': 'b'}, default=None)
    """
    pools: dict[Key, str] = {}
    # Thousands of tasks share a few pins.
    choices: dict[tuple[str | None, Pin | None], str | None] = {}
    homeless: dict[tuple[str | None, Pin | None], list[Key]] = {}
    for key, place, pin in _own(annotations, default):
        case = (place, pin)
        if case not in choices:
            choices[case] = _choose(place, pin, alive) or _choose(place, pin, awaited)
        pool = choices[case]
        if pool is not None:
            pools[key] = pool
        elif key in tasks:
            homeless.setdefault(case, []).append(key)

    default_pool = _choose(None, default, alive) or _choose(None, default, awaited)
    if default is not None and default_pool is None:
        others = [key for key in tasks if key not in pools]
        if others:
            homeless.setdefault((None, default), []).extend(others)
    # What is wrong is a pin; where it led free tasks is said only if they are all there is.
    for (place, pin), keys in sorted(homeless.items(), key=lambda item: item[0][1] is None):
        raise _no_pool(keys, place, pin, alive)
    return Choice(pools, default_pool)


def pin_of(
    key: Key, annotations: Mapping[str, Mapping[Key, Any]], default: Pin | None
) -> Pin | None:
    """Return the pin of a task: its own, else that of the submission.

    A transfer has its own target, whatever the submission says. So has a task that the
    optimiser placed where `pool(None)` blocks the pin of the submission.
    """
    pins = annotations.get(PIN, {})
    own = as_pin(pins.get(key))
    blocked = key in pins and key in annotations.get(PLACEMENT, {})
    return own or (None if blocked or key in annotations.get(TRANSFER, {}) else default)


def _own(
    annotations: Mapping[str, Mapping[Key, Any]], default: Pin | None
) -> Iterator[tuple[Key, str | None, Pin | None]]:
    pins, placements = annotations.get(PIN, {}), annotations.get(PLACEMENT, {})
    for key, place in placements.items():
        yield key, place, pin_of(key, annotations, default) if pins or default else None
    for key, annotation in pins.items():
        if key not in placements and (pin := as_pin(annotation)) is not None:
            yield key, None, pin


def _choose(place: str | None, pin: Pin | None, alive: Collection[str]) -> str | None:
    if place in alive and (pin is None or place in pin):
        return place
    return next((pool for pool in pin or () if pool in alive), None)


def _no_pool(
    keys: list[Key], place: str | None, pin: Pin | None, alive: Collection[str]
) -> UnknownPoolError:
    what = f"task {keys[0]!r}" if len(keys) == 1 else f"{len(keys)} tasks, such as {keys[0]!r}"
    if pin is not None:
        return unknown_pool(pin, alive, what)
    return UnknownPoolError(
        f"No worker is in pool {place!r}, in which {what} had been placed. "
        f"Pools with workers: {one_of(alive)}.{near_miss(str(place), alive)} "
        f"If its workers have just left, compute again: it is placed anew, in the pools there "
        f"are then; or start workers with the resource 'pool-{place}=1'. Nothing has been run."
    )


def restrict(choice: Choice, annotations: Annotations, overall: Overall | None) -> Overall | None:
    """Write the choice of pools into the annotations of a submission.

    Parameters
    ----------
    choice : Choice
        The pool of each task.
    annotations : dict
        Annotations of single tasks; changed in place.
    overall : dict or None
        Annotations of the whole submission.

    Returns
    -------
    dict or None
        What has to take the place of `overall`, which is not changed.
    """
    bound: set[Key] | Mapping[Key, str] = choice.pools
    everywhere = (overall or {}).get(RESOURCES)
    own = annotations.get(RESOURCES, {})
    bind = _Binder(everywhere)
    resources = {key: bind(key, own.get(key), pool) for key, pool in choice.pools.items()}
    if choice.default is not None:
        # Where a task has resources of its own, Dask does not look at those of the whole.
        others = own.keys() - choice.pools.keys()
        resources.update({key: bind(key, own[key], choice.default) for key in others})
        bound = choice.pools.keys() | others
        overall = {**(overall or {}), RESOURCES: _bound_everywhere(everywhere, choice.default)}
    if resources:
        annotations.setdefault(RESOURCES, {}).update(resources)
    return _hold(choice, bound, annotations, overall)


class _Binder:
    """Adds the pool of a task to its resources, once for all tasks that share them."""

    def __init__(self, everywhere: Any) -> None:
        self.everywhere = everywhere
        self.made: dict[tuple[int, str], dict[str, float]] = {}
        #: By pool, the resources of a task that is bound to it and says nothing else.
        self.bare: dict[str, dict[str, float]] = {}

    def __call__(self, key: Key, own: Any, pool: str) -> dict[str, float]:
        if callable(self.everywhere):
            return self.make(key, own, pool)
        if (bare := self.bare.get(pool)) is None:
            bare = self.bare[pool] = restriction(pool)
        # Ids are as good as names here: the resources outlive this object. Most tasks were bound
        # before, each by resources of its own, and need no more.
        case = (id(None) if own == bare else id(own), pool)
        made = self.made.get(case)
        if made is None:
            made = self.made[case] = self.make(key, own, pool)
        return made

    def make(self, key: Key, own: Any, pool: str) -> dict[str, float]:
        theirs = without_pools(own)
        if not theirs:
            everywhere = self.everywhere
            theirs = without_pools(everywhere(key) if callable(everywhere) else everywhere)
        return {**theirs, **restriction(pool)}


def without_pools(resources: Mapping[str, float] | None) -> dict[str, float]:
    """Return the resources that name no pool.

    Examples
    --------
    >>> without_pools({"GPU": 1, "pool-ecmwf": 0})
    {'GPU': 1}
    """
    return {k: v for k, v in (resources or {}).items() if not k.startswith(RESOURCE_PREFIX)}


def _bound_everywhere(resources: Any, pool: str) -> dict[str, float] | Callable[[Key], Any]:
    if callable(resources):
        return functools.partial(_bound_at, resources, pool)
    return {**without_pools(resources), **restriction(pool)}


def _bound_at(resources: Callable[[Key], Any], pool: str, key: Key) -> dict[str, float]:
    return {**without_pools(resources(key)), **restriction(pool)}


def _hold(
    choice: Choice,
    bound: Collection[Key],
    annotations: Annotations,
    overall: Overall | None,
) -> Overall | None:
    """Take from bound tasks the preferences for workers by which they could leave the pool."""
    everywhere = any((overall or {}).get(name) for name in LOOSE)
    loose = {key for name in LOOSE for key in annotations.get(name, ())}
    if choice.default is None:
        loose.intersection_update(bound)
    if everywhere:
        loose.update(bound)
    for key in loose:
        for name in LOOSE:
            annotations.setdefault(name, {})[key] = False
        for name in PREFERRED:
            annotations.setdefault(name, {})[key] = ()
    if everywhere and choice.default is not None and overall is not None:
        return {k: v for k, v in overall.items() if k not in LOOSE + PREFERRED}
    return overall
