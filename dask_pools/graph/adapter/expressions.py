"""Expressions, in which clients send their computations to a scheduler."""

from __future__ import annotations

from typing import Any

from dask._expr import HLGExpr
from dask.highlevelgraph import HighLevelGraph

from dask_pools.graph.adapter.layers import as_graph


def graphs_inside(expression: Any) -> list[HighLevelGraph]:
    """Return the graphs of layers of which an expression is made.

    Expressions of data frames and expression arrays have none.
    """
    found: list[HighLevelGraph] = []
    stack = [expression]
    while stack:
        part = stack.pop()
        if isinstance(part, HLGExpr):
            # Those which it gathers the results of are in it.
            found.append(as_graph(part.hlg))
        else:
            stack += part.dependencies()
    return found
