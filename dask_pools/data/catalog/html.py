"""Catalogs, entries and previews for a notebook: tables without scripts, light and dark alike.

Whatever a catalog says is text here, and never HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from dask_pools.data.catalog.text import (
    MOST_ROWS,
    counted_entries,
    entry_rows,
    more_rows,
    pools_text,
    preview_title,
    variable_cells,
)

if TYPE_CHECKING:
    from dask_pools.data.catalog.entry import Entry
    from dask_pools.data.catalog.preview import Preview

_STYLE = """<style>
.dask-pools-catalog {font: 13px/1.5 var(--jp-content-font-family, system-ui, sans-serif);
  color: var(--jp-content-font-color0, inherit); overflow-x: auto}
.dask-pools-catalog header {border-bottom: 1px solid rgba(128, 128, 128, .4); padding-bottom: 3px;
  margin-bottom: 3px}
.dask-pools-catalog header b {margin-right: .6em}
.dask-pools-catalog header span, .dask-pools-catalog th {opacity: .65}
.dask-pools-catalog table {border-collapse: collapse; margin: 0; width: auto; font-size: 12px;
  background: none; border: 0}
.dask-pools-catalog tr {background: none !important}
.dask-pools-catalog th, .dask-pools-catalog td {font-weight: 400; text-align: left;
  vertical-align: top; padding: 1px 1.6em 1px 0; border: 0; background: none}
.dask-pools-catalog td:first-child, .dask-pools-catalog code {white-space: nowrap;
  font-family: var(--jp-code-font-family, monospace); background: none; padding-left: 0}
.dask-pools-catalog i {font-style: normal; border: 1px solid rgba(128, 128, 128, .4);
  border-radius: 3px; padding: 0 4px; margin-right: 3px; white-space: nowrap}
</style>"""


def catalog_html(entries: Sequence[Entry]) -> str:
    """Render the entries of a catalog, a row each."""
    rows = [
        (
            escape(entry.name),
            escape(pools_text(entry)),
            escape(entry.description),
            _tags(entry.tags),
        )
        for entry in entries[:MOST_ROWS]
    ]
    table = _table(("", "pools", "description", "tags"), rows)
    said = "".join(f"<div>{escape(text)}</div>" for text in more_rows(len(entries)))
    return _page("dask_pools.Catalog", counted_entries(len(entries)), table + said)


def entry_html(entry: Entry) -> str:
    """Render an entry, a row for each field that says something."""
    texts = dict(entry_rows(entry))
    cells = {name: escape(text) for name, text in texts.items() if text}
    for name in ("location", "options"):
        if name in cells:
            cells[name] = f"<code>{cells[name]}</code>"
    if entry.tags:
        cells["tags"] = _tags(entry.tags)
    return _page(entry.name, "entry of a catalog", _table((), cells.items()))


def preview_html(preview: Preview) -> str:
    """Render a preview, a row for each variable."""
    rows = [
        tuple(map(escape, (v.name, *variable_cells(v), v.description)))
        for v in preview.variables[:MOST_ROWS]
    ]
    table = _table(("", "dimensions", "type", "size", "chunks", ""), rows)
    said = "".join(f"<div>{escape(text)}</div>" for text in more_rows(len(preview.variables)))
    return _page("Preview", preview_title(preview), table + said)


def _page(title: str, subtitle: str, body: str) -> str:
    head = f"<header><b>{escape(title)}</b><span>{escape(subtitle)}</span></header>"
    return f'{_STYLE}<div class="dask-pools-catalog">{head}{body}</div>'


def _table(heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """Render a table of cells that are HTML."""
    head = "".join(f"<th>{escape(title)}</th>" for title in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"<table>{top}<tbody>{body}</tbody></table>"


def _tags(tags: Iterable[str]) -> str:
    return "".join(f"<i>{escape(tag)}</i>" for tag in tags)
