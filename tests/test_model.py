"""Pools, links and topologies as data: what is refused, what is equal, what they cost."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from dask.tokenize import tokenize

from dask_pools.errors import PoolError, PoolNameError, TopologyError
from dask_pools.model import (
    Link,
    LinkClass,
    Pool,
    Topology,
    link_properties,
    pools_of_resources,
)

POOLS = (Pool("ecmwf", 2, 4, "aggregates", 1e6), Pool("eumetsat", 1, 1))
THERE = Link("ecmwf", "eumetsat", bandwidth=125e6, latency=0.02, price=0.02)
TOPOLOGY = Topology(POOLS, (THERE,), "EUR", LinkClass("rest", price=0.09))


def test_reprs_show_what_was_given() -> None:
    assert repr(Link("ecmwf", "eumetsat")) == "Link(source='ecmwf', target='eumetsat')"
    assert repr(Link("a", "b", allowed=False)) == "Link(source='a', target='b', allowed=False)"
    assert repr(Pool("a", workers=1)) == "Pool(name='a', workers=1)"
    assert repr(Topology((Pool("a"),))) == "Topology(pools=(Pool(name='a'),))"


@pytest.mark.parametrize("item", [*POOLS, THERE, TOPOLOGY, TOPOLOGY.default])
def test_repr_is_python(item: object) -> None:
    assert eval(repr(item)) == item  # noqa: S307 - our own text


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"workers": -1}, "workers of pool 'a' is a whole number, 0 or greater, not -1"),
        ({"workers": 1.5}, "not 1.5"),
        ({"nthreads": True}, "nthreads of pool 'a' is a whole number, 0 or greater, not True"),
        ({"egress": "agregates"}, "not 'agregates'. Did you mean 'aggregates'?"),
        ({"egress": None}, "egress of pool 'a' is one of 'aggregates', 'all', 'none', not None"),
        ({"egress": "aggregates", "egress_limit": -1}, "egress_limit of pool 'a' is a number"),
        ({"egress": "aggregates", "egress_limit": float("nan")}, "0 or greater, not nan"),
        ({"egress_limit": 10}, "10 bytes, and has no meaning with egress='all'. Say egress="),
    ],
)
def test_wrong_pool_is_refused(properties: dict[str, Any], message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        Pool("a", **properties)
    assert message in str(caught.value)


PROPERTIES = [
    ({"bandwidth": 0}, "bandwidth of {} is a number (bytes per second), greater than 0, not 0"),
    ({"bandwidth": -1.0}, "greater than 0, not -1.0"),
    ({"bandwidth": float("inf")}, "not inf"),
    ({"bandwidth": "1 Gbit/s"}, "not '1 Gbit/s'"),
    ({"latency": -0.1}, "latency of {} is a number (seconds), 0 or greater, not -0.1"),
    ({"latency": True}, "not True"),
    ({"price": -0.02}, "price of {} is a number (money per GB), 0 or greater, not -0.02"),
    ({"price": float("nan")}, "not nan"),
    ({"price": None}, "not None"),
    ({"price": ""}, "not ''"),
    ({"allowed": 0}, "allowed of {} is True or False, not 0"),
    ({"allowed": "no"}, "allowed of {} is True or False, not 'no'"),
]


@pytest.mark.parametrize(("properties", "message"), PROPERTIES)
def test_wrong_link_is_refused(properties: dict[str, Any], message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        Link("a", "b", **properties)
    assert message.format("a -> b") in str(caught.value)


@pytest.mark.parametrize(("properties", "message"), PROPERTIES)
def test_wrong_class_of_links_is_refused(properties: dict[str, Any], message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        LinkClass("leased", **properties)
    assert message.format("class 'leased'") in str(caught.value)


def test_names_are_checked() -> None:
    with pytest.raises(PoolNameError, match="'no name' is not a name for a pool"):
        Pool("no name")
    with pytest.raises(PoolNameError, match="'' is not a name"):
        Link("a", "")
    with pytest.raises(TypeError, match="not 1 of type int"):
        Link(1, "a")  # type: ignore[arg-type]


def test_link_leads_to_another_pool() -> None:
    with pytest.raises(TopologyError, match="not from 'a' to itself"):
        Link("a", "a")
    with pytest.raises(TopologyError, match="to itself"):
        TOPOLOGY.link("ecmwf", "ecmwf")


def test_numbers_of_any_kind_become_floats() -> None:
    link = Link("a", "b", bandwidth=np.int64(5), latency=np.float32(0.5), price=1)  # type: ignore[arg-type]
    assert [type(x) for x in (link.bandwidth, link.latency, link.price)] == [float] * 3
    assert type(Pool("a", egress="aggregates", egress_limit=1).egress_limit) is float


def test_links_are_keys_by_their_ends() -> None:
    assert {THERE: 1}[Link("ecmwf", "eumetsat")] == 1
    assert Link("eumetsat", "ecmwf") != THERE
    assert str(THERE) == "ecmwf -> eumetsat"


@pytest.mark.parametrize(
    ("pools", "links", "message"),
    [
        ((Pool("a"), Pool("b"), Pool("a", 1)), (), "these pools are one and the same: Pool("),
        (
            (Pool("a"), Pool("b")),
            (Link("a", "b"), Link("b", "a"), Link("a", "b", price=1)),
            "Link(source='a', target='b', price=1.0). Keep one.",
        ),
        (
            (Pool("ecmwf"), Pool("eumetsat")),
            (Link("ecmwf", "eumetsta"),),
            "no pool of this topology. Its pools: 'ecmwf', 'eumetsat'. Did you mean 'eumetsat'?",
        ),
        (("a",), (), "the pools of a topology are Pool objects, not 'a'"),
        ((Pool("a"),), (Pool("a"),), "the links of a topology are Link objects, not Pool("),
        (Pool("a"), 3, "the links of a topology are Link objects, not 3"),
    ],
)
def test_wrong_topology_is_refused(pools: Any, links: Any, message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        Topology(pools, links)
    assert message in str(caught.value)


@pytest.mark.parametrize("currency", ["", "US dollars", None, 1])
def test_currency_is_one_word(currency: Any) -> None:
    with pytest.raises(TopologyError, match="one word such as 'USD', not"):
        Topology(POOLS, currency=currency)


def test_default_is_a_class() -> None:
    with pytest.raises(TopologyError, match=r"is a LinkClass, .* not 'research-network'"):
        Topology(POOLS, default="research-network")  # type: ignore[arg-type]


def test_order_does_not_matter() -> None:
    back = Link("eumetsat", "ecmwf")
    one, two = Topology(POOLS, (THERE, back)), Topology(list(POOLS[::-1]), [back, THERE])  # type: ignore[arg-type]
    assert one == two
    assert hash(one) == hash(two)
    assert two.names == ("ecmwf", "eumetsat")
    assert two.links == (THERE, back)


@pytest.mark.parametrize(
    "other",
    [
        replace(TOPOLOGY, links=(replace(THERE, price=0.03),)),
        replace(TOPOLOGY, links=(replace(THERE, allowed=False),)),
        replace(TOPOLOGY, links=()),
        replace(TOPOLOGY, pools=(POOLS[0], Pool("eumetsat"))),
        replace(TOPOLOGY, currency="USD"),
        replace(TOPOLOGY, default=None),
        replace(TOPOLOGY, default=LinkClass("rest", price=0.08)),
        "topology",
    ],
)
def test_topologies_that_say_something_else_differ(other: object) -> None:
    """Also where links compare as equal, because they have the same ends."""
    assert other != TOPOLOGY


def pickled(x: object) -> object:
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_topology_survives_copies_with_all_it_knows(copied: Any) -> None:
    TOPOLOGY.link("ecmwf", "eumetsat")  # what it has looked up is no part of it
    again = copied(TOPOLOGY)
    assert again == TOPOLOGY
    assert hash(again) == hash(TOPOLOGY)
    assert tokenize(again) == tokenize(TOPOLOGY)
    assert link_properties(again.link("ecmwf", "eumetsat")) == link_properties(THERE)


def test_links_that_are_not_listed_are_like_the_default() -> None:
    assert TOPOLOGY.link("eumetsat", "ecmwf").price == 0.09
    assert TOPOLOGY.link("nowhere", "ecmwf").price == 0.09
    assert link_properties(Topology(POOLS).link("eumetsat", "ecmwf")) == {
        "bandwidth": None,
        "latency": None,
        "price": 0.0,
        "allowed": True,
    }


def test_pool_that_is_not_listed_has_no_rules() -> None:
    assert TOPOLOGY.pool("nowhere") == Pool("nowhere")
    assert TOPOLOGY.pool("ecmwf") is TOPOLOGY.pools[0]


def test_links_are_looked_up_without_a_search() -> None:
    """2450 links, each asked for once: no link is compared with another."""
    names = [f"p{i:02}" for i in range(50)]
    links = tuple(Link(a, b, price=1.0) for a in names for b in names if a != b)
    topology = Topology(tuple(map(Pool, names)), links)
    assert all(topology.link(x.source, x.target) is x for x in links)
    unlisted = Topology(tuple(map(Pool, names)), default=LinkClass("rest", price=2.0))
    assert unlisted.link("p00", "p01") is unlisted.link("p00", "p01")


def test_among_keeps_the_rules_and_the_links_of_those_present() -> None:
    topology = replace(TOPOLOGY, pools=(*POOLS, Pool("gone")), links=(THERE, Link("gone", "ecmwf")))
    present = Topology((Pool("ecmwf", 7, 8), Pool("eumetsat", 1, 1), Pool("new", 3, 3)))
    here = topology.among(present)
    assert here.pools == (
        Pool("ecmwf", 7, 8, "aggregates", 1e6),
        Pool("eumetsat", 1, 1),
        Pool("new", 3, 3),
    )
    assert here == replace(TOPOLOGY, pools=here.pools)


def test_class_makes_links_and_takes_overrides() -> None:
    kind = LinkClass("leased", bandwidth=1e6, price=0.5, reference="the contract")
    assert link_properties(kind.link("a", "b", price=0.4, allowed=False)) == {
        "bandwidth": 1e6,
        "latency": None,
        "price": 0.4,
        "allowed": False,
    }
    with pytest.raises(TypeError, match="bandwidht"):
        kind.link("a", "b", bandwidht=1)
    assert kind == LinkClass("another name", bandwidth=1e6, price=0.5)


def test_resources_that_no_pin_can_name_make_no_pool() -> None:
    """A worker started with a strange resource must not break the scheduler's pools."""
    assert pools_of_resources(["pool-", "pool-b c", "pool-b", "pool-a", "gpu"]) == ("a", "b")


def test_error_is_one_of_ours() -> None:
    error = pickle.loads(pickle.dumps(TopologyError("x")))
    assert isinstance(error, PoolError)
    assert isinstance(error, ValueError)
    assert str(error) == "x"
