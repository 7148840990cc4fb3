"""How something of distributed is replaced, and what is said if it is not there."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from dask_pools.errors import DistributedChangedError

if TYPE_CHECKING:
    from distributed import Scheduler

#: Takes a replacement back; harmless when called again.
Undo: TypeAlias = Callable[[], None]


def changed(name: str) -> DistributedChangedError:
    """Make the error for a name that this release of distributed does not have."""
    release = importlib.metadata.version("distributed")
    return DistributedChangedError(
        f"distributed {release} has no {name} as dask_pools knows it; "
        "install a release of dask_pools that supports this one, or an earlier distributed"
    )


def replace_entry(table: MutableMapping[Any, Any], name: Any, value: object, what: str) -> Undo:
    """Put something else into an entry of a table, which has to be there.

    Parameters
    ----------
    table : dict
        The table; changed in place.
    name : hashable
        The key of the entry.
    value : object
        What takes its place.
    what : str
        The entry in words, for the error.

    Raises
    ------
    DistributedChangedError
        If the table has no such entry.
    """
    if name not in table:
        raise changed(what)
    stock = table[name]
    table[name] = value

    def undo() -> None:
        # Somebody who has come after us has wrapped ours; taking it away would drop theirs.
        if table.get(name) is value:
            table[name] = stock

    return undo


def override(owner: object, name: str, function: Callable[..., Any]) -> Undo:
    """Put a function in the place of a method, on one instance only.

    Raises
    ------
    DistributedChangedError
        If the class has no such method.
    """
    if not callable(getattr(owner, name, None)):
        raise changed(f"{type(owner).__name__}.{name}")
    before = vars(owner).get(name)
    setattr(owner, name, function)

    def undo() -> None:
        if vars(owner).get(name) is function:
            delattr(owner, name)
            if before is not None:
                setattr(owner, name, before)

    return undo


def add_handler(scheduler: Scheduler, name: str, handler: Callable[..., Any]) -> Undo:
    """Let clients call a function on the scheduler by name."""
    scheduler.handlers[name] = handler

    def undo() -> None:
        if scheduler.handlers.get(name) is handler:
            del scheduler.handlers[name]

    return undo
