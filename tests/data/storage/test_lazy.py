"""Data sets with an open remote file: pickled, they open it again when they are read."""

from __future__ import annotations

import pickle
from typing import ClassVar

import cloudpickle
import fsspec
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from dask_pools.data.storage.lazy import unpickle_files_lazily

pytest.importorskip("h5netcdf")
pytest.importorskip("h5py")


class CountedFileSystem(MemoryFileSystem):
    """A file system whose files are read in parts, and that counts these."""

    protocol = "counted"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    reads: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("counted://"))

    def _open(self, path, mode="rb", **kwargs):
        if mode == "rb":
            kwargs = {k: v for k, v in kwargs.items() if k in ("block_size", "cache_type", "size")}
            return AbstractBufferedFile(self, path, mode, **kwargs)
        return super()._open(path, mode, **kwargs)

    def cat_file(self, path, start=None, end=None, **kwargs):
        self.reads.append(path)
        return bytes(self.store[path].getbuffer()[start:end])


@pytest.fixture
def opened():
    fsspec.register_implementation("counted", CountedFileSystem, clobber=True)
    unpickle_files_lazily()
    ds = xr.Dataset({"t": ("x", [1.0, 2.0, 3.0])})
    CountedFileSystem().pipe_file("/field.nc", bytes(ds.to_netcdf(engine="h5netcdf")))
    with xr.open_dataset("counted://field.nc", engine="h5netcdf", chunks={}) as found:
        yield found


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_unpickling_reads_nothing(opened, dumps):
    pickled = dumps(opened)
    before = len(CountedFileSystem.reads)
    again = pickle.loads(pickle.dumps(pickle.loads(pickled)))
    assert len(CountedFileSystem.reads) == before
    assert again.t.sum().compute(scheduler="synchronous") == 6
    assert len(CountedFileSystem.reads) > before


def test_files_in_memory_are_pickled_as_ever():
    unpickle_files_lazily()
    ds = xr.Dataset({"t": ("x", [1.0, 2.0])})
    with xr.open_dataset(bytes(ds.to_netcdf(engine="h5netcdf")), engine="h5netcdf") as found:
        again = pickle.loads(pickle.dumps(found))
    assert again.t.sum() == 3
    again.close()
