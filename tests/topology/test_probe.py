"""One link: what a measurement may cost, and what is made of its numbers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.topology.probe import Effort, bandwidth_of


@given(st.integers(1, 50), st.integers(10_000, 10**12))
def test_no_more_than_asked_for_is_moved(rounds: int, nbytes: int) -> None:
    effort = Effort.of(nbytes, rounds, "1 min")
    assert effort.rounds == rounds
    assert nbytes - rounds < rounds * effort.nbytes <= nbytes


def test_effort_is_read_with_units() -> None:
    assert Effort.of("3 MB", 3, "2 min") == Effort(1_000_000, 3, 120.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1 MB", 0, 1), "rounds is a whole number, 1 or greater, not 0"),
        (("1 MB", 1.5, 1), "not 1.5"),
        (("1 MB", True, 1), "not True"),
        ((2, 3, 1), "nbytes=2 is too little for 3 transfers: give some megabytes"),
        (("much", 3, 1), "'much' is not a number of bytes"),
        (("1 MB", 3, 0), "timeout is a time greater than 0, such as '5 min', not 0"),
        (("1 MB", 3, "soon"), "'soon' is not a time"),
    ],
)
def test_wrong_effort_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Effort.of(*arguments)


@given(st.floats(1e3, 1e10), st.floats(0, 1), st.lists(st.integers(10**3, 10**9), min_size=1))
def test_bandwidth_is_found_again(bandwidth: float, latency: float, sizes: list[int]) -> None:
    """Wherever the bytes take at least as long as the round trip."""
    transfers = [(n, latency + n / bandwidth) for n in sizes if n / bandwidth >= latency]
    if transfers:
        assert bandwidth_of(transfers, latency) == pytest.approx(bandwidth)


@given(st.floats(0, 100), st.floats(1e-3, 10))
def test_bandwidth_is_sound_whatever_the_round_trip(latency: float, seconds: float) -> None:
    found = bandwidth_of([(1000, seconds)], latency)
    assert 1000 / seconds <= found <= 2000 / seconds
