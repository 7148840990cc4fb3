"""`survey`: what is there before something is written, found out in one call in the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from dask_pools.data.writing.home import Home, open_store, require_home, settled
from dask_pools.data.writing.keys import (
    DOCUMENTS,
    V2,
    V3,
    arrays_in,
    is_document,
    joined,
)

if TYPE_CHECKING:
    from zarr.abc.store import Store

#: Values of an array are brought along up to this size, in bytes; beyond, one by one if needed.
VALUES = 2**24
#: How many values are read at once.
AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Survey:
    """What is there.

    Parameters
    ----------
    home : Home
        Where it is, with an absolute path.
    values : mapping of str to bytes
        The metadata of all groups and arrays, and the values of some arrays, by key.
    whole : frozenset of str
        The arrays of which all values are among these.
    occupied : bool
        Whether there is anything at all.
    """

    home: Home
    values: Mapping[str, bytes] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    occupied: bool = False

    @property
    def arrays(self) -> frozenset[str]:
        """The paths of all arrays."""
        return arrays_in(self.values)


def survey(home: Home, group: str, arrays: Iterable[str], *, metadata: bool) -> Survey:
    """Find out what is there.

    Parameters
    ----------
    home : Home
        Where.
    group : str
        The group which is to be written, ``""`` for the root.
    arrays : iterable of str
        Paths of arrays of which the values are wanted, where they are there.
    metadata : bool
        Whether the metadata is wanted.
    """
    require_home(home)
    home = replace(home, url=settled(home.url))
    store = open_store(home, read_only=True)
    # One that is not to be written makes no directory, but cannot be opened without.
    try:
        return sync(_survey(store, home, group, tuple(arrays), metadata=metadata))
    except FileNotFoundError:
        return Survey(home)


def read(home: Home, key: str) -> bytes | None:
    """Read one value."""
    require_home(home)
    return sync(_get(open_store(home, read_only=True), key))


async def _survey(
    store: Store, home: Home, group: str, arrays: tuple[str, ...], *, metadata: bool
) -> Survey:
    occupied = not await store.is_empty(group)
    if not metadata:
        return Survey(home, occupied=occupied)
    reader = _Reader(store)
    values = await reader.tree("", (*V3, *V2))
    if group and not values:  # a group of a store whose root is none
        values = await reader.tree(group, (*V3, *V2))
    whole = set()
    for path in arrays_in(values).intersection(arrays):
        found, complete = await reader.values_of(path)
        values |= found
        if complete:
            whole.add(path)
    return Survey(home, values, frozenset(whole), occupied)


async def _get(store: Store, key: str) -> bytes | None:
    buffer = await store.get(key, default_buffer_prototype())
    return None if buffer is None else buffer.to_bytes()


class _Reader:
    """Reads many keys of a store, some at once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.free = asyncio.Semaphore(AT_ONCE)

    async def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        async def one(key: str) -> tuple[str, bytes | None]:
            async with self.free:
                return key, await _get(self.store, key)

        found = await asyncio.gather(*map(one, keys))
        return {key: value for key, value in found if value is not None}

    async def tree(self, path: str, names: tuple[str, ...]) -> dict[str, bytes]:
        """Read the metadata at and below a path. What has none is not looked into."""
        values = await self.get(joined(path, name) for name in names)
        if not values or arrays_in(values):
            return values
        if not path:
            here = {key.rpartition("/")[2] for key in values}
            names = tuple(name for names in (V3, V2) if here.intersection(names) for name in names)
        below = [name async for name in self.store.list_dir(path) if name not in DOCUMENTS]
        found = await asyncio.gather(
            *(self.tree(joined(path, name), names) for name in sorted(below))
        )
        for more in found:
            values |= more
        return values

    async def values_of(self, path: str) -> tuple[dict[str, bytes], bool]:
        """Read the values of an array, and say whether these are all."""
        keys = [
            joined(key) async for key in self.store.list_prefix(f"{path}/") if not is_document(key)
        ]
        found: dict[str, bytes] = {}
        for i in range(0, len(keys), AT_ONCE):
            found |= await self.get(keys[i : i + AT_ONCE])
            if sum(map(len, found.values())) > VALUES:
                return found, False
        return found, True
