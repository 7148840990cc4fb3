"""Python's garbage collector, paused while very many objects are made that all stay.

Each time it runs it looks at every object there is; while a million tasks are made, that is a
third of the time, and it finds nothing. Reference counting goes on as ever.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
#: How many threads ask for a pause now, and whether it was running before the first of them.
_PAUSES = 0
_WAS_ENABLED = False


@contextmanager
def paused_collector() -> Iterator[None]:
    """Pause the collector in this process; contexts of several threads may overlap.

    Examples
    --------
    >>> import gc
    >>> with paused_collector():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    global _PAUSES, _WAS_ENABLED  # noqa: PLW0603 - the collector is one for the whole process
    with _LOCK:
        if not _PAUSES:
            _WAS_ENABLED = gc.isenabled()
            gc.disable()
        _PAUSES += 1
    try:
        yield
    finally:
        with _LOCK:
            _PAUSES -= 1
            if not _PAUSES and _WAS_ENABLED:
                gc.enable()
