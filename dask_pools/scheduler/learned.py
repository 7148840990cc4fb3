"""What finished tasks have shown: mean bytes and seconds of each kind of task, bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dask.typing import Key

from dask_pools.graph.submission import Learned
from dask_pools.model import TRANSFER

if TYPE_CHECKING:
    from distributed import Scheduler

#: So many kinds of tasks are remembered, each for about half a kilobyte.
KINDS = 4096
#: After so many tasks of a kind the mean forgets: later ones count for one in so many.
MEMORY = 100
#: Shorter durations, in seconds, are noise of the clock.
SHORTEST = 1e-6


class _Seen(NamedTuple):
    """The tasks of a kind so far: how many and their mean size, how many timed and their mean."""

    sized: int
    nbytes: float
    timed: int
    seconds: float


class LearnedTable:
    """Mean bytes and seconds of the kinds of tasks, those that were seen last.

    Parameters
    ----------
    kinds : int
        Number of kinds that are remembered; the one of which no task has come for the longest
        time is forgotten.

    Examples
    --------
    >>> table = LearnedTable()
    >>> table.add("read", nbytes=100, seconds=2.0)
    >>> table.add("read", nbytes=300, seconds=4.0)
    >>> table.snapshot()["read"]
    Learned(nbytes=200.0, seconds=3.0)
    """

    def __init__(self, kinds: int = KINDS) -> None:
        self._kinds = kinds
        #: By kind, the one that was seen last at the end. As long as this object.
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, kind: str, nbytes: float, seconds: float | None) -> None:
        """Take a finished task into account.

        Parameters
        ----------
        kind : str
            Dask's prefix of its key.
        nbytes : float
            Size of its result, in bytes.
        seconds : float or None
            How long it took; None if that is not known.
        """
        seen = self._seen.get(kind)
        sized, mean, timed, took = (0, 0.0, 0, 0.0) if seen is None else seen
        sized = min(sized + 1, MEMORY)
        mean += (nbytes - mean) / sized
        if seconds is not None and seconds >= SHORTEST:
            timed = min(timed + 1, MEMORY)
            took += (seconds - took) / timed
        self._seen[kind] = _Seen(sized, mean, timed, took)
        if seen is not None:
            self._seen.move_to_end(kind)
        elif len(self._seen) > self._kinds:
            self._seen.popitem(last=False)

    def snapshot(self) -> Mapping[str, Learned]:
        """Return what is known now; it may be read in another thread, and does not change."""
        return _Snapshot(dict(self._seen))


class _Snapshot(Mapping[str, Learned]):
    """A copy of the table; what is never asked for is never built."""

    __slots__ = ("_seen",)

    def __init__(self, seen: dict[str, _Seen]) -> None:
        self._seen = seen

    def __getitem__(self, kind: str) -> Learned:
        seen = self._seen[kind]
        return Learned(seen.nbytes, seen.seconds if seen.timed else None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)


def learn(
    scheduler: Scheduler, table: LearnedTable, key: Key, startstops: Iterable[Mapping[str, Any]]
) -> None:
    """Take a task that has just come into memory into account, unless it is a transfer.

    It runs on the event loop of the scheduler for every task that finishes.

    Parameters
    ----------
    scheduler : Scheduler
        The scheduler.
    table : LearnedTable
        What was learned so far.
    key : str or tuple
        The key of the task.
    startstops : iterable of mapping
        The times at which the worker began and ended what it did for the task.
    """
    ts = scheduler.tasks.get(key)
    if ts is None or (ts.annotations and TRANSFER in ts.annotations):
        return
    seconds = None
    for span in startstops:
        if span["action"] == "compute":
            seconds = (seconds or 0.0) + span["stop"] - span["start"]
    table.add(ts.prefix.name, ts.get_nbytes(), seconds)
