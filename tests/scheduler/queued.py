"""A scheduler with queues per pool and nothing else of ours, and tasks to put there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from distributed import Event, SchedulerPlugin
from distributed.utils_test import async_poll_for

from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.queues.assigning import Assigning
from dask_pools.scheduler.queues.queues import BackPressure
from dask_pools.scheduler.queues.queuing import Queuing
from dask_pools.scheduler.queues.slots import Slots
from dask_pools.scheduler.roster import Roster

#: Restrictions of a task that is bound to a pool, and nothing else.
TO_A = {"pool-a": 0}
TO_B = {"pool-b": 0}


class Follow(SchedulerPlugin):
    """Tells the slots of transitions, as the plugin of the package does."""

    def __init__(self, scheduler: Any, slots: Slots) -> None:
        self.scheduler = scheduler
        self.slots = slots

    def transition(
        self, key: Any, start: str, finish: str, *args: Any, stimulus_id: str, **kwargs: Any
    ) -> None:
        self.slots.transitioned(self.scheduler.tasks[key], start, finish, stimulus_id)


@dataclass
class Parts:
    """What was installed on a scheduler."""

    roster: Roster
    slots: Slots
    queuing: Queuing
    assigning: Assigning
    uninstall: Callable[[], None]


def install(
    s: Any,
    saturation: Callable[[str], float] = lambda pool: 1.0,
    pressure: BackPressure | None = None,
) -> Parts:
    """Install queues on a scheduler; a worker has one slot per thread unless told otherwise."""
    roster = Roster(s, Membership())
    slots = Slots(roster, saturation)
    queuing = Queuing(s, roster, slots, pressure)
    assigning = Assigning(s, roster, slots)
    follow = Follow(s, slots)
    undo = contextlib.ExitStack()
    undo.callback(roster.watch())
    s.add_plugin(follow, name="follow")
    undo.callback(s.remove_plugin, "follow")
    undo.callback(queuing.install())
    undo.callback(assigning.install())
    return Parts(roster, slots, queuing, assigning, undo.close)


def work(value: Any, gate: str | None = None) -> Any:
    """Return a value, after an event if one is named."""
    if gate is not None:
        Event(gate).wait()
    return value


def reads(c: Any, name: str, n: int, gate: str | None = None, **options: Any) -> list[Any]:
    """Submit tasks that depend on nothing, the first with the best priority."""
    keys = [f"{name}-{i}" for i in range(n)]
    return c.map(work, range(n), gate=gate, key=keys, **options)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    await async_poll_for(condition, timeout=20)


def states(s: Any, futures: Iterable[Any]) -> dict[str, int]:
    """Count tasks by state."""
    found: dict[str, int] = {}
    for future in futures:
        state = s.tasks[future.key].state if future.key in s.tasks else "unknown"
        found[state] = found.get(state, 0) + 1
    return found


def started(s: Any, prefix: str = "") -> list[str]:
    """Name the tasks in the order in which they were sent to workers."""
    return [
        transition.key
        for transition in s.transition_log
        if transition.finish == "processing" and str(transition.key).startswith(prefix)
    ]
