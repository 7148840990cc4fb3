"""Which files processes open, and where these are. Workers import this module."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

from distributed import Client

from tests.homes import here

#: What was opened in this process: the name of a site, and the pool of the worker.
_OPENED: Counter[tuple[str, str | None]] = Counter()
#: The directories of the sites that are watched; a hook cannot be taken out again.
_WATCHED: list[str] = []


def watch(directory: Path) -> None:
    """Note from now on what is opened below a directory, in which each site has its own."""
    if not _WATCHED:
        sys.addaudithook(_note)
    _WATCHED.append(str(directory) + os.sep)


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.fsdecode(arguments[0])
        for directory in _WATCHED:
            if path.startswith(directory):
                _OPENED[path.removeprefix(directory).partition(os.sep)[0], here()] += 1


def take_opened(client: Client) -> Counter[tuple[str, str | None]]:
    """Count what workers have opened since the last time, by site and by pool of the worker."""
    total: Counter[tuple[str, str | None]] = Counter()
    for found in client.run(_take).values():
        total.update(found)
    return total


def _take() -> Counter[tuple[str, str | None]]:
    taken = _OPENED.copy()
    _OPENED.clear()
    return taken
