"""Named classes of links."""

from __future__ import annotations

from pathlib import Path

import pytest

from dask_pools.errors import TopologyError
from dask_pools.model import LinkClass
from dask_pools.topology.classes import LINK_CLASSES, link_class

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "describe-links-and-prices.md"


@pytest.mark.parametrize("kind", LINK_CLASSES.values(), ids=str)
def test_class_says_where_its_numbers_come_from(kind: LinkClass) -> None:
    assert link_class(kind.name) is kind
    assert kind.reference
    assert kind.bandwidth
    assert kind.bandwidth > 1e6
    assert kind.latency is None or 0 < kind.latency < 1
    assert 0 <= kind.price < 1
    assert kind.allowed


def test_farther_is_not_better() -> None:
    order = [
        "same-region",
        "same-cloud-same-continent",
        "same-cloud-between-continents",
        "between-clouds-between-continents",
    ]
    prices = [link_class(name).price for name in order]
    speeds = [link_class(name).bandwidth or 0 for name in order]
    assert prices == sorted(prices)
    assert speeds == sorted(speeds, reverse=True)


@pytest.mark.parametrize("name", ["aws-same-contient", "aws", None, ["a"]])
def test_unknown_class_is_refused(name: str) -> None:
    with pytest.raises(TopologyError, match=r"is no class of links\. Classes: 'aws-"):
        link_class(name)


def test_near_miss_is_suggested() -> None:
    with pytest.raises(TopologyError, match="Did you mean 'aws-same-continent'"):
        link_class("aws-same-contient")


def test_table_of_the_documentation_is_the_table() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Classes of links")[2]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    shown = {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows}
    assert shown == {
        kind.name: [
            f"{(kind.bandwidth or 0) / 125e6:g}",
            "" if kind.latency is None else f"{kind.latency * 1000:g}",
            f"{kind.price:g}",
            kind.reference,
        ]
        for kind in LINK_CLASSES.values()
    }
