"""Which data lives where: prefixes of paths and URLs, and the pools that hold what is below them.

Two spellings of one place are one: what a path says is brought into one form before it is
compared, by its text alone. Nothing is opened or looked up, so that links in a file system are
not followed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TypeAlias

from dask_pools.errors import LocationError
from dask_pools.model.names import Pin, check_pool_name

#: Where Dask's configuration has the locations: a mapping, or the path of a file.
LOCATIONS = "dask_pools.locations"

#: What names a file, a folder or a store.
Path: TypeAlias = str | os.PathLike[str]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
#: In fsspec, what is before it is a way to read what comes after: ``simplecache::s3://...``.
_CHAIN = re.compile(r"::(?=[/~]|[A-Za-z][A-Za-z0-9+.-]+(?:://|::))")
_DRIVE = re.compile(r"/?([A-Za-z]):[\\/]")
_LOCAL = frozenset({"file", "local"})
#: Schemes which lead to the same file system in fsspec, each with the one that is kept.
_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs", "ssh": "sftp"}
#: In these, what is before the host is who asks, and what is after a question mark is no place.
_OF_HOSTS = frozenset({"http", "https", "ftp", "ftps", "sftp"})
_PORTS = {"http": ":80", "https": ":443"}
#: What follows the scheme is no host, whose letters are of any case.
_NO_HOST = frozenset({"memory"})
#: Brackets also stand around the number of a host.
_GLOB = re.compile(r"[*?{]|(?<!://)\[")


def place_of(path: Path) -> str | None:
    """Bring the path of a file, or the URL of an object, into one form for each place.

    Parameters
    ----------
    path : str or PathLike
        A path or URL, also a chain of fsspec, of which the last part counts.

    Returns
    -------
    str or None
        None if it is a relative path, which is another place for each process, or no path.

    Raises
    ------
    TypeError
        If it is neither a str nor a PathLike.

    Examples
    --------
    >>> place_of("file:///data//ecmwf/"), place_of("simplecache::S3a://Bucket/x.nc")
    ('/data/ecmwf', 's3://bucket/x.nc')
    >>> place_of("x.nc") is None
    True
    """
    text = _text(path)
    if "::" in text:
        text = _CHAIN.split(text)[-1]
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    if found and scheme not in _LOCAL:
        return _url(_ALIASES.get(scheme, scheme), text[found.end() :])
    text = text[found.end() :] if found else text.removeprefix("file:")
    if text.startswith("~"):
        text = os.path.expanduser(text)  # noqa: PTH111 - pathlib fails where there is no home
    if drive := _DRIVE.match(text):
        return _joined(f"{drive[1].upper()}:/", text[drive.end() :].replace("\\", "/"))
    return _joined("/", text) if text.startswith("/") else None


def _text(path: object) -> str:
    if isinstance(path, str):
        return path
    if isinstance(path, os.PathLike):
        return os.fsdecode(path)
    raise TypeError(
        f"a path is a str or a PathLike such as '/data/ecmwf' or 's3://bucket/x', "
        f"not {path!r} of type {type(path).__name__}"
    )


def _url(scheme: str, rest: str) -> str:
    if scheme in _NO_HOST:
        return _joined(f"{scheme}://", rest)
    if scheme in _OF_HOSTS:
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, _, below = rest.lstrip("/").partition("/")
    host = host.lower()
    if scheme in _OF_HOSTS:
        host = host.rpartition("@")[2].removesuffix(_PORTS.get(scheme, "/"))
    return _joined(f"{scheme}://{host}/", below).removesuffix("/") if host else f"{scheme}://"


def _joined(root: str, rest: str) -> str:
    """Join the parts of a path, without empty ones; none is above the root."""
    parts: list[str] = []
    for part in rest.split("/"):
        if part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    return root + "/".join(parts)


@dataclass(frozen=True, slots=True)
class Location:
    """A prefix of paths or URLs, and the pools which hold all that is below it.

    Parameters
    ----------
    prefix : str
        An absolute path, or a URL: a folder, a bucket, a store or a single file. It is kept in
        one form: without a slash at its end, ``~`` resolved.
    pools : tuple of str
        The pool, or several of them that hold the same data (mirrors), the preferred one first.

    Raises
    ------
    LocationError
        If the prefix is empty, relative or a pattern, or if there is no pool, or one twice.
    PoolNameError
        If the name of a pool is not well formed.
    TypeError
        If something is not of its type.

    Examples
    --------
    >>> Location("s3://ecmwf-open/", ("ecmwf", "cedadocs"))
    Location(prefix='s3://ecmwf-open', pools=('ecmwf', 'cedadocs'))
    """

    prefix: str
    pools: Pin

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", _check_prefix(self.prefix))
        pools: object = self.pools
        if not isinstance(pools, tuple):
            raise TypeError(
                f"the pools of the location {self.prefix!r} are a tuple of names, not {pools!r}"
            )
        for name in self.pools:
            check_pool_name(name)
        if not pools or len(set(pools)) < len(pools):
            raise LocationError(
                f"the location {self.prefix!r} has one pool or more, each of them once, "
                f"not {pools!r}"
            )


def _check_prefix(prefix: object) -> str:
    """Bring a prefix into its form; say what is wrong with one that has none."""
    text = _text(prefix)
    if not text.strip():
        raise LocationError(
            "the prefix of a location is empty. Give an absolute path or a URL, such as "
            "'/data/ecmwf' or 's3://bucket'; '/' is every local path"
        )
    place = place_of(text)
    if found := _GLOB.search(text):
        # Of a URL the place is shown: what it leaves out may be a secret.
        raise LocationError(
            f"the prefix {place or text!r} has {found[0]!r} in it, and is no pattern: what is "
            "given stands for all that is below it. Give the folder or the bucket"
        )
    if place is None:
        raise LocationError(
            f"the prefix {text!r} is a relative path, which is another place for each process. "
            f"Give an absolute path such as '/{text.lstrip('./')}', or a URL such as 's3://bucket'"
        )
    return place


class _Cached:
    """Room for what is derived from the fields: neither compared nor pickled."""

    __slots__ = ("_table",)
    _table: dict[str, Location]


@dataclass(frozen=True, slots=True)
class Locations(_Cached):
    """All that is known of where data lives.

    Parameters
    ----------
    all : tuple of Location, default ()
        In any order; kept sorted by prefix. Of several that a path is in, the longest counts.

    Raises
    ------
    LocationError
        If two have the same prefix.

    Examples
    --------
    >>> locations = Locations((Location("/data", ("a",)), Location("/data/ecmwf", ("b",))))
    >>> locations.pools_of("/data/ecmwf/x.nc"), locations.pools_of("/data/ecmwf2/x.nc")
    (('b',), ('a',))
    """

    all: tuple[Location, ...] = ()

    def __post_init__(self) -> None:
        table: dict[str, Location] = {}
        for location in self.all:
            if not isinstance(location, Location):
                raise TypeError(f"locations are Location objects, not {location!r}")
            other = table.setdefault(location.prefix, location)
            if other is not location:
                raise LocationError(
                    f"the prefix {location.prefix!r} is there twice, with the pools {other.pools!r}"
                    f" and {location.pools!r}. Keep one; mirrors are several pools of one prefix"
                )
        object.__setattr__(self, "all", tuple(table[prefix] for prefix in sorted(table)))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.all)

    def location_of(self, path: Path) -> Location | None:
        """Find the location that a path is in: of all of them, that with the longest prefix.

        Prefixes are compared by whole parts: ``/data/ecmwf2`` is not in ``/data/ecmwf``. It takes
        as many look-ups as the path has parts, however many locations there are.

        Parameters
        ----------
        path : str or PathLike
            A path or URL. A relative path is in no location.

        Raises
        ------
        TypeError
            If it is neither a str nor a PathLike.
        """
        # `slots` leaves no room for functools.cached_property.
        if not hasattr(self, "_table"):
            object.__setattr__(self, "_table", {x.prefix: x for x in self.all})
        place = place_of(path) if self.all else None
        if place is None:
            return None
        root = place.find("/") + 1
        if place.startswith("://", root - 2):
            root += 1
        while True:
            if (found := self._table.get(place)) is not None:
                return found
            if len(place) <= root:
                return None
            place = place[: max(place.rfind("/", root), root)]

    def pools_of(self, path: Path) -> Pin | None:
        """Name the pools that hold what a path leads to; None if it is in no location.

        Parameters
        ----------
        path : str or PathLike
            As for `location_of`.
        """
        found = self.location_of(path)
        return None if found is None else found.pools
