"""A plan as text: for a terminal, a log, and the message of an error."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from dask_pools.planning.plan import Plan
from dask_pools.planning.plan_sentences import headline, sentences
from dask_pools.planning.plan_tables import Table, tables

_INDENT = "    "
#: Sentences are broken at this width.
_WIDTH = 96


def plan_text(plan: Plan) -> str:
    """Render a plan as lines of text.

    Parameters
    ----------
    plan : Plan

    Examples
    --------
    >>> print(plan_text(Plan(tasks={"ecmwf": 3}, transfers=())))
    <dask_pools.Plan: 3 tasks in 1 pool, nothing crosses>
    Pools      tasks
        ecmwf      3
    """
    lines = [f"<dask_pools.Plan: {headline(plan)}>"]
    for table in tables(plan):
        lines += table_lines(table)
    for heading, sentence in sentences(plan):
        lines += _wrapped(f"{heading}: {sentence}", "")
    return "\n".join(lines)


def table_lines(table: Table) -> Iterator[str]:
    r"""Render a table as lines, its title above the first column.

    Examples
    --------
    >>> from dask_pools.planning.plan_tables import Column
    >>> table = Table("Pools", (Column("", ("a", "b")), Column("tasks", ("12", "3"))))
    >>> print(*table_lines(table), sep="\n")
    Pools  tasks
        a     12
        b      3
    """
    first, *others = table.columns
    names = [table.title, *(_INDENT + name for name in first.cells)]
    columns = [_filled(names, words=True)]
    columns += [_filled([column.title, *column.cells], column.words) for column in others]
    for i, row in enumerate(zip(*columns, strict=True)):
        yield "  ".join(row).rstrip()
        if i and table.notes and table.notes[i - 1]:
            yield from _wrapped(table.notes[i - 1], _INDENT * 2)


def _filled(cells: list[str], words: bool) -> list[str]:
    """Make texts equally long."""
    width = max(map(len, cells))
    return [cell.ljust(width) if words else cell.rjust(width) for cell in cells]


def _wrapped(text: str, indent: str) -> list[str]:
    return wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent or _INDENT,
        break_on_hyphens=False,
    )
