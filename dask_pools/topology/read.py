"""Topologies as people write them: in a file of YAML, in Dask's configuration, as a mapping."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask

from dask_pools.errors import PoolError, TopologyError, near_miss, one_of
from dask_pools.model import Link, LinkClass, Pool, Topology, link_properties
from dask_pools.topology.classes import link_class
from dask_pools.topology.files import KEY, load_yaml, without_configuration
from dask_pools.topology.quantities import BANDWIDTH, DURATION, PRICE, SIZE
from dask_pools.topology.storage import STORAGE_OPTIONS, refuse_secrets

_TOPOLOGY = ("currency", "pools", "default", "links")
_POOL = ("workers", "nthreads", "egress", "egress_limit", STORAGE_OPTIONS)
_PROPERTIES = ("bandwidth", "latency", "price", "allowed")
_CLASS = ("class", *_PROPERTIES)
_LINK = ("source", "target", "between", *_CLASS)

#: Fields that may be written with a unit.
_QUANTITIES = {
    "bandwidth": BANDWIDTH,
    "latency": DURATION,
    "price": PRICE,
    "egress_limit": SIZE,
}


def read_topology(
    source: str | os.PathLike[str] | Mapping[str, Any] | Topology | None = None,
) -> Topology | None:
    """Read the description of pools and links.

    Parameters
    ----------
    source : path, mapping or Topology, optional
        A file of YAML, or what such a file holds; a Topology is returned as it is. Default:
        what Dask's configuration has under ``dask_pools.topology``, which is one of these.

    Returns
    -------
    Topology or None
        None if no source is given and nothing is configured.

    Raises
    ------
    TopologyError
        If it cannot be read, or something in it is not right. The message says where.

    Notes
    -----
    What opens the data of a pool, its field ``storage_options``, is not part of a Topology: it
    may be secret, and is read by the workers of the pool only.

    The fields, all of which may be left out::

        currency: USD
        pools:
          ecmwf: {egress: aggregates, egress_limit: 1 MB}
          eumetsat: {}
        default: {class: research-network}
        links:
          - {source: ecmwf, target: eumetsat, bandwidth: 1 Gbit/s, latency: 20 ms, price: 0.02}
          - {source: eumetsat, target: ecmwf, class: aws-same-continent, price: 0.03}

    A link has a `source` and a `target`, or ``between: [ecmwf, eumetsat]`` for both
    directions. What it does not say is that of its class, if it has one, else unknown.
    Numbers without a unit are bytes, bytes per second, and seconds. A file may also have all
    of this under ``dask_pools: topology:``, as a file of Dask's configuration.

    Examples
    --------
    >>> topology = read_topology(
    ...     {
    ...         "pools": ["ecmwf", "eumetsat"],
    ...         "links": [{"between": ["ecmwf", "eumetsat"], "bandwidth": "1 Gbit/s"}],
    ...     }
    ... )
    >>> topology.link("eumetsat", "ecmwf")
    Link(source='eumetsat', target='ecmwf', bandwidth=125000000.0)
    """
    configured = source is None
    if source is None:
        source = dask.config.get(KEY, None)
    if source is None or isinstance(source, Topology):
        return source
    origin = f"{KEY} in Dask's configuration" if configured else "topology"
    if isinstance(source, str | os.PathLike):
        origin = f"{os.fspath(source)} ({origin})" if configured else os.fspath(source)
        with _at(origin):
            return _topology(without_configuration(_load(Path(source).expanduser())))
    if configured:
        refuse_secrets(source, origin)
    with _at(origin):
        return _topology(source)


def _load(path: Path) -> object:
    try:
        data = load_yaml(path)
    except OSError as error:
        raise TopologyError(
            f"this file cannot be read: {error.strerror}. Give the path of a topology as YAML."
        ) from error
    if data is None:
        raise TopologyError(f"this file is empty. Fields of a topology: {one_of(_TOPOLOGY)}.")
    return data


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Say in every error where it was found."""
    try:
        yield
    except PoolError as error:
        raise TopologyError(f"{where}: {error}") from error.__cause__


def _fields(data: object, what: str, names: Iterable[str]) -> dict[str, Any]:
    """Read a mapping with known fields; quantities become numbers."""
    if not isinstance(data, Mapping):
        raise TopologyError(
            f"{what} is a mapping with the fields {one_of(names)}, not {_shown(data)}."
        )
    for name in data:
        if name not in names:
            raise TopologyError(
                f"{what} has no field {name!r}. Fields: {one_of(names)}."
                f"{near_miss(str(name), names)}"
            )
    return {name: _value(name, value) for name, value in data.items()}


def _value(name: str, value: object) -> object:
    # What is null is unknown, as if it were not there; the model refuses it where it cannot be.
    if name not in _QUANTITIES or value is None:
        return value
    with _at(name):
        return _QUANTITIES[name].read(value)


def _topology(data: object) -> Topology:
    given = _fields(data, "a topology", _TOPOLOGY)
    parsers: dict[str, Callable[[object], object]] = {
        "pools": _pools,
        "links": _links,
        "default": _default,
    }
    parts: dict[str, Any] = {"pools": ()}
    for name, value in given.items():
        # A field of which all lines are commented out is null.
        if value is not None:
            with _at(name):
                parts[name] = parsers[name](value) if name in parsers else value
    return Topology(**parts)


def _pools(data: object) -> tuple[Pool, ...]:
    if isinstance(data, list | tuple):
        pairs: list[tuple[Any, Any]] = [(name, None) for name in data]
    elif isinstance(data, Mapping):
        pairs = list(data.items())
    else:
        raise TopologyError(
            f"these are names, or a mapping of names to fields, not {_shown(data)}."
        )
    found = []
    for name, value in pairs:
        with _at(name if isinstance(name, str) else _shown(name)):
            rules = {} if value is None else _fields(value, "a pool", _POOL)
            # Left to the workers of the pool: a topology travels, and credentials stay.
            rules.pop(STORAGE_OPTIONS, None)
            found.append(Pool(_name(name), **rules))
    return tuple(found)


def _links(data: object) -> tuple[Link, ...]:
    if not isinstance(data, list | tuple):
        raise TopologyError(f"this is a list of links, not {data!r}.")
    found = []
    for number, item in enumerate(data, start=1):
        with _at(f"number {number}"):
            given = _fields(item, "a link", _LINK)
            properties = _properties(given)
            found += [Link(*ends, **properties) for ends in _directions(given)]
    return tuple(found)


def _default(data: object) -> LinkClass:
    given = _fields(data, "the default", _CLASS)
    return LinkClass(given.get("class", "default"), **_properties(given))


def _directions(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Find from where to where: one direction, or both."""
    match given:
        case {"between": [one, two]} if not {"source", "target"} & set(given):
            a, b = _name(one), _name(two)
            return [(a, b), (b, a)]
        case {"source": source, "target": target} if "between" not in given:
            return [(_name(source), _name(target))]
    ends = {name: given[name] for name in ("source", "target", "between") if name in given}
    raise TopologyError(
        "a link has a source and a target, or is between two pools, such as "
        f"{{source: ecmwf, target: eumetsat}} or {{between: [ecmwf, eumetsat]}}, not {ends!r}."
    )


def _properties(given: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the properties of a link or of all links: those of its class, then its own."""
    named = link_properties(link_class(given["class"])) if "class" in given else {}
    return {**named, **{name: given[name] for name in _PROPERTIES if name in given}}


def _name(value: object) -> str:
    """Refuse what YAML does not take for a text, such as a pool called no."""
    if not isinstance(value, str):
        raise TopologyError(
            f"the name of a pool is a text, not {_shown(value)}, of type {type(value).__name__}. "
            "In YAML, put it in quotes."
        )
    return value


def _shown(value: object) -> str:
    """Show a value in a message; where fields may be, there may be secrets among them."""
    parts = value if isinstance(value, list | tuple) else [value]
    plain = all(isinstance(part, str | int | float | None) for part in parts)
    return repr(value) if plain else f"something of type {type(value).__name__}"
