"""`prepare`: everything that comes before the chunks of a write, and the graph that writes them."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol
from weakref import WeakValueDictionary

import dask.array as da
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from dask_pools.data.writing.draft import (
    Writable,
    Writes,
    draft,
    targets_at_home,
    values_needed,
)
from dask_pools.data.writing.finish import Finish, Undo, begin, put
from dask_pools.data.writing.home import Home, Target, noted
from dask_pools.data.writing.keys import array_of, arrays_in, is_document, makes_array, node_of
from dask_pools.data.writing.staged import StagedStore
from dask_pools.data.writing.survey import Survey, read, survey
from dask_pools.errors import StoreChangedError
from dask_pools.graph.annotate import pool as pinned

#: Values beside the metadata travel with it up to this size, in bytes; more goes ahead, in parts
#: of this size.
AHEAD = 2**22

#: By URL and key of an array's metadata, the write that is to change it and has not been computed.
_PENDING: WeakValueDictionary[tuple[str, str, str], Finish] = WeakValueDictionary()


class Calls(Protocol):
    """Calls a function in the pool, and waits for its result."""

    def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A write that is ready to be computed.

    Parameters
    ----------
    delayed : Delayed
        What writes the chunks, and then makes the store whole.
    undo : Undo or None
        What takes it back if that fails; None if there is nothing to take back.
    """

    delayed: Delayed
    undo: Undo | None


def prepare(
    ds: Writable,
    home: Home,
    arguments: Mapping[str, Any],
    call: Calls,
    *,
    mode: str,
    metadata_first: bool,
    store_options: Mapping[str, Any],
) -> Prepared:
    """Do all that comes before the chunks.

    Parameters
    ----------
    ds : Dataset, DataArray or DataTree
        What is written.
    home : Home
        Where.
    arguments : mapping
        As for `draft`.
    call : callable
        Calls a function in the pool.
    mode : str
        That of `to_zarr`, with xarray's default filled in.
    metadata_first : bool
        Whether the metadata is written now, and not at the end.
    store_options : mapping
        More arguments of `dask.array.store`.
    """
    group = (arguments.get("group") or "").strip("/")
    surveyed: Survey = call(
        survey,
        home,
        group,
        tuple(values_needed(ds, group, arguments)),
        # Of what is replaced as a whole, nothing needs to be known.
        metadata=mode != "w" or bool(group),
    )
    home = surveyed.home
    staged = StagedStore(surveyed, _fetcher(call, home))
    with noted(home, "the metadata of"):
        writes = draft(ds, staged, arguments)
    targets = targets_at_home(writes, staged)
    cleared, finish = staged.to_clear(), _finish(staged)
    ahead = _ahead(finish, surveyed)
    finish = replace(finish, values={k: v for k, v in finish.values.items() if k not in ahead})
    _check_pending(finish)
    delayed = _graph(writes, targets, Finish(home, {}) if metadata_first else finish, store_options)
    if cleared:
        call(begin, home, group, cleared)
    for part in _parts(ahead):
        call(put, home, part)
    if metadata_first:
        call(finish)
        return Prepared(delayed, None)
    fresh = cleared or _fresh(surveyed, group, finish)
    return Prepared(delayed, Undo(finish, fresh, _grown(targets, surveyed, cleared)))


def _fetcher(call: Calls, home: Home) -> Callable[[str], bytes | None]:
    context = contextvars.copy_context()

    def fetch(key: str) -> bytes | None:
        # Several are called at once, and a context is entered by one at a time.
        value: bytes | None = context.copy().run(call, read, home, key)
        return value

    return fetch


def _finish(staged: StagedStore) -> Finish:
    values, before = staged.changes(), staged.survey.values
    base = {
        key: None if staged.is_cleared(key) else before.get(key)
        for key in values
        if is_document(key)
    }
    return Finish(staged.survey.home, values, staged.deletions(), base)


def _ahead(finish: Finish, surveyed: Survey) -> dict[str, bytes]:
    """Find what is written ahead: values of new arrays, which nobody sees, if they are big."""
    made = arrays_in(finish.values) - surveyed.arrays
    found = {
        key: value
        for key, value in finish.values.items()
        if not is_document(key) and array_of(key, made) is not None
    }
    return found if sum(map(len, found.values())) > AHEAD else {}


def _parts(values: Mapping[str, bytes]) -> list[dict[str, bytes]]:
    parts: list[dict[str, bytes]] = []
    room = 0
    for key, value in values.items():
        if not parts or len(value) > room:
            parts.append({})
            room = AHEAD
        parts[-1][key] = value
        room -= len(value)
    return parts


def _fresh(surveyed: Survey, group: str, finish: Finish) -> tuple[str, ...]:
    """Name the paths below which there was nothing."""
    if not surveyed.occupied:
        return (group,)
    return tuple(sorted(arrays_in(finish.values) - surveyed.arrays))


def _grown(
    targets: list[Target], surveyed: Survey, cleared: tuple[str, ...]
) -> tuple[tuple[Target, tuple[int, ...]], ...]:
    """Find the arrays that were there and are to become longer, with their shapes of before."""
    shapes = {
        node_of(key): tuple(json.loads(value)["shape"])
        for key, value in surveyed.values.items()
        if makes_array(key, value)
    }
    return tuple(
        (target, shapes[path])
        for target in targets
        if (path := target.array.path) in shapes
        and array_of(path, cleared) is None
        and shapes[path] != target.array.shape
    )


def _check_pending(finish: Finish) -> None:
    """Refuse a second lazy write over metadata that an earlier one is still to change."""
    for key, before in finish.base.items():
        other = _PENDING.get((finish.home.pool, finish.home.url, key))
        array = before is not None and makes_array(key, before)
        if array and other is not None and other.base[key] == before:
            raise StoreChangedError(
                f"An earlier write with compute=False is to change {key!r} of {finish.home}, and "
                "has not been computed yet. Both would write to the same place: compute the "
                "earlier one before this call, or forget it (del)."
            )


def keep_in_mind(prepared: Prepared) -> None:
    """Remember a lazy write until it is computed or forgotten."""
    if prepared.undo is not None:
        finish = prepared.undo.finish
        for key in finish.base:
            _PENDING[finish.home.pool, finish.home.url, key] = finish


def _graph(
    writes: Writes, targets: list[Target], finish: Finish, store_options: Mapping[str, Any]
) -> Delayed:
    """Build the graph: each chunk is written by a task of the pool, the last task finishes."""
    name = f"to_zarr-{finish.home.token}"
    with pinned(finish.home.pool):
        stored: Any = ()
        if writes.sources:
            # Of dask's types there is one for arrays that are written into, but it is not public.
            store: Any = da.store
            stored = store(
                writes.sources,
                targets,
                regions=writes.regions,
                lock=False,
                compute=False,
                **store_options,
            )
        arrays = stored if isinstance(stored, tuple) else (stored,)
        layer: dict[Any, Any] = {name: (finish, *(a.__dask_keys__() for a in arrays))}
        graph = HighLevelGraph.from_collections(name, layer, dependencies=arrays)
    return Delayed(name, graph)


def bridge(call: Callable[..., Any], loop: asyncio.AbstractEventLoop) -> Calls:
    """Make a function whose results are awaited in an event loop one that waits in a thread."""

    def called(*args: Any, **kwargs: Any) -> Any:
        async def awaited() -> Any:
            return await call(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(awaited(), loop).result()

    return called
