"""What a plan shows to people, as tables; `plan_text` and `plan_html` render them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dask_pools.planning.parts import ArrayPlan, Transfer
from dask_pools.planning.plan import SHOWN, Plan
from dask_pools.units import (
    format_bytes,
    format_excess,
    format_money,
    format_seconds,
    format_share,
)

#: Longer names of arrays are cut: keys may be of any length.
_LONGEST_NAME = 48
#: Longer tables of pools and of links show those that count most.
_MOST_ROWS = 20
_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    title : str
        What it shows; empty for the first column, which the table's title names.
    cells : tuple of str
        A text for each row; empty where something is not known.
    words : bool, default False
        Whether it holds words, which begin at the left, instead of numbers.
    bars : tuple of float, default ()
        How long a bar for each row is, from 0 to 1; empty for none.
    """

    title: str
    cells: tuple[str, ...]
    words: bool = False
    bars: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Parameters
    ----------
    title : str
        What the rows are.
    columns : tuple of Column
        The columns, of equal length, without those that are empty.
    notes : tuple of str
        A sentence for each row, or nothing at all.
    """

    title: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns[0].cells)


def tables(plan: Plan) -> list[Table]:
    """Make the tables of a plan; empty ones are left out."""
    made = [pools_table(plan), links_table(plan), largest_table(plan)]
    if plan.alternatives:
        made.append(policies_table({plan.policy: plan, **plan.alternatives}))
    return [table for table in made if len(table)]


def pools_table(plan: Plan) -> Table:
    """Make a table of what each pool does; of many pools, those with most tasks."""
    shown, rest = _most(plan.by_pool, lambda pool: pool.tasks)
    names, tasks = [pool.name for pool in shown], [pool.tasks for pool in shown]
    if rest:
        names.append(_further(rest))
        tasks.append(sum(pool.tasks for pool in rest))
    if plan.unplaced:
        names.append("anywhere")
        tasks.append(plan.unplaced)
    return _table(
        "Pools",
        names,
        _counts("tasks", tasks),
        Column("reads", tuple(_known(pool.nbytes_read, format_bytes) for pool in shown)),
        Column("time", tuple(_known(pool.seconds, format_seconds) for pool in shown)),
        Column("threads", tuple(f"{pool.threads:,}" * bool(pool.threads) for pool in shown)),
    )


def links_table(plan: Plan) -> Table:
    """Make a table of what crosses each link; of many links, those with most bytes."""
    shown, rest = _most(plan.by_link, lambda part: part.nbytes)
    priced = any(part.money for part in plan.by_link)
    names = [str(part.link) for part in shown]
    transfers, nbytes = [part.transfers for part in shown], [part.nbytes for part in shown]
    if rest:
        names.append(_further(rest))
        transfers.append(sum(part.transfers for part in rest))
        nbytes.append(sum(part.nbytes for part in rest))
    return _table(
        "Links",
        names,
        _counts("transfers", transfers),
        _bytes(nbytes),
        Column("time", tuple(_known(part.seconds, format_seconds) for part in shown)),
        Column("money", tuple(_money(part.money, plan.currency) * priced for part in shown)),
    )


def _most(
    parts: Sequence[_Part], amount: Callable[[_Part], float]
) -> tuple[list[_Part], list[_Part]]:
    """Part those with most of something, in their order, from the others, if they are many."""
    if len(parts) <= _MOST_ROWS:
        return list(parts), []
    ranked = sorted(range(len(parts)), key=lambda i: -amount(parts[i]))
    few = set(ranked[:_MOST_ROWS])
    return (
        [part for i, part in enumerate(parts) if i in few],
        [part for i, part in enumerate(parts) if i not in few],
    )


def _further(rest: Sequence[object]) -> str:
    return f"({len(rest):,} more)"


def largest_table(plan: Plan) -> Table:
    """Make a table of the largest of what crosses, with the reasons if they are known."""
    parts: list[ArrayPlan] = list(plan.by_array)[:SHOWN]
    if not parts:
        parts = [_single(transfer) for transfer in plan.largest]
    table = _table(
        "Largest transfers",
        [_cut(part.name) for part in parts],
        _counts("transfers", [part.transfers for part in parts]),
        _bytes([part.nbytes for part in parts]),
    )
    words = (
        Column("link", tuple(str(part.link) for part in parts), words=True),
        Column("sizes", tuple(str(part.basis) for part in parts), words=True),
    )
    because = [part.because for part in parts]
    notes = tuple("; ".join(reason) if reason else "" for reason in because)
    return Table(table.title, (*table.columns, *words), notes if any(notes) else ())


def _single(transfer: Transfer) -> ArrayPlan:
    name = transfer.name or str(transfer.key)
    return ArrayPlan(name, transfer.link, 1, transfer.nbytes, transfer.basis, transfer.because)


def policies_table(plans: Mapping[str, Plan]) -> Table:
    """Make a table of plans of one computation by several policies, side by side."""
    rows = list(plans.values())
    priced = any(plan.money for plan in rows)
    transfers = [sum(link.transfers for link in plan.by_link) for plan in rows]
    return _table(
        "Policies",
        list(plans),
        _counts("transfers", transfers),
        _bytes([plan.nbytes for plan in rows]),
        Column("time", tuple(_known(plan.seconds, format_seconds) for plan in rows)),
        Column("money", tuple(_money(plan.money, plan.currency) * priced for plan in rows)),
        Column("above the optimum", tuple(_excess(plan) for plan in rows)),
        Column("largest pool", tuple(_largest_pool(plan) for plan in rows)),
    )


def _excess(plan: Plan) -> str:
    if not plan.excess:
        return "" if plan.excess is None else "none"
    return f"at most {format_excess(plan.excess)}"


def _largest_pool(plan: Plan) -> str:
    """Say which part of the placed tasks the pool with most of them has."""
    placed = sum(pool.tasks for pool in plan.by_pool)
    return format_share(max(p.tasks for p in plan.by_pool) / placed) + " of tasks" if placed else ""


def _table(title: str, names: Sequence[str], *columns: Column) -> Table:
    """Make a table; columns that are empty are left out, and short ones are filled up."""
    filled = [
        replace(column, cells=column.cells + ("",) * (len(names) - len(column.cells)))
        for column in columns
        if any(column.cells)
    ]
    return Table(title, (Column("", tuple(names), words=True), *filled))


def _counts(title: str, numbers: Sequence[int]) -> Column:
    return Column(title, tuple(f"{number:,}" for number in numbers))


def _bytes(numbers: Sequence[float]) -> Column:
    """Make a column of bytes, with bars if there are several to compare."""
    most = max(numbers, default=0.0)
    bars = tuple(n / most for n in numbers) if most and len(numbers) > 1 else ()
    return Column("bytes", tuple(map(format_bytes, numbers)), bars=bars)


def _known(number: float | None, render: Callable[[float], str]) -> str:
    return "" if number is None else render(number)


def _money(amount: float | None, currency: str) -> str:
    return "" if amount is None else format_money(amount, currency)


def _cut(name: str) -> str:
    """Leave out the middle of a long name.

    Examples
    --------
    >>> len(_cut("x" * 1000)), _cut("mean_chunk")
    (48, 'mean_chunk')
    """
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2
    return f"{name[:half]}…{name[1 - half :]}"
