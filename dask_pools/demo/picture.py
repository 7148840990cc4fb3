"""The demo's map: the result as a picture, for which matplotlib is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dask_pools.demo.data import HEIGHT, HEIGHTS, UNITS, FloatField

_INCHES, _DPI = (10.0, 5.0), 130
_INK, _FAINT = "#24292f", "#6b7280"


def draw_map(
    path: Path, field: FloatField, latitude: FloatField, longitude: FloatField, note: str = ""
) -> None:
    """Draw the difference between forecast and observations as a map, and save it as a PNG.

    Parameters
    ----------
    path : Path
        Where to save it.
    field : ndarray of shape (latitude, longitude)
        The difference in kelvin.
    latitude, longitude : ndarray
        Degrees north and east.
    note : str
        A line under the title.
    """
    # The classes are used and not pyplot: nothing of the caller's matplotlib is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    limit = _round_limit(field)
    mesh = axes.pcolormesh(
        longitude, latitude, field, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True
    )
    steps = np.linspace(-limit, limit, 9)
    axes.contour(longitude, latitude, field, levels=steps, colors=_INK, linewidths=0.4, alpha=0.45)
    axes.set(xlim=(-180, 180), ylim=(-90, 90), aspect="equal")
    axes.xaxis.set_major_locator(MultipleLocator(60))
    axes.yaxis.set_major_locator(MultipleLocator(30))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _degrees(x, "E", "W")))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _degrees(y, "N", "S")))
    axes.tick_params(length=0, pad=6, colors=_FAINT, labelsize=9)
    axes.grid(color="white", linewidth=0.6, alpha=0.6)
    for spine in axes.spines.values():
        spine.set(color="#d1d5db")
    bar = figure.colorbar(mesh, ax=axes, shrink=0.82, pad=0.02, aspect=28, ticks=steps[::2])
    bar.set_label(f"forecast − observations ({UNITS})", color=_INK)
    bar.outline.set(color="#d1d5db")
    bar.ax.tick_params(length=0, colors=_FAINT, labelsize=9)
    title = f"Ensemble mean less observations: air temperature at {HEIGHTS[HEIGHT]} m"
    axes.set_title(title, loc="left", color=_INK, fontsize=13, pad=24 if note else 10)
    axes.text(0, 1.025, note, transform=axes.transAxes, color=_FAINT, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _round_limit(field: FloatField) -> float:
    """Choose a round number that all but the most extreme values stay below.

    Examples
    --------
    >>> _round_limit(np.array([[-3.2, 1.0]]))
    4.0
    """
    extreme = float(np.nanpercentile(np.abs(field), 99.8))
    return max(0.5, float(np.ceil(extreme * 2) / 2) if extreme < 1 else float(np.ceil(extreme)))


def _degrees(value: float, positive: str, negative: str) -> str:
    """Write a latitude or a longitude.

    Examples
    --------
    >>> _degrees(-60, "E", "W"), _degrees(0, "N", "S")
    ('60°W', '0°')
    """
    side = positive if value > 0 else negative if value < 0 else ""
    return f"{abs(value):g}°{side}"
