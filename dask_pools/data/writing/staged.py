"""`StagedStore`: xarray writes into it on the client, and nothing is written anywhere yet.

It answers from the survey of what is there, and keeps every change; in the end the changes are
known, and with them what is to be written first and what last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from dask_pools.data.writing.home import HomeStore
from dask_pools.data.writing.keys import array_of, arrays_in, is_below, is_document
from dask_pools.data.writing.survey import Survey

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import BufferPrototype


#: Where a root has the metadata of all others. It is taken from there when a group is cleared.
ROOT = frozenset((".zmetadata", "zarr.json"))


class StagedStore(MemoryStore):
    """A store in memory over what is at home.

    Parameters
    ----------
    survey : Survey
        What is at home.
    fetch : callable
        Reads one more value there.
    held : dict, optional
        What is in it. Default: what the survey brought.
    original : StagedStore, optional
        The one whose contents this one shares.

    Notes
    -----
    Pickled, it becomes the store at home: an array in it is an array there.
    """

    def __init__(
        self,
        survey: Survey,
        fetch: Callable[[str], bytes | None],
        *,
        original: StagedStore | None = None,
        read_only: bool = False,
    ) -> None:
        #: By key; shared with those that are made of this one.
        self.held: dict[str, Buffer]
        if original is None:
            make = default_buffer_prototype().buffer.from_bytes
            self.held = {key: make(value) for key, value in survey.values.items()}
            self.deleted: set[str] = set()
            self.cleared: set[str] = set()
            self.absent: set[str] = set()
            self.fetched: dict[str, bytes] = {}
        else:
            self.held, self.absent = original.held, original.absent
            self.deleted, self.cleared = original.deleted, original.cleared
            self.fetched = original.fetched
        self.survey = survey
        self.fetch = fetch
        super().__init__(self.held, read_only=read_only)

    def with_read_only(self, read_only: bool = False) -> StagedStore:
        """Return one with the same contents, to be read only or not."""
        return StagedStore(self.survey, self.fetch, original=self, read_only=read_only)

    def __reduce__(self) -> tuple[type[HomeStore], tuple[object]]:
        return HomeStore, (self.survey.home,)

    def __str__(self) -> str:
        return str(self.survey.home)

    def __repr__(self) -> str:
        return f"StagedStore({str(self)!r})"

    async def is_empty(self, prefix: str) -> bool:
        """Whether nothing is there: neither here nor at home."""
        untouched = not any(is_below(prefix, path) for path in self.cleared)
        if self.survey.occupied and untouched:
            return False
        return await super().is_empty(prefix)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a value, from home if it is only there."""
        if self._is_only_at_home(key):
            # In a thread, since zarr's event loop has more to do than to wait.
            value = await asyncio.to_thread(self.fetch, key)
            if value is None:
                self.absent.add(key)
            else:
                self.fetched[key] = value
                self.held[key] = default_buffer_prototype().buffer.from_bytes(value)
        return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """Keep a value."""
        await super().set(key, value, byte_range)
        self.deleted.discard(key)

    async def delete(self, key: str) -> None:
        """Keep in mind that a value is to be deleted."""
        await super().delete(key)
        self.deleted.add(key)

    async def delete_dir(self, prefix: str) -> None:
        """Keep in mind that all below a prefix is to be deleted."""
        prefix = prefix.strip("/")
        for key in [key for key in self.held if is_below(key, prefix)]:
            del self.held[key]
        if not any(is_below(prefix, path) for path in self.cleared):
            self.cleared.add(prefix)

    def _is_only_at_home(self, key: str) -> bool:
        if is_document(key) or any(key in k for k in (self.held, self.deleted, self.absent)):
            return False
        path = array_of(key, self.survey.arrays)
        return path is not None and path not in self.survey.whole and not self.is_cleared(key)

    def is_cleared(self, key: str) -> bool:
        """Whether all that was at or around a key is to be deleted."""
        return any(is_below(key, path) for path in self.cleared)

    def changes(self) -> dict[str, bytes]:
        """Return what is to be written: what is not at home as it is here."""
        values = {key: buffer.to_bytes() for key, buffer in self.held.items()}
        before: Mapping[str, bytes] = {**self.survey.values, **self.fetched}
        return {
            key: value
            for key, value in values.items()
            if self.is_cleared(key)
            or before.get(key) != value
            or (key in ROOT and any(self.cleared))
        }

    def deletions(self) -> tuple[str, ...]:
        """Return the keys that are to be deleted at home, and may be there."""
        arrays = self.survey.arrays
        gone = (key for key in self.deleted if key not in self.held and not self.is_cleared(key))
        return tuple(sorted(key for key in gone if array_of(key, arrays) is not None))

    def to_clear(self) -> tuple[str, ...]:
        """Return the paths below which all is deleted before anything is written.

        Below new arrays, too, there may be values: of a write that has failed.
        """
        if not self.survey.occupied:
            return ()
        made = arrays_in(self.changes()) - self.survey.arrays
        return (*sorted(self.cleared), *sorted(p for p in made if not self.is_cleared(p)))
