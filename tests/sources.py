"""Inputs of random computations: small data that knows in which pools it may be read.

Whatever reads such an input asks in which pool it runs, and fails in any other one. Outside
of a cluster a test says so by `running_in`; where nothing was said, all is allowed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.delayed import delayed
from distributed import get_worker

#: The pool of the task that is being run here; None where nobody knows.
_HERE: ContextVar[str | None] = ContextVar("here", default=None)


@contextlib.contextmanager
def running_in(place: str) -> Iterator[None]:
    """Say in which pool tasks are run from here on."""
    token = _HERE.set(place)
    try:
        yield
    finally:
        _HERE.reset(token)


def require(pools: tuple[str, ...]) -> None:
    """Fail if this runs in another pool than these; workers are called <pool>-<number>."""
    try:
        here = get_worker().name.rpartition("-")[0]
    except ValueError:
        here = _HERE.get()
    if pools and here is not None and here not in pools:
        raise AssertionError(f"data of {pools} is read in {here}")


def values(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Make whole numbers: their sums and products are exact, in whatever order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


@dataclass(frozen=True)
class Store:
    """What `da.from_array` reads slice by slice, as it does a zarr array or a netCDF variable."""

    seed: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pools: tuple[str, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        require(self.pools)
        return values(self.seed, self.shape, str(self.dtype))[index]


def read_block(seed, shape, dtype, pools, block_info=None):
    require(pools)
    where = tuple(slice(*ends) for ends in block_info[None]["array-location"])
    return values(seed, shape, dtype)[where]


def read_piece(seed, shape, dtype, pools, start, stop):
    require(pools)
    return values(seed, shape, dtype)[start:stop]


def source(
    kind: str,
    seed: int,
    shape: tuple[int, ...],
    chunks: tuple[tuple[int, ...], ...],
    dtype: str,
    pools: tuple[str, ...],
) -> da.Array:
    """Make an input: the same numbers whatever its kind, but for the kind "ones"."""
    if kind == "ones":
        return da.ones(shape, chunks=chunks, dtype=dtype)
    if kind == "numpy":
        return da.from_array(values(seed, shape, dtype), chunks=chunks)
    if kind in ("store", "inline"):
        store = Store(seed, shape, np.dtype(dtype), pools)
        return da.from_array(store, chunks=chunks, asarray=True, inline_array=kind == "inline")
    if kind == "blocks":
        arguments = (seed, shape, dtype, pools)
        meta = np.empty((0,) * len(shape), dtype)
        return da.map_blocks(read_block, *arguments, chunks=chunks, dtype=dtype, meta=meta)
    stops = np.cumsum(chunks[0]).tolist()
    pieces = [
        da.from_delayed(
            delayed(read_piece, pure=True)(seed, shape, dtype, pools, start, stop),
            (stop - start, *shape[1:]),
            dtype,
        )
        for start, stop in zip([0, *stops], stops, strict=False)
    ]
    return da.concatenate(pieces)


def numbers(kind: str, seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Tell what an input holds."""
    return np.ones(shape, dtype) if kind == "ones" else values(seed, shape, dtype)


SOURCES = ("store", "inline", "blocks", "delayed", "numpy", "ones")


def synchronously(*collections: Any) -> tuple[Any, ...]:
    """Compute without any worker."""
    return dask.compute(*collections, scheduler="synchronous")
