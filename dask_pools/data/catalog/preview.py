"""What a data set consists of, found from its metadata: no value of it is read.

Opened in the usual way, xarray reads the coordinates of dimensions (for its indexes) and the
first and last value of times (to choose their type). A preview does without both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dask_pools.data.catalog.html import preview_html
from dask_pools.data.catalog.text import preview_text
from dask_pools.data.many import expand
from dask_pools.data.open import opened_from

#: Arguments of `xarray.open_mfdataset` that say how files are combined.
_COMBINING = frozenset(
    {
        *("attrs_file", "combine", "combine_attrs", "compat", "concat_dim", "coords"),
        *("data_vars", "errors", "join", "parallel", "preprocess"),
    }
)
#: What keeps xarray from reading values.
_QUIET = {
    "create_default_indexes": False,
    "decode_times": False,
    "decode_timedelta": False,
    "cache": False,
}


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a data set, without its values.

    Parameters
    ----------
    name : str
        Its name.
    dims : tuple of str
        Its dimensions.
    shape, chunks : tuple of int
        Length of the variable, and of its largest chunk, along each dimension.
    dtype : str
        Type of the values in memory; ``time`` for what xarray will decode to times.
    nbytes : int
        Bytes in memory, all chunks together.
    blocks : int
        Number of chunks.
    coordinate : bool
        Whether it is a coordinate.
    description : str
        Its long name, or its standard name.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    nbytes: int
    blocks: int
    coordinate: bool
    description: str


@dataclass(frozen=True, slots=True, repr=False)
class Preview:
    """What a data set consists of.

    Parameters
    ----------
    location : str
        The file or store that was looked at.
    files : int
        Of how many it is the first.
    dims : mapping of str to int
        Length of each dimension.
    variables : tuple of Variable
        Variables, and then coordinates, as they are in the file.
    attributes : mapping of str to str
        Attributes of the data set.
    """

    location: str
    files: int
    dims: Mapping[str, int]
    variables: tuple[Variable, ...]
    attributes: Mapping[str, str]

    @property
    def nbytes(self) -> int:
        """Bytes in memory of all variables."""
        return sum(variable.nbytes for variable in self.variables)

    def __repr__(self) -> str:
        return preview_text(self)

    def _repr_html_(self) -> str:
        return preview_html(self)


def describe(
    location: str | tuple[str, ...], engine: str | None, options: Mapping[str, Any]
) -> Preview:
    """Describe a data set by its metadata, where this runs.

    Parameters
    ----------
    location, engine, options
        Those of an entry.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    Exception
        Whatever xarray raises.
    """
    import xarray as xr

    files = [location] if isinstance(location, str) else list(location)
    if "*" in location:
        files = expand(files[0], options.get("storage_options"))
    kept = {name: value for name, value in options.items() if name not in _COMBINING}
    arguments = {**kept, **_QUIET, "engine": engine, "chunks": kept.get("chunks") or {}}
    with opened_from(xr.open_dataset, files[0], arguments) as dataset:
        names = [*dataset.data_vars, *dataset.coords]
        return Preview(
            location=files[0],
            files=len(files),
            dims={str(name): size for name, size in dataset.sizes.items()},
            variables=tuple(_variable(dataset, name) for name in names),
            attributes={str(name): str(value) for name, value in dataset.attrs.items()},
        )


def _variable(dataset: Any, name: Any) -> Variable:
    array = dataset[name].variable
    chunks = array.chunks or tuple((size,) for size in array.shape)
    times = " since " in str(array.attrs.get("units", ""))
    attributes = array.attrs
    return Variable(
        name=str(name),
        dims=tuple(map(str, array.dims)),
        shape=tuple(array.shape),
        chunks=tuple(max(sizes, default=0) for sizes in chunks),
        dtype="time" if times else str(array.dtype),
        nbytes=int(array.nbytes),
        blocks=math.prod(len(sizes) for sizes in chunks),
        coordinate=name in dataset.coords,
        description=str(attributes.get("long_name") or attributes.get("standard_name") or ""),
    )
