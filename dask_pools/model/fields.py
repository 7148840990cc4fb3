"""What the dataclasses of the model have in common: short reprs, numbers that are checked."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Real
from typing import Any, cast

from dask_pools.errors import TopologyError


class ShortRepr:
    """Show the fields of a dataclass that are not at their default."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = [
            f"{f.name}={value!r}"
            for f in fields(cast(Any, self))
            if f.repr and (value := getattr(self, f.name)) != f.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def check_number(of: object, name: str, whose: str, unit: str, *, positive: bool = False) -> None:
    """Refuse a field that is not a finite number (a bool is none); make it a float."""
    value: object = getattr(of, name)
    if not isinstance(value, bool) and isinstance(value, Real):
        number = float(value)
        if math.isfinite(number) and (number > 0 or (number == 0 and not positive)):
            object.__setattr__(of, name, number)
            return
    least = "greater than 0" if positive else "0 or greater"
    raise TopologyError(f"{name} of {whose} is a number ({unit}), {least}, not {value!r}")


def check_count(of: object, name: str, whose: str) -> None:
    """Refuse a field that is not a number of things."""
    value = getattr(of, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TopologyError(f"{name} of {whose} is a whole number, 0 or greater, not {value!r}")
