"""The locations that are in force, and the question that everybody asks of them."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

import dask

from dask_pools.errors import LocationError
from dask_pools.in_force import InForce
from dask_pools.locations.read import read_locations
from dask_pools.model import LOCATIONS, Locations

#: What was read last: what the configuration said, with the state of its file, and what it means.
_last: tuple[object, object, Locations] = ({}, None, Locations())


class set_locations(InForce):  # noqa: N801 - a context manager is written in lower case, as dask.config.set
    """Say which data lives where: in which pools everything below some paths or URLs is.

    A context manager; or a plain call for the rest of the session. What was set before is not in
    force then, and comes back at the end of the context.

    `open_dataset` and its like ask for it where they are not told a pool, and so does
    ``propagate_pools(locate=True)`` for what is read anywhere in a computation.

    Parameters
    ----------
    source : mapping, path or Locations
        Prefixes of paths and URLs, each with its pool or a list of pools that hold the same
        data (mirrors); or a file of YAML that has such a mapping. As for `read_locations`.

    Raises
    ------
    LocationError, TypeError
        As for `read_locations`.

    Notes
    -----
    The setting is Dask's configuration, ``dask_pools.locations``: it holds for all threads of
    the process. There also is the place for what holds always::

        # ~/.config/dask/dask_pools.yaml
        dask_pools:
          locations:
            /data/ecmwf: ecmwf
            s3://ecmwf-open: [ecmwf, cedadocs]

    Examples
    --------
    >>> from dask_pools import pool_of, set_locations
    >>> with set_locations({"/data/ecmwf": "ecmwf", "s3://open": ["ecmwf", "cedadocs"]}):
    ...     pool_of("/data/ecmwf/predictions.zarr"), pool_of("s3://open/ens.nc")
    ('ecmwf', ('ecmwf', 'cedadocs'))
    """

    def __init__(self, source: Mapping[str, Any] | str | os.PathLike[str] | Locations) -> None:
        locations = read_locations(source)
        # As plain data: clusters that are started on other machines get the configuration as JSON.
        super().__init__({LOCATIONS: {x.prefix: list(x.pools) for x in locations.all}})


def current_locations() -> Locations:
    """Return the locations that are in force: set by `set_locations`, or configured.

    Raises
    ------
    LocationError
        If what Dask's configuration has under ``dask_pools.locations`` is not right.

    Examples
    --------
    >>> with set_locations({"/data/ecmwf": "ecmwf"}):
    ...     current_locations().all
    (Location(prefix='/data/ecmwf', pools=('ecmwf',)),)
    """
    global _last  # noqa: PLW0603 - one tuple, replaced as a whole: no thread sees half of it
    said = dask.config.get(LOCATIONS, None)
    if said is None:
        return Locations()
    if isinstance(said, Locations):
        return said
    state = _state(said) if isinstance(said, str | os.PathLike) else None
    before, then, locations = _last
    if said == before and state == then:
        return locations
    try:
        locations = read_locations(said)
    except (LocationError, TypeError) as error:
        raise LocationError(f"{LOCATIONS} in Dask's configuration: {error}") from error.__cause__
    # A copy, as what the configuration holds may be changed in its place.
    _last = copy.deepcopy(said), state, locations
    return locations


def _state(path: str | os.PathLike[str]) -> object:
    """Tell what changes when a file is written; None if there is none, which reading will tell."""
    try:
        found = os.stat(os.path.expanduser(path))  # noqa: PTH111, PTH116 - asked for each path
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def pool_of(path: str | os.PathLike[str]) -> str | tuple[str, ...] | None:
    """Name the pool where the data of a path or URL lives.

    Parameters
    ----------
    path : str or PathLike
        A path or a URL; of a chain of fsspec, such as ``simplecache::s3://bucket/x``, the last
        part counts. Nothing is opened or asked for.

    Returns
    -------
    str, tuple of str or None
        The pool; all of them if several hold the same data (mirrors); None if the path is in no
        location, as a relative path is.

    Raises
    ------
    LocationError
        If what Dask's configuration has under ``dask_pools.locations`` is not right.
    TypeError
        If the path is neither a str nor a PathLike.

    Examples
    --------
    >>> with set_locations({"s3://ecmwf-open": "ecmwf"}):
    ...     pool_of("s3://ecmwf-open/2024/ens.nc"), pool_of("s3://other/ens.nc")
    ('ecmwf', None)
    """
    pools = current_locations().pools_of(path)
    return pools[0] if pools is not None and len(pools) == 1 else pools
