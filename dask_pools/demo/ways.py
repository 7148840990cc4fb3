"""The ways in which the demo runs its computation: with stock Dask, and with pools.

The computation (`difference`) is the same in all of them; they differ in how the data is
opened, and in what is said about where tasks run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import dask
import xarray as xr

from dask_pools.demo.data import (
    FORECAST_POOL,
    HEIGHT,
    OBSERVATIONS_POOL,
    forecast_path,
    observations_path,
)
from dask_pools.graph.annotate import pool
from dask_pools.model import restriction
from dask_pools.propagate import propagate_pools

#: The pool where the scientist is; it has no data.
CLIENT_POOL = "client"

#: Says for the name of a pool how to open data there.
Opener = Callable[[str], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run the computation.

    Parameters
    ----------
    name : str
        What the table calls it.
    compute : callable
        Takes the directory of the data, returns the result.
    prepare : callable
        Takes the directory of the data, returns the result as a lazy dataset. It is not timed.
    """

    name: str
    prepare: Callable[[Path], xr.Dataset]
    compute: Callable[[xr.Dataset], xr.Dataset]


def open_data(directory: Path, at: Opener) -> tuple[xr.Dataset, xr.Dataset]:
    """Open the forecast and the observations, each at its home.

    Parameters
    ----------
    directory : Path
        Where the demo's data is.
    at : callable
        Takes the name of a pool; the data is opened inside the context that it returns.
    """
    with at(FORECAST_POOL):
        predictions = xr.open_zarr(forecast_path(directory))
    with at(OBSERVATIONS_POOL):
        observations = xr.open_dataset(observations_path(directory), chunks={})
    return predictions, observations


def difference(predictions: xr.Dataset, observations: xr.Dataset) -> xr.Dataset:
    """Compare the mean of an ensemble with what was observed. It knows nothing of places."""
    return predictions.mean("realization").isel(height=HEIGHT) - observations


def _resources(name: str) -> AbstractContextManager[object]:
    return cast(
        AbstractContextManager[object],
        dask.annotate(resources=restriction(name)),  # type: ignore[attr-defined]
    )


def _unfused(name: str) -> AbstractContextManager[object]:
    # Stock Dask fuses layers whose resources differ, into tasks that need both pools and never
    # run. It does not fuse what has another annotation that differs.
    return cast(
        AbstractContextManager[object],
        dask.annotate(resources=restriction(name), site=name),  # type: ignore[attr-defined]
    )


def _without_linear_fusion(x: xr.Dataset) -> xr.Dataset:
    # Linear fusion drops all annotations, so that pinned reads would run anywhere. This reaches
    # the scheduler because it is in this process.
    with dask.config.set({"optimization.fuse.active": False}):
        return x.compute()


def _open_pinned(directory: Path) -> xr.Dataset:
    return difference(*open_data(directory, _unfused))


def _open_gathering(directory: Path) -> xr.Dataset:
    data = open_data(directory, _unfused)
    with _unfused(CLIENT_POOL):
        return difference(*data)


def _compute_gathered(x: xr.Dataset) -> xr.Dataset:
    with _unfused(CLIENT_POOL):
        return _without_linear_fusion(x)


def _open_in_pools(directory: Path) -> xr.Dataset:
    return difference(*open_data(directory, pool))


def _compute_in_pools(x: xr.Dataset) -> xr.Dataset:
    with propagate_pools():
        return x.compute()


def _open_annotated(directory: Path) -> xr.Dataset:
    return difference(*open_data(directory, _resources))


GATHERED = Way("everything gathered at the client", _open_gathering, _compute_gathered)
PINNED = Way("stock Dask, reads pinned by hand", _open_pinned, _without_linear_fusion)
POOLS = Way("dask_pools", _open_in_pools, _compute_in_pools)
#: Stock Dask in its default configuration loses the annotations when it optimises.
DEFAULT = Way("stock Dask as it comes", _open_annotated, xr.Dataset.compute)

WAYS = (GATHERED, PINNED, POOLS, DEFAULT)
