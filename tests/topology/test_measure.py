"""Links of small clusters in this process: what is moved, kept, refused and cleaned up."""

from __future__ import annotations

import asyncio

import pytest
from distributed import Client, Event, Scheduler, Worker
from distributed.utils_test import captured_logger

from dask_pools.deploy.local import LocalPoolCluster
from dask_pools.errors import MeasurementError, TopologyError, UnknownPoolError
from dask_pools.graph.annotate import pool
from dask_pools.model import Link, LinkClass, Pool, Topology
from dask_pools.topology.measure import (
    Measurement,
    choose_pools,
    measure_links,
    members_of,
)
from dask_pools.topology.read import read_topology
from tests.scheduler.clusters import IN_A, IN_B, cluster_of

BOTH = {"resources": {"pool-a": 1, "pool-b": 1}}
IN_C = {"resources": {"pool-c": 1}}


def moved(worker: Worker) -> list[tuple[str, int]]:
    """List what a worker has fetched: from where, and how many bytes."""
    return [(entry["who"], entry["total"]) for entry in worker.transfer_incoming_log]


async def forgotten(c: Client, s: Scheduler, *workers: Worker) -> None:
    """Wait until no value is left; it takes some turns of the event loop."""
    while c.futures or s.tasks or any(worker.data for worker in workers):
        await asyncio.to_thread(lambda: None)


@cluster_of(IN_A, IN_B)
async def test_all_links_are_measured_with_bounded_bytes(c, s, a, b):
    told: list[Measurement] = []
    topology = await measure_links(c, nbytes="300 kB", rounds=2, on_link=told.append)
    assert topology.pools == (Pool("a", 1, 1), Pool("b", 1, 1))
    assert [(x.source, x.target) for x in topology.links] == [("a", "b"), ("b", "a")]
    for link in topology.links:
        assert link.bandwidth is not None
        assert link.latency is not None
        assert (link.price, link.allowed) == (0, True)
    assert [who for who, _ in moved(b)] == [a.address] * 2
    assert [who for who, _ in moved(a)] == [b.address] * 2
    for worker, measured in zip((b, a), told, strict=True):
        total = sum(nbytes for _, nbytes in moved(worker))
        assert total == 300_000
        assert measured.nbytes == total
    assert [measured.link for measured in told] == list(topology.links)


@cluster_of(IN_A, IN_B)
async def test_nothing_is_left_behind(c, s, a, b):
    await measure_links(c, nbytes="10 kB")
    await forgotten(c, s, a, b)


@cluster_of(IN_A, IN_A, IN_B)
async def test_one_worker_stands_for_its_pool(c, s, a1, a2, b):
    topology = await measure_links(c, nbytes="10 kB", rounds=1)
    assert topology.pools == (Pool("a", 2, 2), Pool("b", 1, 1))
    first = min(a1, a2, key=lambda worker: worker.address)
    assert [who for who, _ in moved(b)] == [first.address]


@cluster_of(IN_A, IN_B, BOTH, {})
async def test_worker_of_two_pools_is_of_its_first_and_one_of_none_takes_no_part(c, s, *workers):
    topology = await measure_links(c, nbytes="10 kB", rounds=1)
    assert topology.pools == (Pool("a", 2, 2), Pool("b", 2, 2))
    assert [len(moved(worker)) for worker in workers] in ([1, 1, 0, 0], [0, 1, 1, 0])


@cluster_of(IN_A, IN_B, IN_C)
async def test_what_is_known_is_kept_and_forbidden_links_are_left_alone(c, s, a, b, in_c):
    known = Topology(
        (Pool("a", egress="none"), Pool("b"), Pool("c"), Pool("gone")),
        (
            Link("a", "b", price=0.02, bandwidth=1.0, latency=9.0),
            Link("b", "a", allowed=False, latency=7.0),
            Link("a", "gone", price=5),
        ),
        "EUR",
        LinkClass("rest", price=0.5),
    )
    topology = await measure_links(c, nbytes="10 kB", rounds=1, pools=["a", "b"], topology=known)
    assert (topology.currency, topology.default) == (known.currency, known.default)
    a_with_its_rules = Pool("a", 1, 1, "none")
    assert topology.pools == (a_with_its_rules, Pool("b", 1, 1), Pool("c", 1, 1), Pool("gone"))
    there, to_gone, back = topology.links
    assert (there.price, there.bandwidth != 1.0, there.latency != 9.0) == (0.02, True, True)
    assert (back.allowed, back.bandwidth, back.latency) == (False, None, 7.0)
    assert (to_gone.target, to_gone.price) == ("gone", 5)
    assert [len(moved(worker)) for worker in (a, b, in_c)] == [0, 1, 0]


@cluster_of(IN_A, IN_B)
async def test_link_that_was_not_listed_gets_the_price_of_the_default(c, s, a, b):
    topology = await measure_links(c, nbytes="10 kB", topology={"default": {"price": 0.5}})
    assert [link.price for link in topology.links] == [0.5, 0.5]


@cluster_of(IN_A, IN_B)
async def test_file_is_written_and_its_rules_are_kept_next_time(c, s, a, b, tmp_path):
    path = tmp_path / "topology.yaml"
    path.write_text("links: [{between: [a, b], price: 3}]\npools: {a: {egress: none}, b: {}}")
    topology = await measure_links(c, nbytes="10 kB", path=path)
    assert read_topology(path) == topology
    assert topology.pool("a").egress == "none"
    assert topology.link("a", "b").price == 3
    assert topology.link("a", "b").bandwidth is not None


@cluster_of(IN_A, IN_B)
async def test_file_that_cannot_be_kept_is_an_error_before_anything_is_moved(c, s, a, b, tmp_path):
    path = tmp_path / "topology.yaml"
    path.write_text("links: precious")
    with pytest.raises(TopologyError, match=r"topology\.yaml: links: this is a list of links"):
        measure_links(c, path=path)
    with pytest.raises(FileNotFoundError, match=r"there is no directory '.*nowhere' to write"):
        measure_links(c, path=tmp_path / "nowhere" / "topology.yaml")
    assert path.read_text() == "links: precious"
    assert moved(a) == moved(b) == []


@cluster_of(IN_A, IN_B, config={"dask_pools.topology": {"default": {"allowed": False}}})
async def test_configuration_may_forbid_all_of_it(c, s, a, b):
    topology = await measure_links(c)
    assert topology.links == ()
    assert moved(a) == moved(b) == []


@cluster_of(IN_A, IN_B)
async def test_pin_around_the_call_changes_nothing(c, s, a, b):
    with pool("elsewhere"):
        topology = await measure_links(c, nbytes="10 kB")
    assert len(topology.links) == 2


@cluster_of(IN_A, IN_B, config={"distributed.admin.low-level-log-length": 0})
async def test_worker_without_a_log_is_told_of(c, s, a, b):
    with pytest.raises(MeasurementError, match=r"distributed\.admin\.low-level-log-length"):
        await measure_links(c, nbytes="10 kB")
    await forgotten(c, s, a, b)


def wait_for(name: str) -> bool:
    return Event(name).wait()


@cluster_of(IN_A, IN_B)
async def test_link_that_does_not_answer_is_given_up(c, s, a, b):
    """The only thread of the worker is busy."""
    busy = c.submit(wait_for, "end", workers=[a.address])
    with pytest.raises(MeasurementError) as caught:
        await measure_links(c, nbytes="10 kB", timeout="300 ms")
    told = str(caught.value)
    assert f"The link a -> b, from worker {a.address} to {b.address}" in told
    assert "more than 0.3 s" in told
    assert "allowed: false" in told
    await Event("end").set()
    assert await busy
    del busy
    await forgotten(c, s, a, b)


@cluster_of(IN_A, IN_B)
async def test_link_on_which_nobody_listens_is_named(c, s, a, b):
    def refuse(address: str) -> None:
        raise OSError(f"no way to {address}")

    with pytest.MonkeyPatch.context() as patch, captured_logger("distributed.worker"):
        patch.setattr(b, "rpc", refuse)
        with pytest.raises(MeasurementError, match=r"The link a -> b, .* no way to .*: false"):
            await measure_links(c, nbytes="10 kB")


@cluster_of(IN_A, IN_B, IN_C)
async def test_pools_that_cannot_be_measured_are_refused(c, s, a, b, in_c):
    with pytest.raises(UnknownPoolError, match=r"No worker is in pool 'aa'\. Pools with"):
        await measure_links(c, pools=["b", "aa"])
    with pytest.raises(MeasurementError, match=r"1 pool is asked for: 'b'. .* Name two of them"):
        await measure_links(c, pools=["b", "b"])
    with pytest.raises(MeasurementError, match=r"1 pool is asked for: 'b'"):
        await measure_links(c, pools="b")
    assert moved(a) == moved(b) == []


@cluster_of(IN_A, {})
async def test_one_pool_has_no_links(c, s, a, none):
    with pytest.raises(MeasurementError, match=r"1 pool is asked for: 'a'.* Start workers"):
        await measure_links(c)


@cluster_of({})
async def test_cluster_without_pools_has_no_links(c, s, none):
    with pytest.raises(MeasurementError, match=r"No worker of this cluster is in a pool\."):
        await measure_links(c)


def test_client_that_is_not_asynchronous_gets_the_topology(cluster: LocalPoolCluster) -> None:
    with cluster.get_client() as client:
        topology = measure_links(client, nbytes="30 kB", pools=["eumetsat", "ecmwf"])
        assert topology.names == ("ecmwf", "eumetsat")
        assert [link.bandwidth is not None for link in topology.links] == [True, True]
        fetched = client.run(lambda dask_worker: len(dask_worker.transfer_incoming_log))
    assert sorted(fetched.values()) == [3, 3]


def test_every_worker_is_in_one_pool() -> None:
    workers = {
        "tcp://3": {"resources": {"pool-b": 1}},
        "tcp://1": {"resources": {"pool-b": 1, "pool-a": 1, "GPU": 2}},
        "tcp://2": {"resources": {"pool-b": 1}},
        "tcp://4": {"resources": {}},
    }
    members = members_of(workers)
    assert members == {"a": ["tcp://1"], "b": ["tcp://2", "tcp://3"]}
    assert choose_pools(members, None) == ("a", "b")
    assert choose_pools(members, ("b", "a", "b")) == ("a", "b")
