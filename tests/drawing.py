"""Drawing a computation step by step, each tried out with NumPy.

Inputs are small whole numbers: as long as a value is made of these by sums and products it is
exact. Only exact values are compared with each other, counted or searched for their largest,
so that no result hangs on the order in which numbers are added.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.computations import Step, eager

#: Results with more elements, or larger ones, are not used any further.
MOST_ELEMENTS = 400
LARGEST = 1e6
#: Steps whose result has a shape that Dask does not know, and those that make it known again.
UNKNOWN = ("mask", "mask rows", "unique")
KNOWN_AGAIN = ("reduce", "histogram")
#: Steps after which numbers are rounded; a step that reduces by a name of these is one, too.
INEXACT = ("sqrt", "median", "x rolling", "x coarsen", "x anomaly", "x weighted", "x interp")
INEXACT_REDUCTIONS = ("mean", "var", "std")

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Value:
    """What is known of a step's result: its numbers, and whether Dask knows its shape."""

    data: Any
    exact: bool
    unknown: bool = False

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def dims(self) -> tuple[str, ...]:
        return self.data.dims


class Drawing:
    """A computation that is being drawn."""

    def __init__(self, draw: Draw, pools: tuple[str, ...]) -> None:
        self.draw = draw
        self.pools = pools
        self.steps: list[Step] = []
        self.values: list[Value] = []

    def pin(self) -> tuple[str, ...] | None:
        """Draw a pin: none, `pool(None)`, one pool, or a pool and its mirrors."""
        kind = self.draw(st.integers(0, 7))
        if kind < 2:
            return None if kind == 0 else ()
        pools = self.draw(st.permutations(self.pools))
        return tuple(pools[: 1 if kind < 6 else 2])

    def chunks(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Draw chunks, of equal lengths or not."""
        return tuple(self._lengths(n) for n in shape)

    def _lengths(self, n: int) -> tuple[int, ...]:
        cuts = self.draw(st.sets(st.integers(1, n - 1), max_size=3)) if n > 1 else ()
        ends = [0, *sorted(cuts), n]
        return tuple(b - a for a, b in itertools.pairwise(ends))

    def axis(self, x: Value) -> int:
        return self.draw(st.integers(0, x.ndim - 1))

    def axes(self, x: Value) -> tuple[int, ...]:
        return tuple(sorted(self.draw(st.sets(st.integers(0, x.ndim - 1), min_size=1))))

    def dim(self, x: Value) -> str:
        return self.draw(st.sampled_from(x.dims))

    def one(self, fits: Callable[[Value], bool]) -> int | None:
        """Draw one of the values that fit, rather a late one."""
        found = [i for i, value in enumerate(self.values) if fits(value)]
        return self.draw(st.sampled_from(found[::-1])) if found else None

    def add(self, step: Step) -> None:
        """Try a step out, and keep it if something of use comes out of it."""
        inputs = [self.values[i] for i in step.inputs]
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = eager(step, [value.data for value in inputs])
        except (ValueError, KeyError, IndexError):
            return  # shapes or labels that do not go together
        size, largest = data.size, float(abs(data).max()) if data.size else 0.0
        masks = step.operation in UNKNOWN
        if size > MOST_ELEMENTS or largest > LARGEST or not (size or masks):
            return
        exact = (
            all(value.exact for value in inputs)
            and step.operation not in INEXACT
            and bool((data == data.round()).all())
            and dict(step.arguments).get("name") not in INEXACT_REDUCTIONS
        )
        unknown = masks or (
            any(value.unknown for value in inputs) and step.operation not in KNOWN_AGAIN
        )
        if not unknown and isinstance(data, np.generic):
            data = np.asarray(data)
        self.steps.append(step)
        self.values.append(Value(data, exact, unknown))
