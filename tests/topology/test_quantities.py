"""Numbers with units."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.errors import TopologyError
from dask_pools.topology.quantities import BANDWIDTH, DURATION, PRICE, SIZE, Quantity

KINDS = [SIZE, BANDWIDTH, DURATION, PRICE]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (BANDWIDTH, "1 Gbit/s", 125e6),
        (BANDWIDTH, "100Mbit/s", 12.5e6),
        (BANDWIDTH, "1 bit/s", 0.125),
        (BANDWIDTH, "100 MB/s", 100e6),
        (BANDWIDTH, "1 MiB/s", 2.0**20),
        (BANDWIDTH, "1e6", 1e6),
        (BANDWIDTH, 1_000_000, 1e6),
        (DURATION, "20 ms", 0.02),
        (DURATION, "1.1 ms", 0.0011),
        (DURATION, " .5 s ", 0.5),
        (DURATION, "250 us", 0.00025),
        (DURATION, "5 min", 300.0),
        (SIZE, "1 GB", 1e9),
        (SIZE, "1.5 kB", 1500.0),
        (SIZE, "2 GiB", 2.0**31),
        (PRICE, "0.02", 0.02),
        (PRICE, 0, 0.0),
    ],
)
def test_quantities_are_read(kind: Quantity, text: Any, value: float) -> None:
    assert kind.read(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "messages"),
    [
        (BANDWIDTH, "fast", ["'fast' is not a bandwidth", "such as '1 Gbit/s'", "Gbit/s"]),
        (BANDWIDTH, "1 Gb/s", ["'1 Gb/s' has an unknown unit 'Gb/s'", "Gbit/s"]),
        (DURATION, "20 m", ["unknown unit 'm'", "us, ms, s, min"]),
        (SIZE, "1 Mb", ["unknown unit 'Mb'"]),
        (SIZE, "", ["'' is not a number of bytes"]),
        (SIZE, True, ["True is not a number of bytes"]),
        (SIZE, [1], ["[1] is not a number of bytes"]),
        (SIZE, "1e9999 B", ["'1e9999 B'"]),
        (PRICE, "0.02 USD", ["unknown unit 'USD'", "a number of money per GB, such as 0.02"]),
    ],
)
def test_what_is_none_is_refused(kind: Quantity, text: Any, messages: list[str]) -> None:
    with pytest.raises(TopologyError) as caught:
        kind.read(text)
    for message in messages:
        assert message in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@given(value=st.floats(0, 1e300))
def test_nothing_is_lost_by_writing(kind: Quantity, value: float) -> None:
    assert kind.read(kind.write(value)) == value


@given(st.integers(1, 999), st.sampled_from(["kB", "MB", "GB", "TB"]))
def test_round_numbers_are_written_with_a_unit(number: int, unit: str) -> None:
    assert SIZE.write(SIZE.read(f"{number} {unit}")) == f"{number} {unit}"


@pytest.mark.parametrize("kind", KINDS)
def test_units_written_are_units_read(kind: Quantity) -> None:
    assert set(kind.shown) <= set(kind.units)
    assert [float(kind.units[unit]) for unit in kind.shown] == sorted(
        float(kind.units[unit]) for unit in kind.shown
    )
