"""Files of catalogs, and what the locations in them mean."""

from __future__ import annotations

import os
import re
from pathlib import Path

import fsspec

from dask_pools.data.storage.target import open_target
from dask_pools.errors import CatalogError
from dask_pools.units import format_bytes

#: The largest file that is read as a catalog.
MOST_BYTES = 2_000_000


def read_text(url: str) -> str:
    """Read a file of a catalog, where this runs.

    Parameters
    ----------
    url : str
        A URL of fsspec, or a path.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CatalogError
        If it is too large, or no text.
    """
    target, options = open_target(url)
    with fsspec.open(target, "rb", **(options or {})) as file:
        data: bytes = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise CatalogError(
            f"{url} is larger than {format_bytes(MOST_BYTES)}, the most that is read as a "
            "catalog. Cut it into several, and combine them: catalog_a | catalog_b."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CatalogError(f"{url} is no text in UTF-8: {error.reason}.") from error


def is_relative(location: str) -> bool:
    """Say whether a location has to be looked for beside the file that names it.

    Examples
    --------
    >>> [is_relative(x) for x in ("ens.zarr", "../x/*.nc", "/data/ens.zarr", "s3://b/x", "~/x")]
    [True, True, False, False, False]
    """
    url = "::" in location or "://" in location
    path = location.startswith(("/", "~", "\\")) or re.match(r"[A-Za-z]:[\\/]", location)
    return not (url or path)


def whole(url: str | os.PathLike[str]) -> str:
    """Return a relative path as an absolute one, and what else there is as it is.

    Examples
    --------
    >>> whole("s3://bucket/c.yaml"), whole("~/c.yaml")  # of whoever opens it
    ('s3://bucket/c.yaml', '~/c.yaml')
    """
    text = os.fspath(url)
    return str(Path(text).absolute()) if is_relative(text) else text


def folder_of(url: str) -> str:
    """Return the folder of a file, without a slash at its end.

    Examples
    --------
    >>> folder_of("https://host/a/c.yaml?version=2"), folder_of("/c.yaml")
    ('https://host/a', '')
    """
    path = url.partition("?")[0] if "://" in url else url
    return path.rpartition("/")[0]


def beside(url: str, location: str) -> str:
    """Resolve a relative location against the file that names it; a root is not left.

    Examples
    --------
    >>> beside("s3://bucket/a/c.yaml", "../b/./ens.zarr"), beside("~/c.yaml", "../../ens.zarr")
    ('s3://bucket/b/ens.zarr', '~/ens.zarr')
    """
    folder = folder_of(url)
    chain, separator, rest = folder.rpartition("://")
    root, _, parts = rest.partition("/")
    path = [part for part in parts.split("/") if part]
    for part in location.replace("\\", "/").split("/"):
        if part == "..":
            del path[-1:]
        elif part and part != ".":
            path.append(part)
    return "/".join([chain + separator + root, *path])
