"""Data frames of two sites, on disk, and what their tasks say of pools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.typing import Key
from distributed.protocol import deserialize, serialize

from dask_pools.graph import adapter
from dask_pools.model import Pin

ROWS, PARTS = 600, 6


def table(seed: int) -> pd.DataFrame:
    """Observations of some stations; no two rows of a value."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "station": rng.integers(0, 20, ROWS),
            "t": rng.random(ROWS),
            "wind": rng.random(ROWS),
            "name": rng.choice(["Bologna", "Darmstadt"], ROWS),
        }
    )


def write(directory: Path, seed: int) -> Path:
    """Write a table as parquet (plain, and sorted by station) and CSV; return the directory."""
    directory.mkdir()
    whole = table(seed)
    with dask.config.set(scheduler="synchronous"):
        dd.from_pandas(whole, npartitions=PARTS).to_parquet(
            str(directory / "plain"), write_index=False
        )
        dd.from_pandas(whole.set_index("station").sort_index(), npartitions=PARTS).to_parquet(
            str(directory / "sorted")
        )
        dd.from_pandas(whole, npartitions=PARTS).to_csv(str(directory / "part-*.csv"), index=False)
    return directory


def sent(expression: Any) -> Any:
    """Return an expression as it comes to a scheduler."""
    message: Any = serialize(expression, on_error="raise")
    return deserialize(*message)


def arrived(x: Any) -> tuple[dict[Key, Any], dict[Key, Pin]]:
    """Return the tasks of a frame, and their pins, as they are found on a scheduler."""
    tasks = adapter.as_tasks(dict(sent(x.expr.optimize(fuse=True)).__dask_graph__()))
    left, taken = adapter.take_pins(tasks)
    return left, taken.pins


def pins_of(x: Any) -> dict[str, set[Pin | None]]:
    """Return the pins of the tasks of a frame by the kinds of these."""
    tasks, pins = arrived(x)
    found: dict[str, set[Pin | None]] = {}
    for key in tasks:
        found.setdefault(adapter.kind_of(key), set()).add(pins.get(key))
    return found
