"""Datasets of many kinds, with the encodings that users give them; and stores compared by bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st

TIME = "2024-01-01"

#: By name: values of a shape, and what the encoding of a variable may say.
KINDS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "float": (
        lambda r, shape: np.where(r.random(shape) < 0.3, np.nan, r.random(shape).round(2)),
        [
            {},
            {"_FillValue": -9.0},
            {"dtype": "int16", "scale_factor": 0.01, "add_offset": 1.0, "_FillValue": -999},
            {"dtype": "float32"},
        ],
    ),
    "int": (
        lambda r, shape: r.integers(0, 5, shape),
        [{}, {"dtype": "int8"}, {"_FillValue": 255, "dtype": "uint8"}, {"compressors": None}],
    ),
    "bool": (lambda r, shape: r.random(shape) < 0.5, [{}]),
    "complex": (lambda r, shape: r.random(shape) + 1j, [{}]),
    "datetime": (
        lambda r, shape: (
            pd.Timestamp(TIME).to_datetime64().astype("M8[ns]")
            + r.integers(0, 99, shape).astype("m8[h]")
        ),
        [{"units": f"hours since {TIME}", "dtype": "int64"}],
    ),
    "timedelta": (
        lambda r, shape: r.integers(0, 99, shape).astype("m8[h]").astype("m8[ns]"),
        [{"units": "hours", "dtype": "int64"}],
    ),
    "text": (lambda r, shape: r.choice(["a", "bcd", ""], shape), [{}]),
    "bytes": (lambda r, shape: r.choice([b"a", b"bcd"], shape), [{}]),
}


@st.composite
def variables(draw: st.DrawFn, sizes: dict[str, int]) -> xr.Variable:
    """A variable over some dimensions, lazy or not."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    make, encodings = KINDS[kind]
    dims = draw(st.lists(st.sampled_from(sorted(sizes)), unique=True, max_size=2))
    shape = tuple(sizes[dim] for dim in dims)
    seed = draw(st.integers(0, 9))
    variable = xr.Variable(dims, make(np.random.default_rng(seed), shape), {"kind": kind})
    variable.encoding = dict(draw(st.sampled_from(encodings)))
    if dims and draw(st.integers(0, 3)):  # most are lazy
        variable = variable.chunk({dim: draw(st.integers(1, 4)) for dim in dims})
    if dims and draw(st.booleans()):
        variable.encoding["chunks"] = tuple(draw(st.integers(1, 4)) for _ in dims)
    return variable


@st.composite
def datasets(draw: st.DrawFn) -> xr.Dataset:
    """A dataset along `time` and `x`."""
    sizes = {"time": draw(st.integers(1, 6)), "x": draw(st.integers(0, 5))}
    names = draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1))
    ds = xr.Dataset({name: draw(variables(sizes)) for name in names})
    if draw(st.booleans()):
        hours = pd.date_range(TIME, periods=sizes["time"], freq="h")
        ds = ds.assign_coords(time=hours) if "time" in ds.dims else ds
    if draw(st.booleans()) and "x" in ds.dims:
        ds = ds.assign_coords(x=np.arange(sizes["x"]) / 2)
    ds.attrs["title"] = draw(st.sampled_from(["one", "two"]))
    return ds


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `to_zarr` for a new store."""
    return draw(
        st.fixed_dictionaries(
            {"zarr_format": st.sampled_from([2, 3])},
            optional={
                "consolidated": st.booleans(),
                "group": st.sampled_from(["g", "g/h"]),
                "mode": st.sampled_from(["w", "w-", "a"]),
                "safe_chunks": st.booleans(),
                "write_empty_chunks": st.booleans(),
            },
        )
    )


def contents(store: Path) -> dict[str, Any]:
    """Read every file of a store; metadata as what it says, since its order has no meaning."""
    return {
        path.relative_to(store).as_posix(): _value(path)
        for path in store.rglob("*")
        if path.is_file()
    }


def _value(path: Path) -> Any:
    raw = path.read_bytes()
    return json.loads(raw) if path.name.startswith(("zarr.", ".z")) else raw
