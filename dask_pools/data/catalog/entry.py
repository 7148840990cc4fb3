"""One entry of a catalog: the name of a data set, where it is, and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dask_pools.data.catalog.fields import FIELDS, as_tuple, check_entry_name, problems
from dask_pools.data.catalog.html import entry_html
from dask_pools.data.catalog.preview import Preview, describe
from dask_pools.data.catalog.text import entry_text
from dask_pools.data.remote import run_in_pool
from dask_pools.errors import CatalogError
from dask_pools.graph.annotate import current_pin
from dask_pools.locations.current import current_locations
from dask_pools.model import Pin

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """A data set by name: where it is, and how it is opened.

    Parameters
    ----------
    name : str
        The name in the catalog.
    location : str or list of str
        A URL or a path, as the workers of the pool see it. A list of them, or a pattern with
        ``*``, is opened as one data set.
    engine : str, optional
        As for `xarray.open_dataset`. Default: xarray's guess, by the name of the file.
    options : mapping, optional
        More arguments for `xarray.open_dataset` (or `xarray.open_mfdataset`).
    pools : str or list of str, optional
        The pool that holds the data, or several that do. Default: that of the location
        (`dask_pools.set_locations`), when it is opened.
    description : str, optional
        What it is.
    tags : str or list of str, optional
        Words by which it is found.

    Raises
    ------
    CatalogError
        If something is wrong with a field.

    Examples
    --------
    >>> ens = Entry("ens", "/data/ecmwf/predictions.zarr", pools="ecmwf", tags=["forecast"])
    >>> ens.pin()
    ('ecmwf',)
    """

    name: str
    location: str | tuple[str, ...]
    engine: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    pools: Pin = ()
    description: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # What is empty in Python is what is missing in a file.
        given = {name: getattr(self, name) for name in FIELDS}
        given["pools"] = given["pools"] or None
        wrong = [*check_entry_name(self.name), *problems(given)]
        if wrong:
            said = "\n".join(f"  {problem}" for problem in wrong)
            raise CatalogError(f"the entry {self.name!r} is not right:\n{said}")
        if not isinstance(self.location, str):
            object.__setattr__(self, "location", tuple(self.location))
        object.__setattr__(self, "options", dict(self.options or {}))
        object.__setattr__(self, "pools", as_tuple(self.pools))
        object.__setattr__(self, "tags", as_tuple(self.tags))
        object.__setattr__(self, "description", (self.description or "").strip())

    @property
    def locations(self) -> tuple[str, ...]:
        """The locations, also if it is a single one."""
        return (self.location,) if isinstance(self.location, str) else self.location

    def pin(self) -> Pin:
        """Name the pools that hold the data.

        Returns
        -------
        tuple of str
            Those of the entry; if it has none, those of its location; if there is none, nothing.
            Of several files, the pools that hold all of them.
        """
        if self.pools:
            return self.pools
        known = current_locations()
        first, *others = (known.pools_of(location) or () for location in self.locations)
        return tuple(name for name in first if all(name in pools for pools in others))

    def open(self, **more: Any) -> xr.Dataset:
        """Open the data set where it is.

        Parameters
        ----------
        **more
            Arguments that are added to the options of the entry, or take their place; also
            ``pool``, for another pool than that of the entry.

        Returns
        -------
        xarray.Dataset
            Lazy, in chunks as they are stored unless the options say otherwise. With an
            asynchronous client: an awaitable of it.

        Raises
        ------
        Exception
            As for `dask_pools.open_dataset`.
        """
        from dask_pools.data.many import open_mfdataset
        from dask_pools.data.open import open_dataset

        engine = {} if self.engine is None else {"engine": self.engine}
        arguments = {"pool": self.pools or None, **engine, **self.options, **more}
        opened: xr.Dataset
        if isinstance(self.location, str) and "*" not in self.location:
            opened = open_dataset(self.location, **arguments)
        else:
            paths = self.location if isinstance(self.location, str) else list(self.location)
            opened = open_mfdataset(paths, **arguments)
        return opened

    def preview(self) -> Preview:
        """Describe the data set by its metadata, read in its pool. No values are loaded.

        Returns
        -------
        Preview
            Dimensions, variables, chunks, sizes. Of several files, of the first one. With an
            asynchronous client: an awaitable of it.

        Raises
        ------
        Exception
            As for `dask_pools.open_dataset`.
        """
        pin = self.pools or current_pin() or self.pin() or None
        preview: Preview = run_in_pool(
            describe, self.location, self.engine, dict(self.options), pool=pin, what="preview"
        )
        return preview

    def __repr__(self) -> str:
        return entry_text(self)

    def _repr_html_(self) -> str:
        return entry_html(self)
