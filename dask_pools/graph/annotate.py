"""`pool`: say where data lives, while it is loaded.

A pin is an annotation of Dask's own kind, ``pool=("ecmwf",)``, on the layers that are
built inside the context, and on what is submitted inside it. Beside it stands a
``resources`` restriction, which stock Dask understands as far as it keeps annotations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

import dask
from dask.base import annotate, get_annotations

from dask_pools.errors import PoolNameError
from dask_pools.graph import adapter
from dask_pools.model import LOCATIONS, PIN, RESOURCE_PREFIX, Pin, check_pool_name, restriction

P = ParamSpec("P")
R = TypeVar("R")

# The annotation contexts that `pool` has entered in this thread or asyncio task,
# the innermost last. One object may be entered many times, and in many threads, so
# that what has to be undone cannot be kept on the object.
_ENTERED: ContextVar[tuple[AbstractContextManager[None], ...]] = ContextVar(
    "dask_pools_entered", default=()
)


def current_pin() -> Pin | None:
    """Return the pin that is in force here, None if there is none.

    Examples
    --------
    >>> with pool("ecmwf", "cedadocs"):
    ...     current_pin()
    ('ecmwf', 'cedadocs')
    """
    return as_pin(get_annotations().get(PIN))


def as_pin(annotation: object) -> Pin | None:
    """Normalise the value of a ``pool`` annotation: a name, several names, or nothing.

    Examples
    --------
    >>> as_pin("ecmwf"), as_pin(["a", "b"]), as_pin(None)
    (('ecmwf',), ('a', 'b'), None)
    """
    if isinstance(annotation, str):
        return (annotation,)
    if isinstance(annotation, (tuple, list)) and annotation:
        return tuple(annotation)
    return None


def keep_pins() -> None:
    """Have Dask keep pins from now on; what comes here from a worker may have some.

    Raises
    ------
    ExpressionArraysError
        If expression arrays are switched on.
    """
    adapter.require_graph_arrays()
    adapter.name_keys_by(current_pin)
    adapter.keep_pins(_optimise)
    adapter.pin_frames_by(current_pin)


def keep_pins_of(expression: Any) -> None:
    """Have the pins of an expression kept where it is about to become tasks.

    For what is computed outside of `propagate_pools`: Dask's own optimisers would drop them, and
    data be read where it is not.

    Parameters
    ----------
    expression : Expr
        The expression; changed in place. One that has another optimiser stays as it is.
    """
    adapter.keep_pins_of(expression, _optimise)


class pool:  # noqa: N801 - a context manager is written in lower case, as in dask.annotate
    """Say where data lives: whatever is loaded inside is read in this pool.

    Use it around the loading of data (xarray, dask.array, delayed, bag), around
    ``client.submit`` and ``client.map``, or around a whole ``compute()``. It is a
    context manager and a decorator, of plain and of ``async`` functions. Nested, the
    innermost wins.

    Parameters
    ----------
    name : str or None
        The pool: workers with the resource ``pool-<name>=1``. None blocks the pin around it:
        what is built inside is free. It also is free of the locations that are known then
        (`set_locations`). Where there are neither, it does nothing.
    *mirrors : str
        More pools that hold the same data. A task may run in any of them.

    Raises
    ------
    TypeError
        If a name is not a string.
    PoolNameError
        If a name is empty or not well formed, or is given twice.
    ExpressionArraysError
        On entering, if Dask's configuration has ``array.query-planning`` switched on:
        expression arrays ignore annotations.

    Notes
    -----
    Names of keys made inside depend on the pool, so that one and the same path read
    in two pools makes two keys (Dask would share them, and one pool would win silently).
    A task with a pin of its own keeps it also inside ``with pool(...): x.compute()``:
    data can only be read where it lives.

    Examples
    --------
    >>> import dask.array as da
    >>> from dask_pools import get_pool, pool
    >>> with pool("ecmwf"):
    ...     predictions = da.ones((18, 33), chunks=(1, 33))
    >>> get_pool(predictions)
    'ecmwf'
    """

    def __init__(self, name: str | None, *mirrors: str) -> None:
        if name is None and mirrors:
            raise PoolNameError(
                f"pool(None) blocks a pin and takes no mirrors, not {mirrors!r}; "
                "name the first pool instead of None"
            )
        names = () if name is None else tuple(check_pool_name(n) for n in (name, *mirrors))
        if len(set(names)) < len(names):
            raise PoolNameError(f"pool() takes each name once, not {names!r}")
        self.names: Pin = names

    def __repr__(self) -> str:
        return f"pool({', '.join(map(repr, self.names)) or None})"

    def __enter__(self) -> pool:
        keep_pins()
        context = annotate(**self._annotations(get_annotations()))
        context.__enter__()
        _ENTERED.set((*_ENTERED.get(), context))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        *outer, context = _ENTERED.get()
        _ENTERED.set(tuple(outer))
        context.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function: its whole body runs inside this context."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", awaited)

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{self!r} cannot decorate the generator {function.__name__!r}, which would "
                "keep the pin between its steps; write `with pool(...)` inside it"
            )

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return called

    def _annotations(self, outer: Mapping[str, Any]) -> dict[str, Any]:
        resources = outer.get("resources")
        if not self.names:
            # Nothing to block: leave no trace, since a layer with another annotation
            # than its neighbour is not fused with it.
            if PIN not in outer and not dask.config.get(LOCATIONS, None):
                return {}
            return {PIN: None, "resources": _without_pools(resources)}
        mine = restriction(self.names[0])
        if callable(resources):
            return {PIN: self.names, "resources": functools.partial(_both, resources, mine)}
        return {PIN: self.names, "resources": {**_without_pools(resources), **mine}}


def _optimise(graph: adapter.HighLevelGraph, keys: Any) -> adapter.HighLevelGraph:
    """Optimise a graph on the client, where its pins are kept and nothing has a place yet."""
    from dask_pools.graph.optimize import place_graph  # which needs the pins of this module

    return place_graph(graph, keys).graph


def _without_pools(resources: Any) -> dict[str, float]:
    if not isinstance(resources, Mapping):
        return {}
    return {k: v for k, v in resources.items() if not k.startswith(RESOURCE_PREFIX)}


def _both(resources: Callable[[Any], Any], mine: dict[str, float], key: Any) -> dict[str, float]:
    return {**_without_pools(resources(key)), **mine}


def get_pool(x: Any) -> str | tuple[str, ...] | None:
    """Return the pool of a collection, as its last step was pinned or placed.

    Parameters
    ----------
    x : dask collection
        An array, an xarray object, a bag, a delayed value.

    Returns
    -------
    str, tuple of str or None
        The pool; all the pools if there are several (mirrors, blocks or variables in
        different pools); None if the last step is free: it has a place only once
        `propagate_pools` gives it one.

    Raises
    ------
    TypeError
        If it is not a Dask collection.

    Examples
    --------
    >>> import dask.array as da
    >>> from dask_pools import get_pool, pool
    >>> with pool("ecmwf", "cedadocs"):
    ...     x = da.ones(4)
    >>> get_pool(x), get_pool(x + 1)
    (('ecmwf', 'cedadocs'), None)
    """
    names: dict[str, None] = {}
    for pin in _last_pins(x):
        names.update(dict.fromkeys(pin or ()))
    if not names:
        return None
    return next(iter(names)) if len(names) == 1 else tuple(names)


def _last_pins(x: Any) -> Iterator[Pin | None]:
    if adapter.is_frame(x):
        yield adapter.frame_pin(x)
        return
    graph = adapter.high_level_graph(x)
    for name, keys in adapter.output_layers(graph, x).items():
        annotation = (graph.layers[name].annotations or {}).get(PIN)
        if callable(annotation):
            yield from (as_pin(annotation(key)) for key in keys)
        else:
            yield as_pin(annotation)
