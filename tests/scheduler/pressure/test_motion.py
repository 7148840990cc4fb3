from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from dask_pools.scheduler.pressure.computations import Computations
from dask_pools.scheduler.pressure.motion import Motion


@dataclass(eq=False)
class Task:
    waiters: set[Any] = field(default_factory=lambda: {"somebody"})
    processing_on: str = "worker"
    group: str = "group"


@pytest.fixture
def crossing() -> set[Any]:
    return set()


@pytest.fixture
def motion(crossing: set[Any]) -> Motion:
    return Motion(Computations({}), crossing, {"worker"})  # type: ignore[arg-type]


def test_task_with_waiters_counts_until_it_ends(motion: Motion) -> None:
    task: Any = Task()
    assert not motion.goes_on(0)
    motion.start(task)
    assert motion.goes_on(0)
    assert motion.goes_on(0)
    assert not motion.goes_on(1)
    motion.end(task)
    assert not motion.goes_on(0)


def test_task_without_waiters_counts_only_if_it_crosses(motion: Motion, crossing: set[Any]) -> None:
    task: Any = Task(waiters=set())
    motion.start(task)
    assert not motion.goes_on(0)
    crossing.add(task)
    motion.start(task)
    assert motion.goes_on(0)


def test_task_on_a_paused_worker_does_not_count(motion: Motion) -> None:
    task: Any = Task(processing_on="paused")
    motion.start(task)
    assert not motion.goes_on(0)
    motion.end(task)


def test_one_that_counts_is_found_among_many_that_do_not(motion: Motion) -> None:
    task: Any = Task()
    for _ in range(100):
        motion.start(Task(waiters=set()))  # type: ignore[arg-type]
    motion.start(task)
    assert motion.goes_on(0)
    motion.end(task)
    assert not motion.goes_on(0)
    assert not motion._processing
