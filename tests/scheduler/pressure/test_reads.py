from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from dask_pools.scheduler.pressure.computations import Computations
from dask_pools.scheduler.pressure.reads import Reads


class Group:
    name = "reads"


@dataclass(eq=False)
class Task:
    priority: tuple[int, ...]
    group: Group


@pytest.fixture
def computations() -> Computations:
    return Computations({})


@pytest.fixture
def crosses() -> set[int]:
    return set()


@pytest.fixture
def reads(computations: Computations, crosses: set[int]) -> Reads:
    return Reads(computations, crosses.__contains__)


def submit(computations: Computations, reads: Reads, *priorities: int) -> list[Any]:
    """Queue the reads of one more computation."""
    group = Group()
    tasks: list[Any] = [Task((priority,), group) for priority in priorities]
    for task in tasks:
        computations.wanted(task, str(id(group)))
        reads.add(task)
    return tasks


def test_none_may_go_on_where_something_crosses(
    computations: Computations, crosses: set[int], reads: Reads
) -> None:
    (task, _) = submit(computations, reads, 1, 2)
    crosses.add(computations.of(task))
    assert reads.first() is None


def test_first_by_priority_where_nothing_crosses(computations: Computations, reads: Reads) -> None:
    late, early = submit(computations, reads, 2, 1)
    assert reads.first() is early
    reads.discard(early)
    assert reads.first() is late
    reads.discard(late)
    assert reads.first() is None


def test_those_that_complete_a_consumer_go_first(
    computations: Computations, crosses: set[int], reads: Reads
) -> None:
    submit(computations, reads, 0)
    one, other = submit(computations, reads, 2, 1)
    crosses.add(computations.of(one))
    reads.completes(one)
    reads.completes(other)
    reads.completes(other)
    assert reads.first() is other
    reads.discard(other)
    assert reads.first() is one


def test_transfer_that_becomes_known_later_closes_a_computation(
    computations: Computations, crosses: set[int], reads: Reads
) -> None:
    (task,) = submit(computations, reads, 1)
    (other,) = submit(computations, reads, 2)
    assert reads.first() is task
    crosses.add(computations.of(task))
    assert reads.first() is other
    reads.discard(other)
    assert reads.first() is None
    crosses.clear()
    reads.crosses_no_more(computations.of(task))
    assert reads.first() is task


def test_read_that_is_queued_again_is_found(computations: Computations, reads: Reads) -> None:
    (task, _) = submit(computations, reads, 1, 2)
    assert reads.first() is task
    reads.discard(task)
    reads.add(task)
    assert reads.first() is task
