"""Which files Python opens, here and on workers: to count the chunks of zarr that are read."""

from __future__ import annotations

import sys
from contextlib import contextmanager

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_listening: list[list[str]] = []
_hooked: list[bool] = []


def _note(event, args):
    if event == "open" and isinstance(args[0], str):
        for paths in _listening:
            paths.append(args[0])


def listen():
    """Begin to list the files that this process opens."""
    if not _hooked:
        sys.addaudithook(_note)  # there is no way to take one out again
        _hooked.append(True)
    paths: list[str] = []
    _listening.append(paths)
    return paths


@contextmanager
def opened():
    """List the files that this process opens."""
    paths = listen()
    try:
        yield paths
    finally:
        _listening.remove(paths)


def start():
    """Begin to list, on a worker."""
    listen()


def heard(folder):
    """List the files below a folder which a worker has opened since it began to list."""
    return sorted({path for path in _listening.pop() if path.startswith(folder)})


def chunk_files(paths, store):
    """List those files of a store that are not metadata."""
    inside = {path for path in paths if path.startswith(str(store))}
    return {path for path in inside if not path.endswith(_METADATA)}
