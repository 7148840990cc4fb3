"""Budgets: what can be one, and which plans exceed one."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.errors import BudgetError, PoolError
from dask_pools.model import Link
from dask_pools.planning.basis import Basis
from dask_pools.planning.budget import Budget, parse_budget
from dask_pools.planning.plan import LinkPlan, Plan, Transfer

THERE = Link("ecmwf", "eumetsat")
FOUR_GB = Plan({"ecmwf": 3}, (Transfer("mean", THERE, 4e9),))


def priced(money: float, currency: str = "USD") -> Plan:
    return Plan({}, (), by_link=(LinkPlan(THERE, 1, 4e9, None, money),), currency=currency)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5 GB", Budget(5e9)),
        ("5GB", Budget(5e9)),
        (" 2.5 TB ", Budget(2.5e12)),
        ("1 kB", Budget(1e3)),
        ("1 KB", Budget(1e3)),
        ("1 GiB", Budget(2**30)),
        ("1_000 B", Budget(1000)),
        ("7 bytes", Budget(7)),
        ("1e3 MB", Budget(1e9)),
        (".5 GB", Budget(5e8)),
        ("0 GB", Budget(0)),
        (5e9, Budget(5e9)),
        (7, Budget(7)),
        ("2 USD", Budget(2, "USD")),
        ("0.05 EUR", Budget(0.05, "EUR")),
        (Budget(2, "EUR"), Budget(2, "EUR")),
    ],
)
def test_budgets_are_read(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", "it has no unit"),
        ("", "does not begin with a number"),
        ("5_ GB", "there is no unit"),
        ("GB", "does not begin with a number"),
        ("five GB", "does not begin with a number"),
        ("5 gb", "Did you mean 'GB'?"),
        ("5 Gb", "Did you mean 'GB'?"),
        ("5 GBs", "Did you mean 'GB'?"),
        ("5 GIB", "Did you mean 'GiB'?"),
        ("2 usd", "Did you mean 'USD'?"),
        ("2 $", "Did you mean 'USD'?"),
        ("2 €", "Did you mean 'EUR'?"),
        ("2 zorkmids", "there is no unit 'zorkmids'. A budget is"),
        ("5 GB 3", "there is no unit 'GB 3'"),
        ("-5 GB", "0 or more"),
        (-1.0, "0 or more"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        ("1e999 GB", "finite"),
        ("-2 USD", "0 or more"),
    ],
)
def test_what_is_no_budget_is_refused_with_a_hint(text, said):
    with pytest.raises(BudgetError) as caught:
        parse_budget(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("wrong", [None, True, ["5 GB"], b"5 GB"])
def test_other_types_are_refused(wrong):
    with pytest.raises(TypeError, match="A budget is a number of bytes"):
        parse_budget(wrong)


@given(st.floats(0, 1e18))
def test_numbers_of_bytes_are_kept_as_they_are(amount):
    assert parse_budget(amount).amount == amount
    assert parse_budget(f"{amount!r} B").amount == amount


def test_a_budget_in_another_currency_is_refused_at_once_and_when_it_is_checked():
    with pytest.raises(BudgetError, match=r"5\.00 GBP is in GBP, but the prices .* in USD"):
        parse_budget("5 GBP", "USD")
    with pytest.raises(BudgetError, match="in USD or in bytes"):
        parse_budget("5 GBP").check(priced(1.0))


def test_a_topology_may_name_its_currency_as_it_likes():
    assert parse_budget("5 credits", "credits") == Budget(5, "credits")
    Budget(5, "credits").check(priced(1.0, "credits"))


def test_what_is_within_the_budget_passes():
    Budget(4e9).check(FOUR_GB)
    Budget(1.0, "USD").check(priced(1.0))
    Budget(0).check(Plan({"ecmwf": 1}, ()))
    Budget(0, "USD").check(Plan({"ecmwf": 1}, ()))


def test_what_exceeds_the_budget_is_refused_with_the_plan():
    with pytest.raises(BudgetError) as caught:
        Budget(1e9).check(FOUR_GB)
    message = str(caught.value)
    assert "would move 4 GB between pools, its budget is 1 GB: 3 GB too much" in message
    assert "4 times as much" in message
    assert "Nothing has been run" in message
    assert repr(FOUR_GB) in message
    assert isinstance(caught.value, PoolError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_money_that_exceeds_the_budget_is_refused():
    with pytest.raises(BudgetError, match=r"would spend 3\.00 USD .* 2\.00 USD: 1\.00 USD too"):
        Budget(2, "USD").check(priced(3.0))


def test_nothing_at_all_is_a_budget():
    with pytest.raises(BudgetError, match=r"4 GB too much\. Nothing"):
        Budget(0).check(FOUR_GB)


def test_a_budget_of_money_needs_prices():
    with pytest.raises(BudgetError, match="no price is known"):
        Budget(2, "USD").check(FOUR_GB)


def test_the_refusal_says_how_much_of_it_is_a_guess():
    guess = Plan({}, (Transfer("x", THERE, 3.0, Basis.EXACT), Transfer("y", THERE, 1.0)))
    with pytest.raises(BudgetError, match="25 % of the bytes are assumed"):
        Budget(1).check(guess)
    with pytest.raises(BudgetError) as caught:
        Budget(1).check(Plan({}, (Transfer("x", THERE, 3.0, Basis.EXACT),)))
    assert "assumed, for" not in str(caught.value)
