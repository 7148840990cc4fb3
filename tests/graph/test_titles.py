"""The names that people read."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.base import tokenize
from dask.delayed import delayed

from dask_pools.graph.titles import Titles, readable, variable_names


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: da.ones(4, chunks=2).sum().name, "sum-aggregate"),
        (lambda: (da.ones(4, chunks=2) + 1).name, "add"),
        (lambda: delayed(len)("x").key, "len"),
        (lambda: delayed(len, pure=True)("x").key, "len"),
        (lambda: "open_dataset-t2m-" + tokenize(1), "open_dataset-t2m"),
        (lambda: "named-by-hand", "named-by-hand"),
        (lambda: "deadbeef", "deadbeef"),
        (lambda: "-" + tokenize(1), "-" + tokenize(1)),
    ],
)
def test_hashes_are_left_out(build, name):
    assert readable(build()) == name


def test_names_of_variables_are_found_in_datasets_and_arrays():
    x = da.ones((4, 2), chunks=2)
    ds = xr.Dataset(
        {"t2m": (("time", "x"), x), "now": ((), np.float64(3))},
        coords={"height": ("x", da.zeros(2, chunks=1)), "time": np.arange(4)},
    )
    bias = (ds.t2m + 1).rename("bias")
    height = ds.height.data.name
    assert variable_names([ds]) == {x.name: "t2m", height: "height"}
    assert variable_names([bias]) == {bias.data.name: "bias", height: "height"}
    assert (
        variable_names([x, delayed(len)("x"), (ds.t2m * 2).rename(None).drop_vars("height")]) == {}
    )


def test_what_is_not_in_memory_yet_is_not_read(tmp_path):
    xr.Dataset({"t2m": ("x", np.ones(4))}).to_netcdf(tmp_path / "t.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "t.nc", engine="scipy") as ds:
        assert variable_names([ds]) == {}
        assert not ds.t2m.variable._in_memory


def test_a_name_that_says_the_variable_is_left_as_it_is():
    layer = "open_dataset-t2m-" + tokenize(1)
    titles = Titles({layer: "t2m", "sub-" + tokenize(2): "bias"}, {})
    assert titles[layer, 0, 1] == "open_dataset-t2m"
    assert titles["sub-" + tokenize(2), 0] == "sub (bias)"
    assert titles["load-" + tokenize(3)] == "load"
    assert titles["x", 1] == "x"


def test_a_step_that_reads_arrays_itself_says_which():
    reads = {
        "mean-" + tokenize(1): ("open-t2m-" + tokenize(2),),
        "open-obs-" + tokenize(3): ("open-obs-" + tokenize(3),),
        "sum": tuple(f"x{i}" for i in range(9)),
    }
    titles = Titles({}, reads)
    assert titles["mean-" + tokenize(1), 0] == "mean of open-t2m"
    assert titles["open-obs-" + tokenize(3), 0] == "open-obs"
    assert titles["sum"] == "sum of x0, x1, 7 others"
