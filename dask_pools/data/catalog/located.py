"""YAML of which every value knows its line, for files from anywhere.

It is plain data: no tags, so that nothing can be made or run; no value twice under one name,
where YAML silently takes the last; and bounded in depth and in size, also of what aliases
(``*name``) would make of it. Dates stay texts.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml

from dask_pools.errors import CatalogError

#: Lists and mappings inside of each other.
DEEPEST = 20
#: Values in one file, those counted again which an alias repeats.
MOST_VALUES = 200_000

_CORE = "tag:yaml.org,2002:"
#: What a value may be: dates are kept as texts, other kinds of YAML (sets, bytes) are refused.
_SCALARS = {_CORE + name for name in ("null", "bool", "int", "float", "str")}
_MERGE = _CORE + "merge"
_SHORT = 100


@dataclass(frozen=True, slots=True)
class Located:
    """A value, and the line on which it begins.

    Parameters
    ----------
    value : object
        A scalar; a dict of Located, or a list of Located.
    line : int
        Line in the file, from 1.
    keys : mapping of str to int
        Of a dict, the line of each key.
    """

    value: Any
    line: int
    keys: dict[Hashable, int]

    def plain(self) -> Any:
        """Return the value without lines."""
        if isinstance(self.value, dict):
            return {key: inside.plain() for key, inside in self.value.items()}
        if isinstance(self.value, list):
            return [inside.plain() for inside in self.value]
        return self.value

    def line_of(self, path: tuple[str | int, ...]) -> int:
        """Return the line on which is what a path leads to, or as far as it leads."""
        here: Located = self
        line = self.line
        for step in path:
            match here.value:
                case dict() if step in here.value:
                    line, here = here.keys[step], here.value[step]
                case list() if isinstance(step, int) and step < len(here.value):
                    here = here.value[step]
                    line = here.line
                case _:
                    break
        return line


class _Loader(yaml.SafeLoader):
    """Refuses to go deep, before Python's own limit."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            # The parser looks one event ahead, so that there is one.
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, f"more than {DEEPEST} levels deep", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Reading:
    """One reading of a file: makes values of nodes, counts them, and gathers mistakes."""

    def __init__(self, loader: _Loader) -> None:
        self.loader = loader
        self.left = MOST_VALUES
        self.mistakes: list[tuple[int, str]] = []

    def value(self, node: yaml.Node, above: tuple[yaml.Node, ...] = ()) -> Located:
        line = node.start_mark.line + 1
        self.left -= 1
        if self.left < 0:
            raise _Bomb(line, f"there are more than {MOST_VALUES:,} values, aliases counted in.")
        if any(node is other for other in above):
            raise _Bomb(line, "an alias leads into itself.")
        above = (*above, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, above, line)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, {_CORE + "seq"}, line)
            return Located([self.value(item, above) for item in node.value], line, {})
        return Located(self._scalar(node, line), line, {})

    def _mapping(self, node: yaml.MappingNode, above: tuple[yaml.Node, ...], line: int) -> Located:
        self._check_tag(node, {_CORE + "map"}, line)
        own: dict[Hashable, Located] = {}
        merged: dict[Hashable, Located] = {}
        keys: dict[Hashable, int] = {}
        for key_node, value_node in node.value:
            at = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                merged |= self._merged(self.value(value_node, above), at)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.mistakes.append((at, "a name is a text, not a list or a mapping."))
                continue
            key = self._scalar(key_node, at)
            value = self.value(value_node, above)
            if key in own:
                first = keys[key]
                self.mistakes.append((at, f"{key!r} is there twice, first on line {first}."))
                continue
            own[key], keys[key] = value, at
        return Located(merged | own, line, {key: merged[key].line for key in merged} | keys)

    def _merged(self, value: Located, line: int) -> dict[Hashable, Located]:
        """Take the fields of the mappings behind ``<<``, of which the first has the last word."""
        parts = value.value if isinstance(value.value, list) else [value]
        fields: dict[Hashable, Located] = {}
        for part in reversed(parts):
            if isinstance(part.value, dict):
                fields |= part.value
            else:
                self.mistakes.append((line, "'<<' takes a mapping, or a list of mappings."))
        return fields

    def _scalar(self, node: yaml.Node, line: int) -> Any:
        if node.tag == _CORE + "timestamp":
            return node.value
        self._check_tag(node, _SCALARS, line)
        if node.tag not in _SCALARS:
            return node.value
        try:
            return self.loader.construct_object(node)
        except (ValueError, OverflowError) as error:
            self.mistakes.append((line, f"{str(node.value)[:_SHORT]!r} is no number: {error}."))
            return node.value

    def _check_tag(self, node: yaml.Node, allowed: set[str], line: int) -> None:
        if node.tag not in allowed:
            tag = node.tag.replace(_CORE, "!!")[:_SHORT]
            self.mistakes.append(
                (line, f"the tag {tag!r} is refused: a catalog is plain data. Take it out.")
            )


class _Bomb(Exception):  # noqa: N818 - it never leaves this module
    """What makes it pointless to read on: line and message."""


def read_located(text: str) -> tuple[Located | None, list[tuple[int, str]]]:
    r"""Read YAML, and gather what is wrong with it.

    Parameters
    ----------
    text : str
        One document.

    Returns
    -------
    value : Located or None
        None if it could not be read to its end, or there is nothing in it.
    mistakes : list of (int, str)
        Line and message of each.

    Examples
    --------
    >>> located, mistakes = read_located("ens:\n  location: /data/ens.zarr\n")
    >>> located.plain(), located.line_of(("ens", "location")), mistakes
    ({'ens': {'location': '/data/ens.zarr'}}, 2, [])
    >>> read_located("a: 1\nb: 2\na: 3")[1]
    [(3, "'a' is there twice, first on line 1.")]
    """
    try:
        # A subclass of the safe loader.
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        return None, [(1, f"this is not text: {error.reason} at position {error.position}.")]
    reading = _Reading(loader)
    try:
        node = loader.get_single_node()
        value = None if node is None else reading.value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return None, [*reading.mistakes, (mark.line + 1 if mark else 1, _said(error))]
    except yaml.reader.ReaderError as error:
        return None, [(1, f"this is not text: {error.reason} at position {error.position}.")]
    except _Bomb as bomb:
        line, message = bomb.args
        return None, [*reading.mistakes, (line, message)]
    finally:
        loader.dispose()
    return value, reading.mistakes


def _said(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return f"this is not right YAML: {', '.join(parts)}."


def plain_yaml(text: str, origin: str) -> Any:
    """Read YAML as plain data, whatever is in it.

    Raises
    ------
    CatalogError
        If something is wrong with it, with all lines.
    """
    located, mistakes = read_located(text)
    if mistakes:
        raise catalog_error(origin, mistakes)
    return None if located is None else located.plain()


def catalog_error(origin: str, mistakes: list[tuple[int, str]]) -> CatalogError:
    """Make one error of all that is wrong in a file.

    Parameters
    ----------
    origin : str
        The file.
    mistakes : list of (int, str)
        Line and message of each.

    Examples
    --------
    >>> print(catalog_error("c.yaml", [(3, "ens: it has no location.")]))
    c.yaml cannot be used as a catalog; there is 1 problem:
      line 3: ens: it has no location.
    """
    count = len(mistakes)
    there = "there is 1 problem" if count == 1 else f"there are {count} problems"
    lines = [f"  line {line}: {message}" for line, message in sorted(mistakes)]
    return CatalogError("\n".join([f"{origin} cannot be used as a catalog; {there}:", *lines]))
