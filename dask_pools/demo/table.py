"""The demo's table: what each way did, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from dask_pools.demo.data import FloatField
from dask_pools.demo.run import Outcome
from dask_pools.demo.ways import DEFAULT, PINNED, POOLS
from dask_pools.units import format_bytes

_HEADINGS = ("way", "correct?", "seconds", "bytes over links", "times", "reads astray")
_GAP = "  "
_WIDTH = 88
_LEGEND = (
    "Correct: equal to numpy's result from the files. Times: bytes over links, by those of "
    "dask_pools. Reads astray: reading tasks that ran where the data is not. All pools are on "
    "this machine, so that the links cost no time here; between data centres they do."
)
_BY_HAND = (
    "Pinned by hand: an annotation of its own for each site, and linear fusion switched off on "
    "the scheduler; all other tasks run where the scheduler's guess puts them."
)
_ANYWHERE = (
    "As it comes: Dask's optimisation drops the annotations that say where to read, so that "
    "reads run anywhere. A site without the data finds no file: netCDF fails, and zarr takes "
    "it for an empty block and returns NaN without a word."
)


def to_text(outcomes: Sequence[Outcome], expected: FloatField) -> str:
    """Write the table as plain text, with the bytes of each link under each way.

    Parameters
    ----------
    outcomes : sequence of Outcome
        What was measured.
    expected : ndarray of shape (latitude, longitude)
        The right result.
    """
    least = next((o.nbytes for o in outcomes if o.way == POOLS.name), 0)
    rows = [_HEADINGS, *(_row(outcome, expected, least) for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(rows[0], widths), _GAP.join("-" * width for width in widths)]
    for outcome, row in zip(outcomes, rows[1:], strict=True):
        lines += [_line(row, widths), *_details(outcome)]
    return "\n".join(lines)


def of_pools(outcomes: Sequence[Outcome]) -> Outcome:
    """Find what dask_pools did."""
    return next(outcome for outcome in outcomes if outcome.way == POOLS.name)


def explanation(outcomes: Sequence[Outcome]) -> str:
    """Say what the columns mean, and what is behind the lines of stock Dask."""
    ways = {outcome.way: outcome for outcome in outcomes}
    lines = [_LEGEND]
    if PINNED.name in ways:
        lines.append(_BY_HAND)
    if DEFAULT.name in ways and ways[DEFAULT.name].astray:
        lines.append(_ANYWHERE)
    return "\n".join(textwrap.fill(line, _WIDTH) for line in lines)


def _row(outcome: Outcome, expected: FloatField, least: int) -> tuple[str, ...]:
    return (
        outcome.way,
        "failed" if outcome.failure else "yes" if outcome.is_correct(expected) else "NO",
        f"{outcome.seconds:.1f}",
        format_bytes(outcome.nbytes),
        f"{outcome.nbytes / least:.0f}" if least else "-",
        f"{outcome.astray} of {outcome.reads}",
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return _GAP.join([first, *others]).rstrip()


def _details(outcome: Outcome) -> list[str]:
    lines = [
        f"    {link.source} -> {link.target}: {format_bytes(nbytes)}"
        for link, nbytes in outcome.links.items()
    ]
    return [*lines, f"    {outcome.failure}"] if outcome.failure else lines
