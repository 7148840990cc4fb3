"""Locations as people write them: as a mapping, or in a file of YAML."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from dask_pools.errors import LocationError, PoolError, near_miss, one_of
from dask_pools.model import LOCATIONS, Location, Locations
from dask_pools.yaml_mistakes import yaml_mistake

_FORM = "Locations are a mapping of prefixes to pools, such as {'/data/ecmwf': 'ecmwf'}"


class _Entry(NamedTuple):
    """One prefix with its pools, and where it is written."""

    prefix: object
    pools: object
    where: str


def read_locations(
    source: Mapping[str, Any] | str | os.PathLike[str] | Locations,
) -> Locations:
    """Read which data lives where.

    Parameters
    ----------
    source : mapping, path or Locations
        Prefixes of paths and URLs, each with its pool or a list of pools that hold the same
        data (mirrors); or a file of YAML that holds such a mapping. Locations are returned as
        they are.

    Returns
    -------
    Locations
        To be asked with `pools_of`.

    Raises
    ------
    LocationError
        If it cannot be read, or an entry is not right: an empty prefix, a relative path, a
        pattern, no name of a pool, a prefix that is there twice. The message says which entry,
        in a file also which line.
    TypeError
        If the source is something else.

    Notes
    -----
    A file looks as follows, or has all of this under ``dask_pools: locations:``, as a file of
    Dask's configuration::

        /data/ecmwf: ecmwf
        s3://ecmwf-open: [ecmwf, cedadocs]
        /data/ecmwf/copies: cedadocs

    A prefix stands for all that is below it. Where several fit, the longest counts.

    Examples
    --------
    >>> locations = read_locations({"/data/ecmwf": "ecmwf", "s3://open": ["ecmwf", "cedadocs"]})
    >>> locations.pools_of("s3://open/ens.zarr")
    ('ecmwf', 'cedadocs')
    """
    if isinstance(source, Locations):
        return source
    if isinstance(source, str | os.PathLike):
        with _at(os.fspath(source)):
            return _locations(_load(Path(source).expanduser()))
    if not isinstance(source, Mapping):
        raise TypeError(
            f"{_FORM}, or the path of a YAML file that has one; "
            f"not {source!r} of type {type(source).__name__}"
        )
    return _locations(_Entry(prefix, pools, "") for prefix, pools in source.items())


def _locations(entries: Iterable[_Entry]) -> Locations:
    found: dict[str, _Entry] = {}
    locations = []
    for entry in entries:
        with _at(entry.where):
            location = _location(entry.prefix, entry.pools)
            if other := found.get(location.prefix):
                _refuse_twice(location, entry, other)
            found[location.prefix] = entry
            locations.append(location)
    return Locations(tuple(locations))


def _location(prefix: object, pools: object) -> Location:
    if not isinstance(prefix, str | os.PathLike):
        raise LocationError(
            f"the prefix of a location is a path or a URL, not {prefix!r} of type "
            f"{type(prefix).__name__}. In YAML, put it in quotes"
        )
    names = (pools,) if isinstance(pools, str) else pools
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise LocationError(
            f"the pools of {os.fspath(prefix)!r} are a name or a list of names, such as 'ecmwf' or "
            f"['ecmwf', 'cedadocs'], not {pools!r}. In YAML, put a name such as no in quotes"
        )
    return Location(os.fspath(prefix), tuple(names))


def _refuse_twice(location: Location, entry: _Entry, other: _Entry) -> NoReturn:
    before = f" ({other.where})" if other.where else ""
    same = _location(other.prefix, other.pools) == location
    says = "says the same as" if same else f"leads to {entry.pools!r}, and to {other.pools!r} in"
    raise LocationError(
        f"{entry.prefix!r} {says} {other.prefix!r}{before}; both are {location.prefix!r}. "
        "Keep one; mirrors are a list of pools of one prefix"
    )


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Say in every error where it was found."""
    try:
        yield
    except PoolError as error:
        raise LocationError(f"{where}: {error}" if where else str(error)) from error.__cause__


# ---- YAML


def _load(path: Path) -> list[_Entry]:
    """Read the entries of a file, with the lines where they are."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        return [
            _Entry(
                loader.construct_object(key, deep=True),
                loader.construct_object(value, deep=True),
                f"line {key.start_mark.line + 1}",
            )
            for key, value in _inside(node)
        ]
    except OSError as error:
        raise LocationError(
            f"this file cannot be read: {error.strerror}. Give the path of a YAML file, or a "
            "mapping of prefixes to pools"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mistake = yaml_mistake(error)
    # Without its cause, which shows the line.
    raise LocationError(f"this file is not right YAML: {mistake}")


def _inside(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    """Find the pairs of a file, or those of the locations in a file of Dask's configuration."""
    pairs = _pairs(node)
    for name in LOCATIONS.split("."):
        names = [key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)]
        inside = [value for key, value in pairs if key.value == name]
        if not inside and name != LOCATIONS.split(".", maxsplit=1)[0]:
            raise LocationError(
                f"there is 'dask_pools', but no {name!r} in it, only {one_of(names)}."
                f"{near_miss(name, names)}"
            )
        if not inside:
            return pairs
        pairs = _pairs(inside[0])
    return pairs


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    if node is None:
        raise LocationError(f"this file is empty. {_FORM}")
    if not isinstance(node, yaml.MappingNode):
        raise LocationError(f"line {node.start_mark.line + 1} begins no mapping. {_FORM}")
    pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
    return pairs
