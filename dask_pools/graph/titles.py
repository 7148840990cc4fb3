"""What people call the arrays and tasks of a graph: their names, without Dask's hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dask.typing import Key

from dask_pools.graph import adapter

#: The hash, or the random part, that Dask puts at the end of a name.
_TOKEN = re.compile(
    r"-(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{16,})"
)
#: Of a step that reads more arrays, so many are named.
_MOST_SOURCES = 3


def readable(name: str) -> str:
    """Leave the hashes out of the name of a layer.

    Parameters
    ----------
    name : str
        The name of a layer, or the key of a delayed value.

    Examples
    --------
    >>> readable("open_dataset-t2m-7895d41165ad7f2d19ebe1e1c7425e59")
    'open_dataset-t2m'
    >>> readable("load-2f1c7a52-6a34-4d0e-8a4e-0b9d5f3c1e77")
    'load'
    """
    return _TOKEN.sub("", name) or name


class Titles:
    """Names for keys, each found once for its layer.

    Parameters
    ----------
    variables : mapping of str to str
        Names that people gave, by layer; see `variable_names`.
    sources : mapping of str to tuple of str
        Arrays that a layer reads itself, since their reads became a part of it.

    Examples
    --------
    >>> titles = Titles({"sub-7895d41165ad7f2d": "bias"}, {"mean_chunk": ("open_dataset-t2m",)})
    >>> titles[("sub-7895d41165ad7f2d", 0, 3)], titles[("mean_chunk", 1)]
    ('sub (bias)', 'mean_chunk of open_dataset-t2m')
    """

    def __init__(
        self, variables: Mapping[str, str], sources: Mapping[str, tuple[str, ...]]
    ) -> None:
        self._variables = variables
        self._sources = sources
        self._found: dict[str, str] = {}

    def __getitem__(self, key: Key) -> str:
        """Return the name for a key."""
        layer = adapter.layer_name(key)
        if layer not in self._found:
            self._found[layer] = self._make(layer)
        return self._found[layer]

    def _make(self, layer: str) -> str:
        name, variable = readable(layer), self._variables.get(layer)
        if variable is not None and variable not in name.split("-"):
            name += f" ({variable})"
        read = sorted({readable(source) for source in self._sources.get(layer, ())} - {name})
        if len(read) > _MOST_SOURCES:
            read[_MOST_SOURCES - 1 :] = [f"{len(read) - _MOST_SOURCES + 1} others"]
        return f"{name} of {', '.join(read)}" if read else name


def variable_names(collections: Iterable[Any]) -> dict[str, str]:
    """Find the names of xarray's variables, by the layer that makes each.

    Parameters
    ----------
    collections : iterable of Dask collections
        Those that are no xarray objects are passed over.

    Examples
    --------
    >>> import dask.array as da, xarray as xr
    >>> x = da.ones(4, chunks=2)
    >>> variable_names([xr.Dataset({"t2m": ("time", x)})]) == {x.name: "t2m"}
    True
    """
    found: dict[str, str] = {}
    for collection in collections:
        for name, variable in _variables(collection):
            # Only what is in chunks is a Dask array; `data` would read anything else.
            if variable.chunks is not None:
                found.setdefault(variable.data.name, str(name))
    return found


def _variables(collection: Any) -> Iterator[tuple[Any, Any]]:
    """List the variables of a Dataset or a DataArray, whichever it is.

    By its module: xarray need not be there, and a delayed value has any attribute at all.
    """
    if not type(collection).__module__.startswith("xarray."):
        return
    if hasattr(collection, "data_vars"):
        yield from collection.variables.items()
    elif hasattr(collection, "coords"):
        if collection.name is not None:
            yield collection.name, collection.variable
        yield from collection.coords.variables.items()
