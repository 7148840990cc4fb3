"""Numbers in words that people read; bytes in powers of 1000, as links and bills count them."""

from __future__ import annotations

import math

_THOUSAND = 1000
_UNITS = ("kB", "MB", "GB", "TB", "PB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def format_bytes(nbytes: float) -> str:
    """Render a number of bytes with three significant digits.

    Parameters
    ----------
    nbytes : float
        Bytes, not negative.

    Examples
    --------
    >>> [format_bytes(n) for n in (0, 999, 505_120, 99_960, 1_500_000_000)]
    ['0 B', '999 B', '505 kB', '100 kB', '1.5 GB']
    """
    if round(nbytes) < _THOUSAND:
        return f"{nbytes:.0f} B"
    value, units = nbytes / _THOUSAND, list(_UNITS)
    # Rounding may carry: 999.96 kB is 1 MB, not 1000 kB.
    while float(f"{value:.3g}") >= _THOUSAND and len(units) > 1:
        value /= _THOUSAND
        units.pop(0)
    return f"{float(f'{value:.3g}'):g} {units[0]}"


def counted(number: int, noun: str) -> str:
    """Render a number of things.

    Examples
    --------
    >>> counted(1, "task"), counted(1200, "task")
    ('1 task', '1,200 tasks')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def format_seconds(seconds: float) -> str:
    """Render a time with two significant digits, from a minute on in two units.

    Parameters
    ----------
    seconds : float
        Seconds, not negative.

    Examples
    --------
    >>> [format_seconds(s) for s in (0, 0.0004, 0.041, 3.21, 59.6, 83, 4000, 200_000)]
    ['0 s', '<1 ms', '41 ms', '3.2 s', '1 min', '1 min 23 s', '1 h 7 min', '2 d 8 h']
    """
    if round(seconds) < _MINUTE:
        return _short(seconds)
    if round(seconds) < _HOUR:
        return _two_units(round(seconds), _MINUTE, "min", 1, "s")
    if round(seconds / _MINUTE) * _MINUTE < _DAY:
        return _two_units(round(seconds / _MINUTE) * _MINUTE, _HOUR, "h", _MINUTE, "min")
    return _two_units(round(seconds / _HOUR) * _HOUR, _DAY, "d", _HOUR, "h")


def _short(seconds: float) -> str:
    milliseconds = round(seconds * _THOUSAND)
    if 0 < seconds * _THOUSAND < 1:
        return "<1 ms"
    if 0 < milliseconds < _THOUSAND:
        return f"{milliseconds} ms"
    return f"{float(f'{seconds:.2g}'):g} s"


def _two_units(seconds: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large:,} {large_name}" + (f" {rest} {small_name}" if rest else "")


def format_money(amount: float, currency: str) -> str:
    """Render an amount of money, in cents; less than a cent with two significant digits.

    Parameters
    ----------
    amount : float
        Not negative.
    currency : str
        What it is in.

    Examples
    --------
    >>> [format_money(m, "USD") for m in (0, 0.000123, 0.996, 1234.5)]
    ['0 USD', '0.00012 USD', '1.00 USD', '1,234.50 USD']
    """
    if not amount:
        return f"0 {currency}"
    cents = f"{amount:,.2f}" if round(amount, 2) else f"{float(f'{amount:.2g}'):.15f}".rstrip("0")
    return f"{cents} {currency}"


def format_share(share: float) -> str:
    """Render a share in per cent; only nothing is 0 %, and only all is 100 %.

    Examples
    --------
    >>> [format_share(share) for share in (0, 0.0001, 0.126, 0.9999, 1)]
    ['0 %', '<1 %', '13 %', '>99 %', '100 %']
    """
    if 0 < share < 0.01:  # noqa: PLR2004 - a hundredth is a per cent
        return "<1 %"
    if 0.99 < share < 1:  # noqa: PLR2004
        return ">99 %"
    return f"{share:.0%}".replace("%", " %")


def format_excess(excess: float) -> str:
    """Render by how much something is above a bound at most, rounded up to a tenth of a per cent.

    Examples
    --------
    >>> [format_excess(excess) for excess in (0, 0.00001, 0.02, 0.1234, 2.5)]
    ['0 %', '0.1 %', '2 %', '12.4 %', '250 %']
    """
    # A few last bits of a float are no tenth of a per cent.
    return f"{math.ceil(excess * 1000 - 1e-6) / 10:g} %"
