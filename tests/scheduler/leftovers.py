"""Whatever the plugin holds on a scheduler: looked through for what should be gone, and counted.

From everything of dask_pools that a scheduler has (the plugin, handlers, replaced methods,
extensions) its own objects and plain containers are followed; objects of others, such as the
scheduler itself, are where it ends.
"""

from __future__ import annotations

import functools
import gc
from collections import Counter, deque
from collections.abc import Collection, Iterator
from types import CellType, FunctionType, MethodType
from typing import Any

from distributed import Scheduler
from distributed.collections import HeapSet
from distributed.scheduler import TaskState

CONTAINERS = (dict, list, set, frozenset, tuple, deque, HeapSet)
OURS = "dask_pools"
#: What stock Dask's work stealing, whose class is ours on a scheduler with the plugin, keeps for
#: good of tasks that have failed.
STOCK = ("unknown_durations",)

#: What remembers keys on purpose, up to a number.
REMEMBERING = ("LearnedTable._seen", "Sources._asked")


def is_ours(thing: object) -> bool:
    """Ask whether an object is of a class of dask_pools, or a function of it."""
    home = thing if isinstance(thing, FunctionType) else type(thing)
    return (getattr(home, "__module__", None) or "").partition(".")[0] == OURS


def roots(scheduler: Scheduler) -> Iterator[object]:
    """Yield what the scheduler has of ours."""
    places: tuple[dict[str, Any], ...] = (
        vars(scheduler),
        scheduler.handlers,
        scheduler.stream_handlers,
        scheduler.extensions,
        scheduler.plugins,
    )
    for place in places:
        for thing in place.values():
            if is_ours(getattr(thing, "__self__", thing)):
                yield thing


def held(scheduler: Scheduler) -> Iterator[tuple[str, object]]:
    """Yield every object that the plugin holds, once, with the attribute by which it does."""
    pending = [("", root) for root in roots(scheduler)]
    found = {id(root): root for _, root in pending}
    while pending:
        label, thing = pending.pop()
        yield label, thing
        for inner, other in _inside(label, thing):
            # Kept as well as remembered, or another object might get its id.
            if id(other) not in found:
                found[id(other)] = other
                pending.append((inner, other))


def _inside(label: str, thing: object) -> Iterator[tuple[str, object]]:
    if isinstance(thing, FunctionType):
        captured = [*(thing.__closure__ or ()), *(thing.__defaults__ or ())]
        yield from ((thing.__qualname__, other) for other in captured)
    elif isinstance(thing, MethodType):
        yield from ((label, other) for other in (thing.__self__, thing.__func__))
    elif isinstance(thing, (*CONTAINERS, CellType, functools.partial)):
        yield from ((label, other) for other in gc.get_referents(thing))
    elif is_ours(thing) and not isinstance(thing, (type, Scheduler)):
        for name, other in _attributes(thing):
            yield f"{type(thing).__name__}.{name}", other


def _attributes(thing: object) -> Iterator[tuple[str, object]]:
    slots = {name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ())}
    for name in sorted({*slots, *getattr(thing, "__dict__", ())} - {*STOCK, "__weakref__"}):
        if hasattr(thing, name):
            yield name, getattr(thing, name)


def leftovers(scheduler: Scheduler, keys: Collection[Any]) -> list[tuple[str, object]]:
    """Return the tasks that the plugin still holds, and which of these keys, with their holders."""
    return [
        (label, thing)
        for label, thing in held(scheduler)
        if isinstance(thing, TaskState) or (label not in REMEMBERING and _is_key(thing, keys))
    ]


def _is_key(thing: object, keys: Collection[Any]) -> bool:
    try:
        return isinstance(thing, (str, tuple)) and thing in keys
    except TypeError:
        return False  # a tuple of something that cannot be a key


def entries(scheduler: Scheduler) -> Counter[str]:
    """Count the entries of all containers that the plugin holds, by the attribute that does."""
    found: Counter[str] = Counter()
    for label, thing in held(scheduler):
        if isinstance(thing, CONTAINERS):
            found[label] += len(thing)
    return found
