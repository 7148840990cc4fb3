"""A catalog: entries by name, found and opened without knowing where they are."""

from __future__ import annotations

import keyword
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dask_pools.data.catalog.adapters.folder import read_folder
from dask_pools.data.catalog.adapters.intake import intake_entries, intake_object_entries
from dask_pools.data.catalog.adapters.stac import read_stac, read_stac_objects
from dask_pools.data.catalog.documents import read_text
from dask_pools.data.catalog.entry import Entry
from dask_pools.data.catalog.found import Found
from dask_pools.data.catalog.home import Home, tell_left_out
from dask_pools.data.catalog.html import catalog_html
from dask_pools.data.catalog.search import Names, search
from dask_pools.data.catalog.text import catalog_text
from dask_pools.data.catalog.written import written_entries
from dask_pools.errors import CatalogError, UnknownEntryError, near_miss, one_of

if TYPE_CHECKING:
    import pystac

Source = str | os.PathLike[str]
#: So many names are listed in an error.
_LISTED = 20


class Catalog(Mapping[str, Entry]):
    """Names of data sets: where each is, and how it is opened.

    ``catalog["ens"].open()`` opens a data set in its pool. A catalog is a mapping of names to
    entries; ``catalog.ens`` is the same as ``catalog["ens"]`` for names that allow it.

    Parameters
    ----------
    entries : iterable of Entry
        The entries, in the order in which they are shown.

    Raises
    ------
    CatalogError
        If two of them have the same name.

    Examples
    --------
    >>> from dask_pools.data.catalog.entry import Entry
    >>> catalog = Catalog(
    ...     [
    ...         Entry("ens", "/data/ecmwf/ens.zarr", pools="ecmwf", description="Ensemble"),
    ...         Entry("obs", "s3://observations/2024.nc", pools=("eumetsat", "cedadocs")),
    ...     ]
    ... )
    >>> catalog
    <dask_pools.Catalog: 2 entries>
        ens  ecmwf                 Ensemble
        obs  eumetsat or cedadocs
    >>> list(catalog.search(pool="ecmwf"))
    ['ens']
    """

    _entries: dict[str, Entry]

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = {}
        for entry in entries:
            if not isinstance(entry, Entry):
                raise TypeError(f"a catalog is made of entries, not of {type(entry).__name__}")
            if entry.name in self._entries:
                raise CatalogError(f"two entries have the name {entry.name!r}; rename one of them.")
            self._entries[entry.name] = entry

    @classmethod
    def from_yaml(cls, url: Source, *, pool: str | tuple[str, ...] | None = None) -> Catalog:
        """Read a catalog from a file of YAML.

        Parameters
        ----------
        url : str or PathLike
            A URL of fsspec, or a path.
        pool : str or tuple of str, optional
            The pool in which the file lies, where it is read then. Default: the pin in force,
            or that of its location (`dask_pools.set_locations`); else it is read here.

        Returns
        -------
        Catalog
            With an asynchronous client: an awaitable of it.

        Raises
        ------
        CatalogError
            If something in the file is wrong: the message has all that is, each with its line.
        FileNotFoundError
            If there is no such file.

        Notes
        -----
        The file has a mapping of names to entries. Only `location` is needed::

            ens:
              location: s3://ecmwf-open/predictions.zarr
              engine: zarr
              options: {chunks: {realization: 1}}
              pools: [ecmwf, cedadocs]
              description: Ensemble forecast
              tags: [forecast, temperature]

        It is plain data: it has neither code nor tags nor templates, and the environment plays no
        part. A relative location is one beside the file, and in the same pool.
        """
        home = Home.of(url, pool)

        def parsed(text: str) -> Catalog:
            return cls(written_entries(text, home.url, home.said))

        return _catalog(home.read(read_text, then=parsed))

    @classmethod
    def from_intake(
        cls, source: Source | object, *, pool: str | tuple[str, ...] | None = None
    ) -> Catalog:
        """Read a catalog of intake: a YAML file of intake 1 or 2, or an object of intake 2.

        Parameters
        ----------
        source : str, PathLike or intake.Catalog
            A URL of fsspec, a path, or a catalog that intake has read.
        pool : str or tuple of str, optional
            The pool in which the file lies, as for `from_yaml`.

        Returns
        -------
        Catalog
            What xarray opens: zarr, netCDF and OPeNDAP. A warning tells what is left out, and
            why. With an asynchronous client: an awaitable of it.

        Raises
        ------
        CatalogError
            If it is no catalog of intake, or nothing in it can be opened.

        Notes
        -----
        A file is read as plain data, without intake: nothing in it is imported or run, as intake
        itself does when an entry is opened. ``CATALOG_DIR`` is the folder of the file.
        What has other parameters, or steps after the reading, is left out.
        """
        if not isinstance(source, str | os.PathLike):
            return cls._of(intake_object_entries(source), "this catalog of intake")
        home = Home.of(source, pool)

        def parsed(text: str) -> Catalog:
            return cls._of(intake_entries(text, home.url, home.said), home.url)

        return _catalog(home.read(read_text, then=parsed))

    @classmethod
    def from_stac(
        cls,
        source: Source | pystac.STACObject | Iterable[pystac.Item],
        *,
        pool: str | tuple[str, ...] | None = None,
    ) -> Catalog:
        """Read assets of a STAC item, of a collection with its items, or of a catalog.

        Parameters
        ----------
        source : str, PathLike, pystac.STACObject or iterable of pystac.Item
            A URL of fsspec, a path, or objects of pystac.
        pool : str or tuple of str, optional
            The pool in which the files of STAC lie, as for `from_yaml`.

        Returns
        -------
        Catalog
            An entry ``<id of the item or collection>/<name of the asset>`` for each asset that
            is zarr or netCDF. With an asynchronous client: an awaitable of it.

        Raises
        ------
        ImportError
            If pystac is not installed (where it is read).
        CatalogError
            If it is no STAC, or has no such asset.

        Notes
        -----
        Arguments for xarray come from ``xarray:open_kwargs`` and ``xarray:storage_options``
        (extension xarray-assets) and from ``zarr:consolidated`` (extension zarr).
        """
        if not isinstance(source, str | os.PathLike):
            return cls._of(read_stac_objects(source), "these objects of STAC")
        home = Home.of(source, pool)
        return _catalog(home.read(read_stac, home.said, then=lambda x: cls._of(x, home.url)))

    @classmethod
    def from_folder(cls, url: Source, *, pool: str | tuple[str, ...] | None = None) -> Catalog:
        """Make a catalog of the zarr stores and netCDF files of a folder, and of folders in it.

        Parameters
        ----------
        url : str or PathLike
            A URL of fsspec, or a path.
        pool : str or tuple of str, optional
            The pool in which the folder is, where it is listed then; as for `from_yaml`.

        Returns
        -------
        Catalog
            Named by the path below the folder, without its suffix. With an asynchronous client:
            an awaitable of it.

        Raises
        ------
        FileNotFoundError
            If there is no such folder.
        CatalogError
            If nothing is in it, or too many folders are.
        """
        home = Home.of(url, pool)
        return _catalog(home.read(read_folder, home.said, then=lambda x: cls._of(x, home.url)))

    @classmethod
    def _of(cls, found: Found, origin: str) -> Catalog:
        return cls(tell_left_out(found, origin).entries)

    def search(self, text: str = "", *, tags: Names = None, pool: Names = None) -> Catalog:
        """Find entries.

        Parameters
        ----------
        text : str, optional
            Words, all of which have to be in the name, the description, the tags or the
            location, in capitals or not.
        tags : str or iterable of str, optional
            Tags, all of which an entry has to have.
        pool : str or iterable of str, optional
            Pools, one of which has to hold the data.

        Returns
        -------
        Catalog
            Those entries, in their order; it may be empty.
        """
        return type(self)(search(self._entries.values(), text, tags, pool))

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            pass
        names = sorted(self._entries)
        shown = one_of(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
        hint = near_miss(str(name), names)
        raise UnknownEntryError(
            f"This catalog has no entry {name!r}. Entries: {shown}.{hint} "
            "search('…') finds entries by their words."
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __or__(self, other: Catalog) -> Catalog:
        """Combine two catalogs.

        Raises
        ------
        CatalogError
            If both have an entry of one name, and not the same entry.
        """
        if not isinstance(other, Catalog):
            return NotImplemented
        both = [name for name in self if name in other and self[name] != other[name]]
        if both:
            raise CatalogError(
                f"Both catalogs have entries with the names {one_of(both)}, and these are not "
                "the same. Rename them in one, or leave them out of it."
            )
        return type(self)({**self._entries, **other._entries}.values())

    def __getattr__(self, name: str) -> Entry:
        # Only asked for what is not there otherwise. Copying and unpickling ask before there are
        # entries, and IPython asks for many names that begin with an underscore.
        if not name.startswith("_") and name in self._entries:
            return self._entries[name]
        hint = "" if name.startswith("_") else near_miss(name, self._entries)
        raise AttributeError(f"this catalog has no attribute or entry {name!r}.{hint}")

    def __dir__(self) -> list[str]:
        names = (name for name in self if name.isidentifier() and not keyword.iskeyword(name))
        return sorted({*super().__dir__(), *(name for name in names if name[0] != "_")})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        return catalog_text(tuple(self._entries.values()))

    def _repr_html_(self) -> str:
        return catalog_html(tuple(self._entries.values()))


def _catalog(found: Any) -> Catalog:
    """Name the type of what is a catalog, or with an asynchronous client will be one."""
    catalog: Catalog = found
    return catalog
