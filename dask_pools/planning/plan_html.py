"""A plan as HTML for a notebook: sections that open and close, no scripts, light and dark alike.

Colours are those of the page around it; lines and bars are greys that can be seen on any.
"""

from __future__ import annotations

from html import escape

from dask_pools.planning.plan import Plan
from dask_pools.planning.plan_sentences import headline, sentences
from dask_pools.planning.plan_tables import Table, tables

#: Sections that are open from the beginning; the others show their title and a summary.
_OPEN = ("Pools", "Links", "Policies")

_STYLE = """<style>
.dask-pools-plan {font: 13px/1.5 var(--jp-content-font-family, system-ui, sans-serif);
  color: var(--jp-content-font-color0, inherit); max-width: 760px}
.dask-pools-plan header {border-bottom: 1px solid rgba(128, 128, 128, .4); padding-bottom: 3px;
  margin-bottom: 3px}
.dask-pools-plan header span, .dask-pools-plan summary span, .dask-pools-plan dt,
.dask-pools-plan th, .dask-pools-plan .why {opacity: .65}
.dask-pools-plan header b {margin-right: .6em}
.dask-pools-plan summary {cursor: pointer; font-weight: 500}
.dask-pools-plan summary span {font-weight: 400; margin-left: .4em}
.dask-pools-plan .rows {overflow-x: auto; margin: 1px 0 6px 1.3em}
.dask-pools-plan table {border-collapse: collapse; margin: 0; width: auto;
  font-size: 12px; background: none; border: 0}
.dask-pools-plan tr {background: none !important}
.dask-pools-plan th, .dask-pools-plan td {font-weight: 400; text-align: right; white-space: nowrap;
  padding: 1px 0 1px 1.6em; border: 0; background: none}
.dask-pools-plan td {font-variant-numeric: tabular-nums}
.dask-pools-plan .words {text-align: left}
.dask-pools-plan th:first-child, .dask-pools-plan td:first-child {padding-left: 0}
.dask-pools-plan td:first-child {font-family: var(--jp-code-font-family, monospace)}
.dask-pools-plan .why td {text-align: left; white-space: normal; padding: 0 0 4px 1.6em;
  font-family: inherit}
.dask-pools-plan .why div {width: 0; min-width: 100%}
.dask-pools-plan .bar {display: block; height: 2px; background: #3b82c4; margin-left: auto}
.dask-pools-plan dl {display: grid; grid-template-columns: max-content 1fr; gap: 0 1em;
  margin: 4px 0 0}
.dask-pools-plan dt {font-weight: 400} .dask-pools-plan dd {margin: 0}
</style>"""


def plan_html(plan: Plan) -> str:
    """Render a plan as a piece of HTML.

    Parameters
    ----------
    plan : Plan

    Examples
    --------
    >>> html = plan_html(Plan(tasks={"ecmwf": 3}, transfers=()))
    >>> "3 tasks in 1 pool" in html and "<script" not in html
    True
    """
    body = [_section(table) for table in tables(plan)]
    said = "".join(
        f"<dt>{escape(heading)}</dt><dd>{escape(sentence)}</dd>"
        for heading, sentence in sentences(plan)
    )
    head = f"<header><b>dask_pools.Plan</b><span>{escape(headline(plan))}</span></header>"
    words = said and f"<dl>{said}</dl>"
    return f'{_STYLE}<div class="dask-pools-plan">{head}{"".join(body)}{words}</div>'


def _section(table: Table) -> str:
    """Render a table under a title that opens and closes it."""
    opened = table.title in _OPEN
    count = "" if opened else f"<span>({len(table)})</span>"
    return (
        f"<details{' open' * opened}><summary>{escape(table.title)}{count}</summary>"
        f"{_table(table)}</details>"
    )


def _table(table: Table) -> str:
    heads = "".join(f"<th{_kind(c.words)}>{escape(c.title)}</th>" for c in table.columns)
    rows = []
    for i in range(len(table)):
        cells = ""
        for column in table.columns:
            bar = _bar(column.bars[i]) if column.bars else ""
            cells += f"<td{_kind(column.words)}>{escape(column.cells[i])}{bar}</td>"
        rows.append(f"<tr>{cells}</tr>")
        if table.notes and table.notes[i]:
            note = escape(table.notes[i])
            rows.append(
                f'<tr class="why"><td colspan="{len(table.columns)}"><div>{note}</div></td></tr>'
            )
    table_html = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="rows">{table_html}</div>'


def _kind(words: bool) -> str:
    return ' class="words"' if words else ""


def _bar(share: float) -> str:
    return f'<span class="bar" style="width: {share:.0%}"></span>'
