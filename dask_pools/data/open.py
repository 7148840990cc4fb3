"""Open data inside its pool: xarray's functions, with the metadata read by a worker there."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import xarray as xr

from dask_pools.data.inline import computing_inline
from dask_pools.data.moved import coordinate_limit, pack_opened
from dask_pools.data.parcel import unpack
from dask_pools.data.remote import Call, ask, run_in_pool, there_or_here
from dask_pools.data.storage.lazy import unpickle_files_lazily
from dask_pools.data.storage.target import check_arguments, open_target
from dask_pools.graph.annotate import current_pin
from dask_pools.graph.annotate import pool as pinned
from dask_pools.locations.current import current_locations
from dask_pools.model import Pin

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["find_pin", "open_dataset", "open_datatree", "open_zarr", "opened_from", "shown"]


def open_dataset(path: Any, *, pool: str | Pin | None = None, **kwargs: Any) -> Any:
    """Open a dataset where it lives, as `xarray.open_dataset` does.

    A worker of the pool reads metadata and indexes. The lazy dataset comes here, its arrays pinned
    to the pool; this process need not see anything of the path.

    Parameters
    ----------
    path : str, PathLike, store or callable
        A path or URL as the pool's workers see it; ``~`` is their home directory. Or an object
        that xarray can open and that can be pickled, such as the store of an icechunk session.
        Or a function without arguments that makes such an object there.
    pool : str or tuple of str, optional
        The pool, or several that hold the same data. Default: that of ``with pool(...)``; else
        that of the location of the path, see `set_locations`; else it is opened in this process.
    **kwargs
        As for `xarray.open_dataset`. ``chunks`` is ``{}`` by default, the chunks of the file, so
        that the result is always lazy; in a pool, it must not be None. What has to be known to
        make chunks of another size (``chunks="auto"``) is in the Dask configuration of the worker.

    Returns
    -------
    Dataset
        With an asynchronous client: an awaitable of it.

    Raises
    ------
    UnknownPoolError
        If no worker is in the pool.
    PoolLostError
        If the pool has lost all its workers, and none comes back in time.
    CredentialsError
        If there are secrets among the storage options: they are on the workers of the pool.
    CoordinateLimitError
        If the indexes are larger than ``dask_pools.coordinate-limit`` in Dask's configuration.
    FileNotFoundError
        If there is no such path in the pool.
    Exception
        Whatever else xarray raises there.

    Notes
    -----
    In a task that runs in the pool it is opened by this task. Where there is no cluster, this is
    xarray's own function, and what it returns is pinned for later.

    Examples
    --------
    >>> ds = open_dataset("/data/ecmwf/ens.nc", pool="ecmwf")  # doctest: +SKIP
    """
    return _open(xr.open_dataset, path, pool, kwargs)


def open_zarr(path: Any, *, pool: str | Pin | None = None, **kwargs: Any) -> Any:
    """Open a zarr store where it lives, as `xarray.open_zarr` does.

    Parameters
    ----------
    path : str, PathLike, store or callable
        As for `open_dataset`.
    pool : str or tuple of str, optional
        As for `open_dataset`.
    **kwargs
        As for `xarray.open_zarr`, with ``chunks`` as for `open_dataset`.

    Returns
    -------
    Dataset
        With an asynchronous client: an awaitable of it.

    Raises
    ------
    Exception
        As for `open_dataset`.

    Examples
    --------
    >>> ds = open_zarr("s3://ecmwf-open/ens.zarr", pool="ecmwf")  # doctest: +SKIP
    """
    return _open(xr.open_zarr, path, pool, kwargs)


def open_datatree(path: Any, *, pool: str | Pin | None = None, **kwargs: Any) -> Any:
    """Open a tree of datasets where it lives, as `xarray.open_datatree` does.

    Parameters
    ----------
    path : str, PathLike, store or callable
        As for `open_dataset`.
    pool : str or tuple of str, optional
        As for `open_dataset`.
    **kwargs
        As for `xarray.open_datatree`, with ``chunks`` as for `open_dataset`.

    Returns
    -------
    DataTree
        With an asynchronous client: an awaitable of it.

    Raises
    ------
    Exception
        As for `open_dataset`.

    Examples
    --------
    >>> tree = open_datatree("/data/ecmwf/ens.zarr", pool="ecmwf")  # doctest: +SKIP
    """
    return _open(xr.open_datatree, path, pool, kwargs)


def _open(function: Callable[..., Any], path: Any, pool: str | Pin | None, kwargs: Any) -> Any:
    pin = find_pin(path, pool)
    kwargs.setdefault("chunks", {})
    if pin is None:
        return run_in_pool(_open_here, function, path, kwargs, pool=None, what=function.__name__)
    _require_lazy(function.__name__, kwargs)
    there = Call.of(pin, _open_there, function, path, kwargs, coordinate_limit())
    here = Call.of(pin, _open_here, function, path, kwargs)

    async def asked(client: Client) -> Any:
        check_arguments(kwargs)
        return unpack(await ask(client, function.__name__, there))

    return there_or_here((pin,), asked, here.run)


def _open_here(function: Callable[..., Any], path: Any, kwargs: dict[str, Any]) -> Any:
    return opened_from(function, path, kwargs)


def _open_there(
    function: Callable[..., Any], path: Any, kwargs: dict[str, Any], limit: float
) -> bytes:
    with computing_inline():
        opened = opened_from(function, path, kwargs)
        # Nothing is open where it goes; here, the file is closed when the last reference is gone.
        opened.set_close(None)
        return pack_opened(opened, limit, shown(path))


def opened_from(function: Callable[..., Any], path: Any, kwargs: dict[str, Any]) -> Any:
    """Call a function of xarray, where the data is.

    Parameters
    ----------
    function : callable
        One that takes a path, and ``storage_options`` of a URL.
    path : object
        As for `open_dataset`. If it is a function, what it makes is opened.
    kwargs : dict
        More arguments. Storage options that this worker has of its own are added to them.
    """
    if callable(path):
        return function(path(), **kwargs)
    if not isinstance(path, str) or "://" not in path:
        return function(path, **kwargs)
    unpickle_files_lazily()
    nested = dict(kwargs.get("backend_kwargs") or {})
    given = kwargs.get("storage_options", nested.pop("storage_options", None))
    url, options = open_target(path, given)
    if options == given:
        return function(path, **kwargs)
    inner = {"backend_kwargs": nested} if nested else {}
    outer = {k: v for k, v in kwargs.items() if k != "backend_kwargs"}
    return function(url, **{**outer, **inner, "storage_options": options})


def shown(path: Any) -> str:
    """Show what is opened in a message, without what an object may say of itself."""
    if isinstance(path, (str, os.PathLike)):
        return repr(os.fspath(path))
    return f"a {type(path).__name__}"


def _require_lazy(name: str, kwargs: dict[str, Any]) -> None:
    """Refuse arguments by which what is opened in a pool would not be lazy.

    Raises
    ------
    ValueError
        If ``chunks`` is None.

    Examples
    --------
    >>> _require_lazy("open_zarr", {"chunks": {}})
    """
    if kwargs["chunks"] is None:
        raise ValueError(
            f"{name}() in a pool cannot have chunks=None: the result would have to be read where "
            "it is used. Allowed: {} (the chunks of the file, the default), 'auto', numbers by "
            "dimension. Use `.load()` on what you want in memory."
        )


def find_pin(path: Any, pool: str | Pin | None) -> Pin | None:
    """Find the pools that hold the data of a path.

    Parameters
    ----------
    path : object
        A path or URL, or anything else, of which no location is known.
    pool : str, tuple of str or None
        What the user says; None for the pin in force, else the location of the path.

    Returns
    -------
    tuple of str or None
        The pools, None if nobody knows of any.

    Raises
    ------
    PoolNameError, TypeError
        If a name is not well formed.

    Examples
    --------
    >>> find_pin("/data/x.nc", "ecmwf"), find_pin("/data/x.nc", None)
    (('ecmwf',), None)
    """
    if pool is not None:
        return pinned(*((pool,) if isinstance(pool, str) else pool)).names
    if (pin := current_pin()) is not None:
        return pin
    if isinstance(path, (str, os.PathLike)):
        return current_locations().pools_of(path)
    return None
