"""Which tasks belong to one computation, as far as back-pressure has to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed.scheduler import TaskGroup, TaskState

#: So many groups are remembered before those that are gone are looked for.
REMEMBERED = 1000


class Computations:
    """Numbers the submissions of tasks, and remembers them by group of tasks.

    A group belongs to the submission by which the first of its tasks was wanted. The generation
    in distributed's priorities would not do: all submissions of one minute share it.

    Parameters
    ----------
    groups : mapping of str to TaskGroup
        The groups which the scheduler knows.
    """

    def __init__(self, groups: Mapping[str, TaskGroup]) -> None:
        self._groups = groups
        #: While the scheduler knows the group, and a while longer.
        self._number_of: dict[TaskGroup, int] = {}
        self._stimulus_id = ""
        self._number = 0
        self._limit = REMEMBERED

    def of(self, ts: TaskState) -> int:
        """Return the number of the computation of a task; 0 if it was never seen to wait."""
        return self._number_of.get(ts.group, 0)

    def wanted(self, ts: TaskState, stimulus_id: str) -> None:
        """Note that a task is wanted from now on."""
        group = ts.group
        if group in self._number_of:
            return
        if stimulus_id != self._stimulus_id:
            self._stimulus_id = stimulus_id
            self._number += 1
        if len(self._number_of) >= self._limit:
            known = self._groups
            self._number_of = {
                old: n for old, n in self._number_of.items() if known.get(old.name) is old
            }
            self._limit = max(REMEMBERED, 2 * len(self._number_of))
        self._number_of[group] = self._number
