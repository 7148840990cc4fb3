"""A folder of stores as a catalog: zarr stores, and netCDF files."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Collection, Iterator
from typing import Any

import fsspec

from dask_pools.data.catalog.found import Collector, Found
from dask_pools.data.storage.target import open_target
from dask_pools.errors import CatalogError
from dask_pools.model import Pin

#: In one of these files a zarr store, or an array of it, has its metadata.
_MARKS = frozenset({"zarr.json", ".zgroup", ".zmetadata", ".zarray"})
_NETCDF = (".nc", ".nc4")
#: Folders that are listed; each listing is a round trip to its storage.
MOST_FOLDERS = 2_000


def read_folder(url: str, pools: Pin) -> Found:
    """List a folder, where this runs.

    Parameters
    ----------
    url : str
        A URL of fsspec, or a path.
    pools : tuple of str
        Pools of what is in it; empty for those of each location.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    CatalogError
        If there are too many folders in it.
    """
    url = url.rstrip("/")
    target, options = open_target(url)
    files, root = fsspec.core.url_to_fs(target, **(options or {}))
    if not files.isdir(root):
        raise FileNotFoundError(f"there is no folder {url!r}")
    collector = Collector()
    for path, fields in _stores(files, root, url):
        below = posixpath.relpath(path, root)
        name = below.removesuffix(".zarr") if fields else posixpath.splitext(below)[0]
        located = {"location": f"{url}/{below}", "pools": pools, **fields}
        collector.add(name, located, longer=below)
    return collector.found(url)


def _stores(
    files: fsspec.AbstractFileSystem, root: str, url: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Find stores by path, with engine and options; nothing below a store is looked at."""
    folders, listed = [root], 0
    while folders:
        listed += 1
        if listed > MOST_FOLDERS:
            raise CatalogError(
                f"{url} has more than {MOST_FOLDERS:,} folders in it. Give one of them, and "
                "combine the catalogs: catalog_a | catalog_b."
            )
        folder = folders.pop()
        inside = sorted(files.ls(folder, detail=True), key=lambda info: str(info["name"]))
        names = [posixpath.basename(info["name"].rstrip("/")) for info in inside]
        if not _MARKS.isdisjoint(names):
            if folder == root:
                raise CatalogError(
                    f"{url} is a zarr store itself. Open it with dask_pools.open_zarr, or give "
                    "the folder in which it is."
                )
            fields = _group(files, folder, names)
            if fields is not None:
                yield folder, fields
            continue
        further = []
        for info, name in zip(inside, names, strict=True):
            if name.startswith("."):
                continue
            if info["type"] == "directory" and info["name"].rstrip("/") != folder:
                further.append(info["name"].rstrip("/"))
            elif info["type"] == "file" and name.endswith(_NETCDF):
                yield info["name"], {}
        # The first of them is taken next.
        folders += reversed(further)


def _group(
    files: fsspec.AbstractFileSystem, folder: str, names: Collection[str]
) -> dict[str, Any] | None:
    """Say how a store is opened; None if it is a single array, which is no data set.

    xarray warns where it has to find out itself how the metadata is kept.
    """
    if "zarr.json" not in names:
        group, consolidated = ".zgroup" in names, ".zmetadata" in names
    else:
        try:
            metadata = json.loads(files.cat_file(f"{folder}/zarr.json"))
            group = metadata["node_type"] == "group"
            consolidated = bool(metadata.get("consolidated_metadata"))
        except (ValueError, TypeError, KeyError):  # whoever opens it will hear of it
            group, consolidated = True, False
    return {"engine": "zarr", "options": {"consolidated": consolidated}} if group else None
