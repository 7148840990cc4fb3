"""Whose data is hidden from whom, and by which means: decisions about directories."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Literal, TypeAlias

import dask

from dask_pools.deploy import namespaces
from dask_pools.errors import UnknownPoolError, near_miss, one_of

logger = logging.getLogger(__name__)

#: A way to hide directories from a worker: by the kernel, or by the interpreter.
Means: TypeAlias = Literal["namespaces", "guard"]


def check_data(
    data: Mapping[str, str | os.PathLike[str]] | None, pools: Collection[str]
) -> dict[str, str]:
    """Check the data directories of pools, and resolve them.

    Parameters
    ----------
    data : mapping of str to path, or None
        The directory of each pool that has one.
    pools : collection of str
        The names of all pools.

    Returns
    -------
    dict of str to str
        Absolute paths, without symbolic links, by pool.

    Raises
    ------
    TypeError
        If it is not a mapping to paths.
    UnknownPoolError
        If it names a pool that the cluster does not have.
    FileNotFoundError, NotADirectoryError
        If a directory does not exist, or is something else.
    ValueError
        If two pools share a directory, or one's is inside of another's, or if workers of
        other pools could not run without a directory.
    """
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise TypeError(
            "data= is a mapping of pools to their directories, such as "
            f"{{'ecmwf': '/data/ecmwf'}}, not {data!r} of type {type(data).__name__}"
        )
    for pool in data:
        if pool not in pools:
            raise UnknownPoolError(
                f"data= gives a directory to {pool!r}, which is not a pool of this cluster. "
                f"Its pools: {one_of(pools)}.{near_miss(str(pool), pools)}"
            )
    directories = {pool: _directory(pool, path) for pool, path in data.items()}
    for (one, inner), (other, outer) in permutations(directories.items(), 2):
        if _is_within(inner, outer):
            raise ValueError(
                f"the data directory of pool {one!r}, {inner!r}, is or is inside of that of "
                f"pool {other!r}, {outer!r}: one could not be hidden without the other. "
                "Give each pool a directory of its own, side by side"
            )
    for pool, directory in directories.items():
        if len(pools) > 1:
            _check_can_be_missed(pool, directory)
    return directories


def hidden_from(pool: str, directories: Mapping[str, str]) -> tuple[str, ...]:
    """List the data directories of all other pools, sorted.

    Examples
    --------
    >>> hidden_from("ecmwf", {"ecmwf": "/data/ecmwf", "eumetsat": "/data/eumetsat"})
    ('/data/eumetsat',)
    """
    return tuple(sorted(path for other, path in directories.items() if other != pool))


def check_hide(hide: str) -> str:
    """Return the way to hide data that was asked for, if it is one.

    Raises
    ------
    ValueError
        If it is not ``"auto"``, ``"namespaces"`` or ``"guard"``.
    """
    if hide not in ("auto", "namespaces", "guard"):
        raise ValueError(
            f"hide={hide!r} is not a way to hide data: use 'auto', 'namespaces' or 'guard'"
        )
    return hide


def choose_means(hide: str) -> Means:
    """Choose how directories are hidden from workers on this machine.

    Parameters
    ----------
    hide : {"auto", "namespaces", "guard"}
        ``"auto"`` takes mount namespaces where they can be had, else the guard, and logs
        why.

    Raises
    ------
    RuntimeError
        If mount namespaces are asked for, and cannot be had.
    """
    if hide == "guard":
        return "guard"
    why = namespaces.why_unavailable()
    if why is None:
        return "namespaces"
    if hide == "namespaces":
        raise RuntimeError(
            f"hide='namespaces' is not possible here: {why}. It needs Linux and root with the "
            "capability CAP_SYS_ADMIN; use hide='guard', which covers files opened by Python"
        )
    logger.info(
        "Data of other pools is hidden from workers by a guard in Python, which does not "
        "cover files opened in C (netCDF4, h5py): %s",
        why,
    )
    return "guard"


def _directory(pool: str, path: object) -> str:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"the data directory of pool {pool!r} is a path, not {path!r} of type "
            f"{type(path).__name__}"
        )
    resolved = Path(path).resolve()
    if not resolved.exists():
        raise FileNotFoundError(
            f"the data directory of pool {pool!r}, {str(path)!r}, does not exist: "
            "make it before the cluster starts"
        )
    if not resolved.is_dir():
        raise NotADirectoryError(
            f"the data of pool {pool!r}, {str(path)!r}, is not a directory: "
            "give the directory that holds it"
        )
    return str(resolved)


def _check_can_be_missed(pool: str, directory: str) -> None:
    """Refuse a directory without which Python, or a worker, could not run elsewhere."""
    scratch = dask.config.get("temporary-directory") or tempfile.gettempdir()
    needed: dict[str, Sequence[str]] = {
        "the working directory": [str(Path.cwd())],
        "the directory for temporary files": [scratch],
        "Python": [sys.prefix, sys.base_prefix],
        "a directory of sys.path": [path for path in sys.path if path],
    }
    for what, paths in needed.items():
        for path in paths:
            if _is_within(os.path.realpath(path), directory):
                raise ValueError(
                    f"the data directory of pool {pool!r}, {directory!r}, contains {what}, "
                    f"{str(path)!r}, which workers of the other pools need as well. "
                    "Give a directory that holds data only"
                )


def _is_within(inner: str, outer: str) -> bool:
    return Path(inner).is_relative_to(outer)
