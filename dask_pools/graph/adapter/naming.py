"""Configuration that must not be, and the names of keys."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable

import dask

from dask_pools.errors import ExpressionArraysError
from dask_pools.model import Pin


def require_graph_arrays() -> None:
    """Refuse to work with expression arrays, which ignore annotations and our optimiser.

    Raises
    ------
    ExpressionArraysError
        If ``array.query-planning`` is true in Dask's configuration.
    """
    if dask.config.get("array.query-planning", False):
        raise ExpressionArraysError(
            "Dask's configuration has array.query-planning: True. Expression arrays ignore "
            "annotations, so that pins would be lost without a word. Allowed: False. "
            "Start Python with DASK_ARRAY__QUERY_PLANNING=False, or put "
            "'array: {query-planning: false}' into the configuration before dask.array is imported."
        )


#: The function of ``dask.tokenize`` that hashes; `tokenize` looks it up at every call.
_TOKENIZE = "_tokenize"
_NAMING = threading.Lock()


def name_keys_by(current: Callable[[], Pin | None]) -> None:
    """Make the names of keys depend on the pin that is in force when they are made.

    Dask names a key by a hash of the call that makes it. The same call in two pools reads
    different data, so the pin has to be a part of what is hashed. Where no pin is in force
    names stay as they are. Doing it again changes nothing.

    Parameters
    ----------
    current : callable
        Returns the pin in force, or None.
    """
    module = importlib.import_module("dask.tokenize")
    with _NAMING:
        plain = getattr(module, _TOKENIZE)
        if getattr(plain, "names_pools", False):
            return

        @functools.wraps(plain)
        def tokenize(*args: object, **kwargs: object) -> str:
            token: str = plain(*args, **kwargs)
            pin = current()
            return plain(token, "pool", pin) if pin else token

        tokenize.names_pools = True  # type: ignore[attr-defined]
        setattr(module, _TOKENIZE, tokenize)
