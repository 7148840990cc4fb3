"""Storage options with credentials: what opens the data of one pool, for its workers only.

They have a class of their own, which shows nothing of them, and goes into a new process of this
machine but into no message: not to a scheduler, not to a client, not to a worker elsewhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from copy import deepcopy
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any, Self

from dask_pools.errors import ConfigurationError, CredentialsError, one_of
from dask_pools.model.credentials import secret_options
from dask_pools.topology.files import load_yaml, without_configuration

__all__ = ["STORAGE_OPTIONS", "StorageOptions", "read_storage_options"]

#: The field of a pool in a topology.
STORAGE_OPTIONS = "storage_options"

_FORM = "a mapping of prefixes to options, such as {'s3://bucket': {'endpoint_url': …}}"
#: Protocols that are one and the same; the second is how we write them.
_ALIASES = {"s3a": "s3", "gcs": "gs"}


class StorageOptions:
    """What opens data, by prefix of its URL.

    Parameters
    ----------
    by_prefix : mapping of str to mapping
        By prefix, options as fsspec takes them. A prefix is a URL, which stands for all that
        is below it, or a protocol, which stands for all its URLs.

    Raises
    ------
    ConfigurationError
        If it is something else. No message shows a value.

    Examples
    --------
    >>> options = StorageOptions({"s3": {"anon": True}, "s3://ens/": {"key": "…", "secret": "…"}})
    >>> options
    StorageOptions('s3', 's3://ens')
    >>> options.of("s3://ens/2022.zarr"), options.of("s3://ensemble")
    (('s3://ens', {'key': '…', 'secret': '…'}), ('s3', {'anon': True}))
    """

    __slots__ = ("_by_prefix",)
    _by_prefix: dict[str, dict[str, Any]]

    def __init__(self, by_prefix: Mapping[str, Mapping[str, Any]]) -> None:
        # It is from a file as well, whatever the annotation says.
        given: Any = by_prefix
        if not isinstance(given, Mapping):
            raise ConfigurationError(
                f"storage options are {_FORM}, not of type {type(given).__name__}"
            )
        self._by_prefix = {}
        for prefix, options in given.items():
            if not isinstance(prefix, str) or not isinstance(options, Mapping):
                raise ConfigurationError(
                    f"storage options are {_FORM}; those of {prefix!r} are of type "
                    f"{type(options).__name__}"
                )
            self._by_prefix[_normalised(prefix)] = deepcopy(dict(options))

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes, sorted."""
        return tuple(sorted(self._by_prefix))

    def of(self, url: str) -> tuple[str, dict[str, Any]] | None:
        """Return the longest prefix of a URL, and its options; None if there is none."""
        url = _normalised(url)
        while url not in self._by_prefix:
            head, slash, _ = url.rpartition("/")
            if not slash:
                return None
            # Above "s3://bucket" is "s3".
            url = head.removesuffix(":/")
        return url, deepcopy(self._by_prefix[url])

    def secret_names(self) -> tuple[str, ...]:
        """List the options that are secret by their names, for messages."""
        return tuple(
            f"{prefix}: {name}"
            for prefix in self.prefixes
            for name, _ in secret_options(self._by_prefix[prefix])
        )

    def __repr__(self) -> str:
        return f"StorageOptions({', '.join(map(repr, self.prefixes))})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[StorageOptions], tuple[dict[str, dict[str, Any]]]]:
        # As the locks of multiprocessing: into a process that is being started here, and in no
        # other way.
        if get_spawning_popen() is None:
            raise CredentialsError(
                f"{self!r} may hold credentials, which stay on the workers of their pool: they "
                "cannot be pickled"
            )
        return StorageOptions, (self._by_prefix,)


def read_storage_options(path: str | os.PathLike[str], pool: str | None) -> StorageOptions:
    """Read the storage options of a pool from a file of YAML.

    Parameters
    ----------
    path : path
        A file with a mapping of prefixes to options; or a topology, whose pools may have such a
        mapping each as their field ``storage_options``. If it holds secrets, nobody but its
        owner and group may have the right to read it.
    pool : str or None
        The pool, for a topology; others are not looked at. None has no options in a topology.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or is not as described. No message shows a value.
    CredentialsError
        If it holds secrets, and anybody may read it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as directory:
    ...     path = Path(directory, "topology.yaml")
    ...     _ = path.write_text("pools: {ecmwf: {storage_options: {s3: {anon: true}}}}")
    ...     read_storage_options(path, "ecmwf"), read_storage_options(path, "eumetsat")
    (StorageOptions('s3'), StorageOptions())
    """
    file = Path(path).expanduser()
    where = f"the storage options in {os.fspath(file)}"
    try:
        mode = file.stat().st_mode
        options = StorageOptions(_options_of(load_yaml(file), pool))
    except OSError as error:
        raise ConfigurationError(f"{where} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    if (secret := options.secret_names()) and os.name == "posix" and mode & stat.S_IROTH:
        raise CredentialsError(
            f"{where} have secrets ({', '.join(secret)}), and anybody on this machine may read "
            f"the file. Take that right away: chmod o-rwx {os.fspath(file)}"
        )
    return options


def _options_of(data: object, pool: str | None) -> Any:
    data = without_configuration(data)
    if not isinstance(data, Mapping) or "pools" not in data:
        return data
    pools = data["pools"]
    if not isinstance(pools, Mapping):  # a list of names, without fields
        return {}
    fields = pools.get(pool)
    return (fields.get(STORAGE_OPTIONS) if isinstance(fields, Mapping) else None) or {}


def refuse_secrets(data: object, where: str) -> None:
    """Refuse secrets in a place that Dask shows and sends around.

    Raises
    ------
    CredentialsError
        If there are any. The message has their names only.
    """
    if names := [name for name, _ in secret_options(data)]:
        raise CredentialsError(
            f"{where} has {one_of(names)}. Dask shows its configuration in dumps of a cluster, and "
            "copies it into the processes it starts: put storage options with secrets into a file "
            "of their own on the machines of the pool's workers, outside of the folders of Dask's "
            "configuration, and set dask_pools.storage-options there to the path of that file"
        )


def _normalised(url: str) -> str:
    protocol, separator, path = url.partition("://")
    protocol = protocol.lower()
    protocol = _ALIASES.get(protocol, protocol)
    path = "/".join(part for part in path.split("/") if part)
    return f"{protocol}://{path}" if separator and path else protocol.removesuffix(":")
