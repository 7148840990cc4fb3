"""Which workers are given which credentials: decided before any of them starts."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from dask_pools.errors import UnknownPoolError, near_miss, one_of
from dask_pools.topology.storage import StorageOptions

#: What opens the data of a pool: prefixes with their options, or the path of a file that has them.
GivenOptions: TypeAlias = Mapping[str, Mapping[str, Any]] | str | os.PathLike[str]


def check_storage_options(
    storage_options: Mapping[str, GivenOptions] | None, pools: Collection[str]
) -> dict[str, StorageOptions | str]:
    """Check the storage options of pools.

    Parameters
    ----------
    storage_options : mapping of str to mapping or path, or None
        The options of each pool that has any.
    pools : collection of str
        The names of all pools.

    Returns
    -------
    dict of str to (StorageOptions or str)
        By pool, what shows no secret: hidden options, or the absolute path of a file, which
        only the workers read.

    Raises
    ------
    TypeError
        If it is not a mapping.
    UnknownPoolError
        If it names a pool that the cluster does not have.
    FileNotFoundError
        If there is no such file.
    ConfigurationError
        If the options of a pool are not as they have to be. No message shows a value.
    """
    if storage_options is None:
        return {}
    if not isinstance(storage_options, Mapping):
        raise TypeError(
            "storage_options= is a mapping of pools to their options, such as "
            "{'ecmwf': {'s3://bucket': {'endpoint_url': …}}} or {'ecmwf': '/etc/ecmwf.yaml'}, "
            f"not of type {type(storage_options).__name__}"
        )
    for pool in storage_options:
        if pool not in pools:
            raise UnknownPoolError(
                f"storage_options= gives options to {pool!r}, which is not a pool of this cluster. "
                f"Its pools: {one_of(pools)}.{near_miss(str(pool), pools)}"
            )
    return {pool: _hidden(pool, given) for pool, given in storage_options.items()}


def _hidden(pool: str, given: GivenOptions) -> StorageOptions | str:
    if not isinstance(given, str | os.PathLike):
        return StorageOptions(given)
    path = Path(given).expanduser().absolute()
    if not path.is_file():
        raise FileNotFoundError(
            f"the storage options of pool {pool!r}, {str(path)!r}, are not a file: "
            "write it before the cluster starts, or give a mapping"
        )
    return str(path)
