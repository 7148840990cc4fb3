"""The storage options of this process: what was given to it, or what its configuration names.

Only a path is kept in Dask's configuration, never a secret: Dask shows its configuration in
dumps of a cluster.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import dask

from dask_pools.errors import ConfigurationError, CredentialsError, one_of
from dask_pools.topology.files import KEY as TOPOLOGY
from dask_pools.topology.storage import StorageOptions, read_storage_options, refuse_secrets

#: Where Dask's configuration has the storage options: the path of a file, or a mapping of
#: prefixes to options that are no secrets.
KEY = "dask_pools.storage-options"

_NONE = StorageOptions({})


class _Process:
    """What this process keeps, for its lifetime."""

    #: Given to it when it was started; before its configuration.
    given: StorageOptions | str | None = None
    #: The last file that was read, for which pool, when it was written, and its content.
    file: tuple[str, str | None, int] | None = None
    content: StorageOptions = _NONE


def keep_storage_options(options: StorageOptions | str) -> None:
    """Keep storage options in this process, or the path of a file that has them."""
    _Process.given = options


def storage_options_here(pools: tuple[str, ...]) -> StorageOptions:
    """Return the storage options of this process.

    A file is read again when it has changed, so that short-lived credentials can be renewed.

    Parameters
    ----------
    pools : tuple of str
        The pools of the workers in this process.

    Raises
    ------
    ConfigurationError, CredentialsError
        If they are not as described, or are where they must not be.
    """
    source = _Process.given
    if source is None:
        source = _configured()
    if isinstance(source, StorageOptions):
        return source
    if len(pools) > 1:
        raise CredentialsError(
            f"workers of the pools {one_of(pools)} share one process, in which credentials cannot "
            f"be kept apart. Start workers in processes of their own, or set {KEY} to a mapping "
            "without secrets"
        )
    return _read(source, pools[0] if pools else None)


def _configured() -> StorageOptions | str:
    source = dask.config.get(KEY, None)
    if isinstance(source, Mapping):
        refuse_secrets(source, KEY)
        return StorageOptions(source)
    if source is None:
        # The topology of this machine may have a section for its own pool.
        source = dask.config.get(TOPOLOGY, None)
        if not isinstance(source, str | os.PathLike):
            return _NONE
    if not isinstance(source, str | os.PathLike):
        raise ConfigurationError(
            f"{KEY} in Dask's configuration is the path of a file, or a mapping of prefixes to "
            f"options without secrets, not of type {type(source).__name__}"
        )
    return os.fspath(source)


def _read(path: str, pool: str | None) -> StorageOptions:
    try:
        written = Path(path).expanduser().stat().st_mtime_ns
    except OSError:
        written = -1  # whoever reads it says why it cannot be read
    if _Process.file != (path, pool, written):
        _Process.content = read_storage_options(path, pool)
        _Process.file = (path, pool, written)
    return _Process.content
