"""`draft`: have xarray write a dataset into a staged store, and keep what it would write lazily.

All checks and all encodings are xarray's own. Its functions that are not documented are used in
this module only.
"""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import dask.array as da
import xarray as xr
from xarray.backends.api import DATAARRAY_NAME, DATAARRAY_VARIABLE
from xarray.backends.writers import get_writable_zarr_store

from dask_pools.data.writing.home import Target
from dask_pools.data.writing.keys import joined
from dask_pools.data.writing.staged import StagedStore
from dask_pools.graph.annotate import pool as pinned

if TYPE_CHECKING:
    import zarr
    from xarray.backends import ZarrStore

#: What has a `to_zarr`.
Writable: TypeAlias = xr.Dataset | xr.DataArray | xr.DataTree


@dataclass(slots=True)
class Writes:
    """The lazy arrays, each with the array of the store that it is for, and the region there."""

    sources: list[da.Array] = field(default_factory=list)
    targets: list[zarr.Array[Any]] = field(default_factory=list)
    regions: list[tuple[slice, ...] | None] = field(default_factory=list)

    def add(
        self, source: Any, target: zarr.Array[Any], region: tuple[slice, ...] | None = None
    ) -> None:
        """Keep a lazy array; write any other at once, into the staged store."""
        if isinstance(source, da.Array):
            self.sources.append(source)
            self.targets.append(target)
            self.regions.append(region)
        else:
            target[region or ...] = source


def draft(ds: Writable, staged: StagedStore, arguments: Mapping[str, Any]) -> Writes:
    """Write into a staged store.

    Parameters
    ----------
    ds : Dataset, DataArray or DataTree
        What is written.
    staged : StagedStore
        The store.
    arguments : mapping
        Those of its `to_zarr`, but for the path, ``compute`` and what says how to get at it.
    """
    arguments = dict(arguments)
    inherit = arguments.pop("write_inherited_coords", False)
    encoding = arguments.pop("encoding", None) or {}
    if isinstance(ds, xr.DataTree):
        _check_tree(ds, arguments, encoding)
    root = get_writable_zarr_store(staged, **arguments)
    writes = Writes()
    # What is encoded lazily is encoded where it is: packed values are fewer bytes on the way.
    with pinned(None):
        if not isinstance(ds, xr.DataTree):
            _write(as_dataset(ds), root, writes, encoding, encoding)
            return writes
        for path, node in ds.subtree_with_keys:
            at_root = node is ds
            dataset = node.to_dataset(inherit=inherit or at_root)
            store = root if at_root else root.get_child_store(path)
            _write(dataset, store, writes, encoding.get(node.path), encoding)
    return writes


def _write(
    dataset: xr.Dataset,
    store: ZarrStore,
    writes: Writes,
    encoding: Mapping[Hashable, Any] | None,
    all_encodings: Mapping[Hashable, Any],
) -> None:
    for name in dataset.variables:
        _check_name(name)
    # Lazy arrays without elements are never written by their tasks.
    empty = {k: v.compute() for k, v in dataset.variables.items() if v.size == 0}
    dataset = dataset.assign({k: v for k, v in empty.items() if k not in dataset.indexes})
    dataset = store._validate_and_autodetect_region(dataset)  # noqa: SLF001 - as to_zarr does
    store._validate_encoding(all_encodings)  # noqa: SLF001 - the same
    dataset.dump_to_store(store, writer=writes, encoding=encoding)


def _check_name(name: Hashable) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of an array in a zarr store is a string, not {name!r}")
    if not name:
        raise ValueError("the name of an array in a zarr store has a letter at least, not ''")


def _check_tree(
    tree: xr.DataTree, arguments: Mapping[str, Any], encoding: Mapping[str, Any]
) -> None:
    """Refuse what `DataTree.to_zarr` refuses."""
    for name in ("group", "append_dim"):
        if arguments.get(name) is not None:
            raise NotImplementedError(f"DataTree.to_zarr does not know {name}= yet; leave it out")
    if unknown := set(encoding) - set(tree.groups):
        raise ValueError(
            f"encoding= is for the groups {unknown}, which the tree does not have; "
            f"its groups are {tree.groups}"
        )


def as_dataset(ds: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Make the dataset which is written of a DataArray, as xarray does."""
    if isinstance(ds, xr.Dataset):
        return ds
    if ds.name is None:
        return ds.to_dataset(name=DATAARRAY_VARIABLE)
    if ds.name in ds.coords or ds.name in ds.dims:
        dataset = ds.to_dataset(name=DATAARRAY_VARIABLE)
        dataset.attrs[DATAARRAY_NAME] = ds.name
        return dataset
    return ds.to_dataset()


def values_needed(ds: Writable, group: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of the arrays whose values are read before something is added to them."""
    region = arguments.get("region")
    if isinstance(ds, xr.DataTree) or (region is None and arguments.get("append_dim") is None):
        return
    variables = as_dataset(ds).variables
    yield from (joined(group, str(k)) for k, v in variables.items() if v.chunks is None)
    if region is not None:
        yield from (joined(group, str(dim)) for dim in ds.dims)


def targets_at_home(writes: Writes, staged: StagedStore) -> list[Target]:
    """Make the targets of the tasks: the same arrays, in the store at home."""
    home = staged.survey.home
    return [Target(home, pickle.loads(pickle.dumps(array))) for array in writes.targets]  # noqa: S301 - our own, a moment old
