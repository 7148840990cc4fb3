"""`to_zarr` on pools whose data nobody else sees: who writes, what crosses, and what fails."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client, Event, KilledWorker
from distributed.utils_test import async_poll_for

from dask_pools import (
    LocalPoolCluster,
    UnknownPoolError,
    WrongPoolError,
    link_bytes,
    plan,
    pool,
    propagate_pools,
    to_zarr,
)
from dask_pools.data import store as module
from dask_pools.data.writing import home
from dask_pools.model import Link
from tests.data.datasets import contents

pytestmark = [
    pytest.mark.filterwarnings("ignore:Consolidated metadata"),
    pytest.mark.filterwarnings("ignore:Failed to open Zarr store with consolidated"),
]

#: Seconds for what takes a moment.
PATIENCE = 60


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directories = {name: tmp_path_factory.mktemp(name) for name in ("a", "b")}
    return {name: directory.resolve() for name, directory in directories.items()}


@pytest.fixture(scope="module")
def cluster(sites: dict[str, Path]) -> Iterator[LocalPoolCluster]:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalPoolCluster({"a": 2, "b": 1}, data=sites, dashboard_address=None) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster: LocalPoolCluster) -> Iterator[Client]:
    with cluster.get_client() as client:
        client.wait_for_workers(3)
        yield client


@pytest.fixture
def at_a(sites: dict[str, Path], tmp_path: Path) -> Path:
    return sites["a"] / f"{tmp_path.name}.zarr"


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which is the client's and the scheduler's, no store can be opened."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"opened in the client's process: {args}")

    monkeypatch.setattr(home, "LocalStore", refuse)
    monkeypatch.setattr(home, "FsspecStore", refuse)


def ensemble() -> xr.Dataset:
    """Ten members of 80 kB in pool b."""
    with pool("b"):
        members = da.random.default_rng(0).random((10, 100, 100), chunks=(1, 100, 100))
    return xr.Dataset({"t": (("member", "y", "x"), members)})


def field(seed: int = 0, first: int = 0) -> xr.Dataset:
    values = np.random.default_rng(seed).random((10, 6))
    time = np.arange(first, first + 10)
    return xr.Dataset({"t": (("time", "x"), values)}, {"time": time}).chunk(time=5, x=3)


def bytes_between(client: Client, before: dict[Link, int]) -> dict[Link, int]:
    crossed = {link: n - before.get(link, 0) for link, n in link_bytes(client).items()}
    return {link: n for link, n in crossed.items() if n}


def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note each round trip before the graph."""
    made: list[Any] = []
    real = module.run_in_pool

    def counted(function: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(function)
        return real(function, *args, **kwargs)

    monkeypatch.setattr(module, "run_in_pool", counted)
    return made


def test_written_by_the_pool_and_the_same_as_by_xarray(client, at_a, blind, tmp_path, sites):
    written = [to_zarr(field(), at_a, pool="a")]
    written.append(to_zarr(field(1, 10), at_a, pool="a", append_dim="time"))
    part = field(2, 5).isel(time=slice(5))
    written.append(to_zarr(part, at_a, pool="a", region="auto"))
    assert written == [None] * 3
    field().to_zarr(tmp_path / "x.zarr")
    field(1, 10).to_zarr(tmp_path / "x.zarr", append_dim="time")
    part.to_zarr(tmp_path / "x.zarr", region="auto")
    assert contents(at_a) == contents(tmp_path / "x.zarr")
    assert contents(sites["b"]) == {}


def test_only_the_reduced_result_crosses_and_the_plan_says_so(client, at_a, blind):
    mean = ensemble().mean("member")
    with propagate_pools():
        before = link_bytes(client)
        lazy = to_zarr(mean, at_a, pool="a", compute=False)
        described = plan(lazy).describe()
        lazy.compute()
        crossed = bytes_between(client, before)
    assert described.startswith("b -> a: 80 kB in 1 transfer")
    assert crossed == {Link("b", "a"): 80_000}
    np.testing.assert_allclose(client.submit(read, at_a, resources={"pool-a": 0}).result(), mean.t)


def read(path: Path) -> Any:
    return load(path).t.values


def load(path: Path) -> xr.Dataset:
    """Read a store in this process; by tasks, it would be read where it is not."""
    return xr.open_zarr(path, chunks=None).load()


def test_packed_values_are_packed_before_they_cross(client, at_a, blind):
    mean = ensemble().mean("member")
    mean.t.encoding = {"dtype": "int16", "scale_factor": 0.001, "_FillValue": -1}
    with propagate_pools():
        before = link_bytes(client)
        to_zarr(mean, at_a, pool="a")
        assert bytes_between(client, before) == {Link("b", "a"): 20_000}


def test_value_that_several_arrays_need_crosses_once(client, at_a, blind):
    mean = ensemble().mean("member")
    with propagate_pools():
        before = link_bytes(client)
        to_zarr(mean.assign(u=mean.t), at_a, pool="a")
        assert bytes_between(client, before) == {Link("b", "a"): 80_000}


def test_round_trips_do_not_grow_with_the_variables(client, at_a, blind, monkeypatch):
    made = calls(monkeypatch)
    many = xr.Dataset({f"v{i}": ("x", np.arange(5.0)) for i in range(30)})
    for i, arguments in enumerate([{}, {"mode": "a"}, {"append_dim": "x"}, {"mode": "w"}]):
        made.clear()
        to_zarr(many, at_a, pool="a", **arguments)
        assert len(made) == (2 if i == 3 else 1)


def test_without_propagation_it_is_written_at_home_as_well(client, at_a, blind):
    to_zarr(ensemble().mean("member"), at_a, pool="a")
    assert client.submit(read, at_a, resources={"pool-a": 0}).result().shape == (100, 100)


def test_asynchronous_client(cluster, at_a, blind):
    async def main() -> None:
        address = cluster.scheduler_address
        async with Client(address, asynchronous=True) as client:
            assert await to_zarr(field(), at_a, pool="a") is None
            lazy = await to_zarr(field(1, 10), at_a, pool="a", append_dim="time", compute=False)
            await client.compute(lazy)
            with pytest.raises(FileExistsError):
                await to_zarr(field(), at_a, pool="a")
            failing = field().map(lambda x: x / 0 if x.size else x)
            failing["t"] = failing.t.copy(data=failing.t.data.map_blocks(fail, dtype="f8"))
            with pytest.raises(ZeroDivisionError):
                await to_zarr(failing, at_a, pool="a", append_dim="time")

    asyncio.run(main())
    assert xr.open_zarr(at_a).sizes["time"] == 20


# Errors


def fail(x: Any, block_id: Any = None) -> Any:
    if block_id == (1, 0):
        raise ZeroDivisionError("in the middle")
    return x


def killing(x: Any, mark: Path, block_id: Any = None) -> Any:
    """End this process; only once, if there is a mark to make."""
    if block_id == (1, 0) and not (mark.name and mark.exists()):
        if mark.name:
            mark.touch()
        os._exit(1)
    return x


def waiting(x: Any, block_id: Any = None) -> Any:
    """Say that the first block is reached, and wait for leave to go on."""
    if block_id == (1, 0):
        Event("reached").set()
        Event("leave").wait(PATIENCE)
    return x


def through(ds: xr.Dataset, function: Any, **kwargs: Any) -> xr.Dataset:
    return ds.assign(t=(ds.t.dims, ds.t.data.map_blocks(function, **kwargs, dtype="f8")))


def opens(path: Path) -> bool:
    try:
        xr.open_zarr(path, consolidated=False)
    except FileNotFoundError:
        return False
    return True


def test_errors_of_a_worker_arrive_as_they_are_and_name_the_pool(client, sites, blind):
    (sites["a"] / "file").write_text("no directory")
    with pytest.raises(NotADirectoryError) as raised:
        to_zarr(field(), sites["a"] / "file" / "x.zarr", pool="a")
    assert "pool 'a'" in "".join(raised.value.__notes__)


def test_pool_without_workers_is_an_error_at_once(client, at_a, blind):
    with pytest.raises(UnknownPoolError, match="'aa'"):
        to_zarr(field(), at_a, pool="aa")


def test_error_in_the_middle_leaves_nothing_that_opens(client, at_a):
    with pytest.raises(ZeroDivisionError):
        to_zarr(through(field(), fail), at_a, pool="a")
    assert not opens(at_a)
    to_zarr(field(), at_a, pool="a", mode="w")
    before = contents(at_a)
    with pytest.raises(ZeroDivisionError):
        to_zarr(through(field(), fail), at_a, pool="a", append_dim="time")
    after = contents(at_a)
    assert {key: after[key] for key in before} == before
    with pytest.raises(ZeroDivisionError):
        to_zarr(through(field(), fail), at_a, pool="a", mode="w")
    assert not opens(at_a)


def test_worker_lost_in_the_middle_is_made_up_for(client, at_a, tmp_path):
    to_zarr(through(field(), killing, mark=tmp_path / "mark"), at_a, pool="a")
    assert (tmp_path / "mark").exists()
    field().to_zarr(tmp_path / "x.zarr")
    assert contents(at_a) == contents(tmp_path / "x.zarr")


@pytest.mark.slow  # two processes are lost, and started again
def test_workers_lost_again_and_again_leave_the_store_as_it_was(client, at_a):
    to_zarr(field(), at_a, pool="a")
    with pytest.raises(KilledWorker):
        to_zarr(through(field(1, 10), killing, mark=Path()), at_a, pool="a", append_dim="time")
    xr.testing.assert_equal(load(at_a), field().load())


def test_write_that_is_cancelled_leaves_nothing_that_opens(cluster, client, at_a):
    reached, leave = Event("reached"), Event("leave")
    lazy = to_zarr(through(field(), waiting), at_a, pool="a", compute=False)
    future = client.compute(lazy)
    assert reached.wait(PATIENCE)
    future.cancel()
    leave.set()
    client.sync(async_poll_for, lambda: not cluster.scheduler.tasks, timeout=PATIENCE)
    assert not opens(at_a)
    client.sync(reached.clear)
    client.sync(leave.clear)


def test_client_that_dies_leaves_nothing_that_opens(cluster, client, at_a):
    reached, leave = Event("reached"), Event("leave")
    to_zarr(field(), at_a, pool="a")
    with Client(cluster.scheduler_address, set_as_default=False) as other:
        with other.as_current():
            ds = through(field(1, 10), waiting)
            lazy = to_zarr(ds, at_a, pool="a", append_dim="time", compute=False)
        future = other.compute(lazy)
        assert reached.wait(PATIENCE)
    leave.set()
    del future
    client.sync(async_poll_for, lambda: not cluster.scheduler.tasks, timeout=PATIENCE)
    xr.testing.assert_equal(load(at_a), field().load())


def test_step_that_is_run_elsewhere_writes_nothing(client, at_a, sites):
    lazy = to_zarr(field(), at_a, pool="a", compute=False)
    with pytest.raises(WrongPoolError, match="on no worker at all"):
        lazy.compute(scheduler="sync")
    with pytest.raises(WrongPoolError, match="on a worker of pool 'b'"):
        client.get(dict(lazy.dask), lazy.key, resources={"pool-b": 0})
    assert not at_a.exists()
