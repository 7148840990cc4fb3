"""Object stores with credentials: two servers that speak S3, one for each pool, with one URL.

Each has keys of its own, which only the workers of its pool have. Whatever reaches the client,
the scheduler or the other pool is searched for them.
"""

from __future__ import annotations

import collections
import io
import logging
import os
import pickle

import cloudpickle
import dask
import numpy as np
import pytest
import xarray as xr

import dask_pools
from dask_pools.deploy.local import LocalPoolCluster
from dask_pools.errors import CredentialsError
from dask_pools.graph.annotate import pool
from dask_pools.propagate import propagate_pools

pytest.importorskip("moto")
pytest.importorskip("s3fs")

from tests.data.s3 import BUCKET, s3_endpoint

#: What each pool has in its own bucket, at the same URL, times this.
FACTORS = {"ecmwf": 1.0, "eumetsat": 10.0}
ZARR = {3: f"s3://{BUCKET}/three.zarr", 2: f"s3://{BUCKET}/two.zarr"}
NETCDF = f"s3://{BUCKET}/field.nc"
PLAIN = f"s3://{BUCKET}/plain"
CHUNKS = 4


def field(factor):
    values = np.arange(40.0).reshape(8, 5) * factor
    return xr.Dataset({"t": (("x", "y"), values)}, coords={"x": np.arange(8)})


def fill(endpoint, factor):
    """Write the data of a pool, as its owner would."""
    ds = field(factor)
    for version, url in ZARR.items():
        ds.chunk(x=8 // CHUNKS).to_zarr(
            url,
            storage_options=endpoint.options,
            zarr_format=version,
            consolidated=version == 2,
            compute=True,
        )
    endpoint.filesystem().pipe_file(PLAIN, b"content")


@pytest.fixture(scope="module")
def endpoints():
    with s3_endpoint() as one, s3_endpoint() as other:
        found = {"ecmwf": one, "eumetsat": other}
        for name, endpoint in found.items():
            fill(endpoint, FACTORS[name])
        yield found


@pytest.fixture(scope="module")
def files(endpoints, tmp_path_factory):
    """One pool is given its options, the other has them in a topology."""
    path = tmp_path_factory.mktemp("site") / "topology.yaml"
    path.touch(mode=0o600)
    e = endpoints["eumetsat"]
    options = f"{{endpoint_url: '{e.url}', key: {e.key}, secret: '{e.secret}'}}"
    path.write_text(f"pools: {{eumetsat: {{storage_options: {{'s3://{BUCKET}': {options}}}}}}}")
    return {"ecmwf": {"s3": endpoints["ecmwf"].options}, "eumetsat": path}


@pytest.fixture(scope="module")
def logged():
    """Collect what is logged in this process, where client, scheduler and nannies are."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    names = ("distributed", "dask_pools", "s3fs", "fsspec", "zarr")
    levels = {}
    for name in names:
        logger = logging.getLogger(name)
        levels[name] = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield text
    for name in names:
        logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).setLevel(levels[name])


@pytest.fixture(scope="module")
def cluster(files, logged):
    numbers = {"ecmwf": 1, "eumetsat": 1}
    # Silencing would also silence what collects the logs.
    options = {"dashboard_address": None, "silence_logs": None}
    with LocalPoolCluster(numbers, storage_options=files, **options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster):
    with cluster.get_client() as client:
        yield client


@pytest.fixture(scope="module")
def netcdf(endpoints):
    pytest.importorskip("h5netcdf")
    pytest.importorskip("h5py")
    for name, endpoint in endpoints.items():
        # Without a lock of the cluster for a file in memory.
        with dask.config.set(scheduler="synchronous"):
            written = bytes(field(FACTORS[name]).to_netcdf(engine="h5netcdf"))
        endpoint.filesystem().pipe_file(NETCDF, written)


@pytest.fixture
def fresh(endpoints):
    """Say what the servers were asked for since the test began."""
    before = {name: len(endpoint.asked()) for name, endpoint in endpoints.items()}
    return lambda name: endpoints[name].asked()[before[name] :]


@pytest.fixture
def hidden(endpoints):
    """Check that something has no credential in it, in whichever way it is shown."""
    secrets = [secret for endpoint in endpoints.values() for secret in endpoint.secrets]

    def check(*things):
        for thing in things:
            shown = thing if isinstance(thing, bytes) else repr(thing).encode()
            assert [secret for secret in secrets if secret in shown] == []

    return check


def submitted(client, name, function, *args):
    with pool(name):
        return client.submit(function, *args, pure=False).result()


def opened(version):
    with_pool = {}
    for name in FACTORS:
        with_pool[name] = dask_pools.open_zarr(ZARR[version], pool=name)
    return with_pool


def expected(function):
    return function(*(field(factor) for factor in FACTORS.values()))


# The servers are what the tests take them for


def test_wrong_credentials_are_refused_by_the_servers(endpoints):
    import s3fs

    one, other = endpoints.values()
    for wrong in (
        {"key": other.key, "secret": other.secret},
        {"key": one.key, "secret": other.secret},
        {"anon": True},
    ):
        fs = s3fs.S3FileSystem(endpoint_url=one.url, **wrong, skip_instance_cache=True)
        with pytest.raises(PermissionError):
            fs.cat_file(PLAIN, start=0, end=4)
    assert one.filesystem().cat_file(PLAIN, start=0, end=4) == b"cont"


# Reading


@pytest.mark.parametrize("version", [3, 2])
def test_zarr_of_both_pools_is_computed(client, fresh, endpoints, version):
    found = opened(version)
    metadata = {name: len(fresh(name)) for name in FACTORS}
    with propagate_pools():
        result = (found["ecmwf"].t + found["eumetsat"].t).mean("x").compute()
    xr.testing.assert_allclose(result, expected(lambda a, b: (a.t + b.t).mean("x")))
    for name, endpoint in endpoints.items():
        # Each chunk once, with the key of the pool: the other server refuses it.
        asked = fresh(name)[metadata[name] :]
        got = collections.Counter(a.path for a in asked if a.method == "GET" and a.status == 200)
        assert set(got.values()) == {1}
        assert len(got) == CHUNKS
        assert {(a.key, a.status) for a in asked} == {(endpoint.key, 200)}


def test_netcdf_is_read_with_h5netcdf(client, netcdf, fresh):
    found = [dask_pools.open_dataset(NETCDF, engine="h5netcdf", pool=name) for name in FACTORS]
    with propagate_pools():
        result = (found[0].t * found[1].t).sum().compute()
    assert result == expected(lambda a, b: float((a.t * b.t).sum()))
    for name, endpoint in zip(FACTORS, (fresh("ecmwf"), fresh("eumetsat")), strict=True):
        assert {asked.path for asked in endpoint} == {f"/{BUCKET}/field.nc"}, name


def test_files_that_match_are_listed_and_opened_in_the_pool(client, netcdf):
    pattern = f"s3://{BUCKET}/fie*.nc"
    found = dask_pools.open_mfdataset(pattern, engine="h5netcdf", pool="ecmwf")
    with propagate_pools():
        assert found.t.sum().compute() == field(1.0).t.sum()


def test_tree_is_opened_in_the_pool(client):
    tree = dask_pools.open_datatree(ZARR[3], engine="zarr", pool="eumetsat")
    with propagate_pools():
        assert tree["t"].sum().compute() == field(10.0).t.sum()


def test_parquet_is_read_and_written_by_fsspec(client):
    """What is neither of xarray nor of zarr: any reader that takes options of fsspec."""
    pytest.importorskip("pyarrow")

    def in_pool():
        import dask.dataframe as dd
        import pandas as pd

        from dask_pools.data.storage.target import open_target

        url, options = open_target(f"s3://{BUCKET}/table.parquet")
        pd.DataFrame({"a": [1, 2]}).to_parquet(url, storage_options=options)
        read = pd.read_parquet(url, storage_options=options)
        lazy = dd.read_parquet(url, storage_options=options)
        return int(read.a.sum()), int(lazy.a.sum().compute(scheduler="synchronous"))

    assert submitted(client, "ecmwf", in_pool) == (3, 3)


# Writing


def test_result_is_written_at_home(client, endpoints, fresh):
    found = opened(3)
    url = f"s3://{BUCKET}/result.zarr"
    with propagate_pools():
        mean = (found["ecmwf"] + found["eumetsat"]).mean("y")
        dask_pools.to_zarr(mean, url, pool="eumetsat", consolidated=False)
    options = endpoints["eumetsat"].options
    with xr.open_zarr(url, storage_options=options, consolidated=False) as written:
        xr.testing.assert_allclose(written, expected(lambda a, b: (a + b).mean("y")))
    assert [asked for asked in fresh("ecmwf") if "result" in asked.path] == []
    assert any(asked.method == "PUT" for asked in fresh("eumetsat"))


# Elsewhere


def test_client_is_told_where_the_credentials_live(client):
    found = opened(3)["ecmwf"]
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(CredentialsError, match="was opened in pool 'ecmwf'"),
    ):
        found.t.sum().compute()


def test_other_pool_is_told_where_the_credentials_live(client, fresh, hidden):
    """It has credentials for the same URL, where something else is: it must not read that."""
    found = opened(3)["ecmwf"]
    before = len(fresh("eumetsat"))
    with pytest.raises(CredentialsError, match="used on a worker of pool 'eumetsat'") as caught:
        submitted(client, "eumetsat", lambda: found.t.compute(scheduler="synchronous"))
    hidden(caught.value)
    assert len(fresh("eumetsat")) == before


def test_secrets_of_the_user_are_not_sent(client, endpoints, hidden):
    options = endpoints["ecmwf"].options
    for call in (
        lambda: dask_pools.open_zarr(ZARR[3], pool="ecmwf", storage_options=options),
        lambda: dask_pools.open_mfdataset([ZARR[3]], pool="ecmwf", storage_options=options),
        lambda: dask_pools.to_zarr(
            field(1.0), f"s3://{BUCKET}/no.zarr", pool="ecmwf", storage_options=options
        ),
    ):
        with pytest.raises(CredentialsError, match="'key', 'secret'") as caught:
            call()
        hidden(caught.value)


def test_options_of_the_user_that_are_no_secrets_are_used(client, fresh):
    """Without concurrency inside of one object, s3fs does not ask for its size first."""
    options = {"max_concurrency": 1}
    found = dask_pools.open_zarr(ZARR[2], pool="ecmwf", storage_options=options)
    metadata = len(fresh("ecmwf"))
    with propagate_pools():
        found.t.sum().compute()
    methods = collections.Counter(asked.method for asked in fresh("ecmwf")[metadata:])
    assert methods == {"GET": CHUNKS}


def test_missing_store_is_told_without_credentials(client, hidden):
    with pytest.raises(FileNotFoundError) as caught:
        dask_pools.open_zarr(f"s3://{BUCKET}/nothing.zarr", pool="ecmwf")
    hidden(caught.value, cloudpickle.dumps(caught.value))


# Nobody else has a credential


def all_of_the_scheduler(dask_scheduler):
    """Pickle all that the scheduler knows of its tasks, and show the rest."""
    tasks = [
        (
            ts.key,
            cloudpickle.dumps(ts.run_spec),
            ts.annotations,
            ts.exception_text,
            ts.traceback_text,
        )
        for ts in dask_scheduler.tasks.values()
    ]
    return len(tasks), repr(
        (
            tasks,
            dask_scheduler.identity(),
            dask_scheduler.get_events(),
            dask_scheduler.get_logs(),
            dask.config.config,
            dict(os.environ),
        )
    ).encode()


def all_of_the_process():
    """Show what a worker's process tells of itself: its environment, and how it was started."""
    import sys
    from pathlib import Path

    return (
        repr((dict(os.environ), sys.argv, dask.config.config)).encode()
        + Path("/proc/self/cmdline").read_bytes()
    )


def test_dataset_on_the_client_has_no_credential(client, hidden):
    for version, url in ZARR.items():
        for found in opened(version).values():
            hidden(pickle.dumps(found), cloudpickle.dumps(found.__dask_graph__()))
            hidden(found, found.attrs, found.encoding, found.t.encoding, found._repr_html_())
            hidden([str(key) for key in found.__dask_graph__()])
            assert found.encoding["source"] == url


def test_scheduler_has_no_credential(client, hidden):
    found = opened(3)
    with propagate_pools():
        kept = (found["ecmwf"].t + found["eumetsat"].t).persist()
        dask.distributed.wait(kept)
        hidden(pickle.dumps(kept.compute()))
    number, shown = client.run_on_scheduler(all_of_the_scheduler)
    assert number >= CHUNKS
    hidden(shown)


def test_dumps_and_reprs_of_the_cluster_have_no_credential(client, cluster, hidden, tmp_path):
    hidden(cluster, cluster.worker_spec, cluster.workers, cluster.scheduler_info, cluster.topology)
    hidden(cluster._repr_html_(), client.scheduler_info(n_workers=-1), client.get_versions())
    client.dump_cluster_state(str(tmp_path / "state"), exclude=(), format="yaml")
    dumped = (tmp_path / "state.yaml").read_bytes()
    assert b"dask_pools" in dumped
    hidden(dumped)
    hidden(client.get_worker_logs(), client.get_worker_logs(nanny=True), client.get_events())
    hidden(client.call_stack(), client.profile())


def test_processes_show_no_credential(client, hidden):
    """Not even those of the pool itself: its options are neither environment nor configuration."""
    shown = client.run(all_of_the_process)
    assert len(shown) == len(FACTORS)
    hidden(*shown.values())


def test_other_pool_cannot_find_a_credential(client, endpoints, hidden):
    def options():
        from dask_pools.data.storage.here import own_options

        return [own_options().of(f"s3://{BUCKET}/x")[1]["endpoint_url"], repr(own_options())]

    for name, endpoint in endpoints.items():
        url, shown = submitted(client, name, options)
        assert url == endpoint.url
        hidden(shown)


def test_logs_have_no_credential(client, logged, hidden):
    hidden(logged.getvalue().encode())
    assert "ecmwf-0" in logged.getvalue()
