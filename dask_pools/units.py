"""Numbers in words that people read; bytes in powers of 1000, as links and bills count them."""

from __future__ import annotations

_THOUSAND = 1000
_UNITS = ("kB", "MB", "GB", "TB", "PB")


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
    >>> counted(1, "task"), counted(12, "task")
    ('1 task', '12 tasks')
    """
    return f"{number} {noun}{'s' * (number != 1)}"
