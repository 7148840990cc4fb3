"""A budget: how many bytes, or how much money, a computation may cost between pools."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass

from dask_pools.errors import BudgetError
from dask_pools.planning.basis import Basis
from dask_pools.planning.plan import Plan
from dask_pools.planning.plan_text import plan_text
from dask_pools.units import format_bytes, format_money, format_share

#: The units of bytes. Those in powers of 1000 are what links and bills count in.
_UNITS = {
    "B": 1,
    "bytes": 1,
    **{f"{prefix}B": 1000**i for i, prefix in enumerate("kMGTP", start=1)},
    "KB": 1000,
    **{f"{prefix}iB": 1024**i for i, prefix in enumerate("KMGTP", start=1)},
}
#: The units by their letters, whatever their case.
_BY_LETTERS = {unit.lower(): unit for unit in sorted(_UNITS)}
#: Signs of currencies that people write instead of the three letters.
_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}
_BYTES = "bytes"
_CURRENCY = re.compile(r"[A-Z]{3}")
_AMOUNT = re.compile(r"\s*([+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*")
_ALLOWED = (
    "A budget is a number of bytes, such as 5e9, or a text such as '5 GB', '500 MB', '2 GiB' "
    "or '2 USD'."
)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a computation may cost between pools, at most.

    Parameters
    ----------
    amount : float
        How much, not negative.
    unit : str, default "bytes"
        ``"bytes"``, or the currency in which the topology has its prices, such as ``"USD"``.

    Raises
    ------
    BudgetError
        If the amount is negative or not finite.

    Examples
    --------
    >>> print(Budget(5e9), "or", Budget(2, "USD"))
    5 GB or 2.00 USD
    """

    amount: float
    unit: str = _BYTES

    def __post_init__(self) -> None:
        """Check that there can be such a budget."""
        if not (math.isfinite(self.amount) and self.amount >= 0):
            raise BudgetError(
                f"A budget of {self.amount:g} {self.unit} is not possible: "
                "the amount must be finite, and 0 or more."
            )

    def __str__(self) -> str:
        """Return the budget as people write it."""
        return self._shown(self.amount)

    def _shown(self, amount: float) -> str:
        return format_bytes(amount) if self.unit == _BYTES else format_money(amount, self.unit)

    def check_currency(self, currency: str) -> None:
        """Check that the budget can be compared with prices in a currency.

        Parameters
        ----------
        currency : str
            The currency of a topology.

        Raises
        ------
        BudgetError
            If the budget is in another currency.
        """
        if self.unit not in (_BYTES, currency):
            raise BudgetError(
                f"The budget of {self} is in {self.unit}, but the prices of the topology are in "
                f"{currency}: state the budget in {currency} or in bytes, or make the topology "
                f"with currency={self.unit!r} and prices in it."
            )

    def check(self, plan: Plan) -> None:
        """Refuse a plan that costs more.

        Parameters
        ----------
        plan : Plan

        Raises
        ------
        BudgetError
            If the plan exceeds the budget, if the budget is in another currency than the prices,
            or if it is in money and no prices are known of what crosses.

        Examples
        --------
        >>> from dask_pools.model import Link
        >>> from dask_pools.planning.plan import Transfer
        >>> transfer = Transfer("mean", Link("ecmwf", "eumetsat"), 4e9)
        >>> plan = Plan(tasks={"ecmwf": 3, "eumetsat": 1}, transfers=(transfer,))
        >>> Budget(5e9).check(plan)
        >>> Budget(3e9).check(plan)
        Traceback (most recent call last):
            ...
        dask_pools.errors.BudgetError: This computation would move 4 GB between pools, ...
        """
        self.check_currency(plan.currency)
        spent = plan.nbytes if self.unit == _BYTES else plan.money
        if spent is None:
            raise BudgetError(
                f"There is a budget of {self}, but no price is known for what would cross between "
                f"pools ({format_bytes(plan.nbytes)}): state the budget in bytes, or give prices "
                "with Link(..., price=...) in a topology. Nothing has been run."
            )
        if spent > self.amount:
            raise BudgetError(self._exceeded(plan, spent))

    def _exceeded(self, plan: Plan, spent: float) -> str:
        what = "move" if self.unit == _BYTES else "spend"
        over = f", {spent / self.amount:.3g} times as much" if self.amount else ""
        assumed = plan.shares.get(Basis.ASSUMED, 0.0)
        doubt = (
            f" The sizes of {format_share(assumed / plan.nbytes)} of the bytes are assumed, for "
            "nothing better is known of them; run a part of the computation first to have them "
            "learned."
            if assumed and plan.nbytes
            else ""
        )
        return (
            f"This computation would {what} {self._shown(spent)} between pools, its budget is "
            f"{self}: {self._shown(spent - self.amount)} too much{over}. Nothing has been run.\n"
            f"Select or reduce more before data of two pools meet, pin less, or raise the "
            f"budget.{doubt}\n{plan_text(plan)}"
        )


def parse_budget(budget: str | float | Budget, currency: str | None = None) -> Budget:
    """Read a budget.

    Parameters
    ----------
    budget : str, float or Budget
        A number of bytes; or a number with a unit: bytes in powers of 1000 (``"5 GB"``) or of
        1024 (``"2 GiB"``), or a currency (``"2 USD"``).
    currency : str, optional
        The currency of the topology. Default: the plan's, when the budget is checked.

    Raises
    ------
    BudgetError
        If the text is no amount with a unit, the amount is negative or not finite, or it is in
        another currency than the topology's prices.
    TypeError
        If it is neither a text nor a number.

    Examples
    --------
    >>> parse_budget("5 GB"), parse_budget("2 USD")
    (Budget(amount=5000000000.0, unit='bytes'), Budget(amount=2.0, unit='USD'))
    >>> parse_budget("5 gb")
    Traceback (most recent call last):
        ...
    dask_pools.errors.BudgetError: '5 gb' is no budget: ... Did you mean 'GB'? ...
    """
    parsed = budget if isinstance(budget, Budget) else _parse(budget, currency)
    if currency is not None:
        parsed.check_currency(currency)
    return parsed


def _parse(budget: str | float, currency: str | None) -> Budget:
    if isinstance(budget, bool) or not isinstance(budget, (str, int, float)):
        raise TypeError(f"{budget!r} of type {type(budget).__name__} is no budget. {_ALLOWED}")
    if not isinstance(budget, str):
        return Budget(float(budget))
    found = _AMOUNT.fullmatch(budget)
    if found is None:
        raise BudgetError(f"{budget!r} is no budget: it does not begin with a number. {_ALLOWED}")
    amount, unit = float(found[1]), found[2]
    if unit in _UNITS:
        return Budget(amount * _UNITS[unit])
    if unit and (unit == currency or _is_currency(unit)):
        return Budget(amount, unit)
    what = f"there is no unit {unit!r}.{_meant(unit)}" if unit else "it has no unit."
    raise BudgetError(f"{budget!r} is no budget: {what} {_ALLOWED}")


def _is_currency(unit: str) -> bool:
    """Whether a unit looks like a currency, and not like 'GIB'."""
    return bool(_CURRENCY.fullmatch(unit)) and unit.lower() not in _BY_LETTERS


def _meant(unit: str) -> str:
    """Suggest a unit: one that differs in capitals only, or is spelled alike."""
    close = difflib.get_close_matches(unit.lower(), _BY_LETTERS, n=1)
    meant = _SIGNS.get(unit)
    if meant is None and close:
        meant = _BY_LETTERS[close[0]]
    if meant is None and _is_currency(unit.upper()):
        meant = unit.upper()
    return f" Did you mean {meant!r}?" if meant else ""
