"""What a lazy dataset holds in memory, and so takes with it when it is sent: kept small.

xarray loads the coordinates of indexes when it opens data. They, attributes and scalars go to the
client; everything else stays where it is.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from typing import Any

import dask
import xarray as xr
from dask.base import is_dask_collection
from dask.utils import parse_bytes
from distributed.protocol.pickle import dumps

from dask_pools.data.parcel import pack
from dask_pools.errors import ConfigurationError, CoordinateLimitError
from dask_pools.units import format_bytes

#: Where the limit is in Dask's configuration.
COORDINATE_LIMIT = "dask_pools.coordinate-limit"
DEFAULT_COORDINATE_LIMIT = "64 MiB"
#: How many of the largest are named in an error.
_NAMED = 3


def coordinate_limit() -> float:
    """Read how many bytes a lazy dataset may bring along; infinite sets no limit.

    Raises
    ------
    ConfigurationError
        If it is not a number of bytes.

    Examples
    --------
    >>> import dask
    >>> with dask.config.set({"dask_pools.coordinate-limit": "1 MB"}):
    ...     coordinate_limit()
    1000000.0
    """
    given = dask.config.get(COORDINATE_LIMIT, DEFAULT_COORDINATE_LIMIT)
    try:
        limit = math.inf if given is None else float(given)
    except (TypeError, ValueError):
        try:
            limit = float(parse_bytes(given))
        except (AttributeError, TypeError, ValueError):
            limit = math.nan
    if not limit >= 0:
        raise ConfigurationError(
            f"{COORDINATE_LIMIT} is {given!r} in Dask's configuration, and has to be a number of "
            "bytes such as '64 MiB'; null sets no limit"
        )
    return limit


def pack_opened(opened: xr.Dataset | xr.DataTree, limit: float, what: str) -> bytes:
    """Pickle what was opened, with its scalars loaded, unless what is not lazy is too large.

    Parameters
    ----------
    opened : Dataset or DataTree
        What was opened, with chunks.
    limit : float
        Bytes that may be sent.
    what : str
        What was opened, for messages.

    Raises
    ------
    CoordinateLimitError
        If it is more.

    Examples
    --------
    >>> from dask_pools.data.parcel import unpack
    >>> unpack(pack_opened(xr.Dataset(coords={"x": range(3)}), 1e6, "'x.nc'")).sizes["x"]
    3
    """
    far = {
        name: variable.nbytes
        for name, variable, loaded in _variables(opened)
        if not loaded and not _loads(variable, limit)
    }
    packed = pack(opened)
    # Mostly all of it is small, its graph included, and nothing has to be told apart.
    if far or len(packed) > limit:
        sizes = dict(_sizes(opened)) | far
        if sum(sizes.values()) > limit:
            raise _too_large(sizes, limit, what)
    return packed


def _loads(variable: xr.Variable, limit: float) -> bool:
    """Load what is in a file that the client does not see: a scalar, mostly."""
    if variable.nbytes > limit:
        return False
    variable.load()
    return True


def _variables(opened: xr.Dataset | xr.DataTree) -> Iterator[tuple[str, xr.Variable, bool]]:
    """Yield variables, what they are called in messages, and if they need no loading."""
    for prefix, node in _nodes(opened):
        for name, variable in node.variables.items():
            kind = "coordinate" if name in node.coords else "variable"
            loaded = name in node.xindexes or is_dask_collection(variable)
            yield f"{kind} {prefix}{name}", variable, loaded


def _sizes(opened: xr.Dataset | xr.DataTree) -> Iterator[tuple[str, int]]:
    for name, variable, _ in _variables(opened):
        yield name, _moved(variable)
    for prefix, node in _nodes(opened):
        yield f"attributes of {prefix or 'the dataset'}", len(pack((node.attrs, node.encoding)))


def _nodes(opened: xr.Dataset | xr.DataTree) -> Iterator[tuple[str, Any]]:
    if isinstance(opened, xr.Dataset):
        yield "", opened
        return
    for node in opened.subtree:
        yield f"{node.path.rstrip('/')}/", node.to_dataset(inherit=False)


def _moved(variable: xr.Variable) -> int:
    """Count the bytes that go with a variable, but for the graph of one that is lazy."""
    buffers: list[pickle.PickleBuffer] = []
    if is_dask_collection(variable) and variable.dtype != object:
        # Values in its graph are beside the pickle; so are those of an engine that is not lazy.
        dumps(variable, buffer_callback=buffers.append)
        return sum(memoryview(buffer).nbytes for buffer in buffers) + len(pack(variable.attrs))
    return len(pack(variable))


def _too_large(sizes: dict[str, int], limit: float, what: str) -> CoordinateLimitError:
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:_NAMED]
    named = ", ".join(f"{name} ({format_bytes(sizes[name])})" for name in largest)
    return CoordinateLimitError(
        f"What {what} holds in memory and not lazily is {format_bytes(sum(sizes.values()))}, and "
        f"would be sent to the client; the limit is {format_bytes(limit)}. The largest: {named}. "
        "xarray loads the coordinates of indexes: leave some out with drop_variables=[...], or "
        "keep them lazy with create_default_indexes=False; or raise the limit, "
        f"{COORDINATE_LIMIT!r} in Dask's configuration."
    )
