"""Which entries of a catalog are meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dask_pools.data.catalog.fields import as_tuple

if TYPE_CHECKING:
    from dask_pools.data.catalog.entry import Entry

Names = str | Iterable[str] | None


def search(entries: Iterable[Entry], text: str, tags: Names, pool: Names) -> Iterator[Entry]:
    """Choose entries.

    Parameters
    ----------
    entries : iterable of Entry
        The entries.
    text : str
        Words, each of which is in the name, the description, the tags or the location.
    tags : str, iterable of str or None
        Tags, all of which the entry has.
    pool : str, iterable of str or None
        Pools, one of which holds the data.
    """
    words = text.casefold().split()
    wanted = {tag.casefold() for tag in _names(tags)}
    pools = set(_names(pool))
    for entry in entries:
        said = " ".join([entry.name, entry.description, *entry.tags, *entry.locations]).casefold()
        if not all(word in said for word in words):
            continue
        if not wanted <= {tag.casefold() for tag in entry.tags}:
            continue
        if pool is None or pools.intersection(entry.pin()):
            yield entry


def _names(names: Names) -> tuple[str, ...]:
    return as_tuple(names if names is None or isinstance(names, str) else list(names))
