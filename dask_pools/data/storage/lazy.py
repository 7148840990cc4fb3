"""Files of object stores inside of data sets: opened where they are read, not where they arrive.

xarray pickles a data set of h5netcdf with its open remote file, and opens it again as soon as it
is unpickled: on the client, which may not have the credentials, and need not read it at all.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fsspec.spec import AbstractBufferedFile
from xarray.backends.file_manager import CachingFileManager, PickleableFileManager


@dataclass(frozen=True, slots=True, eq=False)
class ClosedFile:
    """A file of fsspec that can be opened again.

    Parameters
    ----------
    reopen : callable
        Function that opens it.
    args : tuple
        Its arguments: the file system and the path, then how it is read.
    """

    reopen: Callable[..., Any]
    args: tuple[Any, ...]

    def __hash__(self) -> int:
        return hash(self.args[:2])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClosedFile) and self.args == other.args


def open_again(opener: Callable[..., Any], file: ClosedFile, **kwargs: Any) -> Any:
    """Open a data set from a file that is opened again."""
    return opener(file.reopen(*file.args), **kwargs)


def unpickle_files_lazily() -> None:
    """Have data sets with open remote files pickled so that they open them when they are read.

    It holds for this process; to call it again changes nothing.
    """
    copyreg.pickle(PickleableFileManager, _reduced)


def _reduced(manager: PickleableFileManager[Any]) -> Any:
    match manager.__getstate__():  # type: ignore[no-untyped-call]
        # Newer releases of xarray keep their lock there.
        case (opener, (AbstractBufferedFile(mode="rb") as file,), "r", *lock, kwargs):
            made: Any = file.__reduce__()
            args = (open_again, (opener, ClosedFile(*made)), kwargs, *lock)
            return _caching, args
    # As without us.
    return object.__reduce_ex__(manager, 2)


def _caching(
    opener: Callable[..., Any], args: tuple[Any, ...], kwargs: Any, lock: Any = None
) -> CachingFileManager[Any]:
    # xarray keeps what it opens for all data sets of this file, and closes the oldest.
    return CachingFileManager(opener, *args, mode="r", lock=lock, kwargs=kwargs)
