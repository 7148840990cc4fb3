"""Quantities as people write them: "1 Gbit/s", "20 ms", "1 MB"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real

from dask_pools.errors import TopologyError

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*(.*?)\s*")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A kind of quantity, and the units in which it is written.

    Parameters
    ----------
    name : str
        With its article, for messages.
    base : str
        The unit of a number without one, in words.
    example : str
        How one is written.
    units : mapping of str to str
        By unit, what one of it is in the base unit. Decimal, as a string: 1.1 ms then is
        0.0011 s to the last bit. Upper and lower case differ, as in megabits and millibits.
    shown : tuple of str
        Those in which `write` writes, the smallest first.
    """

    name: str
    base: str
    example: str
    units: Mapping[str, str]
    shown: tuple[str, ...] = ()

    def read(self, value: object) -> float:
        """Read a number, in the base unit if it has none.

        Raises
        ------
        TopologyError
            If it is no number, or its unit is not one of these.

        Examples
        --------
        >>> BANDWIDTH.read("1 Gbit/s"), DURATION.read("20 ms"), SIZE.read(4096)
        (125000000.0, 0.02, 4096.0)
        """
        if not isinstance(value, bool) and isinstance(value, Real):
            return float(value)
        # YAML takes 1e6 for a text, and only 1.0e+6 for a number.
        found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise TopologyError(f"{value!r} is not {self.name}: {self._allowed()}")
        number, unit = found.groups()
        if unit and unit not in self.units:
            # No guess: Mb may be meant as megabits and as megabytes.
            raise TopologyError(f"{value!r} has an unknown unit {unit!r}: {self._allowed()}")
        return float(Decimal(number) * Decimal(self.units[unit] if unit else 1))

    def _allowed(self) -> str:
        if not self.units:
            return f"write a number of {self.base}, such as {self.example}."
        return (
            f"write a number of {self.base}, or one with a unit, such as '{self.example}'. "
            f"Units: {', '.join(self.units)}."
        )

    def write(self, value: float) -> str | float:
        """Write a number with a unit if nothing is lost by it, else as it is.

        Examples
        --------
        >>> BANDWIDTH.write(125e6), DURATION.write(0.02), SIZE.write(1234567.875)
        ('125 MB/s', '20 ms', 1234567.875)
        """
        for unit in reversed(self.shown):
            text = f"{value / float(self.units[unit]):.6g} {unit}"
            if value >= float(self.units[unit]) and self.read(text) == value:
                return text
        return value


SIZE = Quantity(
    "a number of bytes",
    "bytes",
    "1 MB",
    {
        "B": "1",
        "kB": "1e3",
        "MB": "1e6",
        "GB": "1e9",
        "TB": "1e12",
        "KiB": "1024",
        "MiB": "1048576",
        "GiB": "1073741824",
        "TiB": "1099511627776",
    },
    ("B", "kB", "MB", "GB", "TB"),
)
BANDWIDTH = Quantity(
    "a bandwidth",
    "bytes per second",
    "1 Gbit/s",
    {
        **{f"{unit}/s": nbytes for unit, nbytes in SIZE.units.items()},
        "bit/s": "0.125",
        "kbit/s": "125",
        "Mbit/s": "125e3",
        "Gbit/s": "125e6",
        "Tbit/s": "125e9",
    },
    tuple(f"{unit}/s" for unit in SIZE.shown),
)
DURATION = Quantity(
    "a time",
    "seconds",
    "20 ms",
    {"us": "1e-6", "ms": "1e-3", "s": "1", "min": "60"},
    ("us", "ms", "s"),
)
PRICE = Quantity("a price", "money per GB", "0.02", {})
