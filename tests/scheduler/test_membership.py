from __future__ import annotations

import pytest

from dask_pools.model import Link, Pool, Topology
from dask_pools.scheduler.membership import Membership


@pytest.fixture
def membership() -> Membership:
    membership = Membership(remembered=2)
    membership.join("one", ["pool-a", "GPU"], nthreads=2)
    membership.join("two", ["pool-a"], nthreads=3)
    membership.join("three", ["pool-b"], nthreads=1)
    membership.join("four", [], nthreads=1)
    return membership


def test_topology_has_workers_and_threads_of_each_pool(membership: Membership) -> None:
    pools = (Pool("a", workers=2, nthreads=5), Pool("b", workers=1, nthreads=1))
    assert membership.topology == Topology(pools)


def test_pool_without_workers_is_gone(membership: Membership) -> None:
    assert membership.topology.names == ("a", "b")
    membership.leave("three")
    assert membership.topology.names == ("a",)
    assert set(membership.members) == {"a"}


def test_worker_that_left_is_remembered(membership: Membership) -> None:
    membership.leave("three")
    assert membership.pools_of("three") == ("b",)
    assert membership.link("one", "three") == Link("a", "b")


def test_only_the_last_of_those_that_left_are_remembered(membership: Membership) -> None:
    for address in ("one", "two", "three"):
        membership.leave(address)
    assert [membership.pools_of(a) for a in ("one", "two", "three")] == [(), ("a",), ("b",)]


def test_address_that_comes_back_has_its_new_pools(membership: Membership) -> None:
    membership.leave("three")
    membership.join("three", ["pool-c"], nthreads=1)
    assert membership.pools_of("three") == ("c",)
    assert membership.topology.names == ("a", "c")


def test_resources_of_a_worker_that_is_here_can_change(membership: Membership) -> None:
    membership.join("two", ["pool-a", "pool-c"], nthreads=3)
    assert membership.topology.names == ("a", "b", "c")
    membership.join("two", [], nthreads=3)
    assert membership.topology.names == ("a", "b")
    assert membership.members["a"] == {"one"}


def test_unknown_worker_may_leave(membership: Membership) -> None:
    membership.leave("never seen")
    assert membership.pools_of("never seen") == ()


@pytest.mark.parametrize(
    ("source", "target", "link"),
    [
        ("one", "two", None),
        ("one", "three", Link("a", "b")),
        ("three", "one", Link("b", "a")),
        ("one", "four", None),
        ("four", "one", None),
    ],
)
def test_link_between_workers(
    membership: Membership, source: str, target: str, link: Link | None
) -> None:
    assert membership.link(source, target) == link


def test_worker_of_several_pools_crosses_nothing_to_any_of_them() -> None:
    membership = Membership()
    membership.join("both", ["pool-b", "pool-a"], nthreads=1)
    membership.join("b", ["pool-b"], nthreads=1)
    membership.join("c", ["pool-c"], nthreads=1)
    assert membership.link("both", "b") is None
    assert membership.link("b", "both") is None
    assert membership.link("both", "c") == Link("a", "c")
