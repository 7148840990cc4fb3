"""What the optimiser is told of the computation it works on, when it runs on a scheduler.

The scheduler plugin sets `SUBMISSION` around Dask's own materialisation of a graph. On a
client (``dask.optimize``, the threaded and the synchronous scheduler) it is not set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dask.typing import Key

from dask_pools.model import Pin, Topology

if TYPE_CHECKING:
    from dask_pools.graph.estimates import Estimates


@dataclass(frozen=True, slots=True)
class Residence:
    """Where a value that the scheduler knows already is, or will be made.

    Parameters
    ----------
    pin : tuple of str
        The pools that hold the value, or to which its task is bound; empty if it has no pool.
    nbytes : int or None
        Its size in bytes; None if not known yet.
    """

    pin: Pin
    nbytes: int | None


@dataclass(frozen=True, slots=True)
class Learned:
    """What earlier runs of one kind of task have shown.

    Parameters
    ----------
    nbytes : float or None
        Bytes of a result, on average; None if none was seen yet.
    seconds : float or None
        Seconds that a task took, on average; None if none was seen yet.
    """

    nbytes: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Submission:
    """The circumstances of one submission to a scheduler.

    Parameters
    ----------
    topology : Topology
        The pools that have workers now.
    residence : callable
        Looks up where the value of a key of an earlier submission is; None if unknown.
    known : container of keys
        The keys that the scheduler knows from earlier submissions.
    learned : mapping of str to Learned
        What was learned of each kind of task (Dask's prefix of its key).
    estimates : list of Estimates
        What hangs on sizes that are not exact. Empty at first: the optimiser adds to it.
    topologies : list of Topology
        What the user has said of links and rules. Empty at first, as before.
    awaited : collection of str
        The pools that have lost all their workers, and whose tasks wait for new ones.
    """

    topology: Topology
    residence: Callable[[Key], Residence | None]
    known: Container[Key] = frozenset()
    learned: Mapping[str, Learned] = field(default_factory=dict)
    estimates: list[Estimates] = field(default_factory=list)
    topologies: list[Topology] = field(default_factory=list)
    awaited: Collection[str] = frozenset()


#: The submission that is being optimised in this context.
SUBMISSION: ContextVar[Submission | None] = ContextVar("dask_pools_submission", default=None)
