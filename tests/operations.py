"""The steps of random computations: each as a function of NumPy arrays and Dask's alike.

The first argument of each is the module, `numpy` or `dask.array`; then come the inputs and the
arguments of the step. Steps of xarray work on eager and on lazy `DataArray`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed

# What tasks call. The workers import it from here.


def affine(block):
    return 3 * block - 1


def affine_of(blocks):
    return affine(blocks[0])


def add(x, y):
    return x + y


def total(rows):
    return rows.sum(axis=-1)


def neighbours(block):
    """Add to each element those before and after it, along the first axis, around the end."""
    return block + np.roll(block, 1, axis=0) + np.roll(block, -1, axis=0)


# Steps that NumPy and Dask write differently


def _reduce(xp, x, name, axis, keepdims, split_every):
    more = {} if xp is np else {"split_every": split_every}
    return getattr(xp, name)(x, axis=axis, keepdims=keepdims, **more)


def _argreduce(xp, x, name, axis, split_every):
    more = {} if xp is np else {"split_every": split_every}
    return getattr(xp, name)(x, axis=axis, **more)


def _cumulate(xp, x, name, axis, method):
    more = {} if xp is np else {"method": method}
    return getattr(xp, name)(x, axis=axis, **more)


def _topk(xp, x, k, axis):
    if xp is da:
        return da.topk(x, k, axis=axis)
    return np.flip(np.sort(x, axis=axis), axis=axis).take(range(k), axis=axis)


def _overlap(xp, x, boundary):
    """Use overlapping blocks along the first axis."""
    if xp is da:
        return x.map_overlap(neighbours, depth={0: 1}, boundary={0: boundary}, dtype=x.dtype)
    mode = {"periodic": "wrap", "reflect": "symmetric", "nearest": "edge"}[boundary]
    return neighbours(np.pad(x, [(1, 1)] + [(0, 0)] * (x.ndim - 1), mode=mode))[1:-1]


def _rolling(xp, x, window, axis):
    view = da.lib.stride_tricks if xp is da else np.lib.stride_tricks
    return view.sliding_window_view(x, window, axis=axis).sum(axis=-1)


def _coarsen(xp, x, axis):
    if xp is da:
        return da.coarsen(np.sum, x, {axis: 2}, trim_excess=True)
    n = x.shape[axis] // 2 * 2
    return x.take(range(0, n, 2), axis=axis) + x.take(range(1, n, 2), axis=axis)


def _blockwise(xp, x, y):
    if xp is np:
        return add(x, y)
    index = "ijk"[: x.ndim]
    return da.blockwise(add, index, x, index, y, index, dtype=np.result_type(x, y))


def _gufunc(xp, x):
    if xp is np:
        return total(x)
    return da.apply_gufunc(total, "(i)->()", x, output_dtypes=x.dtype, allow_rechunk=True)


def _from_delayed(xp, x):
    if xp is np:
        return affine(x)
    return da.from_delayed(delayed(affine_of, pure=True)([x, 0]), x.shape, x.dtype)


def _by_pieces(xp, x):
    """Take an array apart into delayed values, and put it together again."""
    if xp is np:
        return affine(x)
    return da.block(_pieces(x, x.to_delayed().tolist(), ()))


def _gather_pieces(xp, x):
    """Hand all blocks of one dimension to one function."""
    if xp is np:
        return x
    pieces = x.to_delayed().tolist()
    return da.from_delayed(delayed(np.concatenate, pure=True)(pieces), x.shape, x.dtype)


def _pieces(x, pieces, index):
    if len(index) < x.ndim:
        return [_pieces(x, piece, (*index, i)) for i, piece in enumerate(pieces)]
    shape = tuple(x.chunks[axis][i] for axis, i in enumerate(index))
    return da.from_delayed(delayed(affine, pure=True)(pieces), shape, x.dtype)


def _rechunk(xp, x, chunks):
    return x.rechunk(chunks) if xp is da else x


#: Steps on arrays, by name.
ARRAY: dict[str, Callable[..., Any]] = {
    "negative": lambda xp, x: -x,
    "plus one": lambda xp, x: x + 1,
    "sqrt": lambda xp, x: xp.sqrt(abs(x)),
    "astype": lambda xp, x, dtype: x.astype(dtype),
    "map_blocks": lambda xp, x: x.map_blocks(affine, dtype=x.dtype) if xp is da else affine(x),
    "from_delayed": _from_delayed,
    "by_pieces": _by_pieces,
    "gather_pieces": _gather_pieces,
    "clip": lambda xp, x: xp.where(x > 0, x, 0),
    "add": lambda xp, x, y: x + y,
    "subtract": lambda xp, x, y: x - y,
    "multiply": lambda xp, x, y: x * y,
    "maximum": lambda xp, x, y: xp.maximum(x, y),
    "where": lambda xp, x, y: xp.where(x > y, x, -y),
    "blockwise": _blockwise,
    "reduce": _reduce,
    "argreduce": _argreduce,
    "cumulate": _cumulate,
    "topk": _topk,
    "median": lambda xp, x, axis: xp.median(x, axis=axis),
    "slice": lambda xp, x, index: x[index],
    "rechunk": _rechunk,
    "overlap": _overlap,
    "rolling": _rolling,
    "coarsen": _coarsen,
    "diff": lambda xp, x, axis: xp.diff(x, axis=axis),
    "roll": lambda xp, x, axis: xp.roll(x, 2, axis=axis),
    "flip": lambda xp, x, axis: xp.flip(x, axis=axis),
    "pad": lambda xp, x: xp.pad(x, 1, mode="constant"),
    "repeat": lambda xp, x, axis: xp.repeat(x, 2, axis=axis),
    "broadcast": lambda xp, x: xp.broadcast_to(x, (2, *x.shape)),
    "concatenate": lambda xp, *xs, axis: xp.concatenate(xs, axis=axis),
    "stack": lambda xp, *xs, axis: xp.stack(xs, axis=axis),
    "transpose": lambda xp, x, axes: xp.transpose(x, axes),
    "ravel": lambda xp, x: x.ravel(),
    "tensordot": lambda xp, x, y: xp.tensordot(x, y, axes=1),
    "matmul": lambda xp, x, y: x @ y,
    "outer": lambda xp, x, y: xp.outer(x, y),
    "einsum": lambda xp, x, y: xp.einsum("ij,kj->ik", x, y),
    "gufunc": _gufunc,
    "histogram": lambda xp, x: xp.histogram(x, bins=4, range=(-10, 10))[0],
    # From here on the number of elements is not known before they are.
    "mask": lambda xp, x: x[x > 0],
    "mask rows": lambda xp, x: x[x.sum(axis=tuple(range(1, x.ndim))) > 0],
    "unique": lambda xp, x: xp.unique(x),
}


def _rolling_mean(_, x, dim, center):
    return x.rolling({dim: 3}, min_periods=1, center=center).mean()


def _windows(_, x, dim):
    return x.rolling({dim: 2}).construct("window", fill_value=0).sum("window")


def _anomaly(_, x):
    groups = x.groupby("parity")
    return groups - groups.mean()


def _over_all(_, x, name, dims):
    return getattr(x, name)(list(dims))


def _apply(_, x, dim):
    lazy = x.chunk({dim: -1}) if x.chunks else x
    return xr.apply_ufunc(
        total, lazy, input_core_dims=[[dim]], dask="parallelized", output_dtypes=[x.dtype]
    )


def _weighted(_, x, y, dim):
    return x.weighted(abs(y) + 1).mean(dim)


_JOIN = {"join": "inner", "coords": "minimal", "compat": "override"}

#: Steps on labelled arrays, by name.
LABELLED: dict[str, Callable[..., Any]] = {
    "x negative": lambda _, x: -x,
    "x clip": lambda _, x: x.where(x > 0, 0),
    "x astype": lambda _, x, dtype: x.astype(dtype),
    "x add": lambda _, x, y: x + y,
    "x subtract": lambda _, x, y: x - y,
    "x multiply": lambda _, x, y: x * y,
    "x where": lambda _, x, y: xr.where(x > y, x, y, keep_attrs=False),
    "x reduce": _over_all,
    "x cumsum": lambda _, x, dim: x.cumsum(dim),
    "x argmax": lambda _, x, dim: x.argmax(dim),
    "x isel": lambda _, x, indexers: x.isel(dict(indexers)),
    "x vectorized": lambda _, x: x.isel(
        y=xr.DataArray([0, 2, 1], dims="point"), x=xr.DataArray([1, 0, 3], dims="point")
    ),
    "x rolling": _rolling_mean,
    "x windows": _windows,
    "x shift": lambda _, x, dim: x.shift({dim: 1}, fill_value=0),
    "x diff": lambda _, x, dim: x.diff(dim),
    "x coarsen": lambda _, x, dim: x.coarsen({dim: 2}, boundary="trim").mean(),
    "x concat": lambda _, x, y, dim: xr.concat([x, y], dim, **_JOIN),
    "x stack": lambda _, x, y: xr.concat([x, y], "member", **_JOIN).mean("member"),
    "x transpose": lambda _, x: x.transpose(),
    "x chunk": lambda _, x, chunks: x.chunk(dict(chunks)) if x.chunks else x,
    "x groupby": lambda _, x: x.groupby("parity").mean(),
    "x anomaly": _anomaly,
    "x weighted": _weighted,
    "x dot": lambda _, x, y, dim: xr.dot(x, y, dim=dim),
    "x apply": _apply,
    "x interp": lambda _, x: x.interp(y=[0.25, 1.5]),
}
