"""`Home`: where a store is written, and how a worker of its pool gets at it.

What travels is a description; the store itself is opened where it is used, so that neither the
client nor the scheduler has to see it, nor to have the credentials for it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from dask_pools.data.remote import pools_of, worker_here
from dask_pools.data.storage.target import open_target
from dask_pools.errors import WrongPoolError, one_of

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


@dataclass(frozen=True, slots=True)
class Home:
    """Where one call of `to_zarr` writes.

    Parameters
    ----------
    url : str
        Path or URL of the store, as its pool sees it.
    pool : str
        The pool.
    token : str
        Name of this one call: what is written twice has to have two names.
    storage_options : mapping, optional
        As the user gave them; never shown.
    anywhere : bool
        Whether there is no cluster, so that this process stands for the pool.
    """

    url: str
    pool: str
    token: str
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    anywhere: bool = False

    def __str__(self) -> str:
        return f"{self.url} in pool {self.pool!r}"


def require_home(home: Home) -> None:
    """Check that this is a place where a store may be touched: a worker of its pool.

    Raises
    ------
    WrongPoolError
        If it is not. The same path can exist in many places.
    """
    worker = worker_here()
    if worker is None:
        if home.anywhere:
            return
        here = "on no worker at all"
    else:
        pools = pools_of(worker)
        if home.pool in pools:
            return
        here = f"on a worker of pool {one_of(pools)}"
    raise WrongPoolError(
        f"A step of writing {home} was run {here}, and has written nothing. Compute it with the "
        "cluster's client, inside propagate_pools(), and without optimize_graph=False or "
        "another scheduler."
    )


@contextmanager
def at_home(home: Home, what: str) -> Iterator[Store]:
    """Give the store of a home to a task of its pool; its errors say what was being written."""
    require_home(home)
    with noted(home, what):
        yield open_store(home)


@contextmanager
def noted(home: Home, what: str) -> Iterator[None]:
    """Have errors say what was being written, and in which pool."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while writing {what} {home}")
        raise


@functools.lru_cache(maxsize=16)
def open_store(home: Home, *, read_only: bool = False) -> Store:
    """Open a store here. Nothing is read or written by that."""
    url, options = home.url, home.storage_options
    if is_remote(url):
        url, given = open_target(url, options)
        return FsspecStore.from_url(url, storage_options=given, read_only=read_only)
    if options is not None:
        raise TypeError(
            f"storage_options are for URLs such as 's3://bucket/store.zarr', not for {url!r}"
        )
    return LocalStore(url, read_only=read_only)


def is_remote(url: str) -> bool:
    """Whether a store is not in a plain file system.

    Examples
    --------
    >>> is_remote("s3://bucket/store.zarr"), is_remote("/data/store.zarr")
    (True, False)
    """
    return "://" in url or "::" in url


def settled(url: str) -> str:
    """Make a path absolute, as this process sees it; URLs are left as they are.

    Examples
    --------
    >>> settled("file:///data/../store.zarr"), settled("s3://bucket/store.zarr")
    ('/store.zarr', 's3://bucket/store.zarr')
    """
    for scheme in ("file://", "local://"):
        url = url.removeprefix(scheme)
    # As text, as xarray does it: another worker may see a link lead elsewhere.
    return url if is_remote(url) else os.path.abspath(os.path.expanduser(url))  # noqa: PTH100, PTH111


class HomeStore(Store):
    """A zarr store that is opened where and when it is used first.

    Parameters
    ----------
    home : Home
        Where it is.
    read_only : bool
        Whether it may not be written.
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, home: Home, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.home = home

    def _here(self) -> Store:
        return open_store(self.home, read_only=self.read_only)

    def with_read_only(self, read_only: bool = False) -> HomeStore:
        """Return the same store, to be read only or not."""
        return HomeStore(self.home, read_only=read_only)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HomeStore) and other.home == self.home

    def __hash__(self) -> int:
        return hash(self.home)

    def __str__(self) -> str:
        return str(self.home)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a value."""
        return await self._here().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of values."""
        return await self._here().get_partial_values(prototype, key_ranges)

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return await self._here().exists(key)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value."""
        await self._here().set(key, value)

    async def delete(self, key: str) -> None:
        """Delete a value."""
        await self._here().delete(key)

    async def list(self) -> AsyncIterator[str]:
        """List all keys."""
        async for key in self._here().list():
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List the keys below a prefix."""
        async for key in self._here().list_prefix(prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List the names right below a prefix."""
        async for key in self._here().list_dir(prefix):
            yield key


class Target:
    """One array of a store, as the tasks that write its chunks see it.

    Parameters
    ----------
    home : Home
        Where the store is.
    array : zarr.Array
        The array, in a `HomeStore`. It knows its own metadata, which need not be there yet.
    """

    __slots__ = ("array", "home")

    def __init__(self, home: Home, array: zarr.Array[Any]) -> None:
        self.home = home
        self.array = array

    def __setitem__(self, region: Any, value: Any) -> None:
        with at_home(self.home, f"{self.array.path!r} of"):
            self.array[region] = value

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return ("dask_pools-to_zarr", self.home.token, self.array.path)
