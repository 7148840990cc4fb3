"""Written by `to_zarr`, a store is the same as by xarray; and it opens when it is whole only.

Here there is no cluster: this process stands for the pool. What crosses is tested beside this.
"""

from __future__ import annotations

import pickle
from itertools import count
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_pools import PoolNameError, StoreChangedError, get_pool, pool, set_locations, to_zarr
from dask_pools.data.writing import write
from tests.data.datasets import contents, datasets, options

pytestmark = [
    # Of zarr and xarray, whoever calls them.
    pytest.mark.filterwarnings("ignore:Consolidated metadata"),
    pytest.mark.filterwarnings("ignore:Failed to open Zarr store with consolidated"),
    pytest.mark.filterwarnings("ignore:The data type"),
    pytest.mark.filterwarnings("ignore:Times can't be serialized faithfully"),
    pytest.mark.filterwarnings("ignore:Object at"),
    pytest.mark.filterwarnings("ignore:saving variable"),
]


def field(time: int = 10, seed: int = 0, first: int = 0) -> xr.Dataset:
    """A small dataset, lazy."""
    values = np.random.default_rng(seed).random((time, 6))
    ds = xr.Dataset(
        {"t": (("time", "x"), values), "mask": ("x", np.arange(6) > 2)},
        coords={"time": np.arange(first, first + time), "x": np.arange(6) / 2},
        attrs={"title": "field"},
    )
    ds["t"] = ds.t.chunk(time=5, x=3)
    return ds


def failing(ds: xr.Dataset, block: tuple[int, ...] = (1, 0)) -> xr.Dataset:
    """The same, but one block of `t` cannot be computed."""

    def fail(x: Any, block_id: Any = None) -> Any:
        if block_id == block:
            raise ZeroDivisionError("in the middle")
        return x

    return ds.assign(t=(ds.t.dims, ds.t.data.map_blocks(fail, dtype=ds.t.dtype)))


def outcome(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call it, and return its error, if it raises one, as class and words."""
    try:
        function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return type(error), str(error)


class OneByOne:
    """No task is under way when another fails: what it writes would be there afterwards."""

    def __enter__(self) -> None:
        self.setting = dask.config.set(scheduler="sync")

    def __exit__(self, *_: object) -> None:
        self.setting.__exit__(None, None, None)


one_by_one = OneByOne()


class Twins:
    """Two stores, of which xarray writes the one and dask_pools the other."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.xarrays, self.ours = directory / "xarrays.zarr", directory / "ours.zarr"

    def write(self, ds: Any, **kwargs: Any) -> tuple[type, str] | None:
        """Write to both, and check that they are the same; or that both raise the same."""
        # Without safe_chunks two tasks may write to one chunk.
        with one_by_one:
            expected = outcome(lambda: ds.to_zarr(self.xarrays, **kwargs))
            error = outcome(to_zarr, ds, self.ours, pool="ecmwf", **kwargs)
        if expected is None:
            assert error is None, error
            assert contents(self.ours) == contents(self.xarrays)
            return None
        assert error is not None, f"xarray raises {expected}"
        assert issubclass(error[0], expected[0])
        return error


numbers = count()


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    return Twins(tmp_path / "twins")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@given(datasets(), options())
@settings(max_examples=60)
def test_new_store_is_the_same_as_by_xarray(directory, ds, arguments):
    Twins(directory / str(next(numbers))).write(ds, **arguments)


@given(datasets(), options(), st.data())
@settings(max_examples=40)
def test_store_written_to_again_is_the_same_as_by_xarray(directory, ds, arguments, data):
    twins = Twins(directory / str(next(numbers)))
    if twins.write(ds, **arguments) is not None:
        return
    again = data.draw(st.sampled_from(["append", "region", "replace", "add", "update"]))
    common = {k: v for k, v in arguments.items() if k != "mode"}
    for variable in ds.variables.values():
        variable.encoding = {}
    if again == "append":
        twins.write(ds, append_dim="time", **common)
    elif again == "region":
        at = {"time": slice(0, ds.sizes.get("time", 1))}
        over = [k for k, v in ds.variables.items() if "time" in v.dims]
        if over:
            twins.write(ds[over], region=at, **common)
    elif again == "add":
        more = data.draw(datasets())
        names = {name: f"{name}2" for name in more.variables if name not in more.dims}
        twins.write(more.rename(names).drop_vars(more.indexes), mode="a", **common)
    else:
        mode = "w" if again == "replace" else "a"
        twins.write(ds, mode=mode, **common)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("append", [5, 7])
def test_appended_to_again_and_again(twins, zarr_format, append):
    twins.write(field(), zarr_format=zarr_format)
    for first in (10, 10 + append):
        ds = field(append, first, first)
        safe = (10 + append) % 5 == 0
        # Where the border goes through a chunk, its old half is read and kept.
        assert twins.write(ds, append_dim="time", safe_chunks=safe) is None
    xr.testing.assert_equal(
        xr.open_zarr(twins.ours).load(),
        xr.concat([field(), field(append, 10, 10), ds], "time", data_vars="minimal").load(),
    )


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_regions_are_found_by_coordinates(twins, zarr_format):
    twins.write(field(), zarr_format=zarr_format)
    part = field(5, 3, 5).drop_vars(["mask", "x"])
    assert twins.write(part, region="auto") is None
    assert twins.write(part, region={"time": "auto", "x": slice(0, 6)}) is None
    assert np.array_equal(xr.open_zarr(twins.ours).t[5:], part.t)
    assert twins.write(field(5, 3, 99).drop_vars(["mask", "x"]), region="auto")[0] is KeyError


def test_data_arrays_are_written_as_by_xarray(twins):
    assert twins.write(field().t, mode="w") is None
    assert twins.write(field().t.rename(None), mode="w") is None
    assert twins.write(field().time.rename("time"), mode="w") is None
    xr.testing.assert_equal(xr.open_dataarray(twins.ours, engine="zarr"), field().time)


@pytest.mark.parametrize("inherit", [False, True])
def test_trees_are_written_as_by_xarray(twins, inherit):
    tree = xr.DataTree.from_dict({"/": field()[["mask"]], "/g": field(), "/g/h": field(seed=1)})
    assert twins.write(tree, write_inherited_coords=inherit) is None
    assert twins.write(tree, mode="w", encoding={"/g": {"t": {"dtype": "float32"}}}) is None
    for wrong in ({"encoding": {"/x": {}}}, {"group": "g"}, {"append_dim": "time"}):
        assert twins.write(tree, mode="a", **wrong) is not None


def test_sharded_chunks_are_written_as_by_xarray(twins):
    encoding = {"t": {"chunks": (1, 3), "shards": (5, 3)}}
    assert twins.write(field(), encoding=encoding, zarr_format=3) is None
    unlike = {"t": {"chunks": (1, 3), "shards": (10, 3)}}
    # An error, but xarray 2025 writes it.
    twins.write(field(), encoding=unlike, zarr_format=3, mode="w")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"encoding": {"t": {"chunks": (3, 3)}}}, ValueError),  # not those of Dask
        ({"encoding": {"t": {"nonsense": 1}}}, ValueError),
        ({"mode": "r"}, ValueError),
        ({"mode": "r+"}, FileNotFoundError),
        ({"append_dim": "time", "mode": "w"}, ValueError),
        ({"region": {"y": slice(0, 1)}, "mode": "a"}, ValueError),
        ({"storage_options": {"anon": True}}, TypeError),
    ],
)
def test_what_xarray_refuses_is_refused_and_nothing_is_written(twins, arguments, error):
    refused = twins.write(field(), **arguments)
    assert refused is not None
    assert issubclass(refused[0], error)
    assert not twins.ours.exists()


def test_errors_name_the_pool(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"new\.zarr in pool 'ecmwf'"):
        to_zarr(field(), tmp_path / "new.zarr", pool="ecmwf", mode="r+")
    to_zarr(field(), tmp_path / "old.zarr", pool="ecmwf")
    with pytest.raises(FileExistsError) as raised:
        to_zarr(field(), tmp_path / "old.zarr", pool="ecmwf")
    assert "in pool 'ecmwf'" in raised.value.__notes__[-1]


@pytest.mark.parametrize("name", [3, ""])
def test_names_that_no_array_can_have(twins, name):
    assert twins.write(xr.Dataset({name: ("x", [1])})) is not None


def test_large_values_that_are_not_lazy_go_ahead(twins, monkeypatch):
    monkeypatch.setattr(write, "AHEAD", 100)
    put, real = [], write.put
    monkeypatch.setattr(write, "put", lambda home, values: put.append(values) or real(home, values))
    ds = field().load()
    ds.encoding, ds.t.encoding = {}, {"chunks": (1, 3)}
    assert twins.write(ds) is None
    assert len(put) > 5
    assert all(not key.endswith("zarr.json") for values in put for key in values)


# When a store opens


def opens(path: Path) -> bool:
    try:
        xr.open_zarr(path, consolidated=False)
    except FileNotFoundError:
        return False
    return True


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("group", [None, "g"])
def test_new_store_that_fails_leaves_nothing(tmp_path, zarr_format, group):
    path = tmp_path / "new.zarr"
    with one_by_one, pytest.raises(ZeroDivisionError):
        to_zarr(failing(field()), path, pool="a", zarr_format=zarr_format, group=group)
    assert contents(path) == {}
    to_zarr(field(), path, pool="a", zarr_format=zarr_format, group=group)
    xr.testing.assert_equal(xr.open_zarr(path, group=group).load(), field().load())


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_store_does_not_open_before_its_last_chunk_is_there(tmp_path, zarr_format):
    path, seen = tmp_path / "new.zarr", []
    ds = field()
    ds["t"] = (ds.t.dims, ds.t.data.map_blocks(lambda x: seen.append(opens(path)) or x, dtype="f8"))
    with dask.config.set(scheduler="sync"):
        to_zarr(ds, path, pool="a", zarr_format=zarr_format)
    # Once more than there are chunks: xarray or dask may try a function on nothing.
    assert len(seen) >= 4
    assert not any(seen)
    assert opens(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_store_to_be_replaced_does_not_open_any_more_if_that_fails(tmp_path, zarr_format):
    path = tmp_path / "old.zarr"
    to_zarr(field(), path, pool="a", zarr_format=zarr_format)
    with one_by_one, pytest.raises(ZeroDivisionError):
        to_zarr(failing(field(seed=1)), path, pool="a", mode="w")
    assert not opens(path)


def test_store_is_not_touched_by_a_replacement_that_is_refused(tmp_path):
    path = tmp_path / "old.zarr"
    to_zarr(field(), path, pool="a")
    before = contents(path)
    with pytest.raises(ValueError, match="nonsense"):
        to_zarr(field(), path, pool="a", mode="w", encoding={"t": {"nonsense": 1}})
    assert contents(path) == before


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [False, True])
def test_group_that_fails_to_be_replaced_is_not_found_by_the_root(
    tmp_path, zarr_format, consolidated
):
    """The metadata which the root has of all groups would still tell of the old one."""
    path = tmp_path / "old.zarr"
    arguments = {"zarr_format": zarr_format, "consolidated": consolidated, "pool": "a"}
    to_zarr(field(), path, group="g", **arguments)
    to_zarr(field(), path, group="h", mode="a", **arguments)
    with one_by_one, pytest.raises(ZeroDivisionError):
        to_zarr(failing(field()), path, group="g", mode="w", **arguments)
    for kept in (None, False):
        with pytest.warns(RuntimeWarning) if kept is None else _nothing():
            xr.testing.assert_equal(
                xr.open_zarr(path, group="h", consolidated=kept).load(), field().load()
            )
        with pytest.raises((FileNotFoundError, KeyError)):
            xr.open_zarr(path, group="g", consolidated=False)
    to_zarr(field(seed=3), path, group="g", mode="w", **arguments)
    found = xr.open_zarr(path, group="g", consolidated=consolidated)
    xr.testing.assert_equal(found.load(), field(seed=3).load())


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("safe", [True, False])
def test_append_that_fails_leaves_the_store_as_it_was(tmp_path, zarr_format, safe):
    path = tmp_path / "old.zarr"
    to_zarr(field(10 if safe else 8), path, pool="a", zarr_format=zarr_format)
    before = contents(path)
    with one_by_one, pytest.raises(ZeroDivisionError):
        to_zarr(failing(field()), path, pool="a", append_dim="time", safe_chunks=safe)
    after = contents(path)
    xr.testing.assert_equal(xr.open_zarr(path).load(), field(10 if safe else 8).load())
    if safe:
        assert after == before
    else:  # the values beyond the end of the last chunk, which nobody sees
        assert after.keys() == before.keys()


def test_new_variables_that_fail_leave_the_store_as_it_was(tmp_path):
    path = tmp_path / "old.zarr"
    to_zarr(field(), path, pool="a")
    before = contents(path)
    with one_by_one, pytest.raises(ZeroDivisionError):
        to_zarr(failing(field())[["t"]].rename(t="u"), path, pool="a", mode="a")
    assert contents(path) == before


def test_rubbish_of_a_write_that_nobody_took_back_does_no_harm(tmp_path):
    """Its client may have died. In an array that is all fill value, chunks are not even written."""
    path = tmp_path / "old.zarr"
    to_zarr(field()[["mask"]], path, pool="a")
    lazy = to_zarr(field()[["t"]], path, pool="a", mode="a", compute=False)
    chunks = [key for key in lazy.dask if str(key).startswith("('store-map")]
    dask.get(dict(lazy.dask), chunks)
    assert list((path / "t").rglob("c/*/*"))
    empty = xr.full_like(field()[["t"]], np.nan)
    to_zarr(empty, path, pool="a", mode="a")
    xr.testing.assert_equal(xr.open_zarr(path)[["t"]].load(), empty.load())
    assert not list((path / "t").rglob("c/*/*"))


# Later


def test_lazy_write_writes_nothing_before_it_is_computed(twins):
    lazy = to_zarr(field(), twins.ours, pool="a", compute=False)
    assert not twins.ours.exists()
    assert get_pool(lazy) == "a"
    field().to_zarr(twins.xarrays)
    assert dask.compute(lazy, da.ones(3).sum()) == (None, 3)
    assert contents(twins.ours) == contents(twins.xarrays)
    lazy.compute()
    assert contents(twins.ours) == contents(twins.xarrays)


def test_lazy_writes_into_one_store_are_computed_together(tmp_path):
    path = tmp_path / "both.zarr"
    to_zarr(field()[["mask"]], path, pool="a")
    lazy = [
        to_zarr(field(seed=i)[["t"]].rename(t=f"t{i}"), path, pool="a", mode="a", compute=False)
        for i in range(3)
    ]
    dask.compute(lazy)
    assert sorted(xr.open_zarr(path).data_vars) == ["mask", "t0", "t1", "t2"]


def test_second_lazy_append_waits_for_the_first(tmp_path):
    """Both would be written to the same place."""
    path = tmp_path / "long.zarr"
    to_zarr(field(), path, pool="a")
    first = to_zarr(field(), path, pool="a", append_dim="time", compute=False)
    with pytest.raises(StoreChangedError, match="not been computed yet"):
        to_zarr(field(), path, pool="a", append_dim="time", compute=False)
    first.compute()
    to_zarr(field(), path, pool="a", append_dim="time", compute=False).compute()
    assert xr.open_zarr(path).sizes["time"] == 30


def test_append_is_refused_when_somebody_else_was_faster(tmp_path):
    path = tmp_path / "long.zarr"
    to_zarr(field(), path, pool="a")
    late = to_zarr(field(), path, pool="a", append_dim="time", compute=False)
    field(5).to_zarr(path, append_dim="time")
    with pytest.raises(StoreChangedError, match=r"long\.zarr in pool 'a' has been changed"):
        late.compute()
    assert xr.open_zarr(path).sizes["time"] == 15


def test_metadata_first_lays_out_a_store_that_regions_fill(tmp_path):
    path = tmp_path / "regions.zarr"
    to_zarr(field(), path, pool="a", compute=False, metadata="first")
    assert np.isnan(xr.open_zarr(path).t).all()
    for i in (0, 5):
        part = field().isel(time=slice(i, i + 5))[["t"]].drop_vars("x")
        to_zarr(part, path, pool="a", region={"time": "auto"})
    xr.testing.assert_equal(xr.open_zarr(path).load(), field().load())
    with pytest.raises(ValueError, match="'first' or 'last', not 'now'"):
        to_zarr(field(), path, pool="a", metadata="now")


# Which pool


def test_pool_is_that_of_the_argument_the_pin_or_the_location(tmp_path):
    def home_of(**kwargs: Any) -> Any:
        lazy = to_zarr(field(), tmp_path / "x.zarr", compute=False, **kwargs)
        return get_pool(lazy)

    with set_locations({str(tmp_path): "located"}):
        assert home_of() == "located"
        with pool("pinned"):
            assert home_of() == "pinned"
            assert home_of(pool="told") == "told"


def test_without_any_pool_it_is_xarray(tmp_path):
    assert to_zarr(field(), tmp_path / "x.zarr") is None
    lazy = to_zarr(field(), tmp_path / "y.zarr", compute=False)
    assert opens(tmp_path / "y.zarr")
    lazy.compute()
    assert contents(tmp_path / "x.zarr") == contents(tmp_path / "y.zarr")
    assert to_zarr(field(), zarr.storage.MemoryStore()) is None


def test_several_pools_or_no_path_are_refused(tmp_path):
    with set_locations({str(tmp_path): ["a", "b"]}), pytest.raises(PoolNameError, match="pool='a'"):
        to_zarr(field(), tmp_path / "x.zarr")
    with pytest.raises(TypeError, match="path or URL"):
        to_zarr(field(), zarr.storage.MemoryStore(), pool="a")
    assert not (tmp_path / "x.zarr").exists()


def test_only_the_chunks_are_pinned_not_what_makes_or_packs_them(tmp_path):
    ds = field()
    ds.t.encoding = {"dtype": "int8", "scale_factor": 0.1, "_FillValue": -1}
    with pool("a"):
        lazy = to_zarr(ds, tmp_path / "x.zarr", compute=False)
    pins = {
        name.rpartition("-")[0]: (layer.annotations or {}).get("pool")
        for name, layer in lazy.dask.layers.items()
    }
    assert pins.pop("to_zarr") == ("a",)
    assert [pin for name, pin in pins.items() if "store-map" in name] == [("a",)]
    assert {pin for name, pin in pins.items() if "store-map" not in name} == {None}


def test_urls_are_written_through_fsspec():
    url = "memory://store-of-this-test.zarr"
    to_zarr(field(), url, pool="a")
    to_zarr(field(first=10), url, pool="a", append_dim="time", storage_options={})
    to_zarr(field(), url, pool="a", mode="w", group="g")
    assert xr.open_zarr(url).sizes["time"] == 20
    xr.testing.assert_equal(xr.open_zarr(url, group="g").load(), field().load())
    to_zarr(field(), url, pool="a", mode="w")
    xr.testing.assert_equal(xr.open_zarr(url).load(), field().load())


def test_secrets_are_not_shown():
    path, secret = "memory://secret.zarr", {"secret": "swordfish"}
    lazy = to_zarr(field(), path, pool="a", compute=False, storage_options=secret)
    shown = f"{lazy!r} {lazy.dask!r} {dict(lazy.dask)!r} {lazy.dask._repr_html_()}"
    assert "swordfish" not in shown


def test_what_travels_does_not_open_the_store(tmp_path):
    """The scheduler unpickles the graph, and may have neither the path nor the file system."""
    lazy = to_zarr(field(), tmp_path / "x.zarr", pool="a", compute=False)
    pickle.loads(pickle.dumps(lazy))
    assert not (tmp_path / "x.zarr").exists()


def test_times_without_units_and_wide_texts(twins):
    times = pd.date_range("2024-01-01", periods=6, freq="h")
    ds = xr.Dataset({"when": ("x", times), "who": ("x", ["ä", "bb", "", "d", "e", "f"])})
    ds["when"] = ds.when.chunk(x=2)
    ds["who"] = ds.who.astype(object).chunk(x=3)
    twins.write(ds)
