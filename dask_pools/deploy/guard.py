"""Hide directories from the Python code of this process: the way for any system and user.

An audit hook of the interpreter sees each path that Python opens or lists, and fails as if
nothing were there. This covers whatever opens its files through Python: `open`, `os.open`,
`pathlib`, `numpy.load` and `numpy.memmap`, zarr and fsspec.

It does *not* cover libraries which open files in C (netCDF4, h5py, GDAL, and so
``xarray.open_dataset`` with these engines), subprocesses, and questions that open nothing
(`os.stat`, ``os.path.exists``). Where these matter, use mount namespaces.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable

#: The interpreter's audit events whose first argument is the path of something that is used.
_EVENTS = frozenset({"open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rmdir"})


def hide(directories: Iterable[str]) -> None:
    """Hide directories from all Python code of this process. It cannot be undone.

    Parameters
    ----------
    directories : iterable of str
        Absolute paths, without symbolic links.
    """
    hidden = tuple(os.path.join(directory, "") for directory in directories)  # noqa: PTH118

    def refuse_hidden(event: str, args: tuple[object, ...]) -> None:
        if event in _EVENTS and isinstance(args[0], str | bytes | os.PathLike):
            path = os.fsdecode(args[0])
            # Strings, not Path: this runs at every open, of every module that is imported.
            if (os.path.realpath(path) + os.sep).startswith(hidden):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    sys.addaudithook(refuse_hidden)
