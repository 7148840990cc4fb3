"""How data of an object store is opened with the credentials of the worker that opens it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from dask_pools.data.storage.filesystem import PROTOCOL
from dask_pools.data.storage.here import own_options, pools_here
from dask_pools.errors import CredentialsError, one_of
from dask_pools.graph.annotate import current_pin
from dask_pools.model.credentials import secret_options

#: Options that say where a store is, and are no secrets: they tell two stores of one URL apart.
_PLACES = ("endpoint_url", "host", "port", "account_name", "account_host", "base_url")


def check_storage_options(options: object, what: str = "storage_options") -> None:
    """Refuse secrets in what is about to be sent to the workers of a pool.

    Parameters
    ----------
    options : object
        Options for fsspec, or a mapping in which they are, such as ``backend_kwargs``.
    what : str
        What they are called, for the message.

    Raises
    ------
    CredentialsError
        If there are secrets in them. It has their names, not their values.

    Examples
    --------
    >>> check_storage_options({"anon": True, "endpoint_url": "http://127.0.0.1:9000"})
    >>> check_storage_options({"key": "…", "secret": "…"})
    Traceback (most recent call last):
        ...
    dask_pools.errors.CredentialsError: 'key', 'secret' in storage_options look like secrets...
    """
    if names := [name for name, _ in secret_options(options)]:
        raise CredentialsError(
            f"{one_of(names)} in {what} look like secrets, which would travel with the data set "
            "through this process and the scheduler. Leave them out: put them into a file on the "
            "machines of the pool's workers, and set dask_pools.storage-options to its path in "
            "their Dask configuration (or give LocalPoolCluster storage_options=)"
        )


def check_arguments(kwargs: Mapping[str, Any]) -> None:
    """Refuse secrets in arguments of xarray which are about to be sent to the workers of a pool.

    Parameters
    ----------
    kwargs : mapping
        Arguments, of which those for fsspec are looked at.

    Raises
    ------
    CredentialsError
        If there are secrets in them.

    Examples
    --------
    >>> check_arguments({"chunks": {"key": 10}, "storage_options": {"anon": True}})
    """
    for name in ("storage_options", "backend_kwargs"):
        check_storage_options(kwargs.get(name), name)


def open_target(
    url: str, storage_options: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any] | None]:
    """Say how to open a URL here, so that what is pickled of it holds no secret.

    Where this process has storage options for the URL, the answer leads to
    `PooledFileSystem`, which finds them in each process that reads.

    Parameters
    ----------
    url : str
        Any path or URL, also a chain such as ``simplecache::s3://bucket/a.nc``, of which the
        last link counts.
    storage_options : mapping, optional
        What the user gives. It is used beside the options of the process, and wins.

    Returns
    -------
    tuple of str and (dict or None)
        The URL and the options for xarray or fsspec. The URL stays the same.

    Raises
    ------
    CredentialsError
        If there are secrets in `storage_options`, and this process has options for the URL.

    Examples
    --------
    >>> open_target("s3://bucket/a.zarr", {"anon": True})  # no options in this process
    ('s3://bucket/a.zarr', {'anon': True})
    """
    given = None if storage_options is None else dict(storage_options)
    *chain, last = url.split("::")
    found = own_options().of(last) if "://" in last else None
    if found is None:
        return url, given
    check_storage_options(given)
    outer = given or {}
    explicit: dict[str, Any] = outer.pop(last.partition("://")[0], {}) if chain else outer
    # Where it may be used: in the pool, and its mirrors if there are any.
    pools = current_pin() or pools_here()
    pooled: dict[str, Any] = {"origin": {"pools": list(pools), **_place(found[1])}}
    if explicit:
        pooled["target_options"] = explicit
    # fsspec takes "protocol" for that of the last link, and other options for the first link.
    if chain:
        return url, {**outer, "protocol": PROTOCOL, PROTOCOL: pooled}
    return url, {"protocol": PROTOCOL, **pooled}


def _place(options: Mapping[str, Any]) -> dict[str, Any]:
    nested = options.get("client_kwargs")
    places = {**(nested if isinstance(nested, Mapping) else {}), **options}
    found = {name: places[name] for name in _PLACES if places.get(name)}
    return {name: value for name, value in found.items() if not urlsplit(str(value)).password}
