"""A library of computations whose values have known sizes, or sizes that cannot be known.

Each makes a Dask collection of small blocks; inputs differ in type and chunks.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pandas as pd
import xarray as xr
from dask.delayed import delayed

_RANDOM = np.random.default_rng(0)
_SINGLE = _RANDOM.random((40, 60), dtype="f4")
_DOUBLE = _RANDOM.random((40, 60))
_CUBE = _RANDOM.random((24, 12, 10))


def single() -> da.Array:
    return da.from_array(_SINGLE, chunks=(20, 15))


def rows() -> da.Array:
    return da.from_array(_DOUBLE, chunks=(10, 60))


def drawn() -> da.Array:
    return da.random.default_rng(0).random((40, 60), chunks=(20, 15))


def cube() -> da.Array:
    return da.from_array(_CUBE, chunks=(5, 6, 10))


def ones() -> da.Array:
    return da.ones((40, 60), chunks=(20, 15))


def labelled() -> xr.DataArray:
    time = pd.date_range("2000-01-01", periods=24, freq="15D")
    return xr.DataArray(
        cube(),
        {"time": time, "month": ("time", time.month), "y": np.arange(12.0), "x": np.arange(10.0)},
        ("time", "y", "x"),
        name="field",
    )


def _itself(block: Any) -> Any:
    return block


def _sum(block: Any, axis: Any, keepdims: bool) -> Any:
    return block.sum(axis=axis, keepdims=keepdims)


def _weighted_sum(block: Any, weights: Any = None, axis: Any = None, keepdims: Any = None) -> Any:
    return (block * weights).sum(axis=axis, keepdims=keepdims)


def _and_itself(block: Any) -> Any:
    return block.mean(-1), block


Build = Callable[[], Any]

#: Reductions by name, axis and shape of the tree.
REDUCTIONS: dict[str, Build] = {
    f"{name} {axis} {keepdims} {split_every}": partial(
        lambda name, **options: getattr(da, name)(single(), **options),
        name,
        axis=axis,
        keepdims=keepdims,
        split_every=split_every,
    )
    for name in (
        *("sum", "prod", "min", "max", "any", "all", "mean", "std", "var", "argmin", "argmax"),
        *("nansum", "nanmin", "nanmax", "nanmean", "nanstd", "nanvar", "nanargmax"),
    )
    for axis, keepdims, split_every in ((None, False, 2), (0, False, 2), (1, True, 4))
}
REDUCTIONS |= {
    f"{name} {method} {axis}": partial(
        lambda name, **options: getattr(da, name)(single(), **options),
        name,
        axis=axis,
        method=method,
    )
    for name in ("cumsum", "cumprod", "nancumsum")
    for method in ("sequential", "blelloch")
    for axis in (0, 1)
}
REDUCTIONS |= {
    f"{name} {k} {axis}": partial(
        lambda name, k, axis: getattr(da, name)(single(), k, axis=axis, split_every=2),
        name,
        k,
        axis,
    )
    for name in ("topk", "argtopk")
    for k in (3, -2, 30)
    for axis in (0, 1)
}
REDUCTIONS |= {
    "moment": lambda: da.reductions.moment(single(), 3, axis=0, split_every=2),
    "median": lambda: da.median(single(), axis=0),
    "nanmedian": lambda: da.nanmedian(single(), axis=1, keepdims=True),
    "quantile": lambda: da.quantile(single(), [0.1, 0.5], axis=0),
    "percentile": lambda: da.percentile(single()[:, 0], [10, 50]),
    "average": lambda: da.average(single(), axis=0, weights=drawn()[:, 0]),
    "count_nonzero": lambda: da.count_nonzero(single(), axis=0),
    "reduction of NumPy": lambda: da.reduction(
        single(), np.sum, np.sum, axis=0, dtype="f8", split_every=2
    ),
    "reduction of a user": lambda: da.reduction(
        single(), _sum, np.sum, axis=0, dtype="f4", split_every=2
    ),
    "reduction with weights": lambda: da.reduction(
        single(), _weighted_sum, np.sum, axis=0, dtype="f8", weights=drawn()
    ),
    "masked mean": lambda: da.ma.masked_greater(single(), 0.5).mean(0),
    "sum of objects": lambda: single().astype(object).sum(),
    "largest date": lambda: da.from_array(np.arange(20).astype("M8[s]"), chunks=5).max(),
    "histogram": lambda: da.histogram(single(), bins=10, range=(0, 1))[0],
    "bincount": lambda: da.bincount((single()[0] * 10).astype(int), minlength=12),
    "coarsen": lambda: da.coarsen(np.mean, single(), {0: 2, 1: 5}),
}

#: Other computations on arrays.
ARRAYS: dict[str, Build] = {
    "rechunk": lambda: single().rechunk((15, 60)),
    "rechunk in steps": lambda: single().rechunk((40, 1)),
    "reshape": lambda: single().reshape(-1),
    "reshape to more": lambda: rows().reshape(8, 5, 60),
    "stack": lambda: da.stack([single(), single() + 1]),
    "concatenate": lambda: da.concatenate([single(), drawn().astype("f4")], axis=1),
    "take": lambda: single()[[5, 1, 30]],
    "shuffle": lambda: single().shuffle(
        [[1, 5, 3], [0, 2], [4], *([i] for i in range(6, 40))], axis=0
    ),
    "vindex": lambda: single().vindex[[1, 2, 3], [4, 5, 50]],
    "slice": lambda: single()[3:30:2, ::-1],
    "slice with new axis": lambda: single()[:, None, 3:7],
    "number": lambda: single()[3],
    "transpose": lambda: single().T,
    "tensordot": lambda: da.tensordot(single(), drawn().T, axes=1),
    "matmul": lambda: single() @ drawn().T,
    "matmul of stacks": lambda: cube() @ cube().transpose(0, 2, 1),
    "einsum": lambda: da.einsum("ij,kj->ik", single(), drawn()),
    "einsum over a vector": lambda: da.einsum("tyx,x->ty", cube(), cube()[0, 0]),
    "outer": lambda: da.outer(single()[0], single()[1]),
    "where": lambda: da.where(single() > 0.5, single(), 0),
    "mask": lambda: single()[single() > 0.5],
    "mask rows": lambda: single()[single()[:, 0] > 0.5] + 1,
    "nonzero": lambda: da.nonzero(single() > 0.5)[0],
    "unique": lambda: da.unique((single() * 5).astype(int)),
    "overlap": lambda: da.overlap.overlap(single(), depth=2, boundary="reflect"),
    "map_overlap periodic": lambda: single().map_overlap(_itself, depth=1, boundary="periodic"),
    "map_overlap nearest": lambda: single().map_overlap(_itself, depth={0: 3}, boundary="nearest"),
    "map_overlap constant": lambda: single().map_overlap(
        _itself, depth={0: 3, 1: (0, 2)}, boundary={0: 1.0, 1: "none"}
    ),
    "sliding windows": lambda: da.lib.stride_tricks.sliding_window_view(single(), 5, axis=0).mean(
        -1
    ),
    "pad": lambda: da.pad(single(), 2, mode="constant"),
    "pad with edges": lambda: da.pad(single(), 2, mode="edge"),
    "roll": lambda: da.roll(single(), 3, axis=0),
    "repeat": lambda: da.repeat(single(), 2, axis=0),
    "diff": lambda: da.diff(single(), axis=0),
    "gradient": lambda: da.gradient(single(), axis=0),
    "block": lambda: da.block([[single(), single()], [single(), single()]]),
    "fft": lambda: da.fft.rfft(rows(), axis=1),
    "complex": lambda: (single() * 1j).real,
    "strings": lambda: single().astype("U10"),
    "arange": lambda: da.arange(100, chunks=7),
    "eye": lambda: da.eye(20, chunks=7),
    "gufunc": lambda: da.apply_gufunc(_itself, "(i)->(i)", rows(), output_dtypes="f8"),
    "gufunc of two": lambda: da.apply_gufunc(
        _and_itself, "(i)->(),(i)", rows(), output_dtypes=("f8", "f8")
    )[1],
    "svd": lambda: da.linalg.svd(rows().T.rechunk((15, 40)))[0],
    "map_blocks drops": lambda: single().map_blocks(np.sum, axis=0, drop_axis=0, dtype="f4"),
    "map_blocks adds": lambda: single().map_blocks(np.expand_dims, 0, new_axis=0, dtype="f4"),
}

#: Broadcast views, which hold less than they show.
VIEWS: dict[str, Build] = {
    "ones": ones,
    "ones plus": lambda: ones() + single(),
    "ones of another type": lambda: ones().astype("f4"),
    "ones transposed": lambda: ones().T,
    "ones through a function": lambda: ones().map_blocks(_itself),
    "slice of ones": lambda: ones()[3:17, 5],
    "small slice of ones": lambda: ones()[3:5],
    "list of ones": lambda: ones()[[3, 4, 20]],
    "ones rechunked": lambda: ones().rechunk((7, 60)),
    "ones reshaped": lambda: ones().reshape(-1),
    "ones concatenated": lambda: da.concatenate([ones(), drawn()]),
    "ones stacked": lambda: da.stack([ones(), drawn()]),
    "mean of ones": lambda: ones().mean(0),
    "broadcast": lambda: da.broadcast_to(single()[:1], (40, 60)),
    "broadcast to more": lambda: da.broadcast_to(single(), (5, 40, 60)),
    "sum of broadcast": lambda: da.broadcast_to(single(), (5, 40, 60)).sum(0),
    "slice of broadcast": lambda: da.broadcast_to(single(), (5, 40, 60))[1:3, 2:9],
    "broadcast plus": lambda: da.broadcast_to(single(), (5, 40, 60)) + 1,
    "meshgrid": lambda: da.meshgrid(single()[0], single()[:, 0])[0] * 2,
}

#: Values that are no arrays.
OTHERS: dict[str, Build] = {
    "store": lambda: da.store(single(), np.zeros((40, 60)), compute=False),
    "store and load": lambda: da.store(
        single(), np.zeros((40, 60)), compute=False, return_stored=True
    ),
    "store later": lambda: delayed(_itself)(da.store(single(), np.zeros((40, 60)), compute=False)),
    "from_delayed": lambda: da.concatenate(
        [da.from_delayed(delayed(np.ones)((7, 9)), (7, 9), "f8") for _ in range(3)]
    ),
    "from_delayed of unknown shape": lambda: da.from_delayed(
        delayed(np.ones)((7,)), (np.nan,), "f8"
    ),
    "to_delayed": lambda: delayed(sum)(list(single()[0].to_delayed())),
    "list of arrays": lambda: delayed([single(), single() + 1, 3]),
    "delayed function of an array": lambda: delayed(_itself)(single()),
    "delayed functions": lambda: delayed(np.add)(delayed(np.ones)(100), delayed(np.ones)(100)),
    "bag": lambda: db.from_sequence(range(100), npartitions=5).map(_itself).sum(),
}


def _xarray(method: str, *args: Any, **options: Any) -> Any:
    return getattr(labelled(), method)(*args, **options)


#: Computations of xarray.
LABELLED: dict[str, Build] = {
    f"x {name}": partial(_xarray, name, "time")
    for name in ("sum", "mean", "std", "var", "min", "max", "count", "argmax", "cumsum")
}
LABELLED |= {
    "x mean of all": lambda: labelled().mean(),
    "x mean with gaps": lambda: labelled().mean(["y", "x"], skipna=True),
    "x quantile": lambda: labelled().chunk(time=-1).quantile([0.1, 0.5], "time"),
    "x rolling": lambda: labelled().rolling(time=5).mean(),
    "x rolling windows": lambda: labelled().rolling(time=3).construct("w").mean("w"),
    "x coarsen": lambda: labelled().coarsen(y=2).mean(),
    "x interp": lambda: labelled().interp(y=[0.5, 3.2]),
    "x shift": lambda: labelled().shift(time=2),
    "x diff": lambda: labelled().diff("time"),
    "x dot": lambda: xr.dot(labelled(), labelled(), dim="x"),
    "x weighted": lambda: labelled().weighted(np.cos(labelled().y)).mean(["x", "y"]),
    "x ones_like": lambda: xr.ones_like(labelled()) * 2,
    "x broadcast": lambda: xr.broadcast(labelled().isel(time=0), labelled())[0],
    "x expand_dims": lambda: labelled().expand_dims(member=3) + 1,
    "x where": lambda: labelled().where(labelled() > 0.5),
    "x isel": lambda: labelled().isel(time=[3, 1, 20], y=slice(2, 9)),
    "x concat": lambda: xr.concat([labelled(), labelled()], "member").mean("member"),
    "x pad": lambda: labelled().pad(y=2),
    "x chunk": lambda: labelled().chunk(time=24, y=3),
    "x idxmax": lambda: labelled().idxmax("y"),
    "x apply_ufunc": lambda: xr.apply_ufunc(
        _itself,
        labelled(),
        input_core_dims=[["x"]],
        output_core_dims=[["x"]],
        dask="parallelized",
        output_dtypes=["f8"],
    ),
    "x dataset": lambda: xr.Dataset({"a": labelled(), "b": labelled().isel(x=0)}).mean(),
}
if importlib.util.find_spec("flox") is not None:
    LABELLED |= {
        "x groupby": lambda: labelled().groupby("month").mean("time"),
        "x groupby std": lambda: labelled().groupby("month").std("time"),
        "x anomaly": lambda: labelled().groupby("month") - labelled().groupby("month").mean(),
        "x resample": lambda: labelled().resample(time="2MS").mean(),
        "x seasons": lambda: labelled().chunk(time=2).groupby("time.season").mean(),
        "x groupby bins": lambda: labelled().groupby_bins("y", [0, 4, 12]).mean(),
    }

SIZED = REDUCTIONS | ARRAYS | VIEWS | OTHERS | LABELLED

#: Computations some of whose values have sizes that are not known before they are: because
#: they hang on data, or a function of which nothing is known returns them.
UNSURE = frozenset(
    """argtopk 3 0, argtopk 3 1, argtopk -2 0, argtopk -2 1, topk 30 0, topk 30 1, argtopk 30 0,
    argtopk 30 1, percentile, reduction of a user, reduction with weights, masked mean,
    sum of objects, bincount, vindex, mask, mask rows, nonzero, unique, gufunc of two, svd,
    ones transposed, ones through a function, x broadcast, x interp, store and load,
    from_delayed of unknown shape, to_delayed, list of arrays, delayed function of an array,
    store later, delayed functions, bag, x groupby, x groupby std, x anomaly, x resample, x seasons,
    x groupby bins""".replace("\n    ", " ").split(", ")
)


def collection(name: str) -> Any:
    """Build one of the computations as Dask would be given it."""
    with dask.config.set(scheduler="synchronous"):
        return SIZED[name]()
