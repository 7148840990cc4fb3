"""The data of the demo: an ensemble forecast in one pool's directory, observations in another's.

The forecast has the shape of the Met Office's global ensemble MOGREPS-G: 18 realizations on
33 heights. Both fields are sums of a few planetary waves around a mean that falls towards the
poles and with height, so that they are smooth and the same seed gives the same numbers.
They are written block by block: no more than one block is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

#: The pools that hold the data.
FORECAST_POOL = "ecmwf"
OBSERVATIONS_POOL = "eumetsat"

#: The physical quantity of both data sets.
VARIABLE = "air_temperature"
UNITS = "K"
REALIZATIONS = 18
#: Metres above ground: the height levels of the Met Office's standard post-processing.
HEIGHTS = (
    *(5, 10, 20, 30, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 1000),
    *(1250, 1500, 1750, 2000, 2250, 2500, 2750, 3000, 3250, 3500, 3750, 4000),
    *(4500, 5000, 5500, 6000),
)
#: Index of the height which is compared with the observations: 300 m.
HEIGHT = 10

#: Bytes of the forecast at scale 1.
_FORECAST_BYTES = 300e6
#: A block holds one realization, a third of the heights and at most this many bytes.
_BLOCK_BYTES = 8e6
_HEIGHTS_PER_BLOCK = 11
_WAVES = 12
_ITEMSIZE = 4
_TIME = np.datetime64("2024-06-21T12:00:00", "ns")
_LEAD = np.timedelta64(24, "h")

FloatField = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """The shape of a forecast and of its blocks.

    Parameters
    ----------
    latitudes, longitudes : int
        Number of points in each direction.
    band : int
        Number of latitudes in one block.
    """

    latitudes: int
    longitudes: int
    band: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Length of realization, height, latitude and longitude."""
        return (REALIZATIONS, len(HEIGHTS), self.latitudes, self.longitudes)

    @property
    def chunks(self) -> tuple[int, int, int, int]:
        """Length of a block along realization, height, latitude and longitude."""
        return (1, _HEIGHTS_PER_BLOCK, self.band, self.longitudes)

    @property
    def blocks(self) -> int:
        """Number of blocks of the forecast."""
        return math.prod(math.ceil(n / c) for n, c in zip(self.shape, self.chunks, strict=True))

    @property
    def nbytes(self) -> int:
        """Size of the forecast in bytes."""
        return math.prod(self.shape) * _ITEMSIZE

    def coordinates(self) -> tuple[FloatField, FloatField]:
        """Latitudes and longitudes of the points, in degrees, at the centres of the cells."""
        latitude = (np.arange(self.latitudes) + 0.5) * 180 / self.latitudes - 90
        longitude = (np.arange(self.longitudes) + 0.5) * 360 / self.longitudes - 180
        return latitude, longitude


def grid(scale: float = 1.0) -> Grid:
    """Choose the grid of a forecast of about 300 MB times a scale.

    Parameters
    ----------
    scale : float
        Size of the forecast; 1 is about 300 MB, 0.01 about 3 MB.

    Raises
    ------
    ValueError
        If the scale is not a positive, finite number.

    Examples
    --------
    >>> grid(1.0)
    Grid(latitudes=308, longitudes=410, band=308)
    >>> grid(0.01).nbytes / 1e6
    3.0
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"the scale of the demo's data is a positive number, not {scale!r}")
    points = _FORECAST_BYTES * scale / (REALIZATIONS * len(HEIGHTS) * _ITEMSIZE)
    latitudes = max(6, round(math.sqrt(points * 3 / 4)))
    longitudes = max(8, round(math.sqrt(points * 4 / 3)))
    rows = int(_BLOCK_BYTES // (longitudes * _HEIGHTS_PER_BLOCK * _ITEMSIZE))
    bands = math.ceil(latitudes / max(1, rows))
    return Grid(latitudes, longitudes, band=math.ceil(latitudes / bands))


def forecast_path(directory: Path) -> Path:
    """Path of the forecast below the directory of all of the demo's data."""
    return directory / FORECAST_POOL / "predictions.zarr"


def observations_path(directory: Path) -> Path:
    """Path of the observations below the directory of all of the demo's data."""
    return directory / OBSERVATIONS_POOL / "observations.nc"


def write_forecast(
    path: Path,
    scale: float = 1.0,
    seed: int = 0,
    on_block: Callable[[], object] = lambda: None,
) -> Grid:
    """Write the ensemble forecast as a zarr store.

    Parameters
    ----------
    path : Path
        The store to make; its parent directories are made too.
    scale : float
        Size; see `grid`.
    seed : int
        The same seed gives the same weather.
    on_block : callable
        Called without arguments after each block is written.

    Returns
    -------
    Grid
        The shape that was written.
    """
    shape = grid(scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    _forecast_frame(shape).to_zarr(path, mode="w-", zarr_format=2, consolidated=True)
    array = zarr.open_group(path, mode="r+").create_array(
        VARIABLE,
        shape=shape.shape,
        chunks=shape.chunks,
        dtype="float32",
        fill_value=np.nan,
        # The store is read three times on the same two cores as everything else.
        compressors=None,
        attributes={
            "_ARRAY_DIMENSIONS": ["realization", "height", "latitude", "longitude"],
            "coordinates": "forecast_period forecast_reference_time time",
            **_attributes("ensemble forecast of the air temperature"),
        },
    )
    latitude, longitude = shape.coordinates()
    for realization in range(REALIZATIONS):
        weather = _Weather(seed, realization)
        for south in range(0, shape.latitudes, shape.band):
            band = slice(south, south + shape.band)
            for low in range(0, len(HEIGHTS), _HEIGHTS_PER_BLOCK):
                levels = slice(low, low + _HEIGHTS_PER_BLOCK)
                block = weather.temperature(np.array(HEIGHTS[levels]), latitude[band], longitude)
                array[realization, levels, band] = block.astype("float32")
                on_block()
    zarr.consolidate_metadata(path, zarr_format=2)
    return shape


def write_observations(path: Path, scale: float = 1.0, seed: int = 0) -> None:
    """Write the observed temperature at one height as a netCDF file on the forecast's grid.

    Parameters
    ----------
    path : Path
        The file to make; its parent directories are made too.
    scale, seed : float, int
        Those of the forecast with which it is to be compared.
    """
    shape = grid(scale)
    latitude, longitude = shape.coordinates()
    field = _Weather(seed, None).temperature(
        np.array(HEIGHTS[HEIGHT : HEIGHT + 1]), latitude, longitude
    )
    observations = _frame(shape).assign_coords(height=_height(HEIGHTS[HEIGHT]))
    observations[VARIABLE] = (
        ("latitude", "longitude"),
        field[0].astype("float32"),
        _attributes("air temperature retrieved from satellites"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    observations.to_netcdf(
        path, engine="netcdf4", encoding={VARIABLE: {"chunksizes": shape.chunks[2:]}}
    )


def expected_difference(directory: Path) -> FloatField:
    """Compute the demo's result from the files with plain numpy, without Dask and xarray.

    Returns
    -------
    ndarray of shape (latitude, longitude)
        Mean of the realizations at one height, less the observations, in kelvin.
    """
    import netCDF4

    forecast = zarr.open_array(forecast_path(directory) / VARIABLE, mode="r")
    total = np.zeros(forecast.shape[2:])
    for realization in range(forecast.shape[0]):
        total += np.asarray(forecast[realization, HEIGHT])
    with netCDF4.Dataset(observations_path(directory)) as observations:
        observed = np.asarray(observations[VARIABLE][:], dtype="float64")
    difference: FloatField = total / forecast.shape[0] - observed
    return difference


class _Weather:
    """The temperature of one realization (or of the truth, None): a mean and some waves."""

    def __init__(self, seed: int, realization: int | None) -> None:
        common = np.random.default_rng([seed, 0])
        own = np.random.default_rng([seed, 1 if realization is None else 2 + realization])
        number = np.arange(_WAVES)
        self.zonal = 1 + number // 2  # waves around a circle of latitude
        self.meridional = common.integers(1, 5, _WAVES)
        self.amplitude = common.uniform(2.5, 5.0, _WAVES) / np.sqrt(self.zonal)
        self.phase = common.uniform(0, 2 * np.pi, (2, _WAVES))
        self.depth = common.uniform(3e3, 12e3, _WAVES)
        # Forecasts go wrong in the short waves first, and each realization in its own way.
        error = 0.12 * np.sqrt(self.zonal) * (1.6 if realization is None else 1.0)
        self.phase = self.phase + own.normal(0, 1, (2, _WAVES)) * error
        self.amplitude = self.amplitude * (1 + 0.1 * own.normal(0, 1, _WAVES))

    def temperature(
        self, height: NDArray[np.int_], latitude: FloatField, longitude: FloatField
    ) -> FloatField:
        """Return kelvin, of shape (height, latitude, longitude); metres and degrees are given."""
        phi = np.deg2rad(latitude)[:, None]
        lam = np.deg2rad(longitude)[:, None]
        along = np.cos(self.zonal * lam + self.phase[0])
        # cos(phi) keeps a wave from having many values at a pole, where all longitudes meet.
        across = np.cos(phi) ** np.minimum(self.zonal, 3) * np.cos(
            self.meridional * 2 * phi + self.phase[1]
        )
        aloft = self.amplitude * np.exp(-height[:, None] / self.depth)
        waves = np.einsum("zk,yk,xk->zyx", aloft, across, along, optimize=True)
        mean = 300 - 48 * np.sin(phi[:, 0]) ** 2
        result: FloatField = waves + mean[None, :, None] - 6.5e-3 * height[:, None, None]
        return result


def _attributes(long_name: str) -> dict[str, str]:
    return {"standard_name": VARIABLE, "long_name": long_name, "units": UNITS}


def _height(metres: int | tuple[int, ...]) -> xr.Variable:
    attributes = {"standard_name": "height", "units": "m", "axis": "Z", "positive": "up"}
    dimensions = ("height",) if isinstance(metres, tuple) else ()
    return xr.Variable(dimensions, np.array(metres, dtype="float32"), attributes)


def _frame(shape: Grid) -> xr.Dataset:
    """Make the coordinates which the two data sets share, with CF attributes."""
    latitude, longitude = (axis.astype("float32") for axis in shape.coordinates())
    horizontal = {
        "latitude": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
        "longitude": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
    }
    return xr.Dataset(
        coords={
            "latitude": ("latitude", latitude, horizontal["latitude"]),
            "longitude": ("longitude", longitude, horizontal["longitude"]),
            "time": ((), _TIME, {"standard_name": "time"}),
        },
        attrs={"Conventions": "CF-1.11", "source": "synthetic, made by dask-pools demo"},
    )


def _forecast_frame(shape: Grid) -> xr.Dataset:
    realization = {"standard_name": "realization", "units": "1", "axis": "E"}
    return _frame(shape).assign_coords(
        realization=("realization", np.arange(REALIZATIONS, dtype="int32"), realization),
        height=_height(HEIGHTS),
        forecast_period=((), _LEAD, {"standard_name": "forecast_period"}),
        forecast_reference_time=((), _TIME - _LEAD, {"standard_name": "forecast_reference_time"}),
    )
