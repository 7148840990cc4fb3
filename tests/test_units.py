"""Numbers in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.units import (
    format_bytes,
    format_excess,
    format_money,
    format_seconds,
    format_share,
)

FACTORS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}


@given(st.floats(0, 1e17))
def test_bytes_are_right_to_three_digits(nbytes: float) -> None:
    number, unit = format_bytes(nbytes).split()
    assert float(number) * FACTORS[unit] == pytest.approx(nbytes, rel=0.006, abs=0.5)
    assert float(number) < 1000 or unit == "PB"
    assert float(number) >= 1 or unit == "B"


@given(st.floats(0, 1e8))
def test_seconds_are_right_to_two_digits(seconds: float) -> None:
    text = format_seconds(seconds)
    factors = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}
    if text == "<1 ms":
        assert 0 < seconds < 1e-3
        return
    parts = text.replace(",", "").split()
    shown = sum(float(n) * factors[u] for n, u in zip(parts[::2], parts[1::2], strict=True))
    assert shown == pytest.approx(seconds, rel=0.05, abs=5e-4)
    assert not text.startswith(("60 s", "1000 ms", "60 min", "24 h"))


@given(st.floats(1e-9, 1e9))
def test_money_is_right_to_a_cent_or_two_digits(amount: float) -> None:
    number, currency = format_money(amount, "USD").split()
    assert currency == "USD"
    assert float(number.replace(",", "")) == pytest.approx(amount, rel=0.05, abs=0.0051)
    assert float(number.replace(",", "")) > 0
    assert "e" not in number


@given(st.floats(0, 1))
def test_only_nothing_is_no_share_and_only_all_is_the_whole(share: float) -> None:
    assert (format_share(share) == "0 %") == (share == 0)
    assert (format_share(share) == "100 %") == (share == 1)


@given(st.floats(0, 10))
def test_excess_is_rounded_up(excess: float) -> None:
    shown = float(format_excess(excess).split()[0]) / 100
    assert excess - 1e-8 <= shown <= excess + 0.001
