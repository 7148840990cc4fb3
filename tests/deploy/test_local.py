"""The local cluster of pools, with real workers."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client, Event, get_worker
from distributed.utils_test import async_poll_for

from dask_pools.deploy import local, namespaces
from dask_pools.deploy.local import LocalPoolCluster
from dask_pools.errors import UnknownPoolError
from dask_pools.model import Pool
from dask_pools.scheduler.loss.loss import EXPECT_POOLS
from tests.deploy.readers import (
    READERS,
    Reader,
    is_missing,
    read_netcdf,
    read_text,
    read_zarr,
    write,
)

needs_namespaces = pytest.mark.skipif(
    namespaces.why_unavailable() is not None, reason=str(namespaces.why_unavailable())
)


def run_in(client, pool, function, *args):
    """Run a task in a pool, now, and return its result."""
    return client.submit(function, *args, resources={f"pool-{pool}": 0}, pure=False).result()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {pool: write(root / pool) for pool in ("ecmwf", "eumetsat")}


@pytest.fixture(
    scope="module", params=["guard", pytest.param("namespaces", marks=needs_namespaces)]
)
def means(request):
    return request.param


@pytest.fixture(scope="module")
def apart(data, means):
    """A client of a cluster with two pools that do not see the other's data."""
    with (
        LocalPoolCluster({"ecmwf": 1, "eumetsat": 1}, data=data, hide=means) as cluster,
        cluster.get_client() as client,
    ):
        yield client


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A client of a cluster of which all sees all; a module was put into the client's path."""
    directory = tmp_path_factory.mktemp("modules")
    (directory / "only_in_the_path_of_the_client.py").write_text("answer = 42")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(directory)
        with (
            LocalPoolCluster(
                {"ecmwf": 2, "eu-west": 1},
                threads_per_worker=2,
                memory_limit="1 GiB",
                resources={"GPU": 1},
                env={"SITE": "here"},
            ) as cluster,
            cluster.get_client() as client,
        ):
            yield client


def listening(process):
    return {
        connection.laddr
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def children():
    """List the processes of this one; Python's own tracker of resources stays to the end."""
    return {
        process
        for process in psutil.Process().children(recursive=True)
        if "resource_tracker" not in " ".join(process.cmdline())
    }


# Workers


def test_workers_are_named_after_their_pools_and_have_their_resources(together):
    workers = together.scheduler_info(n_workers=-1)["workers"].values()
    assert {worker["name"]: worker["resources"] for worker in workers} == {
        "ecmwf-0": {"GPU": 1, "pool-ecmwf": 1},
        "ecmwf-1": {"GPU": 1, "pool-ecmwf": 1},
        "eu-west-0": {"GPU": 1, "pool-eu-west": 1},
    }
    assert {(worker["nthreads"], worker["memory_limit"]) for worker in workers} == {(2, 2**30)}


def test_task_for_a_pool_runs_there(together):
    with dask.annotate(resources={"pool-eu-west": 0}):
        names = [dask.delayed(lambda _: get_worker().name)(i) for i in range(8)]
    with dask.config.set({"optimization.fuse.active": False}):
        assert set(together.gather(together.compute(names))) == {"eu-west-0"}


def test_pool_does_not_limit_how_many_tasks_run_at_once(together):
    def meet(me, other):
        Event(me).set()
        return Event(other).wait(timeout=30)

    resources = {"pool-eu-west": 0}
    one = together.submit(meet, "one", "other", resources=resources)
    other = together.submit(meet, "other", "one", resources=resources)
    assert one.result()
    assert other.result()


def test_workers_are_other_processes_with_the_import_path_of_this_one(together):
    def answer():
        import only_in_the_path_of_the_client

        return only_in_the_path_of_the_client.answer, os.environ["SITE"]

    assert run_in(together, "ecmwf", answer) == (42, "here")
    pids = set(together.run(os.getpid).values())
    assert len(pids) == 3
    assert os.getpid() not in pids


def test_scheduler_has_the_plugin(together):
    assert "dask-pools" in together.cluster.scheduler.plugins


def test_all_listens_on_this_machine_only(together):
    sockets = listening(psutil.Process())
    for pid in together.run(os.getpid).values():
        sockets |= listening(psutil.Process(pid))
    assert len(sockets) >= 4
    assert {socket.ip for socket in sockets} == {"127.0.0.1"}


def test_client_is_of_the_cluster_and_made_once(together):
    assert together.cluster.get_client() is together


def test_representations_name_the_pools(together):
    cluster = together.cluster
    assert repr(cluster).endswith(", pools={'ecmwf': 2, 'eu-west': 1})")
    assert "<strong>Pools:</strong> ecmwf (2), eu-west (1)" in cluster._repr_html_()


def test_topology_counts_workers_and_threads(together):
    assert together.cluster.topology.pools == (Pool("ecmwf", 2, 4), Pool("eu-west", 1, 2))


# Hidden data


@pytest.mark.parametrize("reader", READERS)
def test_pool_reads_its_own_data(apart, data, reader):
    for pool, directory in data.items():
        assert run_in(apart, pool, reader, directory) == reader(directory)


@pytest.mark.parametrize("reader", READERS)
def test_pool_does_not_find_the_data_of_another(apart, data, means, reader):
    if means == "guard" and reader is read_netcdf:
        pytest.skip("opened in C, see below")
    assert run_in(apart, "ecmwf", is_missing, reader, data["eumetsat"])
    assert run_in(apart, "eumetsat", is_missing, reader, data["ecmwf"])


def test_error_names_the_missing_path(apart, data):
    path = str(Path(data["eumetsat"], "field.txt"))
    with pytest.raises(FileNotFoundError, match=re.escape(f"No such file or directory: {path!r}")):
        run_in(apart, "ecmwf", read_text, data["eumetsat"])


def test_guard_does_not_cover_files_opened_in_c(apart, data, means):
    """A documented limit; once it is overcome, the documentation has to change."""
    if means == "namespaces":
        pytest.skip("of the guard only")
    assert run_in(apart, "ecmwf", read_netcdf, data["eumetsat"]) == 1


def test_directory_of_another_pool_has_nothing_to_list(apart, data, means):
    if means == "namespaces":
        assert run_in(apart, "ecmwf", os.listdir, data["eumetsat"]) == []
    else:
        with pytest.raises(FileNotFoundError, match=re.escape(data["eumetsat"])):
            run_in(apart, "ecmwf", os.listdir, data["eumetsat"])


def test_client_sees_all_data(apart, data):
    assert {read_text(directory) for directory in data.values()} == {"field"}


def test_worker_that_was_killed_comes_back_without_seeing_more(apart, data):
    pid = run_in(apart, "eumetsat", os.getpid)
    os.kill(pid, signal.SIGKILL)
    assert run_in(apart, "eumetsat", os.getpid) != pid
    assert run_in(apart, "eumetsat", read_text, data["eumetsat"]) == "field"
    with pytest.raises(FileNotFoundError):
        run_in(apart, "eumetsat", read_text, data["ecmwf"])


def test_every_thread_that_runs_tasks_is_covered(apart, data, means):
    """Only threads made after the namespace are in it."""

    def namespaces_of_threads():
        return {
            thread.name: Path(f"/proc/self/task/{thread.native_id}/ns/mnt").readlink().name
            for thread in threading.enumerate()
        }

    where = {"resources": {"pool-ecmwf": 0}, "pure": False}
    actor = apart.submit(Reader, actor=True, **where).result()
    with pytest.raises(FileNotFoundError):
        actor.read(data["eumetsat"]).result()
    with dask.annotate(executor="offload"), pytest.raises(FileNotFoundError):
        apart.submit(read_text, data["eumetsat"], **where).result()
    run_in(apart, "ecmwf", read_zarr, data["ecmwf"])  # starts zarr's own threads

    if means == "namespaces":
        mounts = run_in(apart, "ecmwf", namespaces_of_threads)
        ours = mounts.pop("MainThread")
        kinds = "Default-Threads", "Actor-Threads", "Offload", "zarr"
        assert all(any(kind in name for name in mounts) for kind in kinds), mounts
        # This one waits for the parent to end, and does nothing else.
        assert [name for name in mounts if mounts[name] != ours] == ["Thread-1 (monitor_parent)"]
        assert ours != Path("/proc/self/ns/mnt").readlink().name


@needs_namespaces
def test_worker_that_cannot_hide_data_does_not_start(tmp_path, monkeypatch):
    directory = tmp_path / "gone"
    directory.mkdir()

    def remove(_):
        directory.rmdir()
        return "namespaces"

    monkeypatch.setattr(local, "choose_means", remove)
    before = children()
    with pytest.raises(RuntimeError, match="failed to start") as failure:
        LocalPoolCluster({"a": 1, "b": 1}, data={"a": directory}, silence_logs=logging.CRITICAL)
    assert str(failure.value.__cause__).startswith("[Errno 2] mount: No such file or directory")
    assert children() == before


# Scaling, closing, failing


def test_pools_are_scaled_apart_and_new_workers_do_not_see_more(data):
    with (
        LocalPoolCluster({"ecmwf": 1, "eumetsat": 1}, data=data) as cluster,
        cluster.get_client() as client,
    ):
        cluster.scale(eumetsat=2)
        client.wait_for_workers(3)
        assert [pool.workers for pool in cluster.topology.pools] == [1, 2]

        new = client.submit(read_text, data["ecmwf"], workers="eumetsat-1")
        with pytest.raises(FileNotFoundError):
            new.result()

        cluster.scale({"ecmwf": 1, "eumetsat": 1})
        assert set(cluster.worker_spec) == {"ecmwf-0", "eumetsat-0"}

        for n in (3, True):
            with pytest.raises(
                TypeError, match=r"which pool to scale. Give .* scale\({'ecmwf': 2}\)"
            ):
                cluster.scale(n)
        with pytest.raises(TypeError, match=r"scale\(\) does not say"):
            cluster.scale()
        with pytest.raises(UnknownPoolError, match="no pool 'cineca' to scale"):
            cluster.scale(cineca=1)
        with pytest.raises(NotImplementedError, match="a mapping of pools to numbers"):
            cluster.adapt(maximum=4)
        assert set(cluster.worker_spec) == {"ecmwf-0", "eumetsat-0"}


def test_pool_that_was_emptied_on_purpose_is_waited_for():
    async def run():
        with dask.config.set({"dask_pools.pool-timeout": "50 ms"}):
            async with (
                LocalPoolCluster({"ecmwf": 1, "eumetsat": 1}, asynchronous=True) as cluster,
                Client(cluster, asynchronous=True) as client,
            ):
                loss = cluster.scheduler.handlers[EXPECT_POOLS].__self__
                cluster.scale(ecmwf=0)
                await cluster
                assert loss.awaited() == {"ecmwf"}
                assert not loss._absent, "a pool that is emptied on purpose has no time limit"
                name = client.submit(lambda: get_worker().name, resources={"pool-ecmwf": 0})
                await async_poll_for(
                    lambda: cluster.scheduler.unrunnable or cluster.scheduler.queued, timeout=10
                )
                cluster.scale(ecmwf=1)
                assert await name == "ecmwf-0"
                assert loss.awaited() == set()

    asyncio.run(run())


def test_asynchronous_cluster():
    async def use() -> int:
        async with (
            LocalPoolCluster({"ecmwf": 1}, asynchronous=True, dashboard_address=None) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            await cluster.scale(ecmwf=0)
            await cluster
            assert not cluster.workers
            await cluster.scale(ecmwf=1)
            return await client.submit(sum, [1, 2, 3], resources={"pool-ecmwf": 0})

    assert asyncio.run(use()) == 6


def test_closed_cluster_leaves_nothing_behind():
    processes, sockets = children(), listening(psutil.Process())
    with LocalPoolCluster({"ecmwf": 1, "eumetsat": 1}) as cluster, cluster.get_client() as client:
        pids = client.run(os.getpid).values()
        assert len(children() - processes) == len(pids) == 2
        assert listening(psutil.Process()) > sockets
    assert children() == processes
    assert listening(psutil.Process()) == sockets


def test_plugin_that_cannot_be_installed_is_an_error_and_nothing_stays(monkeypatch):
    def fail(scheduler):
        raise ValueError("no room for a plugin")

    monkeypatch.setattr(local, "install", fail)
    processes, sockets = children(), listening(psutil.Process())
    with pytest.raises(RuntimeError, match="Scheduler failed to start"):
        LocalPoolCluster({"ecmwf": 1}, silence_logs=logging.CRITICAL)
    assert children() == processes
    assert listening(psutil.Process()) == sockets


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pools": {"ecmwf": 0}}, ValueError, "at least 1"),
        ({"data": {"cineca": "."}}, UnknownPoolError, "'cineca', which is not a pool"),
        ({"hide": "always"}, ValueError, "hide='always' is not a way"),
        ({"threads_per_worker": 0}, ValueError, "threads_per_worker is 0"),
        ({"dashboard_address": "0.0.0.0:8787"}, ValueError, "listens on 127.0.0.1 only"),
        ({"n_workers": 2}, TypeError, "no option 'n_workers'"),
    ],
)
def test_bad_argument_is_an_error_before_anything_starts(arguments, error, message):
    processes, sockets = children(), listening(psutil.Process())
    with pytest.raises(error, match=re.escape(message)):
        LocalPoolCluster(**{"pools": {"ecmwf": 1}, **arguments})
    assert children() == processes
    assert listening(psutil.Process()) == sockets


def test_worker_that_dask_gives_up_is_started_again():
    """It would be given up at once, before its nanny has started it again."""
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "0 ms"}),
        LocalPoolCluster({"ecmwf": 1, "eumetsat": 1}, silence_logs=logging.CRITICAL) as cluster,
        cluster.get_client() as client,
    ):
        before = run_in(client, "ecmwf", os.getpid)
        given_up = cluster.workers["ecmwf-0"]
        os.kill(before, signal.SIGKILL)
        cluster.sync(
            async_poll_for,
            lambda: cluster.workers.get("ecmwf-0") not in (None, given_up),
            timeout=60,
        )
        assert run_in(client, "ecmwf", os.getpid) != before
