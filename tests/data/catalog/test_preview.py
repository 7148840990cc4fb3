"""A preview tells of a data set what its metadata says, and reads no value."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr

from dask_pools.data.catalog.entry import Entry
from tests.data.catalog.opened import chunk_files, opened


def dataset():
    times = np.datetime64("2024-01-01", "ns") + np.arange(4) * np.timedelta64(6, "h")
    return xr.Dataset(
        {
            "t2m": (("time", "x"), np.zeros((4, 6), "float32"), {"long_name": "Temperature"}),
            "flag": ((), np.int8(1)),
        },
        coords={"time": times, "x": np.arange(6.0), "height": 2.0},
        attrs={"title": "A title"},
    )


@pytest.fixture(params=[2, 3], ids=["zarr2", "zarr3"])
def store(request, tmp_path):
    path = tmp_path / "x.zarr"
    dataset().chunk(time=2, x=3).to_zarr(path, zarr_format=request.param, consolidated=False)
    return path


def test_preview_of_a_store(store):
    preview = Entry("x", str(store), "zarr", {"consolidated": False}).preview()
    assert preview.dims == {"time": 4, "x": 6}
    assert preview.attributes == {"title": "A title"}
    found = {variable.name: variable for variable in preview.variables}
    assert list(found)[:2] == ["flag", "t2m"] or list(found)[:2] == ["t2m", "flag"]
    t2m = found["t2m"]
    assert (t2m.dims, t2m.shape, t2m.chunks) == (("time", "x"), (4, 6), (2, 3))
    assert (t2m.dtype, t2m.nbytes, t2m.blocks) == ("float32", 4 * 6 * 4, 4)
    assert (t2m.coordinate, t2m.description) == (False, "Temperature")
    assert found["time"].dtype == "time"
    assert found["time"].coordinate
    # Also in memory, times have 8 bytes.
    assert preview.nbytes == dataset().nbytes


def test_preview_reads_no_chunk_of_a_store(store):
    with opened() as paths:
        Entry("x", str(store), "zarr", {"consolidated": False}).preview()
    assert paths
    assert chunk_files(paths, store) == set()
    # The same way of counting sees what opening reads: times and indexes.
    with opened() as paths, xr.open_zarr(store, consolidated=False):
        pass
    assert len(chunk_files(paths, store)) >= 2


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_preview_reads_no_value_of_a_file(engine, tmp_path, monkeypatch):
    pytest.importorskip("netCDF4" if engine == "netcdf4" else "h5py")
    path = tmp_path / "x.nc"
    dataset().to_netcdf(path, engine=engine)
    from xarray.backends.h5netcdf_ import H5NetCDFArrayWrapper
    from xarray.backends.netCDF4_ import NetCDF4ArrayWrapper

    read = []
    for wrapper in (NetCDF4ArrayWrapper, H5NetCDFArrayWrapper):

        def counted(self, key, there=wrapper._getitem):
            read.append(key)
            return there(self, key)

        monkeypatch.setattr(wrapper, "_getitem", counted)
    preview = Entry("x", str(path), engine).preview()
    assert preview.dims == {"time": 4, "x": 6}
    assert read == []
    with xr.open_dataset(path, engine=engine):
        assert read


def test_preview_computes_nothing(store):
    def refuse(*args, **kwargs):
        raise AssertionError

    with dask.config.set(scheduler=refuse):
        Entry("x", str(store), "zarr", {"consolidated": False}).preview()


def test_chunks_are_those_of_the_options(store):
    options = {"consolidated": False, "chunks": {"time": 4}}
    preview = Entry("x", str(store), "zarr", options).preview()
    (t2m,) = (variable for variable in preview.variables if variable.name == "t2m")
    assert t2m.chunks == (4, 3)


def test_of_several_files_the_first_is_looked_at(tmp_path):
    for i in range(3):
        dataset().isel(time=[i]).to_netcdf(tmp_path / f"part-{i}.nc")
    options = {"combine": "nested", "concat_dim": "time", "parallel": True}
    pattern = Entry("x", f"{tmp_path}/part-*.nc", options=options)
    listed = Entry("x", [f"{tmp_path}/part-{i}.nc" for i in range(3)], options=options)
    for preview in (pattern.preview(), listed.preview()):
        assert preview.location.endswith("part-0.nc")
        assert preview.files == 3
        assert preview.dims == {"time": 1, "x": 6}
        assert "the first of 3 files" in repr(preview)


def test_pattern_that_nothing_fits_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No file matches.*\*\.nc"):
        Entry("x", f"{tmp_path}/*.nc").preview()


def test_preview_is_shown(store):
    preview = Entry("x", str(store), "zarr", {"consolidated": False}).preview()
    assert "t2m     (time, x)  float32  96 B  4 chunks of 2 × 3" in repr(preview)
    assert "Temperature" in preview._repr_html_()
    assert f"{store} (" in repr(preview).splitlines()[0]
