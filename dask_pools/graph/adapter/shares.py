"""What the steps of a data frame keep of what they take in, as far as their kinds tell.

Guesses, for the choice of places only: without them a filter, a comparison or the first step of a
sum would be taken to make as much as it takes in, and the whole frame would be carried.

What of Dask this relies on: the names of the classes of expressions, and that `Fused` keeps those
that it fuses in its first operand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Share of its input, by the class of a step.
KEPT: Mapping[str, float] = {
    "Filter": 0.5,
    "Chunk": 0.05,  # of a reduction or a groupby: aggregated within a partition
    **dict.fromkeys(("LT", "GT", "LE", "GE", "EQ", "NE", "IsNa", "NotNull", "Isin"), 0.125),
}
#: Share of a projection if nobody knows how many columns there were.
PROJECTED = 0.5


def shares_inside(expression: Any) -> dict[str, float]:
    """Return the share of its input that each step of a data frame keeps, by the name of its layer.

    Parameters
    ----------
    expression : Expr
        What was submitted; steps of which nothing is known are left out.
    """
    found: dict[str, float] = {}
    for part in expression.walk():
        share = _fused(part) if type(part).__name__ == "Fused" else _share(part)
        if share != 1.0:
            found[part._name] = share  # noqa: SLF001 - it is the name of the layer
    return found


def _fused(part: Any) -> float:
    share = 1.0
    for step in part.operands[0]:
        if _kind(step) in ("Filter", "Chunk"):
            share *= _share(step)
    return share


def _share(part: Any) -> float:
    kind = _kind(part)
    if kind == "Projection":
        return _projected(*part.operands[:2])
    return 1.0 if kind is None else KEPT[kind]


def _kind(part: Any) -> str | None:
    for base in type(part).__mro__:
        known = base.__name__ in KEPT or base.__name__ == "Projection"
        if known and base.__module__.startswith("dask.dataframe.dask_expr"):
            return base.__name__
    return None


def _projected(frame: Any, columns: Any) -> float:
    """Share of some columns, if the frame below says which it has."""
    said = frame.operands[frame._parameters.index("columns")] if _says(frame) else None  # noqa: SLF001
    wanted = len(columns) if isinstance(columns, list) else 1
    if not isinstance(said, list) or wanted > len(said):
        return PROJECTED
    return wanted / len(said)


def _says(frame: Any) -> bool:
    return "columns" in getattr(type(frame), "_parameters", ())
