"""What finished tasks have shown: mean bytes and seconds of each kind of task, bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dask_pools.graph.submission import Learned
from dask_pools.model import TRANSFER

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

#: So many kinds of tasks are remembered, each for about half a kilobyte.
KINDS = 4096
#: After so many tasks of a kind the mean forgets: later ones count for one in so many.
MEMORY = 100
#: Once a kind is known by so many, one task in so many of them is looked at: a mean over many
#: is as good, and most tasks cost next to nothing.
EVERY = 8
#: Shorter durations, in seconds, are noise of the clock.
SHORTEST = 1e-6


class _Seen:
    """The tasks of a kind so far: how many and their mean size, how many timed and their mean."""

    __slots__ = ("nbytes", "passed", "seconds", "sized", "timed")

    def __init__(self) -> None:
        self.sized = 0
        self.nbytes = 0.0
        self.timed = 0
        self.seconds = 0.0
        #: How many have passed unseen since the last one that was looked at.
        self.passed = 0


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
    >>> table.known["read"]
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
        if seen is not None:
            self._seen.move_to_end(kind)
        else:
            seen = self._seen[kind] = _Seen()
            if len(self._seen) > self._kinds:
                self._seen.popitem(last=False)
        seen.sized = min(seen.sized + 1, MEMORY)
        seen.nbytes += (nbytes - seen.nbytes) / seen.sized
        if seconds is not None and seconds >= SHORTEST:
            seen.timed = min(seen.timed + 1, MEMORY)
            seen.seconds += (seconds - seen.seconds) / seen.timed

    def passes_over(self, kind: str) -> bool:
        """Say whether a finished task need not be looked at: its kind is known well enough."""
        seen = self._seen.get(kind)
        if seen is None or seen.sized < MEMORY:
            return False
        seen.passed += 1
        if seen.passed < EVERY:
            return True
        seen.passed = 0
        return False

    @property
    def known(self) -> Mapping[str, Learned]:
        """What is known, to be looked up; also from another thread, as it is by then."""
        return _Known(self._seen)


class _Known(Mapping[str, Learned]):
    """The table to be read; it is not copied for every small submission."""

    __slots__ = ("_seen",)

    def __init__(self, seen: Mapping[str, _Seen]) -> None:
        self._seen = seen

    def __getitem__(self, kind: str) -> Learned:
        seen = self._seen[kind]
        return Learned(seen.nbytes, seen.seconds if seen.timed else None)

    def __iter__(self) -> Iterator[str]:
        # At once, so that the table may change meanwhile.
        return iter(list(self._seen))

    def __len__(self) -> int:
        return len(self._seen)


def learn(
    table: LearnedTable, ts: TaskState, startstops: Iterable[Mapping[str, Any]]
) -> float | None:
    """Take a task that has just come into memory into account, unless it is a transfer.

    It runs on the event loop of the scheduler for every task that finishes, but those which
    `LearnedTable.passes_over`.

    Parameters
    ----------
    table : LearnedTable
        What was learned so far.
    ts : TaskState
        The task.
    startstops : iterable of mapping
        The times at which the worker began and ended what it did for the task.

    Returns
    -------
    float or None
        Seconds for which the worker has computed; None if that is not known.
    """
    if ts.annotations and TRANSFER in ts.annotations:
        return None
    seconds = None
    for span in startstops:
        if span["action"] == "compute":
            seconds = (seconds or 0.0) + span["stop"] - span["start"]
    table.add(ts.prefix.name, ts.get_nbytes(), seconds)
    return seconds
