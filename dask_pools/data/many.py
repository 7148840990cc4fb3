"""Open many files as one dataset: in batches, in parallel, in the pools where they are.

One pool: tasks open batches of files, their results stay in the pool, and one more task combines
them; it is all sent at once. Several pools: each opens its own, and they are combined here.
"""

from __future__ import annotations

import asyncio
import errno
import glob
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr
from distributed import warn
from xarray.backends import BackendEntrypoint

from dask_pools.data.inline import computing_inline
from dask_pools.data.moved import coordinate_limit, pack_opened
from dask_pools.data.open import find_pin, opened_from, shown
from dask_pools.data.parcel import pack, unpack
from dask_pools.data.remote import Call, ask, ask_all, run_in_pool, there_or_here
from dask_pools.data.storage.target import check_arguments, open_target
from dask_pools.errors import LocationError
from dask_pools.model import Pin

if TYPE_CHECKING:
    from distributed import Client

#: How many files one task opens: enough that a task costs little beside them, few enough that
#: some tens of files are shared out between workers.
BATCH = 10

_NAME = "open_mfdataset"
#: The arguments that say how files are combined; the others say how each is opened.
_COMBINING = frozenset(
    {
        "attrs_file",
        "combine",
        "combine_attrs",
        "compat",
        "concat_dim",
        "coords",
        "data_vars",
        "join",
    }
)


@dataclass(frozen=True, slots=True)
class Unopened:
    """A file that could not be opened, and is left out.

    Parameters
    ----------
    why : str
        The error.
    """

    why: str


def open_mfdataset(paths: Any, *, pool: str | Pin | None = None, **kwargs: Any) -> Any:
    """Open many files as one dataset where they live, as `xarray.open_mfdataset` does.

    Parameters
    ----------
    paths : str, PathLike, or nested lists of what `open_dataset` takes
        A pattern such as ``"/data/ecmwf/*.nc"`` is expanded in the pool; so is that of a URL,
        where fsspec can list it. Without ``pool=``, and outside of ``with pool(...)``, the files
        of a list may live in several pools, as their locations say.
    pool : str or tuple of str, optional
        As for `open_dataset`.
    **kwargs
        As for `xarray.open_mfdataset`. ``parallel`` changes nothing in a pool: its workers open
        10 files in one task. ``preprocess`` has to be picklable.

    Returns
    -------
    Dataset
        With an asynchronous client: an awaitable of it.

    Raises
    ------
    LocationError
        If the files live in several pools, and of some nobody knows where.
    FileNotFoundError
        If there is no such file in the pool, or none that matches.
    Exception
        As for `open_dataset`.

    Notes
    -----
    Where xarray compares variables of several files (``compat``, ``coords="different"``), they
    are read in the pool. If the files live in several pools, that is a computation of its own,
    which needs `propagate_pools`; ``coords="minimal", compat="override"`` compares nothing.

    Examples
    --------
    >>> ds = open_mfdataset("/data/ecmwf/*.nc", pool="ecmwf")  # doctest: +SKIP
    """
    files = list(_leaves(paths))
    homes = _homes(files, pool)
    if homes is None:
        return run_in_pool(xr.open_mfdataset, paths, pool=None, what=_NAME, **kwargs)
    opening = {k: v for k, v in kwargs.items() if k not in _COMBINING and k != "parallel"}
    opening["chunks"] = opening.get("chunks") or {}
    combining = {k: v for k, v in kwargs.items() if k in _COMBINING}
    pins = tuple(dict.fromkeys(homes))
    if len(pins) == 1:
        in_one = _InOnePool(pins[0], paths, opening, combining, coordinate_limit())
        return there_or_here(
            pins, in_one.open, Call.of(pins[0], xr.open_mfdataset, paths, **kwargs).run
        )
    in_several = _InSeveralPools(homes, paths, opening, combining, coordinate_limit())
    return there_or_here(pins, in_several.open, in_several.open_here)


def _leaves(paths: Any) -> Iterator[Any]:
    """Yield the files of nested lists, in order."""
    if isinstance(paths, (str, os.PathLike)) or callable(paths) or not isinstance(paths, Iterable):
        yield paths
        return
    for path in paths:
        if isinstance(path, list):
            yield from _leaves(path)
        else:
            yield path


def _homes(files: Sequence[Any], pool: str | Pin | None) -> list[Pin] | None:
    """Find the pools of each file; None if nothing is known of any."""
    found = [find_pin(file, pool) for file in files]
    pins = [pin for pin in found if pin is not None]
    if not pins:
        return None
    if len(pins) < len(found):
        at = found.index(None)
        raise LocationError(
            f"{shown(files[at])} is in no location, while {len(pins)} of {len(found)} files that "
            "are to be opened together are. Name the pool with pool=..., or tell set_locations() "
            "where it lives. Nothing has been opened."
        )
    return pins


@dataclass(frozen=True, slots=True)
class _InOnePool:
    pin: Pin
    paths: Any
    opening: dict[str, Any]
    combining: dict[str, Any]
    limit: float

    async def open(self, client: Client) -> Any:
        check_arguments(self.opening)
        paths = self.paths
        if isinstance(paths, str):
            options = self.opening.get("backend_kwargs") or self.opening
            found = Call.of(self.pin, expand, paths, options.get("storage_options"))
            paths = await ask(client, f"{_NAME}-list", found)
        batches = _batched(_leaves(paths), BATCH)
        calls = [Call.of(self.pin, open_batch, batch, self.opening) for batch in batches]
        last = Call.of(self.pin, _combine_there, paths, self.combining, self.limit)
        return unpack(await ask_all(client, _NAME, calls, last))


@dataclass(frozen=True, slots=True)
class _InSeveralPools:
    homes: list[Pin]
    paths: Any
    opening: dict[str, Any]
    combining: dict[str, Any]
    limit: float

    def groups(self) -> dict[Pin, list[Any]]:
        found: dict[Pin, list[Any]] = {}
        for pin, file in zip(self.homes, _leaves(self.paths), strict=True):
            found.setdefault(pin, []).append(file)
        return found

    async def open(self, client: Client) -> Any:
        check_arguments(self.opening)
        answers = await asyncio.gather(
            *(self._open_group(client, pin, files) for pin, files in self.groups().items())
        )
        # In a thread: what xarray compares is computed on the cluster, and waited for.
        return await asyncio.to_thread(self._combined, answers)

    async def _open_group(self, client: Client, pin: Pin, files: list[Any]) -> Any:
        calls = [Call.of(pin, open_batch, batch, self.opening) for batch in _batched(files, BATCH)]
        packed = await ask_all(client, _NAME, calls, Call.of(pin, _each_packed, self.limit))
        return [unpack(each) for each in packed]

    def open_here(self) -> Any:
        groups = self.groups().items()
        return self._combined(
            [Call.of(pin, open_batch, files, self.opening).run() for pin, files in groups]
        )

    def _combined(self, answers: Iterable[list[Any]]) -> Any:
        of = {pin: iter(answer) for pin, answer in zip(self.groups(), answers, strict=True)}
        return combine(self.paths, [next(of[pin]) for pin in self.homes], self.combining)


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def expand(pattern: str, storage_options: dict[str, Any] | None) -> list[str]:
    """List the files that match a pattern, sorted.

    Parameters
    ----------
    pattern : str
        Of paths here, or a URL.
    storage_options : dict or None
        Options of the filesystem of a URL, as fsspec takes them.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    if "://" in pattern or "::" in pattern:
        import fsspec

        url, options = open_target(pattern, storage_options)
        filesystem, path = fsspec.url_to_fs(url, **(options or {}))
        found = [filesystem.unstrip_protocol(name) for name in filesystem.glob(path)]
    else:
        found = glob.glob(os.path.abspath(os.path.expanduser(pattern)))  # noqa: PTH100, PTH111, PTH207
    if not found:
        raise FileNotFoundError(errno.ENOENT, "No file matches", pattern)
    return sorted(found)


def open_batch(files: Sequence[Any], opening: dict[str, Any]) -> list[Any]:
    """Open some files; in place of those that cannot be and need not be opened, say why."""
    options = {k: v for k, v in opening.items() if k not in {"preprocess", "errors"}}
    errors, preprocess = opening.get("errors", "raise"), opening.get("preprocess")
    if errors not in {"raise", "warn", "ignore"}:
        raise ValueError(f"'errors' must be 'raise', 'warn' or 'ignore', got {errors!r}")
    with computing_inline():
        return [_open_file(file, options, errors, preprocess) for file in files]


def _open_file(
    file: Any, options: dict[str, Any], errors: str, preprocess: Callable[[Any], Any] | None
) -> Any:
    try:
        opened = opened_from(xr.open_dataset, file, options)
    except Exception as error:
        if errors == "raise":
            raise
        if errors == "warn":
            warn(f"Could not open {shown(file)}: {error}. It is left out.")
        return Unopened(f"{type(error).__name__}: {error}")
    # Nothing is open where it goes; here, the file is closed when the last reference is gone.
    opened.set_close(None)
    return opened if preprocess is None else preprocess(opened)


def _each_packed(parts: list[list[Any]], limit: float) -> list[bytes]:
    with computing_inline():
        return [
            pack(each) if isinstance(each, Unopened) else pack_opened(each, limit, "one file")
            for each in itertools.chain.from_iterable(parts)
        ]


def _combine_there(
    parts: list[list[Any]], paths: Any, combining: dict[str, Any], limit: float
) -> bytes:
    opened = list(itertools.chain.from_iterable(parts))
    with computing_inline():
        return pack_opened(combine(paths, opened, combining), limit, f"{len(opened)} files")


#: What stands before the names of files that are open. Older xarray looks when a file was changed,
#: which need not be here, but leaves alone what looks like a URL.
_OPENED = "opened::"


def _named(paths: Any) -> Any:
    match paths:
        case list() | tuple():
            return [_named(path) for path in paths]
        case str() | os.PathLike():
            path = os.fspath(paths)
            if "://" in path or "::" in path:
                return _OPENED + path
            # As xarray makes them absolute.
            return _OPENED + os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111
    return paths


class _Ready(BackendEntrypoint):
    """An engine of xarray that opens nothing: the datasets are there already.

    A class that can be imported, as Dask would copy any other when it hashes the arguments.
    """

    open_dataset_parameters = ("filename_or_obj", "drop_variables")

    def open_dataset(
        self,
        filename_or_obj: Any,  # noqa: ARG002 - the signature is xarray's
        *,
        drop_variables: Any = None,  # noqa: ARG002
    ) -> xr.Dataset:
        coming, ready = _COMBINED.get()
        dataset = next(coming)
        if isinstance(dataset, Unopened):
            raise OSError(dataset.why)
        ready.append(dataset)
        return xr.Dataset()


#: What is being combined: the datasets that come, and those that have to be put in.
_COMBINED: ContextVar[tuple[Iterator[Any], deque[xr.Dataset]]] = ContextVar("dask_pools_combined")


def _put_in(_: xr.Dataset) -> xr.Dataset:
    return _COMBINED.get()[1].popleft()


def combine(paths: Any, opened: Sequence[Any], combining: dict[str, Any]) -> xr.Dataset:
    """Combine datasets that are open already, as `xarray.open_mfdataset` would.

    Parameters
    ----------
    paths : nested lists, or one path
        What was opened: its nesting says how it is combined.
    opened : sequence of Dataset or Unopened
        The datasets, in order.
    combining : dict
        Arguments of `xarray.open_mfdataset`.

    Notes
    -----
    It is xarray's function that combines: it is given an engine that opens nothing, and gets the
    datasets in the place of what it wants to have preprocessed.
    """
    if any(isinstance(each, Unopened) for each in opened):
        combining = {**combining, "errors": "ignore"}
    names = _named(paths if isinstance(paths, list | tuple) else [paths])
    if combining.get("attrs_file") is not None:
        combining = {**combining, "attrs_file": _OPENED + os.fspath(combining["attrs_file"])}
    token = _COMBINED.set((iter(opened), deque()))
    try:
        combined = xr.open_mfdataset(names, engine=_Ready, preprocess=_put_in, **combining)
    finally:
        _COMBINED.reset(token)
    combined.set_close(None)
    return combined
