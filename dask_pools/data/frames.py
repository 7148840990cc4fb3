"""Data frames that are read where they live: schema and footers by a worker there.

Beside the schema, a frame takes with it what Dask has to know of the files when it optimises: their
names, sizes and row groups. Neither this process nor the scheduler looks at the files.
"""

from __future__ import annotations

import os
from typing import Any

from dask_pools.data.inline import computing_inline
from dask_pools.data.open import find_pin
from dask_pools.data.remote import run_in_pool
from dask_pools.data.storage.target import check_storage_options, open_target
from dask_pools.errors import LocationError
from dask_pools.model import Pin

__all__ = ["home_of", "read_csv", "read_parquet", "target_of"]


def read_parquet(path: Any, *, pool: str | Pin | None = None, **kwargs: Any) -> Any:
    """Read parquet files where they live, as `dask.dataframe.read_parquet` does.

    A worker of the pool lists the files, and reads the schema. The lazy frame comes here, its
    reads pinned to the pool; this process need not see anything of the path.

    Parameters
    ----------
    path : str, PathLike or list of these
        Files, a directory or a pattern, as the pool's workers see it.
    pool : str or tuple of str, optional
        The pool, or several that hold the same data. Default: that of ``with pool(...)``; else
        that of the location of the path, see `set_locations`; else it is read in this process.
    **kwargs
        As for `dask.dataframe.read_parquet`.

    Returns
    -------
    DataFrame or Series
        With an asynchronous client: an awaitable of it.

    Raises
    ------
    UnknownPoolError
        If no worker is in the pool.
    PoolLostError
        If the pool has lost all its workers, and none comes back in time.
    LocationError
        If the files live in several pools.
    FileNotFoundError
        If there is no such path in the pool.
    Exception
        Whatever else Dask raises there.

    Examples
    --------
    >>> df = read_parquet("/data/eumetsat/stations", pool="eumetsat")  # doctest: +SKIP
    """
    return _read("read_parquet", path, pool, kwargs)


def read_csv(path: Any, *, pool: str | Pin | None = None, **kwargs: Any) -> Any:
    """Read CSV files where they live, as `dask.dataframe.read_csv` does.

    A worker of the pool reads the sample from which the types of columns are guessed.

    Parameters
    ----------
    path : str, PathLike or list of these
        Files, or a pattern, as the pool's workers see them.
    pool : str or tuple of str, optional
        As for `read_parquet`.
    **kwargs
        As for `dask.dataframe.read_csv`.

    Returns
    -------
    DataFrame
        With an asynchronous client: an awaitable of it.

    Raises
    ------
    OSError
        If no file matches in the pool.
    Exception
        As for `read_parquet`.

    Examples
    --------
    >>> df = read_csv("/data/eumetsat/*.csv", pool="eumetsat")  # doctest: +SKIP
    """
    return _read("read_csv", path, pool, kwargs)


def _read(name: str, path: Any, pool: str | Pin | None, kwargs: dict[str, Any]) -> Any:
    pin = home_of(path, pool)
    if pin is not None:
        check_storage_options(kwargs.get("storage_options"))
    return run_in_pool(_read_here, name, path, kwargs, pool=pin, what=name)


def home_of(path: Any, pool: str | Pin | None) -> Pin | None:
    """Find the pools of the files of one frame; None if nothing is known of them.

    Raises
    ------
    LocationError
        If they are not all in one pool.

    Examples
    --------
    >>> home_of(["/data/a.parquet", "/data/b.parquet"], "ecmwf")
    ('ecmwf',)
    """
    paths = path if isinstance(path, (list, tuple)) else [path]
    pins = {item: find_pin(item, pool) for item in paths}
    found = set(pins.values())
    if len(found) > 1:
        where = ", ".join(
            f"{str(item)!r} in {pin or 'no known pool'}" for item, pin in pins.items()
        )
        raise LocationError(
            f"The files of one frame have to be in one pool, but there is {where}. Read those of "
            "each pool by themselves, and put them together with dask.dataframe.concat."
        )
    return found.pop() if found else None


def target_of(path: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Add the storage options that this worker has of its own for a path.

    pyarrow's file systems (``filesystem="arrow"``) find credentials by themselves where they are.
    """
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    paths = path if isinstance(path, (list, tuple)) else [path]
    given = kwargs.get("storage_options")
    remote = [item for item in paths if isinstance(item, str) and "://" in item]
    if not remote or kwargs.get("filesystem", "fsspec") != "fsspec":
        return path, kwargs
    _, options = open_target(remote[0], given)
    return path, kwargs if options == given else {**kwargs, "storage_options": options}


def _read_here(name: str, path: Any, kwargs: dict[str, Any]) -> Any:
    import dask.dataframe as dd  # takes a moment, and not everybody needs it

    path, kwargs = target_of(path, kwargs)
    with computing_inline():
        return getattr(dd, name)(path, **kwargs)
