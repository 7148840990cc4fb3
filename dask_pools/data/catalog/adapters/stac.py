"""Assets of STAC as a catalog: an item, a collection with its items, or a catalog of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dask_pools.data.catalog.documents import is_relative, read_text
from dask_pools.data.catalog.found import Collector, Found
from dask_pools.errors import CatalogError
from dask_pools.model import Pin

if TYPE_CHECKING:
    import pystac

#: Media types, and the engine that opens them; None for xarray's guess.
_ENGINES = {
    "application/vnd+zarr": "zarr",
    "application/vnd.zarr": "zarr",
    "application/x-zarr": "zarr",
    "application/zarr": "zarr",
    "application/netcdf": None,
    "application/x-netcdf": None,
    "application/vnd+netcdf": None,
}
_SUFFIXES = {".zarr": "zarr", ".nc": None, ".nc4": None}
_OPEN, _STORAGE = "xarray:open_kwargs", "xarray:storage_options"
#: Files that are read; each is a round trip to its storage.
MOST_FILES = 10_000


def read_stac(url: str, pools: Pin) -> Found:
    """Read a STAC file and those that it leads to, where this runs.

    Parameters
    ----------
    url : str
        A URL of fsspec, or a path.
    pools : tuple of str
        Pools of assets with relative links; empty for those of each location.

    Raises
    ------
    ImportError
        If pystac is not installed.
    CatalogError
        If something is no STAC, or leads to too many files.
    """
    if url.startswith("~"):  # no root for pystac
        url = str(Path(url).expanduser())
    collector = Collector()
    for found in _walk(_pystac(), url):
        _add_assets(collector, found, pools)
    return collector.found(url)


def read_stac_objects(source: object) -> Found:
    """Read objects of pystac.

    Parameters
    ----------
    source : pystac.STACObject or iterable of pystac.Item
        An item, a collection, a catalog, or several items.

    Raises
    ------
    TypeError
        If it is something else.
    """
    pystac = _pystac()
    collector = Collector()
    objects: Iterable[Any] = [source]
    if isinstance(source, pystac.Catalog):
        objects = (one for parent, _, items in source.walk() for one in (parent, *items))
    elif not isinstance(source, pystac.Item) and isinstance(source, Iterable):
        objects = source
    for found in objects:
        if not isinstance(found, pystac.STACObject):
            raise TypeError(
                "STAC is given as a URL, a path, an object of pystac or several items of it, "
                f"not as {type(found).__name__}"
            )
        _add_assets(collector, found, ())
    return collector.found("STAC")


def _pystac() -> ModuleType:
    try:
        import pystac
    except ImportError as error:
        raise ImportError(
            "STAC is read with pystac, which is not installed here. "
            "Install dask_pools[catalogs], also for the workers of pools that hold such catalogs."
        ) from error
    return pystac


def _walk(stac: ModuleType, url: str) -> Iterator[Any]:
    """Read files from the first one on, each once, as deep as links lead."""
    ahead, seen = [url], {url}
    while ahead:
        here = ahead.pop()
        for found in _objects(stac, here):
            yield found
            links = [link for link in found.get_links() if link.rel in {"item", "child"}]
            further = [link.get_absolute_href() for link in links]
            new = [href for href in dict.fromkeys(further) if href and href not in seen]
            seen.update(new)
            ahead += reversed(new)
        if len(seen) > MOST_FILES:
            raise CatalogError(
                f"{url} leads to more than {MOST_FILES:,} files. Give one of its collections."
            )


def _objects(stac: ModuleType, url: str) -> list[Any]:
    try:
        data = json.loads(read_text(url))
    except (json.JSONDecodeError, RecursionError) as error:
        raise CatalogError(f"{url} is no STAC: {error}.") from error
    if not isinstance(data, dict):
        raise CatalogError(f"{url} is no STAC: it is not an object of JSON.")
    features = data.get("features") if data.get("type") == "FeatureCollection" else [data]
    try:
        # Each is made alone: pystac would look for the root by itself, where it is not bounded.
        return [_object(stac, feature, url) for feature in features or ()]
    except Exception as error:
        raise CatalogError(f"{url} is no STAC: {type(error).__name__}: {error}.") from error


def _object(stac: ModuleType, data: dict[str, Any], url: str) -> Any:
    kinds = {"Feature": stac.Item, "Collection": stac.Collection, "Catalog": stac.Catalog}
    return kinds[data["type"]].from_dict(data, href=url, migrate=True)


def _add_assets(collector: Collector, found: pystac.STACObject, pools: Pin) -> None:
    for key, asset in getattr(found, "assets", {}).items():
        extra = asset.extra_fields
        suffix = "." + asset.href.rstrip("/").rpartition(".")[2]
        media = (asset.media_type or "").partition(";")[0].strip().lower()
        if media not in _ENGINES and _OPEN not in extra and (media or suffix not in _SUFFIXES):
            continue
        engine = _ENGINES.get(media, _SUFFIXES.get(suffix))
        name = f"{found.id}/{key}"
        fields = {
            "location": asset.get_absolute_href() or asset.href,
            "pools": pools if is_relative(asset.href) else (),
            "description": asset.title or asset.description or _title(found),
            "tags": [*_keywords(found), *(asset.roles or ())],
            **_arguments(extra, engine),
        }
        parent = getattr(found, "collection_id", None)
        collector.add(name, fields, longer=f"{parent}/{name}" if parent else None)


def _arguments(extra: Mapping[str, Any], engine: str | None) -> dict[str, Any]:
    """Make engine and options of the fields of an asset."""
    options = dict(extra.get(_OPEN) or {})
    if extra.get(_STORAGE):
        options["storage_options"] = extra[_STORAGE]
    if "zarr:consolidated" in extra:
        options.setdefault("consolidated", extra["zarr:consolidated"])
    return {"engine": options.pop("engine", engine), "options": options}


def _title(found: Any) -> str:
    said = getattr(found, "properties", {})
    return str(getattr(found, "title", None) or said.get("title") or said.get("description") or "")


def _keywords(found: Any) -> list[str]:
    words = getattr(found, "keywords", None) or getattr(found, "properties", {}).get("keywords")
    return [word for word in words or () if isinstance(word, str)]
