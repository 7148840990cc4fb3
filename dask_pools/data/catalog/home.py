"""Where a catalog lies: what has to be read for it is read by a worker of that pool."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dask_pools.data.catalog.documents import whole
from dask_pools.data.catalog.found import Found
from dask_pools.data.open import find_pin
from dask_pools.data.remote import run_in_pool
from dask_pools.errors import CatalogError
from dask_pools.graph.annotate import current_pin
from dask_pools.model import Pin

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Home:
    """Where a catalog lies.

    Parameters
    ----------
    url : str
        The file or folder, its path absolute.
    pin : tuple of str or None
        The pools that hold it; None to read it here.
    said : tuple of str
        The pools, if the user has named them for the catalog: they hold also for what lies
        beside it. What is known of a location, in turn, is asked for each location.
    """

    url: str
    pin: Pin | None
    said: Pin

    @classmethod
    def of(cls, source: object, pool: str | tuple[str, ...] | None) -> Home:
        """Find where a catalog lies.

        Parameters
        ----------
        source : str or PathLike
            A URL of fsspec, or a path.
        pool : str, tuple of str or None
            Its pool. None: the pin in force, else the pool of the location.

        Raises
        ------
        TypeError
            If the source is something else.
        """
        if not isinstance(source, str | os.PathLike):
            kind = type(source).__name__
            raise TypeError(f"a catalog is read from a URL or a path, not from {kind}")
        url = whole(source)
        pin = find_pin(url, pool)
        named = pool is not None or current_pin() is not None
        return cls(url, pin, pin if pin and named else ())

    def read(self, read: Callable[..., Any], *args: Any, then: Callable[[Any], Any]) -> Any:
        """Read something there, and go on here.

        Parameters
        ----------
        read : callable
            Function of the URL, and of `args`.
        *args
            Its other arguments.
        then : callable
            Function of what it returns.

        Returns
        -------
        object
            What `then` returns; with an asynchronous client an awaitable of it.
        """
        answer = run_in_pool(read, self.url, *args, pool=self.pin, what="read-catalog")
        return _later(answer, then) if inspect.isawaitable(answer) else then(answer)


async def _later(answer: Any, then: Callable[[Any], Any]) -> Any:
    return then(await answer)


def tell_left_out(found: Found, origin: str) -> Found:
    """Warn of what is not in a catalog that was made of another one.

    Raises
    ------
    CatalogError
        If nothing is left.
    """
    reasons = "".join(f"\n  {reason}" for reason in found.left_out[:_SHOWN])
    if len(found.left_out) > _SHOWN:
        reasons += f"\n  and {len(found.left_out) - _SHOWN:,} more"
    if not found.entries:
        raise CatalogError(f"{origin} has nothing that can be opened as a data set.{reasons}")
    if found.left_out:
        warnings.warn(
            f"{len(found.left_out)} of {origin} are left out:{reasons}", UserWarning, stacklevel=5
        )
    return found
