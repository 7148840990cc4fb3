"""How a scheduler makes tasks of what a client has sent: in another thread, before it counts them.

A submitted expression comes pickled. It is unpickled on the event loop, and asked for its tasks
and their annotations in a thread of its own; then the tasks are put into an order, in that
thread as well. What is put in between here runs where it keeps nobody waiting, and tasks which
it adds get their priorities like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from dask._expr import LLGExpr
from distributed.protocol.serialize import (
    Serialized,
    deserialize,
    register_serialization_family,
)

#: Gets an expression, its tasks and their annotations by kind and key; returns the latter two.
Change: TypeAlias = Callable[
    [Any, dict[Any, Any], Mapping[str, Mapping[Any, Any]]],
    tuple[dict[Any, Any], Mapping[str, Mapping[Any, Any]]],
]

#: Gets an expression before it is asked for its tasks.
Prepare: TypeAlias = Callable[[Any], None]

#: The argument of the handler of submitted graphs that holds the expression.
EXPRESSION = "expr_ser"

_FAMILY = "dask-pools-arriving"


class _Arriving:
    """An expression whose tasks are changed when they have been made."""

    def __init__(self, expression: Any, prepare: Prepare, change: Change) -> None:
        self.expression = expression
        self.prepare = prepare
        self.change = change
        self.annotations: Mapping[str, Mapping[Any, Any]] = {}

    def __dask_graph__(self) -> dict[Any, Any]:
        self.prepare(self.expression)
        tasks = self.expression.__dask_graph__()
        said = self.expression.__dask_annotations__()
        tasks, self.annotations = self.change(self.expression, tasks, said)
        return tasks

    def __dask_annotations__(self) -> Mapping[str, Mapping[Any, Any]]:
        return self.annotations


def change_tasks(message: Mapping[str, Any], prepare: Prepare, change: Change) -> dict[str, Any]:
    """Have the tasks of a submitted graph changed as soon as they have been made.

    Parameters
    ----------
    message : mapping
        The arguments of the handler of submitted graphs.
    prepare : callable
        Called with the expression before, in the thread in which graphs are materialised.
    change : callable
        Called in the same thread. Both are not called for plain graphs, as those of
        ``client.submit``: distributed culls them itself afterwards.

    Returns
    -------
    dict
        The arguments with which the handler does that.
    """
    sent = message.get(EXPRESSION)
    if sent is None:
        return dict(message)
    header = {"serializer": _FAMILY, "sent": sent, "prepare": prepare, "change": change}
    return {**message, EXPRESSION: Serialized(header, [])}


def _load(header: dict[str, Any], _: list[Any]) -> Any:
    sent = header["sent"]
    expression = deserialize(sent.header, sent.frames)
    plain = isinstance(expression, LLGExpr)
    return expression if plain else _Arriving(expression, header["prepare"], header["change"])


register_serialization_family(_FAMILY, None, _load)
