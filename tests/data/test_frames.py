"""Data frames of two pools on a cluster in which each pool sees its own files only."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections import Counter
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from dask.sizeof import sizeof
from distributed import Client, SchedulerPlugin

from dask_pools import (
    LocalPoolCluster,
    LocationError,
    UnknownPoolError,
    get_pool,
    link_bytes,
    pool,
    propagate_pools,
    read_csv,
    read_parquet,
    set_locations,
    to_parquet,
)
from dask_pools.deploy import namespaces
from dask_pools.errors import CredentialsError
from dask_pools.scheduler.telemetry import crossings

dd = pytest.importorskip("dask.dataframe")
frames = pytest.importorskip("tests.frames")

pytestmark = [
    # Dask's own use of pandas 3.1, here and where frames and arrays are computed together.
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Computing mixed collections"),
    pytest.mark.filterwarnings("ignore:Concatenating dataframes with unknown divisions"),
]

FRAME_A, FRAME_B = frames.table(0), frames.table(1)
#: Every way, but not all with all.
every_way = pytest.mark.parametrize(("engine", "switch"), [("fsspec", True), ("arrow", False)])
both_engines = pytest.mark.parametrize("engine", ["fsspec", "arrow"])
switched = pytest.mark.parametrize("switch", [False, True], ids=["as they arrive", "propagated"])


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    root = tmp_path_factory.mktemp("sites")
    return {name: str(frames.write(root / name, i)) for i, name in enumerate("ab")}


class Homes(SchedulerPlugin):
    """Keeps the tasks that ran outside of the pools to which they were bound."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.abroad = []
        self.bound = 0

    def transition(self, key, start, finish, *_, **more):
        if (start, finish) == ("processing", "memory"):
            ts, ws = self.scheduler.tasks[key], self.scheduler.workers[more["worker"]]
            pin = (ts.annotations or {}).get("pool")
            self.bound += bool(pin)
            if pin and not any(f"pool-{name}" in ws.resources for name in pin):
                self.abroad.append(key)


@pytest.fixture(scope="module")
def cluster(sites):
    with dask.config.set({"distributed.admin.low-level-log-length": 1_000_000}):
        cluster = LocalPoolCluster({"a": 2, "b": 1}, data=sites, dashboard_address=None)
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def connected(cluster):
    with cluster.get_client() as client:
        yield client


@pytest.fixture
def client(cluster, connected):
    """The client; all that is pinned has to run at home."""
    homes = Homes(cluster.scheduler)
    cluster.scheduler.add_plugin(homes, name="homes")
    yield connected
    cluster.scheduler.remove_plugin("homes")
    assert not homes.abroad


def read(sites, name, engine="fsspec"):
    with pool(name):
        return dd.read_parquet(f"{sites[name]}/plain", filesystem=engine)


def compute(x, *, switch):
    if not switch:
        return x.compute()
    with propagate_pools():
        return x.compute()


def same(found, wanted):
    by = list(wanted.columns)
    found, wanted = (x.sort_values(by, ignore_index=True) for x in (found, wanted))
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)


def means(x):
    return x.groupby("station").t.mean().reset_index()


def joined(x, y):
    return x.merge(y, on="station", suffixes=("", "_2"))[["t", "t_2"]]


COMPUTATIONS = {
    "groupby": lambda dd, x, y: means(dd.concat([x, y])),
    "filter": lambda dd, x, y: dd.concat([x[x.t > 0.9], y[y.t > 0.9]])[["t", "name"]],
    "merge with a small frame": lambda dd, x, y: joined(x, means(y)),
    "merge": lambda dd, x, y: joined(x, y),
    "side by side": lambda dd, x, y: dd.concat(
        [x[["t"]], y[["wind"]]],
        axis=1,
        **({"ignore_unknown_divisions": True} if dd is not pd else {}),
    ),
}


@every_way
@pytest.mark.parametrize("name", COMPUTATIONS)
def test_results_are_those_of_pandas_and_tasks_stay_at_home(client, sites, engine, switch, name):
    run = COMPUTATIONS[name]
    x, y = read(sites, "a", engine), read(sites, "b", engine)
    found = compute(run(dd, x, y), switch=switch)
    same(found, run(pd, FRAME_A, FRAME_B))


@pytest.mark.parametrize("method", ["tasks", "p2p"])
def test_shuffles_inside_one_pool_stay_there(client, sites, method):
    before = sum(link_bytes(client).values())
    x = read(sites, "a")
    with dask.config.set({"dataframe.shuffle.method": method}):
        found = x.shuffle("station").map_partitions(means_of_a_partition).compute()
        assert len(x.merge(means(x), on="station").compute()) == frames.ROWS
    same(found, FRAME_A.groupby("station", as_index=False).t.mean())
    assert sum(link_bytes(client).values()) == before


def means_of_a_partition(part):
    return part.groupby("station", as_index=False).t.mean()


@switched
def test_only_aggregated_chunks_cross(client, sites, switch):
    before = sum(link_bytes(client).values())
    x, y = read(sites, "a"), read(sites, "b")
    found = compute(dd.concat([x, y]).wind.sum(), switch=switch)
    assert found == pytest.approx(FRAME_A.wind.sum() + FRAME_B.wind.sum())
    assert sum(link_bytes(client).values()) - before < 1000


@switched
def test_frame_of_another_pool_crosses_once(client, sites, switch):
    """All partitions are joined with it, on two workers."""
    before = Counter(crossings(client))
    x, y = read(sites, "a"), means(read(sites, "b"))
    found = compute(joined(x, y), switch=switch)
    same(found, joined(FRAME_A, means(FRAME_B)))
    crossed = Counter(crossings(client)) - before
    assert set(crossed.values()) == {1}, crossed
    assert all(crossing.nbytes < sizeof(FRAME_B) / 2 for crossing in crossed), crossed


@switched
def test_computed_together_with_an_array(client, sites, switch):
    x, y = read(sites, "a"), read(sites, "b")
    with pool("b"):
        array = da.ones(8, chunks=2)
    with propagate_pools() if switch else warnings.catch_warnings():
        # Dask 2026.8 mixes up the results of kinds that take turns.
        found = dask.compute(x.t.sum(), y.wind.max(), array.sum(), x.to_dask_array()[:, 1].max())
    assert found == pytest.approx((FRAME_A.t.sum(), FRAME_B.wind.max(), 8, FRAME_A.t.max()))


@switched
def test_persisted_frame_stays_at_home(client, sites, switch):
    x = read(sites, "a")
    with propagate_pools() if switch else warnings.catch_warnings():
        kept = x[x.t > 0.5].persist()
        total = (kept.t.sum() + read(sites, "b").t.sum()).compute()
    assert total == pytest.approx(FRAME_A.t[FRAME_A.t > 0.5].sum() + FRAME_B.t.sum())


@both_engines
def test_length_is_read_from_footers_in_the_pool(client, sites, engine):
    assert len(read(sites, "a", engine)) == frames.ROWS


def test_unknown_pool_is_refused(client, sites):
    with pool("c"):
        x = dd.read_parquet(f"{sites['a']}/plain")
    with pytest.raises(UnknownPoolError, match="'c'"):
        x.t.sum().compute()


# ---- read and written in the pool


@both_engines
def test_frame_is_read_by_its_pool(client, sites, engine):
    x = read_parquet(f"{sites['a']}/plain", pool="a", filesystem=engine)
    assert get_pool(x) == "a"
    same(x[x.t > 0.5][["t", "name"]].compute(), FRAME_A[FRAME_A.t > 0.5][["t", "name"]])
    assert len(x) == frames.ROWS


def test_csv_is_read_by_its_pool(client, sites):
    x = read_csv(f"{sites['b']}/part-*.csv", pool="b")
    assert get_pool(x) == "b"
    assert x.t.sum().compute() == pytest.approx(FRAME_B.t.sum())


def test_pool_follows_from_the_location(client, sites):
    with set_locations({sites["a"]: "a", sites["b"]: "b"}):
        assert get_pool(read_parquet(f"{sites['b']}/plain")) == "b"
        with pytest.raises(LocationError, match=r"'a'.*'b'.*dask\.dataframe\.concat"):
            read_parquet([f"{sites['a']}/plain", f"{sites['b']}/plain"])


def test_without_a_pool_it_is_read_here(client, sites):
    x = read_parquet(f"{sites['a']}/plain")
    assert get_pool(x) is None
    assert x.npartitions == frames.PARTS


@both_engines
def test_missing_files_are_told_with_path_and_pool(client, sites, engine):
    with pytest.raises(FileNotFoundError, match=r"b/none.*\(in pool 'b'\)"):
        read_parquet(f"{sites['b']}/none", pool="b", filesystem=engine)


def test_secrets_are_refused(client):
    with pytest.raises(CredentialsError, match="'secret'"):
        read_parquet("s3://bucket/x", pool="a", storage_options={"secret": "…"})


@both_engines
def test_frame_is_written_by_the_pool(client, sites, engine):
    x = read(sites, "a", engine)
    path = f"{sites['b']}/written-{engine}"
    before = sum(link_bytes(client).values())
    to_parquet(x[["station", "t"]], path, pool="b", filesystem=engine)
    # What is written, each partition with its names of columns and index.
    crossed = sum(link_bytes(client).values()) - before
    assert crossed < FRAME_A[["station", "t"]].memory_usage().sum() + frames.PARTS * 3000
    again = read_parquet(path, pool="b", filesystem=engine)
    same(again.compute(), FRAME_A[["station", "t"]])
    to_parquet(x[["station", "t"]], path, pool="b", append=True)
    assert len(read_parquet(path, pool="b", filesystem=engine)) == 2 * frames.ROWS
    with pytest.raises(ValueError, match="overwrite=True would delete"):
        to_parquet(again, path, pool="b", overwrite=True)
    lazy = to_parquet(x[["t"]], path, pool="b", overwrite=True, compute=False)
    lazy.compute()
    assert len(read_parquet(path, pool="b", filesystem=engine)) == frames.ROWS


@pytest.mark.parametrize("write", ["to_parquet", "to_csv"])
def test_dasks_own_writes_inside_a_pool_are_made_there(client, sites, write):
    x = read(sites, "a")[["t"]]
    path = f"{sites['b']}/own-{write}"
    with pool("b"):
        getattr(x, write)(path)
    ending = "/*.part" if write == "to_csv" else ""
    reader = read_csv if write == "to_csv" else read_parquet
    assert len(reader(path + ending, pool="b").compute()) == frames.ROWS


# ---- nobody but the pool sees the files


def bind(source, target):
    """Show a directory at another path, in the mount namespace of a worker."""
    import ctypes

    namespaces._mount(ctypes.CDLL(None, use_errno=True), source, target, namespaces._MS_BIND)


@pytest.fixture
def elsewhere(cluster, client, sites, tmp_path):
    """A directory which is empty for all but the workers of pool a."""
    if namespaces.why_unavailable() is not None:
        pytest.skip("only the kernel can show a file to one process and not to another")
    workers = [ws.address for ws in cluster.scheduler.workers.values() if "pool-a" in ws.resources]
    client.run(bind, sites["a"], str(tmp_path), workers=workers)
    assert not any(tmp_path.iterdir())
    return str(tmp_path)


STEPS = {
    "columns": lambda x: x[["t"]],
    "filter": lambda x: x[x.t > 0.5],
    "mean": means,
    "shuffle": lambda x: x.shuffle("station", shuffle_method="tasks")[["t"]],
    "parts": lambda x: x.partitions[1:3],
}


@every_way
def test_client_and_scheduler_need_not_see_the_files(client, elsewhere, engine, switch):
    x = read_parquet(f"{elsewhere}/plain", pool="a", filesystem=engine)
    for step in STEPS.values():
        assert len(compute(step(x), switch=switch))
    assert len(x) == frames.ROWS
    kept = read_parquet(
        f"{elsewhere}/sorted",
        pool="a",
        filesystem=engine,
        index="station",
        calculate_divisions=True,
    )
    assert kept.known_divisions
    found = compute(kept.loc[3:5].t.sum(), switch=switch)
    assert found == pytest.approx(FRAME_A.t[FRAME_A.station.between(3, 5)].sum())


def test_csv_that_nobody_else_sees(client, elsewhere):
    x = read_csv(f"{elsewhere}/part-*.csv", pool="a")
    assert x.t.sum().compute() == pytest.approx(FRAME_A.t.sum())


def test_write_where_nobody_else_sees_it(client, elsewhere, sites):
    to_parquet(read(sites, "b")[["t"]], f"{elsewhere}/there", pool="a")
    assert not any(Path(elsewhere).iterdir())
    assert len(read_parquet(f"{sites['a']}/there", pool="a").compute()) == frames.ROWS


def test_this_process_opens_nothing(client, sites, monkeypatch):
    opened = []

    def audit(event, arguments):
        if event in {"open", "os.listdir", "os.scandir"} and opened is not None:
            path = str(arguments[0])
            if path.startswith(tuple(sites.values())):
                opened.append(path)

    sys.addaudithook(audit)
    x = read_parquet(f"{sites['a']}/plain", pool="a")
    assert len(x[x.t > 0.5].compute())
    assert len(x) == frames.ROWS
    assert x.groupby("station").t.mean().compute().size
    assert not opened


# ---- asynchronous clients


def test_asynchronous_client(client, sites):
    async def run():
        async with Client(client.scheduler.address, asynchronous=True) as mine:
            x = await read_parquet(f"{sites['a']}/plain", pool="a")
            total = await mine.compute(x.t.sum())
            await to_parquet(x[["t"]], f"{sites['b']}/asynchronous", pool="b")
            y = await read_parquet(f"{sites['b']}/asynchronous", pool="b")
            return total, await mine.compute(y.t.sum())

    assert asyncio.run(run()) == pytest.approx((FRAME_A.t.sum(), FRAME_A.t.sum()))


def test_without_a_cluster_it_is_dask(tmp_path):
    frames.write(tmp_path / "a", 0)
    with dask.config.set(scheduler="synchronous"):
        x = read_parquet(str(tmp_path / "a" / "plain"), pool="a")
        assert get_pool(x) == "a"
        to_parquet(x[["t"]], str(tmp_path / "b"), pool="b")
        same(read_parquet(str(tmp_path / "b"), pool="b").compute(), FRAME_A[["t"]])
        assert np.isclose(x.t.sum().compute(), FRAME_A.t.sum())
