"""How large the parts of a data frame will be, by the sizes of the files from which it is read.

They are for the choice of places only: frames of two pools are compared with each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from dask._task_spec import Task

#: Bytes in memory for each byte of a parquet file. A guess: numbers shrink little, names a lot.
EXPANSION = 2.0

#: Under this name the bytes of files for each part are in what Dask knows of a data set.
PART_SIZES = "dask_pools_part_sizes"


def part_sizes(info: Mapping[str, Any]) -> list[float]:
    """Share out the bytes of parquet files among the parts of a frame.

    Parameters
    ----------
    info : mapping
        What Dask knows of a data set that is read through fsspec.

    Returns
    -------
    list of float
        Bytes for each part; empty if the files cannot be asked for.
    """
    if PART_SIZES in info:
        known: list[float] = info[PART_SIZES]
        return known
    plan = info["plan"]
    parts = [] if plan["empty"] else [_paths(part) for part in plan["parts"]]
    users = Counter(path for paths in parts for path in paths)
    try:
        sizes = {path: info["fs"].size(path) or 0 for path in users}
    except OSError:
        return []
    return [sum(sizes[path] / users[path] for path in paths) for paths in parts]


def _paths(part: Any) -> list[str]:
    pieces = part if isinstance(part, list) else [part]
    return [piece["piece"][0] for piece in pieces]


def in_memory(nbytes: float, columns: Collection[str], of_all: Collection[str]) -> float:
    """Estimate the bytes in memory of some of the columns of a parquet file.

    Examples
    --------
    >>> in_memory(1000, ["t"], ["t", "wind"])
    1000.0
    """
    return nbytes * EXPANSION * min(len(columns) / max(len(of_all), 1), 1.0)


def block_nbytes(block: Any) -> float | None:
    """Return the bytes of a block of a text file, which are about as many in memory."""
    if not isinstance(block, Task) or getattr(block.func, "__name__", "") != "read_block_from_file":
        return None
    nbytes = block.args[2]
    return None if nbytes is None else float(nbytes)
