"""The fields of an entry: what each may hold, whoever has written it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dask_pools.data.catalog.credentials import secrets_in_location, secrets_in_options
from dask_pools.errors import PoolNameError, near_miss, one_of
from dask_pools.model import check_pool_name

#: The fields, as they are shown.
FIELDS = ("location", "engine", "options", "pools", "description", "tags")
#: Options that are said by a field, and by which.
_FIELDS_OF_OPTIONS = {
    "engine": "engine",
    "pool": "pools",
    "pools": "pools",
    **dict.fromkeys(("filename_or_obj", "store", "paths"), "location"),
}
_WORKERS_HAVE = (
    "Take it out: credentials belong to the workers of a pool, which have their own, and not "
    "into a catalog, which everybody reads."
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong in the fields of an entry.

    Parameters
    ----------
    path : tuple of str or int
        Where: the field, and the names or numbers that lead on inside of it; empty for the whole.
    message : str
        What is wrong, what is allowed, what to do.
    """

    path: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        return ": ".join([*(str(part) for part in self.path), self.message])


def problems(given: Mapping[Any, Any]) -> Iterator[Problem]:
    """Find what is wrong in the fields of an entry.

    Parameters
    ----------
    given : mapping
        The fields. One that is None counts as not there.

    Examples
    --------
    >>> for problem in problems({"locaton": "/data/ens.zarr", "pools": "ec mwf"}):
    ...     print(problem.path, problem.message[:48])
    ('locaton',) there is no such field. Fields: 'description', '
    ('pools',) 'ec mwf' is not a name for a pool: use letters,
    () it has no location: say where the data is, such
    """
    for name, value in given.items():
        if name not in FIELDS:
            hint = near_miss(str(name), FIELDS)
            yield Problem((str(name),), f"there is no such field. Fields: {one_of(FIELDS)}.{hint}")
        elif value is not None:
            for problem in _CHECKS[name](value):
                yield Problem((name, *problem.path), problem.message)
    if given.get("location") is None:
        example = "such as location: s3://bucket/predictions.zarr"
        yield Problem((), f"it has no location: say where the data is, {example}.")


def _location(value: object) -> Iterator[Problem]:
    if isinstance(value, list | tuple) and value:
        for i, item in enumerate(value):
            yield from (Problem((i,), problem.message) for problem in _place(item))
    else:
        yield from _place(value)


def _place(value: object) -> Iterator[Problem]:
    if not isinstance(value, str) or not value.strip():
        wanted = "a location is a URL or a path, or a list of at least one of them"
        yield Problem((), f"{wanted}, not {_shown(value)}.")
        return
    for part in secrets_in_location(value):
        # Neither the value nor the URL around it is repeated.
        yield Problem((), f"{part} in this URL is a secret. {_WORKERS_HAVE}")


def _engine(value: object) -> Iterator[Problem]:
    if not isinstance(value, str) or not value:
        yield Problem((), f"the engine is a name that xarray knows, not {_shown(value)}.")


def _options(value: object) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        wanted = "options are a mapping of xarray's own arguments, such as {chunks: {time: 1}}"
        yield Problem((), f"{wanted}, not {_shown(value)}.")
        return
    for name in value:
        if not isinstance(name, str):
            yield Problem((), f"the name of an argument is a text, not {_shown(name)}.")
        elif name in _FIELDS_OF_OPTIONS:
            instead = f"use the field {_FIELDS_OF_OPTIONS[name]!r} of the entry"
            yield Problem((name,), f"this is no option; {instead}.")
    texts = {name: inside for name, inside in value.items() if isinstance(name, str)}
    for path in secrets_in_options(texts):
        yield Problem(path, f"by its name this is a secret. {_WORKERS_HAVE}")


def _pools(value: object) -> Iterator[Problem]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        wanted = "pools are the name of a pool, or a list of names of pools with the same data"
        yield Problem((), f"{wanted}, not {_shown(value)}.")
        return
    for i, name in enumerate(names):
        where = () if isinstance(value, str) else (i,)
        try:
            check_pool_name(name)
        except (PoolNameError, TypeError) as error:
            yield Problem(where, f"{error}.")
        else:
            if name in names[:i]:
                yield Problem(where, f"{name!r} is there twice; name each pool once.")


def _description(value: object) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem((), f"a description is a text, not {_shown(value)}.")


def _tags(value: object) -> Iterator[Problem]:
    tags = [value] if isinstance(value, str) else value
    if not isinstance(tags, list | tuple):
        yield Problem((), f"tags are a text, or a list of texts, not {_shown(value)}.")
        return
    for i, tag in enumerate(tags):
        if not isinstance(tag, str) or not tag.strip():
            yield Problem((i,), f"a tag is a text, not {_shown(tag)}.")


_CHECKS: dict[str, Callable[[object], Iterator[Problem]]] = {
    "location": _location,
    "engine": _engine,
    "options": _options,
    "pools": _pools,
    "description": _description,
    "tags": _tags,
}


def _shown(value: object) -> str:
    """Show a value of the wrong kind; of mappings only the kind, since they may hold anything.

    Examples
    --------
    >>> _shown(3), _shown({"secret": "x"}), _shown("")
    ('3 of type int', 'a mapping', "''")
    """
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    quotes = " In YAML, put texts in quotes." if isinstance(value, bool) else ""
    kind = "" if isinstance(value, str) else f" of type {type(value).__name__}"
    return f"{str(value)[:80]!r}{kind}" if isinstance(value, str) else f"{value!r}{kind}{quotes}"


def check_entry_name(name: object) -> Iterator[Problem]:
    """Find what is wrong with the name of an entry.

    Examples
    --------
    >>> [problem.message for problem in check_entry_name("ens")]
    []
    >>> [problem.message for problem in check_entry_name(" ")]
    ["the name of an entry is a text that begins and ends with no space, not ' '."]
    """
    if not (isinstance(name, str) and name and name == name.strip() and name.isprintable()):
        wanted = "the name of an entry is a text that begins and ends with no space"
        yield Problem((), f"{wanted}, not {_shown(name)}.")


def as_tuple(value: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """Bring one text, several or none into one form, each of them once.

    Examples
    --------
    >>> as_tuple("a"), as_tuple(["a", "b", "a"]), as_tuple(None)
    (('a',), ('a', 'b'), ())
    """
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(dict.fromkeys(value))
