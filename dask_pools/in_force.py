"""Values of Dask's configuration that are in force from a plain call on, or inside of `with`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

import dask


class InForce:
    """Set values now; as a context manager, bring back at its end what was there before.

    Parameters
    ----------
    values : mapping
        Names of Dask's configuration, and what they are set to.

    Examples
    --------
    >>> with InForce({"dask_pools.pool-timeout": "5s"}):
    ...     dask.config.get("dask_pools.pool-timeout")
    '5s'
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._entered = 0
        # Now, so that a plain call is enough; leaving the context undoes it.
        self._setting: AbstractContextManager[Any] | None = dask.config.set(self._values)

    def __enter__(self) -> Self:
        if self._setting is None:
            self._setting = dask.config.set(self._values)
        self._entered += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered -= 1
        if self._entered <= 0 and self._setting is not None:
            self._setting.__exit__(kind, error, traceback)
            self._setting = None
            self._entered = 0
