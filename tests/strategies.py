"""Strategies of Hypothesis: random computations over inputs that are pinned at random.

Which steps a value can take, and with which arguments, is said in tables; that shapes fit,
nothing is empty and nothing grows is found out by `tests.drawing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.computations import Computation, Step
from tests.drawing import Draw, Drawing, Value
from tests.operations import ARRAY, LABELLED
from tests.sources import SOURCES

#: Lengths of dimensions with a name.
LENGTHS = {"time": 6, "y": 3, "x": 5}


# Inputs


def _draw_source(self: Drawing, shape: tuple[int, ...], dims: tuple[str, ...] | None) -> None:
    arguments = {
        "kind": self.draw(st.sampled_from(SOURCES)),
        "seed": self.draw(st.integers(0, 3)),
        "shape": shape,
        "chunks": self.chunks(shape),
        "dtype": self.draw(st.sampled_from(["f8", "f4", "i8"])),
    }
    if dims is not None:
        arguments["dims"] = dims
    name = "source" if dims is None else "x source"
    persisted = self.draw(st.integers(0, 5)) == 5
    self.add(Step(name, (), tuple(arguments.items()), self.pin(), persisted))


# Steps on arrays: which of them take a value, and with what


def _index(self: Drawing, x: Value) -> tuple[Any, ...]:
    """Draw an index: slices, one number, one list, a new axis."""
    index: list[Any] = []
    fancy = self.draw(st.integers(-1, x.ndim - 1))
    for axis, n in enumerate(x.data.shape):
        if axis == fancy and self.draw(st.booleans()):
            index.append(self.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=5)))
        elif axis == fancy:
            index.append(self.draw(st.integers(-n, n - 1)))
        else:
            start = self.draw(st.integers(0, n - 1))
            stop = self.draw(st.integers(start + 1, n))
            index.append(self.draw(st.sampled_from([slice(None), slice(start, stop)])))
            if self.draw(st.integers(0, 4)) == 4:
                index[-1] = slice(None, None, self.draw(st.sampled_from([2, -1, -2])))
    if fancy < 0 and self.draw(st.integers(0, 4)) == 4:
        index.append(None)
    return tuple(index)


def _nothing(self: Drawing, x: Value) -> dict[str, Any]:
    return {}


def _on_axis(self: Drawing, x: Value) -> dict[str, Any]:
    return {"axis": self.axis(x)}


def _reduction(self: Drawing, x: Value) -> dict[str, Any]:
    names = ["sum", "mean", "max", "min", "var", "std"]
    return {
        "name": self.draw(st.sampled_from(names if not x.unknown else ["sum"])),
        "axis": self.draw(st.sampled_from([None, self.axes(x)])),
        "keepdims": self.draw(st.booleans()),
        "split_every": self.draw(st.sampled_from([None, 2])),
    }


def _argreduction(self: Drawing, x: Value) -> dict[str, Any]:
    return {
        "name": self.draw(st.sampled_from(["argmax", "argmin"])),
        "axis": self.draw(st.sampled_from([None, self.axis(x)])),
        "split_every": self.draw(st.sampled_from([None, 2])),
    }


def _cumulation(self: Drawing, x: Value) -> dict[str, Any]:
    methods = ["sequential", "blelloch"]
    return {
        "name": "cumsum",
        "axis": self.axis(x),
        "method": self.draw(st.sampled_from(methods)),
    }


def _dtype(self: Drawing, x: Value) -> dict[str, Any]:
    return {"dtype": self.draw(st.sampled_from(["f8", "f4"]))}


def _window(self: Drawing, x: Value) -> dict[str, Any]:
    axis = self.axis(x)
    return {"window": self.draw(st.integers(1, min(3, x.data.shape[axis]))), "axis": axis}


def _always(x: Value) -> bool:
    return True


def _known(x: Value) -> bool:
    return not x.unknown


def _has_axes(x: Value) -> bool:
    return not x.unknown and x.ndim > 0


def _exact(x: Value) -> bool:
    return x.exact and not x.unknown and x.ndim > 0


Fits = Callable[[Value], bool]
Arguments = Callable[[Drawing, Value], dict[str, Any]]

#: Steps with one input.
UNARY: dict[str, tuple[Fits, Arguments]] = {
    "negative": (_always, _nothing),
    "plus one": (_always, _nothing),
    "sqrt": (_always, _nothing),
    "astype": (_always, _dtype),
    "map_blocks": (_known, _nothing),
    "from_delayed": (_known, _nothing),
    "by_pieces": (_has_axes, _nothing),
    "gather_pieces": (lambda x: _known(x) and x.ndim == 1, _nothing),
    "clip": (lambda x: x.exact, _nothing),
    "reduce": (lambda x: x.ndim > 0, _reduction),
    "argreduce": (_exact, _argreduction),
    "cumulate": (_has_axes, _cumulation),
    "topk": (_has_axes, lambda self, x: {"k": 1, "axis": self.axis(x)}),
    "median": (_has_axes, lambda self, x: {"axis": self.axis(x)}),
    "slice": (_has_axes, lambda self, x: {"index": _index(self, x)}),
    "rechunk": (_has_axes, lambda self, x: {"chunks": self.chunks(x.data.shape)}),
    "overlap": (
        _has_axes,
        lambda self, x: {"boundary": self.draw(st.sampled_from(["periodic", "reflect"]))},
    ),
    "rolling": (_has_axes, _window),
    "coarsen": (_has_axes, _on_axis),
    "diff": (_has_axes, _on_axis),
    "roll": (_has_axes, _on_axis),
    "flip": (_has_axes, _on_axis),
    "pad": (_has_axes, _nothing),
    "repeat": (_has_axes, _on_axis),
    "broadcast": (_known, _nothing),
    "transpose": (
        _has_axes,
        lambda self, x: {"axes": tuple(self.draw(st.permutations(range(x.ndim))))},
    ),
    "ravel": (_has_axes, _nothing),
    "gufunc": (_has_axes, _nothing),
    "histogram": (_exact, _nothing),
    "mask": (lambda x: _exact(x) and x.ndim == 1, _nothing),
    "mask rows": (lambda x: _exact(x) and x.ndim > 1, _nothing),
    "unique": (_exact, _nothing),
}

#: Steps with two inputs.
BINARY: dict[str, Fits] = {
    "add": _known,
    "subtract": _known,
    "multiply": _known,
    "maximum": _known,
    "where": lambda x: x.exact and not x.unknown,
    "blockwise": _known,
    "tensordot": _has_axes,
    "matmul": _has_axes,
    "outer": lambda x: _known(x) and x.ndim == 1,
    "einsum": lambda x: _known(x) and x.ndim == 2,
}

#: Steps with several inputs along an axis.
GATHERING = ("concatenate", "stack")
#: Steps that are drawn more often than the others: they decide where tasks belong.
OFTEN = ("reduce", "slice", "rechunk", "concatenate", "tensordot", "x reduce", "x isel", "x concat")


def _names(names: Iterable[str], most: int) -> st.SearchStrategy[list[str]]:
    """Draw the names of steps, few of them twice: what is drawn one by one repeats itself."""
    numbered = sorted((name, i) for name in names for i in range(3 if name in OFTEN else 1))
    drawn = st.lists(st.sampled_from(numbered), min_size=1, max_size=most, unique=True)
    return drawn.map(lambda found: [name for name, _ in found])


def _draw_array_step(self: Drawing, name: str) -> None:
    if name in UNARY:
        fits, arguments = UNARY[name]
        i = self.one(fits)
        inputs = () if i is None else (i,)
        drawn = arguments(self, self.values[i]) if inputs else {}
    elif name in BINARY:
        inputs, drawn = _pair(self, BINARY[name], name), {}
    else:
        count = self.draw(st.integers(2, 3))
        i = self.one(_has_axes)
        others = [self.one(lambda x: _has_axes(x) and _similar(self, i, x)) for _ in range(count)]
        inputs = tuple(o for o in others if o is not None)
        drawn = {"axis": self.axis(self.values[inputs[0]])} if inputs else {}
    if inputs:
        self.add(Step(name, inputs, tuple(drawn.items()), _sometimes(self)))


def _similar(self: Drawing, i: int | None, x: Value) -> bool:
    return i is not None and self.values[i].ndim == x.ndim


def _pair(self: Drawing, fits: Fits, name: str) -> tuple[int, ...]:
    """Draw two inputs that go together, one of which is always a late one."""
    first = self.one(fits)
    if first is None:
        return ()
    if name == "blockwise":
        shape = self.values[first].data.shape
        second = self.one(lambda x: fits(x) and x.data.shape == shape)
    else:
        second = self.one(fits)
    pair = (first, second)
    return pair if self.draw(st.booleans()) else pair[::-1]


def _sometimes(self: Drawing) -> tuple[str, ...] | None:
    """Draw the pin of a step, most of which have none."""
    return self.pin() if self.draw(st.integers(0, 7)) == 7 else None


# Steps on labelled arrays


def _indexers(self: Drawing, x: Value) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for dim, n in zip(x.dims, x.data.shape, strict=True):
        whole, half = slice(None), slice(n // 2, None)
        fancy = self.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n, unique=True))
        choice = [whole, half, slice(None, None, 2), self.draw(st.integers(0, n - 1)), fancy]
        found[dim] = self.draw(st.sampled_from(choice))
    return {"indexers": tuple(found.items())}


def _labelled_reduction(self: Drawing, x: Value) -> dict[str, Any]:
    dims = tuple(sorted(self.draw(st.sets(st.sampled_from(x.dims), min_size=1))))
    return {"name": self.draw(st.sampled_from(["sum", "mean", "max", "std"])), "dims": dims}


def _on_dim(self: Drawing, x: Value) -> dict[str, Any]:
    return {"dim": self.dim(x)}


def _named_chunks(self: Drawing, x: Value) -> dict[str, Any]:
    return {"chunks": tuple(zip(x.dims, self.chunks(x.data.shape), strict=True))}


def _grouped(x: Value) -> bool:
    return "parity" in x.data.coords and "time" in x.dims


def _on_grid(x: Value) -> bool:
    return {"x", "y"} <= {*x.dims} and x.data.sizes["y"] > 2 and x.data.sizes["x"] > 3


#: Steps with one input.
LABELLED_UNARY: dict[str, tuple[Fits, Arguments]] = {
    "x negative": (_always, _nothing),
    "x clip": (lambda x: x.exact, _nothing),
    "x astype": (_always, _dtype),
    "x reduce": (_has_axes, _labelled_reduction),
    "x cumsum": (_has_axes, _on_dim),
    "x argmax": (_exact, _on_dim),
    "x isel": (_has_axes, _indexers),
    "x vectorized": (_on_grid, _nothing),
    "x rolling": (
        _has_axes,
        lambda self, x: {"dim": self.dim(x), "center": self.draw(st.booleans())},
    ),
    "x windows": (_has_axes, _on_dim),
    "x shift": (_has_axes, _on_dim),
    "x diff": (_has_axes, _on_dim),
    "x coarsen": (_has_axes, _on_dim),
    "x transpose": (_has_axes, _nothing),
    "x chunk": (_has_axes, _named_chunks),
    "x groupby": (_grouped, _nothing),
    "x anomaly": (_grouped, _nothing),
    "x apply": (_has_axes, _on_dim),
    "x interp": (lambda x: _on_grid(x) and bool((np.diff(x.data["y"]) > 0).all()), _nothing),
}

#: Steps with two inputs, and whether they need a dimension.
LABELLED_BINARY = {
    "x add": False,
    "x subtract": False,
    "x multiply": False,
    "x where": False,
    "x concat": True,
    "x stack": False,
    "x weighted": True,
    "x dot": True,
}


def _draw_labelled_step(self: Drawing, name: str) -> None:
    if name in LABELLED_UNARY:
        fits, arguments = LABELLED_UNARY[name]
        i = self.one(fits)
        inputs = () if i is None else (i,)
        drawn = arguments(self, self.values[i]) if inputs else {}
    else:
        fits = _exact if name == "x where" else _has_axes
        inputs = _pair(self, fits, name)
        drawn = {}
        if inputs and LABELLED_BINARY[name]:
            drawn = _on_dim(self, self.values[inputs[0]])
    if inputs:
        self.add(Step(name, inputs, tuple(drawn.items()), _sometimes(self)))


# Computations


@st.composite
def array_computations(draw: Draw, pools: tuple[str, ...], most: int = 8) -> Computation:
    """Draw a computation on arrays of up to three dimensions over inputs in some pools."""
    self = Drawing(draw, pools)
    n = draw(st.sampled_from([4, 5, 6]))
    for _ in range(draw(st.integers(1, 3))):
        ndim = draw(st.sampled_from([2, 1, 2, 3]))
        _draw_source(self, (n,) * ndim, None)
    for name in draw(_names(ARRAY, most)):
        _draw_array_step(self, name)
    return _finish(self)


@st.composite
def labelled_computations(draw: Draw, pools: tuple[str, ...], most: int = 8) -> Computation:
    """Draw a computation of xarray over inputs in some pools."""
    self = Drawing(draw, pools)
    for _ in range(draw(st.integers(1, 3))):
        dims = draw(st.sampled_from([("time", "y", "x"), ("time", "x"), ("y", "x"), ("time",)]))
        _draw_source(self, tuple(LENGTHS[dim] for dim in dims), dims)
    for name in draw(_names(LABELLED, most)):
        _draw_labelled_step(self, name)
    return _finish(self)


def _finish(self: Drawing) -> Computation:
    last = len(self.values) - 1
    others = self.draw(st.sets(st.integers(0, last), max_size=2))
    around = None
    if self.draw(st.integers(0, 7)) == 7:
        around = tuple(self.draw(st.permutations(self.pools))[:1])
    return Computation(tuple(self.steps), tuple(sorted({last, *others})), around)


def computations(pools: tuple[str, ...], most: int = 8) -> st.SearchStrategy[Computation]:
    """Draw a computation of either kind."""
    return array_computations(pools, most) | labelled_computations(pools, most)
