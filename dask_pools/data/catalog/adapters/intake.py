"""A catalog of intake as ours: what xarray opens, described, and nothing of it run.

intake itself imports what a catalog names when an entry is opened, and may ask the environment or
a shell for values (intake 1). Here a file is plain data, in either version, and intake is not
needed. What is no plain description of files for xarray is left out, with the reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dask_pools.data.catalog.documents import whole
from dask_pools.data.catalog.found import Collector, Found
from dask_pools.data.catalog.located import plain_yaml
from dask_pools.data.catalog.written import placed
from dask_pools.errors import CatalogError
from dask_pools.model import Pin

#: Drivers of intake 1, by the last part of their name, with the engine for xarray.
_DRIVERS = {
    "zarr": "zarr",
    "ZarrSource": "zarr",
    "netcdf": None,
    "NetCDFSource": None,
    "opendap": None,
    "OpenDapSource": None,
}
_CATALOGS = {"yaml_file_cat", "YAMLFileCatalog", "yaml_files_cat", "YAMLFilesCatalog", "catalog"}
#: Types of data of intake 2, with the engine for xarray.
_DATATYPES = {"Zarr": "zarr", "HDF5": None, "NetCDF3": None, "OpenDAP": None}
_READER = "XArrayDatasetReader"
#: The version that a file of intake 2 says.
_TWO = 2
#: Names that intake 2 makes of contents.
_TOKEN = re.compile(r"[0-9a-f]{16}")
_REFERENCE = re.compile(r"\{?data\(([^)]+)\)\}?")
_FOLDER = re.compile(r"\{\{\s*CATALOG_DIR\s*\}\}|\{CATALOG_DIR\}")


class _Leave(Exception):  # noqa: N818 - it never leaves this module
    """Why something cannot become an entry."""


class _Place(NamedTuple):
    """The file of a catalog, and the pools that were said for it."""

    url: str
    pools: Pin


def intake_entries(text: str, url: str, pools: Pin) -> Found:
    """Read a file of intake 1 or 2.

    Parameters
    ----------
    text : str
        What is in the file.
    url : str
        The file.
    pools : tuple of str
        Pools of what lies beside the file; empty for those of each location.

    Raises
    ------
    CatalogError
        If it is no catalog of intake.
    """
    return _read(plain_yaml(text, url), _Place(url, pools))


def intake_object_entries(source: object) -> Found:
    """Read a catalog that intake 2 has read.

    Parameters
    ----------
    source : intake.Catalog
        Its descriptions are read; nothing is opened.

    Raises
    ------
    TypeError
        If it is something else.
    """
    described: object = source.to_dict() if hasattr(source, "to_dict") else None
    if not (isinstance(described, Mapping) and described.get("version") == _TWO):
        raise TypeError(
            "a catalog of intake is given as the URL of its file, or as a catalog of intake 2, "
            f"not as {type(source).__module__}.{type(source).__qualname__}"
        )
    path = (described.get("user_parameters") or {}).get("CATALOG_PATH")
    url = os.fspath(path) if isinstance(path, str | os.PathLike) else "catalog.yaml"
    return _read(described, _Place(whole(url), ()))


def _read(data: object, place: _Place) -> Found:
    collector = Collector()
    for name, fields in _entries(data, place):
        if isinstance(fields, str):
            collector.leave_out(name, fields)
        else:
            collector.add(name, fields)
    return collector.found(place.url)


def _entries(data: object, place: _Place) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Describe each entry by its fields, or the reason to leave it out."""
    if not isinstance(data, Mapping):
        raise CatalogError(f"{place.url} is no catalog of intake: it is not a mapping.")
    if data.get("version") == _TWO:
        try:
            sources, describe = _sources_of_two(data), _of_two
        except _Leave as reason:
            raise CatalogError(f"{place.url} is no catalog of intake: {reason}") from None
    elif isinstance(data.get("sources"), Mapping):
        sources, describe = dict(data["sources"]), _of_one
    else:
        raise CatalogError(
            f"{place.url} is no catalog of intake: it has neither 'sources' (intake 1) nor "
            "'version: 2' (intake 2). Our own form is read with Catalog.from_yaml."
        )
    for name, source in sources.items():
        if not isinstance(source, Mapping):
            yield str(name), "it is not a mapping."
            continue
        try:
            yield str(name), _finished(describe(source), place)
        except _Leave as reason:
            yield str(name), str(reason)


def _of_one(source: Mapping[str, Any]) -> dict[str, Any]:
    """Read a source of intake 1."""
    driver = source.get("driver")
    kind = driver.rpartition(".")[2] if isinstance(driver, str) else ""
    if kind in _CATALOGS:
        raise _Leave("it is another catalog; read it by itself, with Catalog.from_intake.")
    if kind not in _DRIVERS:
        raise _Leave(f"xarray does not open what has the driver {driver!r}.")
    arguments = dict(_mapping(source, "args"))
    if arguments.pop("path_as_pattern", False):
        raise _Leave("it takes values from the names of files (path_as_pattern).")
    url = arguments.pop("urlpath", None)
    options = {**dict(arguments.pop("xarray_kwargs", None) or {}), **arguments}
    return _fields(url, _DRIVERS[kind], options, source)


def _sources_of_two(data: Mapping[str, Any]) -> dict[str, Any]:
    """Find what has a name in a catalog of intake 2; each with its data in its place."""
    entries, descriptions = _mapping(data, "entries"), _mapping(data, "data")
    named = {str(name): name for name in (*entries, *descriptions)}
    names = {name: name for name in named if not _TOKEN.fullmatch(name)}
    names |= {str(name): str(token) for name, token in _mapping(data, "aliases").items()}
    sources: dict[str, Any] = {}
    for name, token in names.items():
        entry = entries.get(token)
        if isinstance(entry, Mapping):
            sources[name] = {**entry, "data": _referred(entry, descriptions)}
        elif token in descriptions:
            sources[name] = {"data": descriptions[token]}
        else:
            sources[name] = None
    return sources


def _referred(entry: Mapping[str, Any], descriptions: Mapping[str, Any]) -> Any:
    arguments = _mapping(entry, "kwargs")
    first = [*(arguments.get("args") or ()), arguments.get("data")][0]
    found = _REFERENCE.fullmatch(first) if isinstance(first, str) else None
    return descriptions.get(found[1]) if found else first


def _of_two(source: Mapping[str, Any]) -> dict[str, Any]:
    """Read an entry of intake 2, or a description of data alone."""
    reader = str(source.get("reader", _READER)).rpartition(":")[2]
    if reader != _READER:
        raise _Leave(f"it is read by {reader}, not by xarray alone.")
    data = source.get("data")
    if not isinstance(data, Mapping):
        raise _Leave("it does not say where its data is.")
    kind = str(data.get("datatype", "")).rpartition(":")[2]
    if kind not in _DATATYPES:
        raise _Leave(f"xarray does not open {kind or 'data of no type'}.")
    where = _mapping(data, "kwargs")
    own = ("args", "data", "open_local", "output_instance")
    options = {k: v for k, v in _mapping(source, "kwargs").items() if k not in own}
    if where.get("storage_options"):
        options.setdefault("storage_options", where["storage_options"])
    if group := where.get("root") or where.get("path"):
        options.setdefault("group", group)
    return _fields(where.get("url"), _DATATYPES[kind], options, {**data, **source})


def _fields(
    url: object, engine: str | None, options: dict[str, Any], source: Mapping[str, Any]
) -> dict[str, Any]:
    about = _mapping(source, "metadata")
    tags = about.get("tags")
    return {
        "location": url,
        "engine": options.pop("engine", None) or engine,
        "options": {name: value for name, value in options.items() if value is not None},
        "description": str(source.get("description") or about.get("description") or ""),
        "tags": tags if isinstance(tags, list) else (),
    }


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[Any, Any]:
    found = data.get(name) or {}
    if not isinstance(found, Mapping):
        raise _Leave(f"its {name!r} is not a mapping.")
    return found


def _finished(fields: dict[str, Any], place: _Place) -> dict[str, Any]:
    """Put in the folder of the catalog, and refuse any other template."""
    fields = {**fields, **_filled({name: fields[name] for name in ("location", "options")})}
    location = fields["location"]
    if isinstance(location, str) or (isinstance(location, list) and location):
        names = [location] if isinstance(location, str) else location
        if all(isinstance(name, str) for name in names):
            return placed(fields, place.url, place.pools)
    raise _Leave("it does not say where its data is.")


def _filled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(inside) for name, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inside) for inside in value]
    if not isinstance(value, str):
        return value
    # Relative to the file is what the folder of the file means.
    text = _FOLDER.sub(".", value)
    if re.search(r"\{\{|\{%|\{\w+[^{}]*\}", text):
        raise _Leave(f"it has parameters, or a template: {text[:80]!r}.")
    return text
