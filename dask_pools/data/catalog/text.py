"""Catalogs, entries and previews as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dask_pools.units import counted, format_bytes

if TYPE_CHECKING:
    from dask_pools.data.catalog.entry import Entry
    from dask_pools.data.catalog.preview import Preview, Variable

#: More rows than that nobody reads.
MOST_ROWS = 60
_WIDEST = 60


def catalog_text(entries: Sequence[Entry]) -> str:
    """Render the entries of a catalog, a line each."""
    rows = [(e.name, pools_text(e), e.description) for e in entries[:MOST_ROWS]]
    lines = [f"<dask_pools.Catalog: {counted_entries(len(entries))}>", *_table(rows)]
    return "\n".join([*lines, *more_rows(len(entries))])


def counted_entries(number: int) -> str:
    """Render a number of entries.

    Examples
    --------
    >>> counted_entries(1), counted_entries(2000)
    ('1 entry', '2,000 entries')
    """
    return "1 entry" if number == 1 else f"{number:,} entries"


def more_rows(number: int) -> list[str]:
    """Say how many rows are not shown, if any."""
    return [f"    … and {number - MOST_ROWS:,} more"] if number > MOST_ROWS else []


def entry_text(entry: Entry) -> str:
    """Render an entry, a line for each field that says something."""
    rows = [(name, text) for name, text in entry_rows(entry) if text]
    return "\n".join([f"<dask_pools catalog entry {entry.name!r}>", *_table(rows)])


def entry_rows(entry: Entry) -> list[tuple[str, str]]:
    """List the fields of an entry as texts."""
    first, *others = entry.locations
    options = ", ".join(f"{name}={value!r}" for name, value in entry.options.items())
    return [
        ("description", entry.description),
        ("location", first + (f" and {len(others)} more" if others else "")),
        ("pools", pools_text(entry)),
        ("engine", entry.engine or ""),
        ("options", options),
        ("tags", ", ".join(entry.tags)),
    ]


def pools_text(entry: Entry) -> str:
    """Name the pools of an entry."""
    return " or ".join(entry.pin())


def preview_text(preview: Preview) -> str:
    """Render a preview, a line for each variable."""
    lines = [f"<dask_pools catalog preview of {preview_title(preview)}>"]
    lines += _table([(v.name, *variable_cells(v)) for v in preview.variables[:MOST_ROWS]])
    return "\n".join([*lines, *more_rows(len(preview.variables))])


def preview_title(preview: Preview) -> str:
    """Say what was looked at, and how large it is."""
    sizes = ", ".join(f"{name}: {size}" for name, size in preview.dims.items())
    first = f", the first of {preview.files} files" if preview.files > 1 else ""
    return f"{preview.location}{first} ({sizes}), {format_bytes(preview.nbytes)}"


def variable_cells(variable: Variable) -> tuple[str, ...]:
    """Render a variable: dimensions, type, size, and chunks if there are several."""
    dims = ", ".join(variable.dims)
    shape = " × ".join(map(str, variable.chunks))
    blocks = f"{counted(variable.blocks, 'chunk')} of {shape}" if variable.blocks > 1 else ""
    return f"({dims})", variable.dtype, format_bytes(variable.nbytes), blocks


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Align the cells of rows; the last one is as long as it is."""
    rows = [tuple(cell.replace("\n", " ") for cell in row) for row in rows]
    if not rows:
        return []
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*rows, strict=True)]
    return [
        "    " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
