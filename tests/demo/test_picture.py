"""The map of the demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dask_pools.demo.data import grid
from dask_pools.demo.picture import draw_map

pyplot = pytest.importorskip("matplotlib.pyplot")


def test_map_is_a_png_in_the_colours_of_the_field(tmp_path: Path) -> None:
    latitude, longitude = grid(0.01).coordinates()
    field = np.where(longitude > 0, 2.0, -2.0) * np.ones((len(latitude), 1))
    draw_map(tmp_path / "map.png", field, latitude, longitude, "a note")
    image = pyplot.imread(tmp_path / "map.png")
    height, width = image.shape[:2]
    west, east = (image[height // 3, int(width * x), :3] for x in (0.2, 0.7))
    assert west[2] > west[0]  # blue where the forecast is too cold
    assert east[0] > east[2]  # red where it is too warm


def test_drawing_leaves_the_callers_figures_alone(tmp_path: Path) -> None:
    latitude, longitude = grid(0.01).coordinates()
    draw_map(tmp_path / "map.png", np.zeros((len(latitude), len(longitude))), latitude, longitude)
    assert pyplot.get_fignums() == []
