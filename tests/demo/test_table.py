"""The table of the demo."""

from __future__ import annotations

import numpy as np

from dask_pools.demo.run import Outcome
from dask_pools.demo.table import explanation, of_pools, to_text
from dask_pools.demo.ways import DEFAULT, GATHERED, POOLS
from dask_pools.model import Link

EXPECTED = np.zeros((2, 3))
OUTCOMES = [
    Outcome(GATHERED.name, 3.21, {Link("ecmwf", "client"): 100_000_000}, 19, 0, EXPECTED + 1e-4),
    Outcome(POOLS.name, 1.04, {Link("ecmwf", "eumetsat"): 500_000}, 19, 0, EXPECTED),
    Outcome("other", 1.0, {}, 19, 5, np.full((2, 3), np.nan)),
    Outcome(DEFAULT.name, 0.5, {}, 7, 3, None, "FileNotFoundError: no such file"),
]


def cells(way: str) -> list[str]:
    lines = to_text(OUTCOMES, EXPECTED).splitlines()
    [line] = [line for line in lines if line.startswith(way)]
    return line.removeprefix(way).split()


def test_row_says_what_was_measured_and_how_it_compares() -> None:
    assert cells(GATHERED.name) == ["yes", "3.2", "100", "MB", "200", "0", "of", "19"]
    assert cells(POOLS.name) == ["yes", "1.0", "500", "kB", "1", "0", "of", "19"]


def test_missing_values_are_not_correct() -> None:
    assert cells("other")[0] == "NO"


def test_failure_is_told_with_its_error() -> None:
    assert cells(DEFAULT.name)[0] == "failed"
    assert "    FileNotFoundError: no such file" in to_text(OUTCOMES, EXPECTED).splitlines()


def test_bytes_of_each_link_are_under_their_way() -> None:
    lines = to_text(OUTCOMES, EXPECTED).splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith(GATHERED.name))
    assert lines[row + 1] == "    ecmwf -> client: 100 MB"


def test_stray_reads_of_stock_dask_are_explained_if_there_were_any() -> None:
    assert "NaN without a word" in " ".join(explanation(OUTCOMES).split())
    assert "NaN" not in explanation(OUTCOMES[:2])


def test_outcome_of_pools_is_found() -> None:
    assert of_pools(OUTCOMES) is OUTCOMES[1]
