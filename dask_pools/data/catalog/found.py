"""What was found where catalogs are read: entries, and what could not become one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dask_pools.data.catalog.entry import Entry
from dask_pools.errors import CatalogError


@dataclass(frozen=True, slots=True)
class Found:
    """Entries, and what was left out.

    Parameters
    ----------
    entries : tuple of Entry
        The entries, in their order.
    left_out : tuple of str
        For each thing that could not become an entry, its name and the reason.
    """

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()


@dataclass(slots=True)
class Collector:
    """Gathers entries, and names them so that no name is there twice."""

    _given: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)
    _left_out: list[str] = field(default_factory=list)

    def add(self, name: str, fields: Mapping[str, Any], *, longer: str | None = None) -> None:
        """Add an entry.

        Parameters
        ----------
        name : str
            Its name.
        fields : mapping
            Its other fields.
        longer : str, optional
            Its name if another entry has the first one too.
        """
        self._given.append((name, longer or name, fields))

    def leave_out(self, name: str, reason: str) -> None:
        """Note what does not become an entry."""
        self._left_out.append(f"{name!r}: {reason}")

    def found(self, origin: str) -> Found:
        """Make the entries.

        Raises
        ------
        CatalogError
            If two have the same name.
        """
        counts = Counter(name for name, _, _ in self._given)
        entries: dict[str, Entry] = {}
        for short, longer, fields in self._given:
            name = short if counts[short] == 1 else longer
            if name in entries:
                raise CatalogError(f"{origin} has two entries with the name {name!r}.")
            try:
                entries[name] = Entry(name, **fields)
            except CatalogError as error:
                self.leave_out(name, str(error).partition("\n")[2].strip())
        return Found(tuple(entries.values()), tuple(self._left_out))
