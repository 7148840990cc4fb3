"""The data of the demo: shape, coordinates, weather."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dask_pools.demo import data

pytest.importorskip("netCDF4")

SCALE = 0.005


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    data.write_forecast(data.forecast_path(path), SCALE)
    data.write_observations(data.observations_path(path), SCALE)
    return path


def test_size_follows_the_scale() -> None:
    for scale in (0.01, 0.1, 1.0, 10.0):
        assert data.grid(scale).nbytes == pytest.approx(300e6 * scale, rel=0.05)


@pytest.mark.parametrize("scale", [1e-9, 0.01, 1.0, 10.0, 300.0])
def test_blocks_are_a_few_megabytes_at_most(scale: float) -> None:
    grid = data.grid(scale)
    assert 4 * np.prod(grid.chunks) <= 8e6
    assert all(chunk <= length for chunk, length in zip(grid.chunks, grid.shape, strict=True))


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_scale_has_to_be_a_positive_number(scale: float) -> None:
    with pytest.raises(ValueError, match="positive number, not"):
        data.grid(scale)


def test_forecast_has_the_shape_of_the_ensemble(directory: Path) -> None:
    forecast = xr.open_zarr(data.forecast_path(directory))
    grid = data.grid(SCALE)
    assert dict(forecast.sizes) == {
        "realization": 18,
        "height": 33,
        "latitude": grid.latitudes,
        "longitude": grid.longitudes,
    }
    assert forecast[data.VARIABLE].dtype == np.float32
    assert forecast[data.VARIABLE].data.chunksize == grid.chunks


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("air_temperature", {"standard_name": "air_temperature", "units": "K"}),
        ("realization", {"standard_name": "realization", "axis": "E"}),
        ("height", {"standard_name": "height", "units": "m", "positive": "up", "axis": "Z"}),
        ("latitude", {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}),
        ("longitude", {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}),
        ("time", {"standard_name": "time"}),
    ],
)
def test_coordinates_have_the_attributes_of_cf(
    directory: Path, name: str, attributes: dict[str, str]
) -> None:
    forecast = xr.open_zarr(data.forecast_path(directory))
    observations = xr.open_dataset(data.observations_path(directory))
    for dataset in (forecast, observations):
        if name in dataset.variables:
            assert attributes.items() <= dataset[name].attrs.items()


def test_observations_are_on_the_grid_and_height_of_the_forecast(directory: Path) -> None:
    forecast = xr.open_zarr(data.forecast_path(directory)).isel(height=data.HEIGHT)
    observations = xr.open_dataset(data.observations_path(directory))
    for name in ("latitude", "longitude", "height", "time"):
        assert forecast[name].variable.equals(observations[name].variable)


def test_temperature_is_smooth_and_like_the_earths(directory: Path) -> None:
    field = xr.open_zarr(data.forecast_path(directory))[data.VARIABLE].isel(realization=0)
    assert 200 < float(field.min()) < float(field.max()) < 330
    # White noise would change as much from point to point as over the whole field.
    steps = field.diff("longitude")
    assert float(abs(steps).max()) < 0.2 * float(field.max() - field.min())


def test_realizations_differ_but_agree_on_the_weather(directory: Path) -> None:
    field = xr.open_zarr(data.forecast_path(directory))[data.VARIABLE].isel(height=data.HEIGHT)
    spread = float(field.std("realization").mean())
    assert 0.1 < spread < 0.3 * float(field.mean("realization").std())


def test_same_seed_gives_the_same_weather_and_another_another(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        data.write_forecast(tmp_path / name, SCALE, seed)
    a, b, c = (xr.open_zarr(tmp_path / name)[data.VARIABLE].values for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1


def test_progress_is_reported_for_every_block(tmp_path: Path) -> None:
    reports: list[None] = []
    grid = data.write_forecast(tmp_path / "x", SCALE, on_block=lambda: reports.append(None))
    assert len(reports) == grid.blocks == 54


def test_bands_of_latitude_make_one_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.write_forecast(tmp_path / "whole", SCALE)
    monkeypatch.setattr(data, "_BLOCK_BYTES", 10e3)
    grid = data.write_forecast(tmp_path / "bands", SCALE)
    assert grid.band < grid.latitudes
    whole, bands = (xr.open_zarr(tmp_path / name).load() for name in ("whole", "bands"))
    xr.testing.assert_identical(whole, bands)


def test_expected_difference_is_that_of_xarray(directory: Path) -> None:
    forecast = xr.open_zarr(data.forecast_path(directory))[data.VARIABLE].load()
    observations = xr.open_dataset(data.observations_path(directory))[data.VARIABLE].load()
    difference = forecast.astype("float64").mean("realization")[data.HEIGHT] - observations
    np.testing.assert_allclose(data.expected_difference(directory), difference, atol=1e-9)


def test_existing_forecast_is_not_overwritten(directory: Path) -> None:
    with pytest.raises(FileExistsError):
        data.write_forecast(data.forecast_path(directory), SCALE)
