"""Our own form of a catalog: a file of YAML with the name of each entry, and its fields."""

from __future__ import annotations

from typing import Any

from dask_pools.data.catalog.documents import beside, is_relative
from dask_pools.data.catalog.entry import Entry
from dask_pools.data.catalog.fields import check_entry_name, problems
from dask_pools.data.catalog.located import Located, catalog_error, read_located
from dask_pools.errors import CatalogError
from dask_pools.model import Pin

_FORM = (
    "A catalog is a mapping of names to entries, such as ens: {location: /data/ens.zarr, "
    "pools: ecmwf}"
)


def written_entries(text: str, url: str, pools: Pin) -> list[Entry]:
    """Make the entries of a file.

    Parameters
    ----------
    text : str
        What is in the file.
    url : str
        The file.
    pools : tuple of str
        Pools of what lies beside the file, where an entry does not say it.

    Raises
    ------
    CatalogError
        If anything in it is wrong, with all lines.
    """
    located, mistakes = read_located(text)
    if located is None and not mistakes:
        raise CatalogError(f"{url} is empty. {_FORM}.")
    if located is not None:
        mistakes = [*mistakes, *_mistakes(located)]
    if located is None or mistakes:
        raise catalog_error(url, mistakes)
    return [_entry(name, fields.plain(), url, pools) for name, fields in located.value.items()]


def _mistakes(located: Located) -> list[tuple[int, str]]:
    if not isinstance(located.value, dict):
        return [(located.line, f"this is no mapping. {_FORM}.")]
    found = []
    for name, fields in located.value.items():
        line = located.keys[name]
        found += [(line, problem.message) for problem in check_entry_name(name)]
        if not isinstance(fields.value, dict):
            found.append((fields.line, f"{name}: an entry is a mapping with a location. {_FORM}."))
            continue
        for problem in problems(fields.plain()):
            # What is missing has no line of its own: it is that of the name.
            at = fields.line_of(problem.path) if problem.path else line
            found.append((at, f"{name}: {problem}"))
    return found


def _entry(name: str, given: dict[str, Any], url: str, pools: Pin) -> Entry:
    fields = {field: value for field, value in given.items() if value is not None}
    return Entry(name, **placed(fields, url, pools))


def placed(fields: dict[str, Any], url: str, pools: Pin) -> dict[str, Any]:
    """Resolve relative locations: what lies beside the file is in the pool of the file.

    Parameters
    ----------
    fields : dict
        Fields of an entry, with a location.
    url : str
        The file that names it.
    pools : tuple of str
        The pools in which the file was said to be; empty if that was not said.

    Examples
    --------
    >>> placed({"location": "ens.zarr"}, "/data/ecmwf/c.yaml", ("ecmwf",))
    {'location': '/data/ecmwf/ens.zarr', 'pools': ('ecmwf',)}
    >>> placed({"location": "s3://bucket/ens.zarr"}, "/data/ecmwf/c.yaml", ("ecmwf",))
    {'location': 's3://bucket/ens.zarr'}
    """
    said = fields["location"]
    names = [said] if isinstance(said, str) else list(said)
    resolved = [beside(url, name) if is_relative(name) else name for name in names]
    fields = {**fields, "location": resolved[0] if isinstance(said, str) else resolved}
    if pools and all(map(is_relative, names)):
        fields.setdefault("pools", pools)
    return fields
