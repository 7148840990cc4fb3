"""`to_zarr`: write a dataset where it is to live, by the workers of that pool.

The metadata is drafted on the client by xarray itself, into a store in memory; each chunk is
written by a task of the pool; and what makes a store of the chunks comes at the end.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Mapping
from typing import Any, Literal, cast

import xarray as xr
from dask.delayed import Delayed
from distributed import Client

from dask_pools.data.remote import run_in_pool
from dask_pools.data.storage.target import check_storage_options
from dask_pools.data.writing.draft import Writable
from dask_pools.data.writing.home import Home
from dask_pools.data.writing.write import Calls, Prepared, bridge, keep_in_mind, prepare
from dask_pools.errors import PoolLostError, PoolNameError, UnknownPoolError
from dask_pools.graph.annotate import current_pin
from dask_pools.locations.current import pool_of
from dask_pools.model import check_pool_name

#: Arguments of xarray's `to_zarr` that are not about what is written.
_NOT_DRAFTED = ("store", "compute", "storage_options", "chunkmanager_store_kwargs")


def to_zarr(
    ds: Writable,
    path: str | os.PathLike[str],
    *,
    pool: str | None = None,
    compute: bool = True,
    metadata: Literal["first", "last"] = "last",
    storage_options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Write a dataset to a zarr store in a pool, as ``ds.to_zarr(path)`` would do it there.

    Chunks and metadata are written by workers of the pool only; this process need not see the
    path. The store opens once it is whole, and not before: a new one not at all, one that is
    appended to at its old length.

    Parameters
    ----------
    ds : Dataset, DataArray or DataTree
        What is written. What is not lazy is sent to the pool.
    path : str or path
        Path or URL of the store, as the pool sees it.
    pool : str, optional
        The pool. Default: the pin in force (``with pool(...)``), else that of the location of the
        path; without any, it is written by xarray alone.
    compute : bool, default True
        Whether it is written now. If not, a lazy value is returned, and computing that writes
        the chunks and, as its last task, the metadata.
    metadata : {"last", "first"}, default "last"
        When the metadata is written. ``"first"`` is what xarray does: now, also with
        ``compute=False``. For a store that is laid out first and filled by regions later.
    storage_options : mapping, optional
        As for xarray: options of the file system of a URL, which are sent to the pool.
        Credentials are refused: they are on its workers.
    **kwargs
        All other arguments of xarray's ``to_zarr``: ``mode``, ``group``, ``encoding``,
        ``append_dim``, ``region``, ``consolidated``, ``safe_chunks``, ``zarr_format``, ...

    Returns
    -------
    None or Delayed
        A `dask.delayed.Delayed` if ``compute=False``. With an asynchronous client: an awaitable
        of it.

    Raises
    ------
    TypeError
        If the path is no path.
    CredentialsError
        If there are secrets in `storage_options`.
    PoolNameError
        If several pools hold the path: a write is for one.
    UnknownPoolError
        If no worker is in the pool.
    StoreChangedError
        If the store is changed by somebody else in the meantime.
    WrongPoolError
        If something would be written in another place than the pool.
    Exception
        What xarray and zarr raise for data and arguments that do not fit, and what the worker
        raises, with a note that names the pool.

    Notes
    -----
    What the metadata of a store does not tell of does not show: values that were overwritten in
    place (``region``, existing variables of ``mode="a"``) are there at once, and are not taken
    back by a failure. ``mode="w"`` deletes what was there before the first chunk is written,
    when all arguments have been checked.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import xarray as xr
    >>> from dask_pools import to_zarr
    >>> ds = xr.Dataset({"t": ("x", [1, 2, 3])}).chunk(x=2)
    >>> with TemporaryDirectory() as directory:  # there is no cluster: this process is the pool
    ...     to_zarr(ds, f"{directory}/t.zarr", pool="ecmwf", zarr_format=2)
    ...     xr.open_zarr(f"{directory}/t.zarr").t.values
    array([1, 2, 3])
    """
    if metadata not in {"first", "last"}:
        raise ValueError(f"metadata is written 'first' or 'last', not {metadata!r}")
    home = _home(path, pool, storage_options)
    client = _client()
    if home is None:
        return _plain(ds, path, compute=compute, storage_options=storage_options, **kwargs)
    write = _Write(ds, home, kwargs, compute=compute, metadata_first=metadata == "first")
    if client is not None and client.asynchronous:
        return write.awaited(client)
    return write.done()


def _plain(ds: Writable, path: Any, *, compute: bool, **kwargs: Any) -> Any:
    write: Any = ds.to_zarr
    written = write(path, compute=compute, **kwargs)
    return None if compute else written


def _home(path: Any, pool: Any, storage_options: Mapping[str, Any] | None) -> Home | None:
    if pool is not None or isinstance(path, (str, os.PathLike)):
        names = _pools(path, pool)
    else:
        names = current_pin() or ()
    if not names:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"what is written in pool {names[0]!r} is named by a path or URL which the pool "
            f"sees, not by {path!r} of type {type(path).__name__}"
        )
    if len(names) > 1:
        raise PoolNameError(
            f"{os.fspath(path)!r} is in the pools {names!r}, but a store is written in one: in "
            f"several, each would get a part. Say which, for example pool={names[0]!r}"
        )
    options = None if storage_options is None else dict(storage_options)
    if _client() is not None:
        check_storage_options(options)
    url, anywhere = os.fspath(path), _client() is None
    return Home(url, check_pool_name(names[0]), uuid.uuid4().hex, options, anywhere)


def _pools(path: Any, pool: Any) -> tuple[str, ...]:
    found = pool if pool is not None else current_pin() or pool_of(path)
    if found is None:
        return ()
    return (found,) if isinstance(found, str) else tuple(found)


def _client() -> Client | None:
    try:
        return cast(Client, Client.current())
    except ValueError:
        return None


class _Write:
    """One call of `to_zarr`."""

    def __init__(
        self,
        ds: Writable,
        home: Home,
        kwargs: Mapping[str, Any],
        *,
        compute: bool,
        metadata_first: bool,
    ) -> None:
        self.ds = ds
        self.home = home
        self.compute = compute
        self.metadata_first = metadata_first
        self.store_options = dict(kwargs.get("chunkmanager_store_kwargs") or {})
        self.arguments = {k: v for k, v in kwargs.items() if k not in _NOT_DRAFTED}
        self.mode = _mode(ds, self.arguments)

    def done(self) -> Delayed | None:
        """Do it, and wait."""
        prepared = self.prepared(self.call)
        if not self.compute:
            return self.lazy(prepared)
        try:
            prepared.delayed.compute()
        except BaseException as error:
            self.take_back(prepared, error, self.call)
            raise
        return None

    async def awaited(self, client: Client) -> Delayed | None:
        """Do it in a thread, since xarray is not asynchronous."""
        call = bridge(self.call, asyncio.get_running_loop())
        prepared = await asyncio.to_thread(self.prepared, call)
        if not self.compute:
            return self.lazy(prepared)
        future = client.compute(prepared.delayed)
        try:
            await future
        except BaseException as error:
            future.release()
            await asyncio.to_thread(self.take_back, prepared, error, call)
            raise
        return None

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function in the pool."""
        return run_in_pool(function, *args, pool=(self.home.pool,), what="to_zarr", **kwargs)

    def prepared(self, call: Calls) -> Prepared:
        """Do all that comes before the chunks."""
        return prepare(
            self.ds,
            self.home,
            self.arguments,
            call,
            mode=self.mode,
            metadata_first=self.metadata_first,
            store_options=self.store_options,
        )

    @staticmethod
    def lazy(prepared: Prepared) -> Delayed:
        """Hand out a write that is computed later."""
        keep_in_mind(prepared)
        return prepared.delayed

    def take_back(self, prepared: Prepared, error: BaseException, call: Calls) -> None:
        """Remove what a failed write has left, where that is possible."""
        if prepared.undo is None or isinstance(error, (PoolLostError, UnknownPoolError)):
            return
        try:
            call(prepared.undo)
        except Exception as other:  # noqa: BLE001 - the first error is the one to be seen
            error.add_note(f"what had been written to {self.home} could not be removed: {other!r}")


def _mode(ds: Writable, arguments: Mapping[str, Any]) -> str:
    """Fill in xarray's default of the mode."""
    mode = arguments.get("mode")
    if mode is not None:
        return str(mode)
    if isinstance(ds, xr.DataTree):
        return "w-"
    if arguments.get("append_dim") is not None:
        return "a"
    return "w-" if arguments.get("region") is None else "r+"
