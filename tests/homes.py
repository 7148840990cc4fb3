"""Data at two sites, and readers that note where they run: what is read away from home is counted.

Workers import this module, so it leaves the heavier imports to those who need them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, get_worker

#: Rows of the field of a site, of one of its files, and its columns.
ROWS, STEP, COLUMNS = 24, 6, 5

#: What was read in this process: the name of the site, and the pool of the reader.
_READS: Counter[tuple[str, str]] = Counter()


def here() -> str | None:
    """Name the pool of the worker that runs this; None where there is none."""
    try:
        return str(get_worker().name).rpartition("-")[0]
    except ValueError:
        return None


def _note(path: Path) -> None:
    pool = here()
    if pool is not None:
        _READS[path.parent.name, pool] += 1


def take_reads(client: Client) -> Counter[tuple[str, str]]:
    """Count what workers have read since the last time, by site and by pool of the reader."""
    total: Counter[tuple[str, str]] = Counter()
    for found in client.run(_take).values():
        total.update(found)
    return total


def _take() -> Counter[tuple[str, str]]:
    taken = _READS.copy()
    _READS.clear()
    return taken


def write(directory: Path, seed: int) -> Path:
    """Write a field, in four files, and four lines of text in two."""
    directory.mkdir()
    values = np.random.default_rng(seed).integers(0, 100, (ROWS, COLUMNS)).astype("f8")
    for start in range(0, ROWS, STEP):
        np.save(directory / f"{start}.npy", values[start : start + STEP])
    for i in range(2):
        lines = [f"{directory.name} {i}", f"{seed} words"]
        (directory / f"{i}.txt").write_text("\n".join(lines))
    return directory


def read(directory: Path, start: int) -> np.ndarray[Any, Any]:
    """Read some rows of the field."""
    path = Path(directory, f"{start}.npy")
    _note(path)
    return np.asarray(np.load(path))


def lines(path: str | Path) -> list[str]:
    """Read the lines of a text."""
    path = Path(path)
    _note(path)
    return path.read_text().splitlines()


class Field:
    """The field as something that can be sliced, as `da.from_array` wants it."""

    shape = (ROWS, COLUMNS)
    dtype = np.dtype("f8")
    ndim = 2

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray[Any, Any]:
        rows, columns = index
        start, stop, _ = rows.indices(ROWS)
        first = start - start % STEP
        parts = [read(self.directory, at) for at in range(first, stop, STEP)]
        return np.concatenate(parts)[start - first : stop - first, columns]


# ---- what is done with it


def total(*values: Any, **more: Any) -> float:
    """Add up all numbers that are given, however deep they are nested."""
    found = 0.0
    for value in (*values, *more.values()):
        if hasattr(value, "data_vars"):
            found += total(*value.data_vars.values())
        elif isinstance(value, dict):
            found += total(*value.values())
        elif isinstance(value, (list, tuple)):
            found += total(*value)
        else:
            found += float(np.sum(np.asarray(value)))
    return found


def add(block: Any, *, other: Any) -> Any:
    return block + other


def dot(x: Any, y: Any) -> Any:
    return (x * y).sum(axis=-1)


def words(line: str) -> int:
    return len(line.split())


def lengths(sofar: int, line: str) -> int:
    return sofar + len(line)


def plus(line: str, number: float) -> float:
    return len(line) + number


def members(group: tuple[int, list[str]]) -> int:
    return group[0] * len(group[1])
