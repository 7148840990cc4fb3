from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dask_pools.scheduler.pressure.computations import REMEMBERED, Computations


@dataclass(eq=False)
class Group:
    name: str


@dataclass(eq=False)
class Task:
    group: Group = field(default_factory=lambda: Group("reads"))


def test_groups_wanted_by_one_submission_belong_together() -> None:
    computations = Computations({})
    one, other, later = Task(), Task(), Task()
    for task, stimulus in ((one, "x"), (other, "x"), (later, "y")):
        computations.wanted(task, stimulus)
    assert computations.of(one) == computations.of(other) != computations.of(later)


def test_group_stays_with_the_submission_that_wanted_it_first() -> None:
    computations = Computations({})
    task = Task()
    computations.wanted(task, "x")
    first = computations.of(task)
    computations.wanted(Task(), "y")
    computations.wanted(Task(task.group), "y")
    assert computations.of(task) == first


def test_task_that_was_never_wanted_belongs_to_none() -> None:
    assert Computations({}).of(Task()) == 0


def test_groups_that_are_gone_are_forgotten() -> None:
    """And only those: after ten thousand submissions little is left."""
    groups: dict[str, Any] = {}
    computations = Computations(groups)
    kept = Task(Group("kept"))
    groups["kept"] = kept.group
    computations.wanted(kept, "first")
    number = computations.of(kept)
    for i in range(10 * REMEMBERED):
        computations.wanted(Task(Group(f"gone-{i}")), f"stimulus-{i}")
    assert len(computations._number_of) <= REMEMBERED
    assert computations.of(kept) == number
