"""Files of YAML that describe pools. No error shows what is in them: it may be a secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dask_pools.errors import TopologyError
from dask_pools.yaml_mistakes import yaml_mistake

#: Where Dask's configuration has the topology: a mapping, or the path of a file.
KEY = "dask_pools.topology"


class _Loader(yaml.SafeLoader):
    """Refuses keys that are there twice, where YAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> object:
    """Read a file of YAML; None if it is empty.

    Raises
    ------
    TopologyError
        If it is no YAML. The message has the line's number, and does not show it.
    OSError
        If it cannot be read.
    """
    # Where a reason is given, it comes without its cause: that of YAML shows the line.
    why = None
    try:
        # The loader is a safe one.
        data: object = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        why = yaml_mistake(error)
    if why is not None:
        raise TopologyError(f"this file is not right YAML: {why}")
    return data


def without_configuration(data: object) -> object:
    """Take the topology out of a file of Dask's configuration.

    Examples
    --------
    >>> without_configuration({"dask_pools": {"topology": {"currency": "EUR"}}})
    {'currency': 'EUR'}
    """
    package, _, field = KEY.partition(".")
    if isinstance(data, Mapping) and package in data:
        inside = data[package]
        if isinstance(inside, Mapping) and field in inside:
            return inside[field]
        raise TopologyError(f"there is {package!r}, but no {field!r} in it.")
    return data
