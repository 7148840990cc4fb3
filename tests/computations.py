"""Random computations as data: built with pools, without, and with NumPy alone.

`tests.strategies` draws them. A computation that fails a test is printed as what it is, and
can be pasted into another test.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import reject

from dask_pools import pool
from tests import operations
from tests.sources import numbers, source, synchronously

_RUN = operations.ARRAY | operations.LABELLED


@dataclass(frozen=True)
class Step:
    """One value of a computation, made of earlier ones.

    ``pin`` names pools; it is empty where a pin is blocked (`pool(None)`), and None where
    nothing is said. ``arguments`` are pairs of a name and a value.
    """

    operation: str
    inputs: tuple[int, ...] = ()
    arguments: tuple[tuple[str, Any], ...] = ()
    pin: tuple[str, ...] | None = None
    persisted: bool = False

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Be inside the pool of the pin, or inside one whose pin is blocked."""
        with contextlib.ExitStack() as stack:
            if self.pin is not None:
                stack.enter_context(pool(*self.pin or ("blocked",)))
            if self.pin == ():
                stack.enter_context(pool(None))
            yield


#: Operations that make delayed values of arrays.
_OPTIMISED_WHEN_BUILT = {"from_delayed", "by_pieces", "gather_pieces"}


@dataclass(frozen=True)
class Computation:
    """Steps in their order, of which some are wanted; ``around`` pins the whole computation."""

    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    around: tuple[str, ...] | None = None

    @property
    def stock(self) -> Computation:
        """The same without pools, and with nothing computed on the way."""
        return Computation(
            tuple(replace(step, pin=None, persisted=False) for step in self.steps), self.outputs
        )

    @property
    def pins(self) -> set[str]:
        """All pools that are named."""
        pins = [step.pin or () for step in self.steps] + [self.around or ()]
        return {name for pin in pins for name in pin}

    def results(self) -> tuple[Any, ...]:
        """Compute the same without pools; what Dask itself cannot do is no example."""
        try:
            return synchronously(*self.stock.build())
        except (ValueError, NotImplementedError, ZeroDivisionError):
            reject()

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """Be inside the pool in which all of it is to be computed, if there is one."""
        return contextlib.nullcontext() if self.around is None else pool(*self.around)

    def build(self, persist: Callable[[Any], Any] = lambda x: x) -> tuple[Any, ...]:
        """Build Dask collections: arrays, or labelled ones."""
        made: list[Any] = []
        # What becomes delayed values is optimised when it does: a free read may be fused with a
        # pinned step then, and no pin around compute() parts them any more.
        fused_before = {step.operation for step in self.steps} & _OPTIMISED_WHEN_BUILT
        around = None if fused_before else self.around
        for step in self.steps:
            with step.context():
                made.append(_lazy(step, around, [made[i] for i in step.inputs]))
            if step.persisted:
                made[-1] = persist(made[-1])
        return tuple(made[i] for i in self.outputs)


def merge(collections: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    """Return the graph and the keys of several collections, as Dask's ``compute`` merges them."""
    arrays = [x for x in collections if dask.is_dask_collection(x)]
    graph = dask.highlevelgraph.HighLevelGraph.merge(*(x.__dask_graph__() for x in arrays))
    return graph, [x.__dask_keys__() for x in arrays]


def eager(step: Step, inputs: list[Any]) -> Any:
    """Compute one step with NumPy."""
    arguments = dict(step.arguments)
    if step.operation == "source":
        del arguments["chunks"]
        return numbers(**arguments)
    if step.operation == "x source":
        dims = arguments.pop("dims")
        del arguments["chunks"]
        return labelled(numbers(**arguments), dims)
    return _RUN[step.operation](np, *inputs, **arguments)


def _lazy(step: Step, around: tuple[str, ...] | None, inputs: list[Any]) -> Any:
    arguments = dict(step.arguments)
    # A pin of its own counts first; pool(None) blocks also the pin of the whole.
    pools = around or () if step.pin is None else step.pin
    if step.operation == "source":
        return source(**arguments, pools=pools)
    if step.operation == "x source":
        dims = arguments.pop("dims")
        return labelled(source(**arguments, pools=pools), dims)
    return _RUN[step.operation](da, *inputs, **arguments)


def labelled(data: Any, dims: tuple[str, ...]) -> xr.DataArray:
    """Give an array dimensions, of which ``time`` has a coordinate of groups besides its own."""
    coords: dict[str, Any] = {
        dim: np.arange(n, dtype="f8") for dim, n in zip(dims, data.shape, strict=True)
    }
    if "time" in dims:
        n = data.shape[dims.index("time")]
        coords["time"] = pd.date_range("2000-01-01", periods=n)
        coords["parity"] = "time", np.arange(n) % 2
    return xr.DataArray(data, coords, dims, name="field")


def assert_equal(found: Any, expected: Any) -> None:
    """Compare results bit for bit, with their types and labels."""
    if isinstance(expected, xr.DataArray):
        xr.testing.assert_identical(found, expected)
        assert found.dtype == expected.dtype
    else:
        # Whether one number is a scalar or an array hangs in Dask on what was fused with its slice.
        assert type(found) is type(expected) or np.ndim(expected) == 0
        np.testing.assert_array_equal(found, expected, strict=True)


def assert_close(found: Any, expected: Any) -> None:
    """Compare results up to the order in which numbers were added."""
    if isinstance(expected, xr.DataArray):
        for name in expected.coords:
            xr.testing.assert_identical(found[name], expected[name])
        found, expected = found.to_numpy(), expected.to_numpy()
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
    elif expected.size:
        eps = np.finfo(expected.dtype).eps
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(found, expected, rtol=1000 * eps, atol=1000 * eps * scale)
