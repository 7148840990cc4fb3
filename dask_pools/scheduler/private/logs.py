"""What a worker notes of the values that it fetches."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Worker


def transfer_log(worker: Worker) -> deque[dict[str, Any]]:
    """Return a worker's log of what it has fetched from other workers.

    Each entry has, among others, ``who`` (the address it came from), ``keys`` (sizes by
    key) and ``total`` (their sum), sizes being bytes in memory, as `dask.sizeof.sizeof`
    measured them on the worker which made the value; not bytes on the wire.
    """
    # No error of ours here: this function goes to workers that may not have the package.
    return worker.transfer_incoming_log


def replace_transfer_log(worker: Worker, log: deque[dict[str, Any]]) -> None:
    """Give a worker another log of what it fetches."""
    worker.transfer_incoming_log = log
