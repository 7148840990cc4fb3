"""The two ends of a write, each one call in the pool: what goes before, and what makes it whole.

Before: what is to be replaced is deleted, its metadata first. Then the chunks come, which
nobody sees, since no metadata tells of them. At the end comes the metadata, the root's last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from dask_pools.data.writing.home import Home, Target, at_home
from dask_pools.data.writing.keys import (
    in_order,
    is_below,
    is_consolidated,
    is_document,
    makes_array,
)
from dask_pools.errors import StoreChangedError, one_of

if TYPE_CHECKING:
    from zarr.abc.store import Store


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Finish:
    """What makes a write whole, once all of its chunks are there.

    Parameters
    ----------
    home : Home
        The store.
    values : mapping of str to bytes
        What is written, by key.
    deletions : tuple of str
        What is deleted.
    base : mapping of str to (bytes or None)
        The metadata that is to be replaced, as it was when the write was drafted.
    """

    home: Home
    values: Mapping[str, bytes] = field(repr=False)
    deletions: tuple[str, ...] = ()
    base: Mapping[str, bytes | None] = field(default_factory=dict, repr=False)

    def __call__(self, *_: Any) -> None:
        """Do it. May be repeated.

        Raises
        ------
        StoreChangedError
            If the metadata of an array is neither as it was nor as it is to become.
        """
        with at_home(self.home, "the metadata of") as store:
            changed = sync(self._write(store))
            if changed and is_consolidated(self.values):
                # Of other arrays, which came in between, the root's new metadata knows nothing.
                zarr.consolidate_metadata(store, zarr_format=3 if "zarr.json" in self.values else 2)

    async def _write(self, store: Store) -> bool:
        changed = [
            key
            for key, value in (await _read(store, self.base)).items()
            if not self._expects(key, value)
        ]
        arrays = [key for key in changed if makes_array(key, self.values[key])]
        if arrays:
            raise StoreChangedError(
                f"{self.home} has been changed since this write was begun: {one_of(arrays)} is not "
                "as it was. Somebody else wrote there, or two lazy writes add to the same arrays: "
                "then compute the first before the second is made. Call to_zarr again."
            )
        await asyncio.gather(*map(store.delete, self.deletions))
        await _put(store, self.values)
        return bool(changed)

    def _expects(self, key: str, value: bytes | None) -> bool:
        return value in (self.base[key], self.values[key])


def begin(home: Home, group: str, paths: Iterable[str]) -> None:
    """Delete what is below some paths, so that it does not open as soon as the first key is gone.

    Parameters
    ----------
    home : Home
        The store.
    group : str
        The group which is written.
    paths : iterable of str
        The paths.
    """
    with at_home(home, "over what is in") as store:
        sync(_clear(store, group, tuple(paths)))


def put(home: Home, values: Mapping[str, bytes]) -> None:
    """Write some values."""
    with at_home(home, "values of") as store:
        sync(_put(store, values))


@dataclass(frozen=True, slots=True)
class Undo:
    """What takes back a write that has failed.

    Parameters
    ----------
    finish : Finish
        How it would have ended.
    paths : tuple of str
        The paths below which nothing was.
    grown : tuple of (Target, tuple of int)
        The arrays to which something was to be appended, and their shapes before.
    """

    finish: Finish
    paths: tuple[str, ...]
    grown: tuple[tuple[Target, tuple[int, ...]], ...]

    def __call__(self) -> None:
        """Do it. What was overwritten in place stays."""
        home, base = self.finish.home, self.finish.base
        with at_home(home, "back") as store:
            mine = {
                key: old
                for key, now in sync(_read(store, base)).items()
                if (old := base[key]) is not None and now in (old, self.finish.values[key])
            }
            for target, shape in self.grown:
                target.array.resize(shape)
            sync(_restore(store, mine, self.paths))


async def _restore(store: Store, values: Mapping[str, bytes], paths: Iterable[str]) -> None:
    await _put(store, values)
    await _clear(store, "", paths)


async def _clear(store: Store, group: str, paths: Iterable[str]) -> None:
    paths = tuple(paths)
    if group and any(is_below(group, path) for path in paths):
        await _unconsolidate(store)
    for path in paths:
        documents = [key async for key in _documents(store, path)]
        # The root's first: what does not open cannot be half of anything.
        for batch in reversed(in_order(documents)):
            await asyncio.gather(*map(store.delete, batch))
        await store.delete_dir(path)


async def _documents(store: Store, path: str) -> Any:
    async for name in store.list_dir(path):
        if is_document(name):
            yield f"{path}/{name}" if path else name


async def _unconsolidate(store: Store) -> None:
    """Have the root not tell of a group any more that is about to be replaced."""
    await store.delete(".zmetadata")
    (root,) = (await _read(store, ["zarr.json"])).values()
    document = json.loads(root) if root is not None else {}
    if document.pop("consolidated_metadata", None) is not None:
        await _put(store, {"zarr.json": json.dumps(document, indent=2).encode()})


async def _read(store: Store, keys: Iterable[str]) -> dict[str, bytes | None]:
    keys = tuple(keys)
    found = await asyncio.gather(*(store.get(key, default_buffer_prototype()) for key in keys))
    return {
        key: None if buffer is None else buffer.to_bytes()
        for key, buffer in zip(keys, found, strict=True)
    }


async def _put(store: Store, values: Mapping[str, bytes]) -> None:
    make = default_buffer_prototype().buffer.from_bytes
    for batch in in_order(values):
        await asyncio.gather(*(store.set(key, make(values[key])) for key in batch))
