"""Numbers in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.units import format_bytes

FACTORS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}


@given(st.floats(0, 1e17))
def test_bytes_are_right_to_three_digits(nbytes: float) -> None:
    number, unit = format_bytes(nbytes).split()
    assert float(number) * FACTORS[unit] == pytest.approx(nbytes, rel=0.006, abs=0.5)
    assert float(number) < 1000 or unit == "PB"
    assert float(number) >= 1 or unit == "B"
