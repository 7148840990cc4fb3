"""What the tests of private names have in common."""

from __future__ import annotations

import importlib.metadata
import inspect
from typing import Any

RELEASE = f"distributed {importlib.metadata.version('distributed')}"


def parameters(function: Any) -> set[str]:
    """Name the parameters of a function."""
    return set(inspect.signature(function).parameters)


class Empty:
    """A scheduler from which distributed has removed everything."""

    def __init__(self) -> None:
        self.stream_handlers: dict[str, Any] = {}
        self.handlers: dict[str, Any] = {}
