"""The public interface as a user's type checker sees it: mypy reads this file, nothing runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dask.array as da
from distributed import Client

import dask_pools
from dask_pools import (
    Catalog,
    Link,
    LocalPoolCluster,
    Pool,
    PoolError,
    Topology,
    TopologyError,
    UnknownPoolError,
    get_pool,
    link_bytes,
    link_class,
    measure_links,
    open_dataset,
    open_datatree,
    open_mfdataset,
    open_zarr,
    pool,
    propagate_pools,
    propagate_pools_in_collection,
    read_topology,
    to_zarr,
    visualize_pools,
    write_topology,
)

if TYPE_CHECKING:
    import xarray as xr


def pins() -> object:
    with pool("ecmwf"):
        x = da.ones(10, chunks=5)
    with pool("ecmwf", "mirror"), pool(None):
        pass
    return get_pool(x)


@pool("ecmwf")
def decorated(path: str) -> int:
    return len(path)


def decorated_keeps_its_type() -> int:
    return decorated("/data")


def placed(x: xr.DataArray) -> None:
    with propagate_pools():
        x.compute()
    propagate_pools(policy="majority")
    propagate_pools_in_collection(x)
    visualize_pools(x, filename="graph.svg")


def deployed(directory: Path) -> None:
    with (
        LocalPoolCluster({"ecmwf": 2, "eumetsat": 2}, data={"ecmwf": directory}) as cluster,
        Client(cluster) as client,
    ):
        link_bytes(client)


def described(client: Client, directory: Path) -> str | None:
    topology = Topology(
        (Pool("ecmwf", egress="aggregates", egress_limit=1e6), Pool("eumetsat")),
        (link_class("aws-same-continent").link("ecmwf", "eumetsat", price=0.03),),
        default=link_class("research-network"),
    )
    link: Link = topology.link("ecmwf", "eumetsat")
    write_topology(topology, directory / "topology.yaml")
    try:
        known = read_topology(directory / "topology.yaml")
    except TopologyError as error:
        return str(error)
    measured: Topology = measure_links(client, pools=["ecmwf"], nbytes="1 MB", topology=known)
    return f"{link.price * 1e-9} {measured.currency}"


def errors_are_caught() -> str:
    try:
        pins()
    except UnknownPoolError as error:
        return str(error)
    except PoolError:
        pass
    return dask_pools.__version__


def opens(path: Path) -> object:
    return (
        open_dataset(path, pool="ecmwf", engine="netcdf4", chunks={"time": 1}),
        open_zarr("s3://bucket/x.zarr", pool=("ecmwf", "mirror")),
        open_mfdataset([path, path], combine="nested", concat_dim="time"),
        open_datatree(path),
    )


def catalogs(path: Path) -> Catalog:
    return Catalog.from_yaml(path, pool="ecmwf").search("temperature") | Catalog()


def written(x: xr.Dataset, path: Path) -> None:
    to_zarr(x, path, pool="ecmwf", mode="w")
