"""What tasks do in the tests of hidden data: each reads one kind of file in a directory.

Workers import this module, so it leaves the heavier imports to those who need them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_text(directory):
    return Path(directory, "field.txt").read_text()


def read_memmap(directory):
    return float(np.memmap(Path(directory, "field.bin"), dtype="f8")[0])


def read_zarr(directory):
    import zarr

    return float(zarr.open_array(Path(directory, "field.zarr"), mode="r")[0])


def read_netcdf(directory):
    import netCDF4

    with netCDF4.Dataset(Path(directory, "field.nc")) as dataset:
        return float(dataset["field"][0])


READERS = [read_text, read_memmap, read_zarr, read_netcdf]


def is_missing(reader, directory):
    """Say whether a reader does not find its file; not all such errors of zarr can be pickled."""
    try:
        reader(directory)
    except FileNotFoundError:
        return True
    return False


def write(directory):
    import netCDF4
    import zarr

    directory.mkdir()
    Path(directory, "field.txt").write_text("field")
    np.ones(4).tofile(directory / "field.bin")
    zarr.create_array(directory / "field.zarr", data=np.ones(4))
    with netCDF4.Dataset(directory / "field.nc", "w") as dataset:
        dataset.createDimension("x", 4)
        dataset.createVariable("field", "f8", ("x",))[:] = 1
    return str(directory)


class Reader:
    """An actor, which has a thread of its own."""

    def read(self, directory):
        return read_text(directory)
