"""Pins of data frames: seen where Dask makes expressions, as nothing else of a frame is annotated.

What of Dask this relies on (each has a test that says so when it changes):

- Expressions of data frames are made by ``dask._expr.SingletonExpr.__new__``.
- What reads or holds data is a ``BlockwiseIO``; `ToParquet` writes. `FromGraph` holds the tasks
  of other collections, `DelayedsExpr` and `_DelayedExpr` hold delayed values.
- Graphs of arrays are flattened by ``ensure_dict`` before a frame is made of them.
- A frame warns of annotations which it asks ``get_annotations`` of its own module for.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from dask import _expr
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from dask_pools.graph.adapter.marks import mark_graph
from dask_pools.model import PIN, RESOURCE_PREFIX, Pin

_MAKE = "__new__"
_FLATTEN = "ensure_dict"
_ANNOTATIONS = "get_annotations"

_FRAMES = "dask.dataframe.dask_expr"
_COLLECTION = f"{_FRAMES}._collection"
#: The modules that flatten graphs to make frames of them, and the one that others have it from.
_FLATTENING = ("dask.utils", "dask.dataframe.io.io")
#: What reads, or holds data; and what writes.
_PINNED = frozenset({(f"{_FRAMES}.io.io", "BlockwiseIO"), (f"{_FRAMES}.io.parquet", "ToParquet")})
#: What is read together already; it has the pin of that.
_TOGETHER = (f"{_FRAMES}.io.io", "FusedIO")
#: What has tasks of other collections in it.
_HOLDING = frozenset(
    {
        (f"{_FRAMES}.io.io", "FromGraph"),
        (f"{_FRAMES}._expr", "DelayedsExpr"),
        (f"{_FRAMES}._expr", "_DelayedExpr"),
    }
)

_RECORDING = threading.Lock()


def pin_frames_by(current: Callable[[], Pin | None]) -> None:
    """Make data frames keep the pin that is in force when they are made.

    Doing it again changes nothing. ``dask.dataframe`` is not imported for it.

    Parameters
    ----------
    current : callable
        Returns the pin in force, or None.
    """
    with _RECORDING:
        for name in _FLATTENING:
            _replace(name, _FLATTEN, _keeping_pins)
        _replace(_COLLECTION, _ANNOTATIONS, _without_pins)
        made: Any = _expr.SingletonExpr.__dict__[_MAKE]
        plain = made.__func__
        if getattr(plain, "keeps_pins", False):
            return

        @functools.wraps(plain)
        def make(cls: type, *args: Any, _determ_token: str | None = None, **kwargs: Any) -> Any:
            kind = _kind(cls)
            if kind == "holding":
                args = tuple(map(_with_marks, args))
                kwargs = {name: _with_marks(operand) for name, operand in kwargs.items()}
            elif _determ_token is None and (pin := current()):
                _replace(_COLLECTION, _ANNOTATIONS, _without_pins)
                if kind == "pinned":
                    return _frames().pinned(cls)(pin, *args, **kwargs)
            return plain(cls, *args, _determ_token=_determ_token, **kwargs)

        vars(make)["keeps_pins"] = True
        setattr(_expr.SingletonExpr, _MAKE, staticmethod(make))


def _frames() -> Any:
    """Import what knows expressions of frames, where there is one, and Dask's are imported."""
    return importlib.import_module("dask_pools.graph.adapter.frames")


def is_frame(x: Any) -> bool:
    """Whether something is a data frame, or a part of one."""
    there = sys.modules.get(_COLLECTION)
    return there is not None and isinstance(x, there.FrameBase)


def frame_pin(x: Any) -> Pin | None:
    """Return the pin of the last step of a data frame; None if it is free."""
    pin: Pin | None = _frames().pin_of(x.expr)
    return pin


@functools.cache
def _kind(cls: type) -> str | None:
    """Tell what a class of expressions is, by its bases: none of them may be imported here."""
    bases = [(base.__module__, base.__name__) for base in cls.__mro__]
    if not _HOLDING.isdisjoint(bases):
        return "holding"
    if any(base.__dict__.get("holds_pin") for base in cls.__mro__) or _TOGETHER in bases:
        return None
    return None if _PINNED.isdisjoint(bases) else "pinned"


def _replace(module: str, name: str, wrap: Callable[[Any], Any]) -> None:
    """Wrap a function of a module, once, if the module has been imported."""
    there = sys.modules.get(module)
    plain = getattr(there, name, None)
    if plain is not None and not getattr(plain, "keeps_pins", False):
        made: Any = functools.wraps(plain)(wrap(plain))
        made.keeps_pins = True
        setattr(there, name, made)


def _keeping_pins(plain: Callable[..., Any]) -> Callable[..., Any]:
    def flatten(d: Any, **kwargs: Any) -> Any:
        return plain(mark_graph(d) if isinstance(d, HighLevelGraph) else d, **kwargs)

    return flatten


def _without_pins(plain: Callable[[], Mapping[str, Any]]) -> Callable[[], Mapping[str, Any]]:
    def annotations() -> Mapping[str, Any]:
        said = dict(plain())
        said.pop(PIN, None)
        resources = said.get("resources")
        if isinstance(resources, Mapping):
            others = {k: v for k, v in resources.items() if not k.startswith(RESOURCE_PREFIX)}
            said = {**said, "resources": others} if others else _without(said, "resources")
        return said

    return annotations


def _without(said: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key != name}


def _with_marks(operand: Any) -> Any:
    """Write the pins of layers into the tasks of a graph, or of a delayed value."""
    if isinstance(operand, HighLevelGraph):
        return mark_graph(operand)
    if isinstance(operand, Delayed):
        graph = operand.dask
        marked = mark_graph(graph) if isinstance(graph, HighLevelGraph) else graph
        if marked is not graph:
            (layer,) = operand.__dask_layers__()
            return Delayed(operand.key, marked, operand._length, layer)  # noqa: SLF001 - no other way
    return operand
