"""A library of realistic computations over data in several places, for tests and benchmarks.

Each problem writes its own data into one directory per pool, opens it with plain xarray or
dask inside ``with pool(...)``, and returns one lazy collection that knows nothing of places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from dask_pools import pool

Directories = Mapping[str, Path]


@dataclass(frozen=True)
class Problem:
    """A computation over data in several places.

    Parameters
    ----------
    name : str
        Used in the names of tests and in tables.
    pools : tuple of str
        Where its data is.
    write : callable
        Writes the data: ``write(directories, scale)``; the bytes grow with the scale.
    build : callable
        Opens the data, pinned, and returns the lazy result.
    """

    name: str
    pools: tuple[str, ...]
    write: Callable[[Directories, int], None]
    build: Callable[[Directories], Any]


PROBLEMS: dict[str, Problem] = {}


def problem(
    write: Callable[[Directories, int], None], *pools: str
) -> Callable[[Callable[[Directories], Any]], Callable[[Directories], Any]]:
    """Add a function that builds a computation to the library, under its own name."""

    def add(build: Callable[[Directories], Any]) -> Callable[[Directories], Any]:
        name = build.__name__.replace("_", "-")
        PROBLEMS[name] = Problem(name, pools, write, build)
        return build

    return add


def field(seed: int, **sizes: int) -> xr.DataArray:
    """Make a field of random numbers with coordinates."""
    values = np.random.default_rng(seed).random(tuple(sizes.values()), dtype=np.float32)
    coordinates: dict[str, Any] = {dim: np.arange(n, dtype=float) for dim, n in sizes.items()}
    return xr.DataArray(values, coords=coordinates, dims=list(sizes), name="t")


def store(array: xr.DataArray, path: Path, **chunks: int) -> None:
    """Write an array as zarr, in chunks."""
    shape = tuple(chunks.get(str(dim), n) for dim, n in array.sizes.items())
    array.to_dataset().to_zarr(
        path, encoding={"t": {"chunks": shape}}, mode="w", consolidated=False
    )


def read(name: str, path: Path) -> xr.DataArray:
    """Open a stored array, where it lives."""
    with pool(name):
        return xr.open_zarr(path, consolidated=False)["t"]


# ---- the computation of the origin


def write_forecast(directories: Directories, scale: int) -> None:
    ensemble = field(0, realization=18, height=11, latitude=20 * scale, longitude=40 * scale)
    store(ensemble, directories["ecmwf"] / "ensemble.zarr", realization=6, height=4)
    observed = field(1, latitude=20 * scale, longitude=40 * scale)
    observed.to_netcdf(directories["eumetsat"] / "observed.nc")


@problem(write_forecast, "ecmwf", "eumetsat")
def forecast_against_observations(directories: Directories) -> xr.DataArray:
    """Compare the mean of an ensemble with observations made elsewhere."""
    predictions = read("ecmwf", directories["ecmwf"] / "ensemble.zarr")
    with pool("eumetsat"):
        observations = xr.open_dataset(directories["eumetsat"] / "observed.nc", chunks={})["t"]
    return predictions.mean("realization").isel(height=10) - observations


# ---- archives


def write_archives(directories: Directories, scale: int) -> None:
    for seed, (name, start) in enumerate([("ecmwf", "2000-01-01"), ("eumetsat", "2004-01-01")]):
        archive = field(seed, time=48, latitude=20 * scale, longitude=20 * scale)
        archive["time"] = np.datetime64(start, "M").astype("M8[M]") + np.arange(48)
        archive["time"] = archive["time"].astype("M8[ns]")
        store(archive, directories[name] / "archive.zarr", time=12)


def joined(directories: Directories) -> xr.DataArray:
    """Join the archives of two pools in time."""
    parts = [read(name, directories[name] / "archive.zarr") for name in ("ecmwf", "eumetsat")]
    return xr.concat(parts, "time")


@problem(write_archives, "ecmwf", "eumetsat")
def climatology_of_archives(directories: Directories) -> xr.DataArray:
    """Take the mean of each calendar month over archives held in two places."""
    years = joined(directories).drop_vars("time").coarsen(time=12)
    return years.construct(time=("year", "month")).mean("year")


@problem(write_archives, "ecmwf", "eumetsat")
def climatology_by_groups(directories: Directories) -> xr.DataArray:
    """Take the same means as xarray groups them: each month of all years in one block."""
    return joined(directories).groupby("time.month").mean()


@problem(write_archives, "ecmwf", "eumetsat")
def rolling_over_a_seam(directories: Directories) -> xr.DataArray:
    """Take running means in time; a few windows reach from one archive into the other."""
    return joined(directories).rolling(time=3).mean().max(["latitude", "longitude"])


# ---- grids


def write_grids(directories: Directories, scale: int) -> None:
    coarse = field(0, time=4, latitude=8 * scale, longitude=8 * scale)
    store(coarse, directories["eumetsat"] / "coarse.zarr", time=1)
    fine = field(1, time=4, latitude=32 * scale, longitude=32 * scale)
    for dim in ("latitude", "longitude"):
        fine[dim] = fine[dim] / 4
    store(fine, directories["ecmwf"] / "fine.zarr", time=1)


@problem(write_grids, "ecmwf", "eumetsat")
def upsampled_then_rmse(directories: Directories) -> xr.DataArray:
    """Bring a coarse field to the fine grid of another pool, and compare."""
    coarse = read("eumetsat", directories["eumetsat"] / "coarse.zarr")
    fine = read("ecmwf", directories["ecmwf"] / "fine.zarr")
    upsampled = coarse.sel(latitude=fine.latitude, longitude=fine.longitude, method="nearest")
    difference = upsampled.drop_vars(["latitude", "longitude"]) - fine.drop_vars(
        ["latitude", "longitude"]
    )
    return np.sqrt((difference**2).mean(["latitude", "longitude"]))


# ---- an index


def write_index(directories: Directories, scale: int) -> None:
    series = field(0, time=48, latitude=16 * scale, longitude=16 * scale)
    store(series, directories["ecmwf"] / "series.zarr", time=12)
    store(field(1, time=48), directories["eumetsat"] / "index.zarr", time=12)


@problem(write_index, "ecmwf", "eumetsat")
def index_against_field(directories: Directories) -> xr.DataArray:
    """Regress a field on an index in time that another centre publishes."""
    series = read("ecmwf", directories["ecmwf"] / "series.zarr")
    index = read("eumetsat", directories["eumetsat"] / "index.zarr")
    anomaly = index - index.mean("time")
    return (series * anomaly).mean("time") / (anomaly**2).mean("time")


# ---- three centres


def write_models(directories: Directories, scale: int) -> None:
    for seed, name in enumerate(("ecmwf", "eumetsat", "metoffice")):
        model = field(seed, time=8, latitude=16 * scale, longitude=16 * scale)
        store(model, directories[name] / "model.zarr", time=2)


@problem(write_models, "ecmwf", "eumetsat", "metoffice")
def mean_of_three_models(directories: Directories) -> xr.DataArray:
    """Average the models of three centres, each first in time."""
    names = ("ecmwf", "eumetsat", "metoffice")
    models = [read(name, directories[name] / "model.zarr") for name in names]
    return xr.concat([model.mean("time") for model in models], "model").mean("model")


# ---- linear algebra


def write_matrix(directories: Directories, scale: int) -> None:
    states = field(0, time=16, point=800 * scale)
    store(states, directories["ecmwf"] / "states.zarr", time=4, point=400 * scale)
    store(field(1, point=800 * scale, mode=4), directories["eumetsat"] / "modes.zarr")


@problem(write_matrix, "ecmwf", "eumetsat")
def projected_on_modes(directories: Directories) -> xr.DataArray:
    """Project states on a few modes that another centre has found."""
    states = read("ecmwf", directories["ecmwf"] / "states.zarr")
    modes = read("eumetsat", directories["eumetsat"] / "modes.zarr")
    product = da.tensordot(states.data, modes.data, axes=[[1], [0]])
    return xr.DataArray(product, dims=["time", "mode"])


# ---- delayed functions


def write_files(directories: Directories, scale: int) -> None:
    for name in ("ecmwf", "eumetsat"):
        for i in range(4):
            values = field(i + 10 * (name == "ecmwf"), x=200 * scale, y=40 * scale).values
            np.save(directories[name] / f"{i}.npy", values)


def load(path: Path) -> np.ndarray:
    """Read one file; fails where the file cannot be seen."""
    return np.load(path)


@problem(write_files, "ecmwf", "eumetsat")
def delayed_pipeline(directories: Directories) -> da.Array:
    """Read files by delayed functions, and combine them as arrays."""
    parts = {}
    for name in ("ecmwf", "eumetsat"):
        with pool(name):
            loaded = [dask.delayed(load)(directories[name] / f"{i}.npy") for i in range(4)]
        shape = np.load(directories[name] / "0.npy", mmap_mode="r").shape
        parts[name] = da.stack([da.from_delayed(x, shape, np.float32) for x in loaded])
    return parts["ecmwf"].max(axis=0) - parts["eumetsat"].min(axis=0)
