"""Where Dask flattens a graph on the client, its pins are kept.

A few calls of Dask optimise a graph at once, long before anything is computed, and take a plain
mapping of tasks from it, in which no annotation is left::

    delayed(f)(array), x.map_blocks(f, option=array)    by `ProhibitReuse`
    Array.to_delayed, Bag.to_delayed, Item.to_delayed   by the optimiser of the collection
    dask.optimize                                       by both the optimiser and the expression

Reads of two pools would be fused into one task there, and all pins be lost. So from the first pin
on arrays and bags have another default optimiser, which keeps pins, and flat graphs that come of a
pinned one are layers with annotations.

Left to stock Dask are graphs without a pin, and what is computed on a cluster: the optimiser that
is sent there is Dask's own. The optimiser that Dask's configuration names comes before all
of this, as ever. No more than the pin is kept: a cluster without pools, to which pins mean nothing,
computes a flat graph where it likes, as it always has.
"""

from __future__ import annotations

import functools
import pkgutil
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import dask
from dask._expr import Expr, HLGExpr, ProhibitReuse, _ExprSequence
from dask.array.core import Array
from dask.array.optimization import optimize as optimize_arrays
from dask.bag.core import Bag, Item
from dask.bag.core import optimize as optimize_bags
from dask.base import collections_to_expr, dont_optimize, unpack_collections
from dask.context import globalmethod
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.typing import Key

from dask_pools.graph.adapter.layers import ByKey, layers_inside
from dask_pools.model import PIN

#: Optimises a graph for some keys.
Optimise: TypeAlias = Callable[[HighLevelGraph, Any], HighLevelGraph]
#: For each kind of collection whose optimiser drops annotations: its setting in Dask's
#: configuration, the optimiser, and what Dask takes if the setting is false.
_OPTIMISED: Mapping[Any, tuple[str, Any, Any]] = {
    Array: ("array_optimize", optimize_arrays, dont_optimize),
    Bag: ("bag_optimize", optimize_bags, dont_optimize),
    Item: ("bag_optimize", optimize_bags, dont_optimize),
}
_CHANGING = threading.Lock()


def keep_pins(optimise: Optimise) -> None:
    """Have pins kept from now on. Doing it again changes nothing.

    Parameters
    ----------
    optimise : callable
        Optimises a graph as Dask does, and keeps the pins of its tasks.
    """
    with _CHANGING:
        if getattr(ProhibitReuse.__dask_graph__, "keeps_pins", False):
            return
        for kind, (setting, stock, off) in _OPTIMISED.items():
            keeper = PinKeeper(stock, optimise)
            kind.__dask_optimize__ = globalmethod(keeper, key=setting, falsey=off)
        for pieces in (Array, Bag):
            pieces.to_delayed = _keeping_to_delayed(pieces.to_delayed)  # type: ignore[method-assign]
        optimize = _keeping_optimize(dask.base.optimize)
        for module in (dask, dask.base):
            vars(module)["optimize"] = optimize
        reuse = _keeping_reuse(ProhibitReuse.__dask_graph__)
        ProhibitReuse.__dask_graph__ = reuse  # type: ignore[method-assign]


class PinKeeper:
    """Dask's optimiser of a kind of collection, but for graphs that have pins.

    Parameters
    ----------
    stock : callable
        Dask's own.
    optimise : callable
        What optimises graphs with pins.
    """

    def __init__(self, stock: Callable[..., Any], optimise: Optimise) -> None:
        self.stock = stock
        self.optimise = optimise

    def __call__(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        """Optimise a graph for some keys."""
        if not (isinstance(dsk, HighLevelGraph) and has_pins(dsk)):
            return self.stock(dsk, keys, **kwargs)
        graph = self.optimise(dsk, keys)
        for layer in graph.layers.values():
            layer.annotations = _only_pins(layer.annotations)
        return graph

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled, it is Dask's own: a scheduler that nobody has told of pools may have no
        # dask_pools, and computes as ever.
        name = f"{self.stock.__module__}:{self.stock.__qualname__}"
        return pkgutil.resolve_name, (name,)


def keep_pins_of(expression: Any, optimise: Optimise) -> None:
    """Put another optimiser in the place of Dask's own, in those graphs of layers that have pins.

    Parameters
    ----------
    expression : Expr
        Just unpickled, and not asked for its tasks yet. It is changed in place: its name, and with
        it the keys for which a client waits, has to stay.
    optimise : callable
        What optimises graphs with pins.
    """
    stock = [own for _, own, _ in _OPTIMISED.values()]
    place = HLGExpr._parameters.index("low_level_optimizer")  # noqa: SLF001 - there is no setter
    stack = [expression]
    while stack:
        part = stack.pop()
        stack += part.dependencies()
        if isinstance(part, HLGExpr) and part.low_level_optimizer in stock:
            keeper = PinKeeper(part.low_level_optimizer, optimise)
            part.operands[place] = keeper


def has_pins(graph: HighLevelGraph) -> bool:
    """Whether anything is said of the pins of a graph."""
    return any(
        PIN in (layer.annotations or {})
        or any(PIN in (part.annotations or {}) for part in layers_inside(layer).values())
        for layer in graph.layers.values()
    )


def _only_pins(annotations: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {kind: pin for kind, pin in (annotations or {}).items() if kind == PIN} or None


def _keeping_reuse(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what gives every task of a graph a name of its own, for `dask.delayed`."""

    @functools.wraps(stock)
    def graph(self: Any) -> Any:
        tasks, pins = stock(self), _pins_of(self.expr)
        if not pins:
            return tasks
        (name,) = flatten(self.__dask_keys__())
        rename = self._modify_keys
        return _one_layer(name, tasks, pins | {rename(key): pin for key, pin in pins.items()})

    graph.keeps_pins = True  # type: ignore[attr-defined]
    return graph


def _keeping_to_delayed(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what makes delayed values of the pieces of an array or a bag, which share one graph."""

    @functools.wraps(stock)
    def to_delayed(self: Any, optimize_graph: bool = True) -> Any:
        pieces = stock(self, optimize_graph=optimize_graph)
        piece = next(iter(pieces.flat if isinstance(self, Array) else pieces), None)
        for layer in () if piece is None else piece.dask.layers.values():
            for inside in layers_inside(layer).values():  # it is one only
                layer.annotations = inside.annotations
        return pieces

    return to_delayed


def _keeping_optimize(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `dask.optimize`."""

    @functools.wraps(stock)
    def optimize(*args: Any, traverse: bool = True, **kwargs: Any) -> Any:
        collections, repack = unpack_collections(*args, traverse=traverse)
        expression = collections_to_expr(collections) if collections else None
        if expression is None or not _is_pinned(expression):
            return stock(*args, traverse=traverse, **kwargs)
        tasks, pins = expression.__dask_graph__(), _pins_of(expression)
        return repack([_rebuilt(collection, tasks, pins) for collection in collections])

    return optimize


def _is_pinned(expression: Expr) -> bool:
    """Whether collections are all made of graphs, as data frames are not, and some have pins."""
    parts = expression.operands if isinstance(expression, _ExprSequence) else [expression]
    return all(type(part) is HLGExpr for part in parts) and any(has_pins(p.hlg) for p in parts)


def _rebuilt(collection: Any, tasks: dict[Key, Any], pins: dict[Key, Any]) -> Any:
    """Make a collection anew, of a flat graph and the pins of its tasks."""
    rebuild, arguments = collection.__dask_postpersist__()
    made = rebuild(tasks, *arguments)
    graph = made.__dask_graph__()
    if not isinstance(graph, HighLevelGraph):  # that of a delayed value
        (name,) = made.__dask_layers__()
        return rebuild(_one_layer(name, tasks, pins), *arguments)
    for layer in graph.layers.values():
        layer.annotations = {PIN: ByKey(pins)}
    return made


def _pins_of(expression: Any) -> dict[Key, Any]:
    """Return the pins of the tasks of an expression; free tasks are left out."""
    said = expression.__dask_annotations__().get(PIN, {})
    return {key: pin for key, pin in said.items() if isinstance(pin, (tuple, list, str))}


def _one_layer(name: str, tasks: dict[Key, Any], pins: dict[Key, Any]) -> HighLevelGraph:
    layer = MaterializedLayer(tasks, annotations={PIN: ByKey(pins)})
    return HighLevelGraph({name: layer}, {name: set()})
