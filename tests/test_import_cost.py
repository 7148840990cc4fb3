"""`import dask_pools` is cheap: what it resolves later, and what it must not load.

Loaded modules are counted instead of seconds: the count is the same on any machine.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import dask_pools
from dask_pools import errors

ROOT = Path(__file__).parents[1]
#: Each of these costs more than the whole budget of 0.1 s to import, or loads one that does.
HEAVY = {"dask.array", "distributed", "numpy", "pandas", "scipy", "xarray", "zarr"}


def modules_after(statement: str) -> set[str]:
    """Import in a fresh interpreter, and list all modules that are loaded then."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; import json, sys; print(json.dumps([*sys.modules]))"],
        check=True,
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=60,
    )
    return set(json.loads(done.stdout))


def test_import_loads_no_heavy_package() -> None:
    assert modules_after("import dask_pools") & HEAVY == set()


def test_import_adds_next_to_nothing_to_dask() -> None:
    with_us = modules_after("import dask, dask_pools")
    added = with_us - modules_after("import dask, importlib, typing")
    assert added == {"dask_pools"}


def test_listing_names_loads_nothing() -> None:
    assert modules_after("import dask_pools; dir(dask_pools)") & HEAVY == set()


def test_pinning_does_not_load_the_cluster() -> None:
    assert "distributed" not in modules_after("from dask_pools import pool, get_pool")


def test_dir_lists_every_public_name() -> None:
    assert set(dask_pools.__all__) <= set(dir(dask_pools))


def test_all_is_sorted() -> None:
    assert dask_pools.__all__ == sorted(dask_pools.__all__)


@pytest.mark.parametrize("name", dask_pools.__all__)
def test_public_name_is_the_one_of_its_module(name: str) -> None:
    value = getattr(dask_pools, name)
    assert value is getattr(importlib.import_module(dask_pools._HOMES[name]), name)
    assert value.__doc__


def test_every_public_name_has_a_home() -> None:
    assert set(dask_pools._HOMES) == set(dask_pools.__all__)


def test_every_error_has_a_public_name() -> None:
    assert set(errors.__all__) <= set(dask_pools.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'dask_pools' has no attribute 'pools'"):
        dask_pools.pools  # noqa: B018 - the look-up itself is tested
