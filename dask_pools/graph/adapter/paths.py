"""The paths and URLs that a value of a graph leads to, found without opening anything.

What reads lazily holds what it will open: an array of xarray its file manager, an array of zarr
its store, an open file of fsspec its file system. Only state that objects hold themselves is
looked at, never a property, as that may open a file; and what is not known holds nothing.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MemberDescriptorType, MethodType
from typing import Any

from dask._task_spec import DataNode, Task
from tlz import curry

#: So many objects are looked at in one value, at most.
LARGEST = 10_000
#: What objects of xarray, and those of its backends, hold on the way to a path.
_WITHIN = (
    *("array", "_array", "datastore", "_manager", "manager", "_args"),
    *("_data", "_variable", "_variables"),
)
#: How backends of xarray call what they open, which do not open it by a file manager.
_NAMES = ("_filename", "filename", "filename_or_obj", "path", "url", "urlpath")
#: Stores of obstore: the scheme, and the setting that names the bucket.
_BUCKETS = {
    "S3Store": ("s3", ("bucket",)),
    "GCSStore": ("gs", ("bucket",)),
    "AzureStore": ("abfs", ("container_name", "container")),
}

Finder = Callable[[Any], Iterable[Any]]


def paths_of(value: object, *, plain: bool = True) -> list[str]:
    """List the paths and URLs that a value leads to, as they are written there.

    Parameters
    ----------
    value : object
        An argument of a task, a whole task, an operand of an expression, a lazy array.
    plain : bool, default True
        Whether a plain string, or a ``Path``, counts as a path; otherwise only what lazily
        opened objects hold.

    Returns
    -------
    list of str
        Each once; empty if nothing is known. Plain strings may be anything.

    Examples
    --------
    >>> import functools
    >>> paths_of({"files": ["/data/a.nc", "/data/b.nc"], "engine": "netcdf4"})
    ['/data/a.nc', '/data/b.nc', 'netcdf4']
    """
    found: dict[str, None] = {}
    # In each place stands whether a plain string counts there.
    stack: list[tuple[Any, bool]] = [(value, plain)]
    # By number; kept, so that no other object takes the number of one that was seen.
    seen: dict[int, Any] = {}
    for _ in range(LARGEST):
        if not stack:
            break
        item, counts = stack.pop()
        finder = finder_of(type(item))
        if finder is _in_text:
            found.update(dict.fromkeys(_tried(finder, item)) if counts else ())
        elif finder is not None and id(item) not in seen:
            seen[id(item)] = item
            counts = counts or finder not in _CONTAINERS
            stack += [(inner, counts) for inner in reversed(_tried(finder, item))]
    return list(found)


def _tried(finder: Finder, item: Any) -> list[Any]:
    """Look into an object; one that is not as it is known to be holds nothing."""
    try:
        return list(finder(item))
    except Exception:  # noqa: BLE001 - whatever is in a graph, looking at it must not fail
        return []


def finder_of(kind: type) -> Finder | None:
    """Tell how to look into objects of a type; None if there is nothing to be found in them."""
    try:
        return _finder_of(kind)
    except TypeError:  # a class of classes may not be hashed
        return None


@functools.lru_cache(maxsize=4096)
def _finder_of(kind: type) -> Finder | None:
    # Of the class, not the object, which may be a proxy that is made when it is asked.
    if issubclass(kind, (str, os.PathLike)):
        return _in_text
    for parent in kind.__mro__:
        if parent in _BY_TYPE:
            return _BY_TYPE[parent]
    for parent in kind.__mro__:
        finder = _BY_PACKAGE.get((parent.__module__ or "").partition(".")[0])
        if finder is not None:
            return finder
    return None


def holds_path(value: object) -> bool:
    """Whether a value is an object that may lead to a path: no container, and no plain string."""
    finder = finder_of(type(value))
    return finder is not None and finder is not _in_text and finder not in _CONTAINERS


def held(value: object, name: str) -> Any:
    """Return what an object holds under a name; None if nothing, or if it would be computed."""
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = {}
    if name in own:
        return own[name]
    for parent in type(value).__mro__:
        slot = parent.__dict__.get(name)
        if isinstance(slot, MemberDescriptorType):
            try:
                return slot.__get__(value)
            except AttributeError:  # nothing is in it
                return None
    return None


# ---- what holds other objects


def _in_text(path: str | os.PathLike[str]) -> Iterator[str]:
    yield os.fsdecode(path)


def _in_task(task: Task) -> Iterator[Any]:
    yield task.func
    yield from task.args
    yield from task.kwargs.values()


def _in_literal(node: DataNode) -> Iterator[Any]:
    yield node.value


def _in_partial(function: Any) -> Iterator[Any]:
    yield function.func
    yield from function.args
    yield from function.keywords.values()


def _in_method(method: MethodType) -> Iterator[Any]:
    yield method.__self__


def _in_mapping(mapping: Mapping[Any, Any]) -> Iterable[Any]:
    return list(mapping.values())[:LARGEST]


def _in_sequence(items: Iterable[Any]) -> Iterable[Any]:
    return list(items)[:LARGEST]


# ---- xarray


def _in_xarray(value: object) -> Iterator[Any]:
    inner = [found for name in _WITHIN if (found := held(value, name)) is not None]
    if held(value, "_args") is not None:
        # A file manager: the first of what it opens by is the file.
        inner = list(held(value, "_args")[:1])
    yield from inner
    if not inner:
        yield from (held(value, name) for name in _NAMES)


# ---- zarr


def _in_zarr(value: object) -> Iterator[Any]:
    for name in ("_async_array", "_async_group", "store_path"):
        if (inner := held(value, name)) is not None:
            yield inner
            return
    store = held(value, "store")
    if type(value).__name__ == "StorePath":
        root, below = _store_url(store), held(value, "path")
        yield f"{root}/{below}" if isinstance(root, str) and below else root
    else:
        yield _store_url(value)


def _store_url(store: object) -> Any:
    """Tell where a store of zarr is."""
    while (wrapped := held(store, "_store")) is not None:
        store = wrapped
    fs, inner = held(store, "fs"), held(store, "store")
    if fs is not None:
        return _fsspec_url(fs, held(store, "path"))
    if inner is not None:
        return _obstore_url(inner)
    place = held(store, "root") or held(store, "path")
    return os.fsdecode(place) if isinstance(place, (str, os.PathLike)) else None


def _obstore_url(store: Any) -> str | None:
    """Tell where a store of obstore is; its settings are plain data."""
    name = type(store).__name__
    if name == "HTTPStore":
        return str(store.url)
    prefix = store.prefix
    if name == "LocalStore":
        return None if prefix is None else str(prefix)
    if name not in _BUCKETS:
        return None
    scheme, settings = _BUCKETS[name]
    bucket = next(store.config[s] for s in settings if s in store.config)
    return f"{scheme}://{bucket}/{prefix or ''}"


# ---- fsspec


def _in_fsspec(value: object) -> Iterator[Any]:
    fs = held(value, "fs")
    path = held(value, "path") or held(value, "root")
    if fs is not None and isinstance(path, str):
        yield _fsspec_url(fs, path)


def _fsspec_url(fs: object, path: str) -> Any:
    """Tell where a file is, under all the file systems that only wrap another one."""
    while True:
        options = held(fs, "storage_options") or {}
        inner = held(fs, "fs") or held(fs, "sync_fs")
        if (archive := options.get("fo")) is not None:
            # The file that holds the archive, or the references to others.
            if isinstance(archive, Mapping):
                return None  # references that were read already
            target = options.get("target_protocol")
            bare = isinstance(archive, str) and "://" not in archive
            return f"{target}://{archive}" if bare and target else archive
        if inner is None:
            protocol = held(fs, "protocol") or type(fs).protocol  # type: ignore[attr-defined]
            first = protocol if isinstance(protocol, str) else protocol[0]
            return path if "://" in path else f"{first}://{path}"
        if type(fs).__name__ == "DirFileSystem":
            path = f"{held(fs, 'path')}/{path}"
        fs = inner


_BY_TYPE: dict[type, Finder] = {
    Task: _in_task,
    DataNode: _in_literal,
    functools.partial: _in_partial,
    curry: _in_partial,
    MethodType: _in_method,
    dict: _in_mapping,
    list: _in_sequence,
    tuple: _in_sequence,
    set: _in_sequence,
    frozenset: _in_sequence,
}
_CONTAINERS = frozenset(_BY_TYPE.values())
_BY_PACKAGE: dict[str, Finder] = {
    "xarray": _in_xarray,
    "zarr": _in_zarr,
    "fsspec": _in_fsspec,
}
