"""What is written is what is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.model import Egress, Link, LinkClass, Pool, Topology
from dask_pools.topology.read import read_topology
from dask_pools.topology.write import topology_as_mapping, write_topology

if TYPE_CHECKING:
    import pytest

# Among them words that YAML takes for something else.
NAMES = st.sampled_from(["no", "on", "null", "1", "1e3", "0x1f", "12.5", "a", "eu-west-1", "Z_.9"])
POSITIVE = st.floats(0, 1e18, exclude_min=True)
PROPERTIES = {
    "bandwidth": st.none() | POSITIVE,
    "latency": st.none() | st.floats(0, 1e4),
    "price": st.floats(0, 1e4),
    "allowed": st.booleans(),
}
CLASSES = st.builds(LinkClass, st.just("x"), **PROPERTIES)


@st.composite
def pools(draw: st.DrawFn, name: str) -> Pool:
    egress: Egress = draw(st.sampled_from(["all", "aggregates", "none"]))
    limit = draw(st.floats(0, 1e15)) if egress == "aggregates" else 0.0
    return Pool(name, draw(st.integers(0, 99)), draw(st.integers(0, 99)), egress, limit)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    names = draw(st.lists(NAMES, unique=True, max_size=5))
    ways = [(a, b) for a in names for b in names if a != b]
    chosen = draw(st.lists(st.sampled_from(ways), unique=True)) if ways else []
    return Topology(
        tuple(draw(pools(name)) for name in names),
        tuple(draw(st.builds(Link, st.just(a), st.just(b), **PROPERTIES)) for a, b in chosen),
        draw(st.sampled_from(["USD", "EUR", "€", "no", "1"])),
        draw(st.none() | CLASSES),
    )


@given(topologies())
def test_round_trip_of_a_file(tmp_path_factory: pytest.TempPathFactory, topology: Topology) -> None:
    path = tmp_path_factory.mktemp("written") / "topology.yaml"
    write_topology(topology, path)
    assert read_topology(path) == topology


@given(topologies())
def test_mapping_holds_nothing_but_plain_yaml(topology: Topology) -> None:
    mapping = topology_as_mapping(topology)
    assert yaml.safe_load(yaml.safe_dump(mapping)) == mapping
    assert read_topology(mapping) == topology


def test_file_is_one_that_people_read(tmp_path: Path) -> None:
    topology = Topology(
        (Pool("ecmwf", egress="aggregates", egress_limit=1e6), Pool("eumetsat", 2, 4)),
        (
            Link("ecmwf", "eumetsat", bandwidth=94.6e6, latency=0.0203, price=0.02),
            Link("eumetsat", "ecmwf", allowed=False),
        ),
        default=LinkClass("far", latency=0.085),
    )
    write_topology(topology, tmp_path / "topology.yaml")
    assert (tmp_path / "topology.yaml").read_text() == (
        "currency: USD\n"
        "pools:\n"
        "  ecmwf: {egress: aggregates, egress_limit: 1 MB}\n"
        "  eumetsat: {workers: 2, nthreads: 4}\n"
        "default: {latency: 85 ms}\n"
        "links:\n"
        "- {source: ecmwf, target: eumetsat, bandwidth: 94.6 MB/s, latency: 20.3 ms, price: 0.02}\n"
        "- {source: eumetsat, target: ecmwf, allowed: false}\n"
    )
