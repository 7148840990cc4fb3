"""Keys of zarr stores: which hold metadata, and in which order they may be written.

A group or an array is there once its metadata is; so the values come first, then the metadata
from the leaves to the root, and what says "here is a group" after all else that is beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

#: Names of metadata, of the formats 2 and 3 of zarr.
V2 = (".zgroup", ".zarray", ".zattrs", ".zmetadata")
V3 = ("zarr.json",)
DOCUMENTS = frozenset((*V2, *V3))
#: Those that make a group or an array of a prefix.
MARKERS = frozenset((".zgroup", ".zarray", "zarr.json"))


def is_document(key: str) -> bool:
    """Whether a key holds metadata.

    Examples
    --------
    >>> is_document("a/zarr.json"), is_document("a/c/0/0")
    (True, False)
    """
    return key.rpartition("/")[2] in DOCUMENTS


def node_of(key: str) -> str:
    """Return the path of the group or array that a metadata key is of.

    Examples
    --------
    >>> node_of("a/b/.zattrs"), node_of("zarr.json")
    ('a/b', '')
    """
    return key.rpartition("/")[0]


def is_below(key: str, prefix: str) -> bool:
    """Whether a key is at or below a path.

    Examples
    --------
    >>> is_below("a/b/c", "a/b"), is_below("a/bc", "a/b"), is_below("a", "")
    (True, False, True)
    """
    return not prefix or key == prefix or key.startswith(f"{prefix}/")


def joined(*parts: str) -> str:
    """Join paths inside a store.

    Examples
    --------
    >>> joined("/", "a/", "zarr.json"), joined("", "b")
    ('a/zarr.json', 'b')
    """
    return "/".join(part for part in (part.strip("/") for part in parts) if part)


def array_of(key: str, arrays: Iterable[str]) -> str | None:
    """Return the array below which a key is, None if below none of these."""
    return next((path for path in arrays if is_below(key, path)), None)


def arrays_in(values: Mapping[str, bytes]) -> frozenset[str]:
    """Return the paths of the arrays whose metadata is among some values.

    Examples
    --------
    >>> sorted(arrays_in({"a/.zarray": b"{}", "zarr.json": b'{"node_type": "group"}'}))
    ['a']
    """
    return frozenset(node_of(key) for key, value in values.items() if makes_array(key, value))


def makes_array(key: str, value: bytes) -> bool:
    """Whether some metadata is that of an array, not of a group."""
    name = key.rpartition("/")[2]
    if name != "zarr.json":
        return name == ".zarray"
    return bool(json.loads(value).get("node_type") == "array")


def is_consolidated(values: Mapping[str, bytes]) -> bool:
    """Whether the root's metadata, if it is among some values, holds that of all others.

    Examples
    --------
    >>> is_consolidated({".zmetadata": b"{}"}), is_consolidated({"zarr.json": b"{}"})
    (True, False)
    """
    if ".zmetadata" in values:
        return True
    root = values.get("zarr.json")
    return root is not None and json.loads(root).get("consolidated_metadata") is not None


def in_order(keys: Iterable[str]) -> list[list[str]]:
    """Arrange keys in batches, of which each is to be written before the next.

    Examples
    --------
    >>> in_order(["zarr.json", "a/zarr.json", "a/c/0", "b/zarr.json"])
    [['a/c/0'], ['a/zarr.json', 'b/zarr.json'], ['zarr.json']]
    >>> in_order([".zgroup", ".zattrs", ".zmetadata", "a/.zarray", "a/.zattrs"])
    [['a/.zattrs'], ['a/.zarray'], ['.zattrs', '.zmetadata'], ['.zgroup']]
    """
    batches: dict[tuple[bool, int, bool], list[str]] = {}
    for key in sorted(keys):
        name, document = key.rpartition("/")[2], is_document(key)
        depth = key.count("/") if document else 0
        batches.setdefault((document, -depth, name in MARKERS), []).append(key)
    return [batches[rank] for rank in sorted(batches)]
