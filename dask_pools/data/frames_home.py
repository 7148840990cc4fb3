"""Data frames that are written where they are to live."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Mapping
from typing import Any, cast

from dask.base import is_dask_collection
from distributed import Client

from dask_pools.data.frames import home_of, target_of
from dask_pools.data.inline import computing_inline
from dask_pools.data.remote import run_in_pool
from dask_pools.data.storage.target import check_storage_options
from dask_pools.graph.adapter import frames
from dask_pools.model import Pin

__all__ = ["to_parquet"]


def to_parquet(
    df: Any,
    path: str | os.PathLike[str],
    *,
    pool: str | Pin | None = None,
    compute: bool = True,
    compute_kwargs: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Write a frame to parquet files in a pool, as `dask.dataframe.to_parquet` does.

    A worker of the pool makes the directory, or reads what is there; workers of the pool write
    the files, and the common metadata. Only what is written crosses to the pool.

    Parameters
    ----------
    df : DataFrame
        What is written. Its own reads stay where their data is.
    path : str or PathLike
        Directory, as the pool's workers see it.
    pool : str or tuple of str, optional
        The pool. Default: that of ``with pool(...)``; else that of the location of the path, see
        `set_locations`; else it is Dask's own function.
    compute : bool, default True
        Whether it is written now. If not, a lazy value is returned, and computing that writes it.
    compute_kwargs : mapping, optional
        Options for computing it.
    **kwargs
        As for `dask.dataframe.to_parquet`.

    Returns
    -------
    None or Scalar
        A lazy value if ``compute=False``. With an asynchronous client: an awaitable of it.

    Raises
    ------
    UnknownPoolError
        If no worker is in the pool.
    ValueError
        If the frame reads what is to be overwritten.
    Exception
        Whatever else Dask raises there.

    Examples
    --------
    >>> to_parquet(df, "/data/ecmwf/scores", pool="ecmwf")  # doctest: +SKIP
    """
    pin = home_of(path, pool)
    if pin is None:
        written = df.to_parquet(path, compute=compute, compute_kwargs=compute_kwargs, **kwargs)
        return None if compute else written
    check_storage_options(kwargs.get("storage_options"))
    if kwargs.get("overwrite"):
        _require_other(df, str(path), pin)
    empty = frames.unfilled(df)
    drafted = run_in_pool(_draft, empty, path, kwargs, pool=pin, what="to_parquet")
    if not is_dask_collection(drafted):  # the client is asynchronous
        return _write(drafted, empty, df, compute, dict(compute_kwargs or {}))
    lazy = frames.filled(drafted, empty, df)
    if not compute:
        return lazy
    lazy.compute(**(compute_kwargs or {}))
    return None


async def _write(
    drafted: Awaitable[Any], empty: Any, df: Any, compute: bool, options: dict[str, Any]
) -> Any:
    lazy = frames.filled(await drafted, empty, df)
    if not compute:
        return lazy
    await cast(Awaitable[Any], Client.current().compute(lazy, **options))
    return None


def _draft(empty: Any, path: Any, kwargs: dict[str, Any]) -> Any:
    """Do all that comes before the first file is written; the frame is filled in afterwards."""
    path, kwargs = target_of(path, kwargs)
    with computing_inline():
        return empty.to_parquet(path, compute=False, **kwargs)


def _require_other(df: Any, path: str, pin: Pin) -> None:
    """Refuse to delete what is read: the pool which deletes it does not know what is read.

    Raises
    ------
    ValueError
        If the frame reads from the path.
    """
    own = path.rstrip("/") + "/"
    for read, where in frames.reads_of(df):
        if (read.rstrip("/") + "/").startswith(own) and not set(where or pin).isdisjoint(pin):
            raise ValueError(
                f"overwrite=True would delete {path!r} in pool {pin[0]!r}, from which the frame is "
                "read. Write to another path, or persist the frame before."
            )
