"""On the workers: count all bytes that are fetched, and show what the log still holds.

A worker keeps a log of what it has fetched from other workers, but only its last entries
(1000 by default). The log is replaced by one that adds up what goes into it.

This module and `dask_pools.scheduler.private.logs` go to the workers by value: a worker
whose environment has no dask_pools can join the cluster, and is counted like any other.
Therefore it imports nothing else of the package.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import cloudpickle
from distributed import WorkerPlugin

from dask_pools.scheduler.private import logs
from dask_pools.scheduler.private.logs import replace_transfer_log, transfer_log

if TYPE_CHECKING:
    from distributed import Worker

#: Name of the plugin on the workers.
NAME = "dask-pools-transfers"
#: The operation of a worker that returns what it has counted.
OPERATION = "dask_pools_transfers"


class CountingLog(deque[dict[str, Any]]):
    """A transfer log that adds up the bytes of all entries which were ever appended.

    Parameters
    ----------
    entries : iterable of dict
        Entries of the log which it replaces; they are counted as well.
    maxlen : int or None
        How many entries are held.

    Examples
    --------
    >>> log = CountingLog([], maxlen=1)
    >>> for total in (10, 20):
    ...     log.append({"who": "tcp://a", "keys": {"x": total}, "total": total})
    >>> len(log), log.bytes_from
    (1, {'tcp://a': 30})
    """

    def __init__(self, entries: Iterable[dict[str, Any]] = (), maxlen: int | None = None) -> None:
        super().__init__(entries, maxlen)
        #: Bytes in memory by the address of the worker they came from; as long as the log.
        self.bytes_from: dict[str, int] = {}
        for entry in self:
            self._count(entry)

    def append(self, entry: dict[str, Any]) -> None:
        """Add an entry, and count it."""
        super().append(entry)
        self._count(entry)

    def _count(self, entry: dict[str, Any]) -> None:
        source = entry["who"]
        self.bytes_from[source] = self.bytes_from.get(source, 0) + entry["total"]


class TransferCounter(WorkerPlugin):
    """Counts what a worker fetches, from its setup to its teardown."""

    name = NAME
    idempotent = True

    def setup(self, worker: Worker) -> None:
        """Replace the worker's log by one that counts, and answer `OPERATION`."""
        log = transfer_log(worker)
        self.log = CountingLog(log, log.maxlen)
        replace_transfer_log(worker, self.log)
        worker.handlers[OPERATION] = self.transfers

    def teardown(self, worker: Worker) -> None:
        """Give the worker back a plain log with the entries which are held."""
        if transfer_log(worker) is self.log:
            replace_transfer_log(worker, deque(self.log, self.log.maxlen))
        worker.handlers.pop(OPERATION, None)

    def transfers(self, entries: bool = False) -> dict[str, Any]:
        """Return the counted bytes, and on demand the entries that the log still holds."""
        answer: dict[str, Any] = {"bytes_from": dict(self.log.bytes_from)}
        if entries:
            answer["entries"] = [(entry["who"], entry["keys"]) for entry in self.log]
        return answer


@functools.cache
def pickled_counter() -> bytes:
    """Pickle a `TransferCounter` together with its code."""
    modules = [sys.modules[__name__], logs]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickled: bytes = cloudpickle.dumps(TransferCounter())
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return pickled
