"""Topologies as people write them, and what they are told when they slip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import pytest

from dask_pools.errors import TopologyError
from dask_pools.model import Link, LinkClass, Pool, Topology, link_properties
from dask_pools.topology.classes import link_class
from dask_pools.topology.read import read_topology
from dask_pools.topology.write import write_topology

EXAMPLE = """\
dask_pools:
  topology:
    currency: EUR
    pools: {ecmwf: {egress: aggregates, egress_limit: 1 MB}, eumetsat: {}, cedadocs: }
    default: {class: research-network}
    links:
      - {source: ecmwf, target: eumetsat, bandwidth: 1 Gbit/s, latency: 20 ms, price: 0.02}
      - {source: eumetsat, target: ecmwf, class: aws-same-continent, price: 0.03}
      - {between: [ecmwf, cedadocs], allowed: false}
"""
EXPECTED = Topology(
    (
        Pool("ecmwf", egress="aggregates", egress_limit=1e6),
        Pool("eumetsat"),
        Pool("cedadocs"),
    ),
    (
        Link("ecmwf", "eumetsat", bandwidth=125e6, latency=0.02, price=0.02),
        link_class("aws-same-continent").link("eumetsat", "ecmwf", price=0.03),
        Link("ecmwf", "cedadocs", allowed=False),
        Link("cedadocs", "ecmwf", allowed=False),
    ),
    "EUR",
    link_class("research-network"),
)


def read(text: str, tmp_path: Path) -> Topology | None:
    path = tmp_path / "topology.yaml"
    path.write_text(text)
    return read_topology(path)


def test_file_of_yaml(tmp_path: Path) -> None:
    assert read(EXAMPLE, tmp_path) == EXPECTED


def test_file_without_the_keys_of_the_configuration(tmp_path: Path) -> None:
    inside = "".join(line[4:] for line in EXAMPLE.splitlines(keepends=True)[2:])
    assert inside.startswith("currency:")
    assert read(inside, tmp_path) == EXPECTED


def test_configuration_has_a_mapping() -> None:
    with dask.config.set({"dask_pools.topology": {"pools": {"eu-west": {"egress": "none"}}}}):
        assert read_topology() == Topology((Pool("eu-west", egress="none"),))


def test_file_of_the_example_is_a_file_of_dasks_configuration(tmp_path: Path) -> None:
    (tmp_path / "pools.yaml").write_text(EXAMPLE)
    with dask.config.set(dask.config.collect([str(tmp_path)], env={})):
        assert read_topology() == EXPECTED


def test_environment_names_a_file(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(EXAMPLE)
    with dask.config.set(dask.config.collect([], env={"DASK_DASK_POOLS__TOPOLOGY": str(path)})):
        assert read_topology() == EXPECTED


def test_home_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "topology.yaml").write_text(EXAMPLE)
    assert read_topology("~/topology.yaml") == EXPECTED
    write_topology(EXPECTED, "~/again.yaml")
    assert read_topology(tmp_path / "again.yaml") == EXPECTED


def test_nothing_is_configured() -> None:
    assert read_topology() is None


def test_topology_is_returned_as_it_is() -> None:
    assert read_topology(EXPECTED) is EXPECTED
    with dask.config.set({"dask_pools.topology": EXPECTED}):
        assert read_topology() is EXPECTED


@pytest.mark.parametrize("data", [{}, {"pools": None, "links": None, "default": None}])
def test_everything_may_be_left_out(data: dict[str, Any]) -> None:
    assert read_topology(data) == Topology(())


def test_names_are_enough_for_pools() -> None:
    assert read_topology({"pools": ["b", "a"]}) == Topology((Pool("a"), Pool("b")))


def test_default_may_be_said_without_a_class() -> None:
    topology = read_topology({"default": {"bandwidth": "8 Mbit/s", "allowed": False}})
    assert topology is not None
    assert topology.default == LinkClass("given", bandwidth=1e6, allowed=False)


def test_link_says_more_than_its_class_and_nothing_else() -> None:
    """The default is for links that are not listed."""
    topology = read_topology(
        {
            "pools": ["a", "b"],
            "default": {"price": 1.0},
            "links": [{"source": "a", "target": "b", "class": "same-region", "latency": None}],
        }
    )
    assert topology is not None
    assert link_properties(topology.link("a", "b")) == {
        **link_properties(link_class("same-region")),
        "latency": None,
    }
    assert topology.link("b", "a").price == 1.0


PAIR = "pools: [ecmwf, eumetsat]\n"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", ["this file is empty", "Fields of a topology: 'currency', 'default', 'links'"]),
        ("- a", ["a topology is a mapping with the fields 'currency'", "not ['a']"]),
        ("pool: {a: {}}", ["a topology has no field 'pool'", "Did you mean 'pools'?"]),
        ("1: {}", ["a topology has no field 1"]),
        ("pools: ecmwf", ["pools: these are names, or a mapping", "not 'ecmwf'"]),
        ("pools: {a: 3}", ["pools: a: a pool is a mapping", "not 3"]),
        ("pools: {a: {egres: all}}", ["pools: a: a pool has no field 'egres'", "'egress'?"]),
        ("pools: {a: {egress: some}}", ["pools: a: egress of pool 'a' is one of", "'some'"]),
        (
            "pools: {a: {egress: aggregates, egress_limit: big}}",
            ["pools: a: egress_limit: 'big' is not a number of bytes"],
        ),
        ("pools: {a: {egress_limit: 1 MB}}", ["pools: a:", "no meaning with egress='all'"]),
        ("pools: {a b: {}}", ["pools: a b: 'a b' is not a name for a pool"]),
        ("pools: {no: {}}", ["pools: False: the name of a pool is a text", "put it in quotes"]),
        ("pools: {a: {}, a: {}}", ["this file is not right YAML", "'a' is there twice", "line 1"]),
        ("pools: [a, a]", ["these pools are one and the same"]),
        ("pools: {a: {", ["this file is not right YAML", "line 1"]),
        ("currency: US dollars", ["the currency of a topology is one word", "'US dollars'"]),
        ("default: research-network", ["default: the default is a mapping", "'class'"]),
        ("default: {class: reserch-network}", ["default:", "Did you mean 'research-network'?"]),
        ("default: {source: a}", ["default: the default has no field 'source'"]),
        ("default: {price: -1}", ["default: price of class", "not -1.0"]),
        (PAIR + "links: {a: b}", ["links: this is a list of links, not {'a': 'b'}"]),
        (PAIR + "links: [ecmwf]", ["links: number 1: a link is a mapping", "not 'ecmwf'"]),
        (
            PAIR + "links:\n- {between: [ecmwf, eumetsat]}\n- {from: ecmwf}",
            ["links: number 2: a link has no field 'from'"],
        ),
        (
            PAIR + "links: [{source: ecmwf, target: eumetsat, bandwidht: 1}]",
            ["links: number 1: a link has no field 'bandwidht'", "Did you mean 'bandwidth'?"],
        ),
        (
            PAIR + "links: [{source: ecmwf, target: eumetsat, bandwidth: fast}]",
            ["links: number 1: bandwidth: 'fast' is not a bandwidth", "'1 Gbit/s'"],
        ),
        (
            PAIR + "links: [{source: ecmwf, target: eumetsat, bandwidth: 0}]",
            ["links: number 1: bandwidth of ecmwf -> eumetsat", "greater than 0, not 0.0"],
        ),
        (
            PAIR + "links: [{source: ecmwf, target: eumetsat, allowed: perhaps}]",
            ["links: number 1: allowed of ecmwf -> eumetsat is True or False, not 'perhaps'"],
        ),
        (
            PAIR + "links: [{source: ecmwf, target: eumetsat, class: aws}]",
            ["links: number 1: 'aws' is no class of links"],
        ),
        (
            PAIR + "links: [{source: ecmwf, target: eumetsta}]",
            ["names 'eumetsta', which is no pool", "Did you mean 'eumetsat'?"],
        ),
        (PAIR + "links: [{source: ecmwf}]", ["number 1: a link has a source and a target"]),
        (PAIR + "links: [{between: [ecmwf]}]", ["or is between two pools", "['ecmwf']"]),
        (PAIR + "links: [{between: ab}]", ["or is between two pools", "'ab'"]),
        (
            PAIR + "links: [{source: ecmwf, between: [ecmwf, eumetsat]}]",
            ["number 1: a link has a source and a target, or is between"],
        ),
        (
            PAIR + "links: [{between: [ecmwf, eumetsat]}, {source: ecmwf, target: eumetsat}]",
            ["these links are one and the same"],
        ),
        (PAIR + "links: [{between: [ecmwf, ecmwf]}]", ["number 1: a link leads from one pool"]),
        ("dask_pools: {topolgy: {}}", ["there is 'dask_pools', but no 'topology' in it"]),
        ("!!python/object:os.system {}", ["this file is not right YAML", "could not determine"]),
    ],
)
def test_mistake_is_told_with_file_and_field(
    text: str, messages: list[str], tmp_path: Path
) -> None:
    with pytest.raises(TopologyError) as caught:
        read(text, tmp_path)
    told = str(caught.value)
    assert told.startswith(f"{tmp_path / 'topology.yaml'}: ")
    for message in messages:
        assert message in told


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"nowhere.yaml: this file cannot be read: No such"):
        read_topology(tmp_path / "nowhere.yaml")


def test_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TopologyError, match=r"binary.yaml: this file is not right YAML"):
        read_topology(path)


def test_mistake_in_the_configuration_names_its_key(tmp_path: Path) -> None:
    key = "dask_pools.topology in Dask's configuration"
    with (
        dask.config.set({"dask_pools.topology": {"pools": {"a": {"egress": "no"}}}}),
        pytest.raises(TopologyError, match=f"^{key}: pools: a: egress"),
    ):
        read_topology()
    with (
        dask.config.set({"dask_pools.topology": "nowhere.yaml"}),
        pytest.raises(TopologyError, match=rf"^nowhere.yaml \({key}\): this file cannot be read"),
    ):
        read_topology()


def test_mistake_in_a_mapping() -> None:
    with pytest.raises(TopologyError, match=r"^topology: links: number 1: a link is a mapping"):
        read_topology({"links": [1]})
