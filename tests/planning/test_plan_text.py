"""How plans look, as text and as HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dask_pools.model import Link
from dask_pools.planning.basis import Basis
from dask_pools.planning.comparison import compare
from dask_pools.planning.plan import ArrayPlan, LinkPlan, Plan, PoolPlan, Transfer

THERE = Link("ecmwf", "eumetsat")
BECAUSE = ("comes from t2m, pinned to ecmwf", "needed by sub with obs, pinned to eumetsat")
PLAN = Plan(
    tasks={"ecmwf": 812, "eumetsat": 422, None: 1},
    transfers=(),
    by_pool=(PoolPlan("ecmwf", 812, 5.1e9, 3.2, 8), PoolPlan("eumetsat", 422)),
    by_link=(LinkPlan(THERE, 2400, 5.1e9, 41.0, 0.102),),
    by_array=(ArrayPlan("mean_chunk", THERE, 2400, 5.1e9, Basis.EXACT, BECAUSE),),
    shares={Basis.EXACT: 9, Basis.ASSUMED: 1},
    cost=5.1e9,
    bound=5e9,
    copies=1,
    regrouped=2,
)
VOID = {"br", "hr", "meta", "link", "img", "input"}


class Page(HTMLParser):
    """Checks that what is opened is closed, and gathers the text of each cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def test_text_of_a_plan():
    assert repr(PLAN).splitlines() == [
        "<dask_pools.Plan: 1,235 tasks in 2 pools, 5.1 GB in 2,400 transfers for 0.10 USD>",
        "Pools         tasks   reads   time  threads",
        "    ecmwf       812  5.1 GB  3.2 s        8",
        "    eumetsat    422",
        "    anywhere      1",
        "Links                  transfers   bytes  time     money",
        "    ecmwf -> eumetsat      2,400  5.1 GB  41 s  0.10 USD",
        "Largest transfers  transfers   bytes  link               sizes",
        "    mean_chunk         2,400  5.1 GB  ecmwf -> eumetsat  exact",
        "        comes from t2m, pinned to ecmwf; needed by sub with obs, pinned to eumetsat",
        "Optimum: at most 2 % above it: 5.1 GB, no placement moves less than 5 GB (policy mincut)",
        "Sizes: 90 % of the bytes exact, 10 % assumed",
        "Copies: 1 source made in several pools",
        "Regrouped: 2 reductions, pool by pool",
    ]


@pytest.mark.parametrize(
    ("objective", "cost", "bound", "sentence"),
    [
        ("bytes", 4e9, 4e9, "no placement moves less (policy x)"),
        (
            "money",
            0.2,
            0.1,
            "at most 100 % above it: 0.20 USD, no placement costs less than 0.10 USD (policy x)",
        ),
        ("time", 83.0, None, "not known: 1 min 23 s (policy x)"),
        (
            "bytes",
            4e9,
            0.0,
            "it may be 0: 4 GB, no placement moves less than 0 B (policy x)",
        ),
    ],
)
def test_distance_from_the_optimum_is_said_in_the_unit_of_the_objective(
    objective, cost, bound, sentence
):
    plan = Plan({"a": 1}, (), policy="x", objective=objective, cost=cost, bound=bound)
    text = repr(plan)
    assert f"Optimum: {sentence}" in text.replace("\n    ", " ")


def test_other_policies_are_shown_beside_the_plan():
    other = replace(PLAN, policy="majority", cost=4e10, by_link=(LinkPlan(THERE, 7, 4e10),))
    text = repr(replace(other, alternatives={"mincut": PLAN}))
    rows = text[text.index("Policies") :].splitlines()[1:3]
    assert [row.split()[0] for row in rows] == ["majority", "mincut"]
    assert "40 GB" in rows[0]
    assert "5.1 GB" in rows[1]


def test_plans_are_compared_in_their_order():
    other = replace(PLAN, cost=6e9)
    compared = compare({"mincut": PLAN, "majority": other, "mine": other})
    assert (compared.policy, list(compared.alternatives)) == ("mincut", ["majority", "mine"])
    assert compared.to_dict()["alternatives"]["mine"] == other.to_dict()
    assert compare({"mine": PLAN}) == replace(PLAN, policy="mine")
    assert "majority" in Page(compared._repr_html_()).text


def test_html_has_all_that_the_text_has():
    shown = " ".join(Page(PLAN._repr_html_()).text)
    for word in re.findall(r"[\w.,]+", repr(PLAN)):
        assert word in shown


def test_html_has_no_scripts_and_links_to_nothing():
    html = PLAN._repr_html_()
    assert "script" not in html
    assert not re.search(r"https?:|url\(|@import|\bon\w+=", html)


def test_names_cannot_break_out_of_the_html():
    evil = '</table><script>alert("x")</script>&amp;'
    because = (evil, evil)
    plan = Plan(
        tasks={"a": 1},
        transfers=(),
        by_pool=(PoolPlan(evil, 1),),
        by_array=(ArrayPlan(evil[:40], THERE, 1, 1.0, Basis.EXACT, because),),
        policy=evil,
        cost=1.0,
    )
    page = Page(replace(plan, alternatives={evil: plan})._repr_html_())
    assert "script" not in page.tags
    assert any(evil in text for text in page.text)


def test_a_plan_of_nothing():
    plan = Plan({}, ())
    assert repr(plan) == "<dask_pools.Plan: 0 tasks in 0 pools, nothing crosses>"
    Page(plan._repr_html_())


def test_long_keys_are_cut():
    plan = Plan({"a": 1}, (Transfer("x" * 5000, THERE, 1.0),))
    assert max(map(len, repr(plan).splitlines())) < 120
    assert len(plan._repr_html_()) < 6000


def test_of_many_transfers_few_are_shown():
    plan = Plan({"a": 1}, tuple(Transfer(("x", i), THERE, i) for i in range(5000)))
    assert len(repr(plan).splitlines()) < 20
    assert "('x', 4999)" in repr(plan)


def test_a_plan_does_not_count_its_transfers_again_to_be_shown():
    """With a million of them that would be slow; what is explained has been counted before."""

    class Counted(tuple):
        __slots__ = ()

        def __iter__(self):
            raise AssertionError("the transfers are walked over")

    plan = replace(PLAN, transfers=Counted([Transfer("x", THERE, 1.0)]))
    assert repr(plan) == repr(PLAN)
    assert plan._repr_html_() == PLAN._repr_html_()
    assert plan.to_dict() == PLAN.to_dict()


def test_of_many_pools_and_links_those_that_count_most_are_shown():
    links = tuple(LinkPlan(Link("a", f"p{i:03}"), 2, float(i)) for i in range(500))
    pools = tuple(PoolPlan(f"p{i:03}", 1000 - i) for i in range(100))
    plan = Plan({}, (), by_pool=pools, by_link=links)
    lines = repr(plan).splitlines()
    assert len(lines) == 45
    assert lines[1:4] == ["Pools           tasks", "    p000        1,000", "    p001          999"]
    assert lines[22].split() == ["(80", "more)", f"{sum(1000 - i for i in range(20, 100)):,}"]
    assert lines[24].split() == ["a", "->", "p480", "2", "480", "B"]
    assert lines[44].split()[:3] == ["(480", "more)", "960"]
    assert len(plan._repr_html_()) < 12_000


def test_bars_compare_bytes():
    html = replace(PLAN, by_link=(LinkPlan(THERE, 1, 4.0), LinkPlan(Link("b", "c"), 1, 1.0)))
    assert re.findall(r"width: (\d+)%", html._repr_html_()[2000:])[-2:] == ["100", "25"]
