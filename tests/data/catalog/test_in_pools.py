"""Catalogs over pools that see nothing of each other's data, with a client that need not either."""

from __future__ import annotations

import asyncio

import pytest
import xarray as xr
from distributed import Client

from dask_pools import (
    Catalog,
    LocalPoolCluster,
    UnknownPoolError,
    get_pool,
    pool,
    propagate_pools,
    set_locations,
)
from dask_pools.demo.data import (
    forecast_path,
    observations_path,
    write_forecast,
    write_observations,
)
from tests.data.catalog import opened

POOLS = ("ecmwf", "eumetsat")

CATALOG = """\
ens:
  location: predictions.zarr
  engine: zarr
  description: Ensemble forecast of the air temperature
  tags: [forecast, temperature]
obs:
  location: {observations}
  pools: eumetsat
  tags: [observations, temperature]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_forecast(forecast_path(root), scale=0.01)
    write_observations(observations_path(root), scale=0.01)
    text = CATALOG.format(observations=observations_path(root))
    (root / "ecmwf" / "catalog.yaml").write_text(text)
    return root


@pytest.fixture(scope="module")
def client(data):
    homes = {name: data / name for name in POOLS}
    pools = dict.fromkeys(POOLS, 1)
    with LocalPoolCluster(pools, data=homes) as cluster, cluster.get_client() as client:
        yield client


def difference(predictions, observations):
    mean = predictions.air_temperature.mean("realization").isel(height=10)
    return mean - observations.air_temperature


def expected(data):
    with (
        xr.open_zarr(forecast_path(data)) as predictions,
        xr.open_dataset(observations_path(data), chunks={}) as observations,
    ):
        return difference(predictions, observations).compute(scheduler="synchronous")


def test_catalog_that_lies_in_a_pool(client, data):
    catalog = Catalog.from_yaml(data / "ecmwf" / "catalog.yaml", pool="ecmwf")
    assert {name: entry.pin() for name, entry in catalog.items()} == {
        "ens": ("ecmwf",),
        "obs": ("eumetsat",),
    }
    predictions, observations = catalog.ens.open(), catalog.obs.open()
    assert get_pool(predictions) == "ecmwf"
    assert get_pool(observations) == "eumetsat"
    with propagate_pools():
        result = difference(predictions, observations).compute()
    xr.testing.assert_allclose(result, expected(data))


def test_catalog_that_lies_in_another_pool_is_not_found(client, data):
    path = data / "ecmwf" / "catalog.yaml"
    with pytest.raises(FileNotFoundError, match=r"catalog\.yaml") as caught:
        Catalog.from_yaml(path, pool="eumetsat")
    assert "eumetsat" in str(caught.value)


def test_pool_that_is_not_there_is_an_error(client, data):
    with pytest.raises(UnknownPoolError, match="Did you mean 'ecmwf'"):
        Catalog.from_yaml(data / "ecmwf" / "catalog.yaml", pool="ecwmf")


def test_pools_come_from_locations(client, data):
    with set_locations({data / name: name for name in POOLS}):
        catalog = Catalog.from_folder(data / "ecmwf") | Catalog.from_folder(data / "eumetsat")
        assert list(catalog.search(pool="eumetsat")) == ["observations"]
        assert get_pool(catalog["predictions"].open()) == "ecmwf"
        assert get_pool(catalog["observations"].open()) == "eumetsat"
        assert catalog["observations"].preview().dims.keys() == {"latitude", "longitude"}


def test_folder_is_listed_in_its_pool(client, data):
    assert list(Catalog.from_folder(data / "ecmwf", pool="ecmwf")) == ["predictions"]
    with pytest.raises(FileNotFoundError):
        Catalog.from_folder(data / "ecmwf" / "predictions.zarr", pool="eumetsat")


def test_preview_reads_no_chunk_at_home_and_nothing_elsewhere(client, data):
    entry = Catalog.from_yaml(data / "ecmwf" / "catalog.yaml", pool="ecmwf").ens
    client.run(opened.start)
    with opened.opened() as here:
        preview = entry.preview()
    assert preview.dims["realization"] == 18
    assert preview.nbytes > 1e6
    heard = client.run(opened.heard, str(data))
    at_home, elsewhere = (heard[address] for address in addresses(client))
    assert at_home
    assert opened.chunk_files(at_home, forecast_path(data)) == set()
    assert elsewhere == []
    assert [path for path in here if path.startswith(str(data))] == []


def addresses(client):
    workers = client.scheduler_info(n_workers=-1)["workers"].items()
    return [next(a for a, w in workers if f"pool-{name}" in w["resources"]) for name in POOLS]


def test_intake_and_stac_are_read_in_their_pool(client, data):
    pytest.importorskip("pystac")
    folder = data / "ecmwf"
    source = "sources: {ens: {driver: zarr, args: {urlpath: '{{ CATALOG_DIR }}/predictions.zarr'}}}"
    (folder / "intake.yaml").write_text(source)
    (folder / "item.json").write_text(
        '{"type": "Feature", "stac_version": "1.0.0", "id": "ens", "geometry": null, "links": [],'
        '"properties": {"datetime": "2024-06-21T12:00:00Z"}, "assets": {"zarr": '
        '{"href": "./predictions.zarr", "type": "application/vnd+zarr"}}}'
    )
    read = [
        Catalog.from_intake(folder / "intake.yaml", pool="ecmwf")["ens"],
        Catalog.from_stac(folder / "item.json", pool="ecmwf")["ens/zarr"],
    ]
    for entry in read:
        assert entry.pools == ("ecmwf",)
        assert entry.preview().dims["realization"] == 18
    with pytest.raises(FileNotFoundError):
        Catalog.from_stac(folder / "item.json", pool="eumetsat")


def test_asynchronous_client(data):
    async def run():
        path = data / "ecmwf" / "catalog.yaml"
        homes = {name: data / name for name in POOLS}
        async with (
            LocalPoolCluster(dict.fromkeys(POOLS, 1), data=homes, asynchronous=True) as cluster,
            Client(cluster, asynchronous=True),
        ):
            catalog = await Catalog.from_yaml(path, pool="ecmwf")
            preview = await catalog.ens.preview()
            dataset = await catalog.ens.open()
            folder = await Catalog.from_folder(data / "ecmwf", pool="ecmwf")
            return preview.dims, get_pool(dataset), list(folder)

    dims, home, names = asyncio.run(run())
    assert dims["realization"] == 18
    assert home == "ecmwf"
    assert names == ["predictions"]


def test_loader_of_the_proof_of_concept(client, data, monkeypatch):
    """The five lines that users of the proof of concept of 2022 have: nothing in them changes.

    There data was in /data/<pool>, of mounts which the user's process had as well, and the pool is
    the third part of the path; here it is in ./<folder>/<pool>.
    """
    monkeypatch.chdir(data.parent)

    def load_from_catalog(path):
        with pool(path.split("/")[2]):
            return xr.open_dataset(path).chunk("auto")

    predictions = load_from_catalog(f"./{data.name}/ecmwf/predictions.zarr")
    observations = load_from_catalog(f"./{data.name}/eumetsat/observations.nc")
    assert get_pool(predictions.air_temperature) == "ecmwf"
    assert get_pool(observations.air_temperature) == "eumetsat"
    asked = difference(predictions, observations)
    with propagate_pools():
        result = asked.compute()
    xr.testing.assert_identical(result, asked.compute(scheduler="synchronous"))


def test_loader_of_the_same_form_over_a_catalog(client, data):
    """The same five lines with a catalog of ours: this process need not see anything."""
    catalog = Catalog.from_folder(data / "ecmwf", pool="ecmwf")
    catalog |= Catalog.from_folder(data / "eumetsat", pool="eumetsat")

    def load_from_catalog(name):
        with pool(*catalog[name].pools):
            return catalog[name].open().chunk("auto")

    predictions, observations = map(load_from_catalog, ("predictions", "observations"))
    assert get_pool(predictions.air_temperature) == "ecmwf"
    asked = difference(predictions, observations)
    with propagate_pools():
        result = asked.compute()
    xr.testing.assert_identical(result, asked.compute(scheduler="synchronous"))
