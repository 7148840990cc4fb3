"""Decisions about the tasks of a lost pool, on tasks that no scheduler knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.model import restriction
from dask_pools.scheduler.loss.succession import Survivors, is_movable, successors


class Task:
    """What is read of a task of the scheduler."""

    actor = False
    worker_restrictions = host_restrictions = None

    def __init__(self, *inputs: Task, pool: str = "lost", nbytes: int = 1, **said: Any) -> None:
        self.dependencies = set(inputs)
        self.dependents: set[Task] = set()
        for value in inputs:
            value.dependents.add(self)
        self.nbytes = nbytes
        self.held: tuple[str, ...] = ()
        self.resource_restrictions = restriction(pool)
        self.annotations: dict[str, Any] | None = {"placement": pool, **said}

    def get_nbytes(self) -> int:
        return self.nbytes


SURVIVORS = Survivors(("a", "b"), lambda ts: ts.held, "b")  # type: ignore[attr-defined]


def decided(*tasks: Task, for_good: bool = False) -> list[str | None]:
    """Decide about tasks of the lost pool; None for those that stay."""
    found = successors("lost", tasks, SURVIVORS, for_good=for_good)  # type: ignore[arg-type]
    return [found.get(ts) for ts in tasks]  # type: ignore[call-overload]


def pinned(*pools: str, inputs: Sequence[Task] = (), **options: Any) -> Task:
    task = Task(*inputs, **options)
    task.annotations = {"pool": pools, "placement": "lost"}
    return task


def test_pinned_task_goes_to_the_first_of_its_pools_that_has_workers() -> None:
    assert decided(pinned("lost", "gone", "b", "a")) == ["b"]
    assert decided(pinned("lost")) == [None]


def test_free_task_goes_where_most_bytes_of_its_own_pool_go() -> None:
    large, small = pinned("lost", "b", nbytes=10), pinned("lost", "a", nbytes=3)
    free = Task(large, small)
    assert decided(large, small, free) == ["b", "a", "b"]


def test_what_was_brought_for_a_task_is_brought_to_its_new_pool() -> None:
    far = Task(pool="b", nbytes=1000)
    into = Task(far, transfer=("b", "lost"), nbytes=1000)
    read = pinned("lost", "a")
    assert decided(into, read, Task(into, read)) == ["a", "a", "a"]


def test_free_input_goes_where_it_is_needed() -> None:
    made = Task(nbytes=1000)
    read = pinned("lost", "a")
    assert decided(made, read, Task(made, read)) == ["a", "a", "a"]


def test_what_goes_along_with_what_cannot_move_stays() -> None:
    read = pinned("lost")
    into = Task(Task(pool="b"), transfer=("b", "lost"))
    follower = Task(read, into)
    assert decided(read, into, follower, Task(follower)) == [None] * 4


def test_free_tasks_leave_a_pool_that_is_lost_for_good() -> None:
    made = Task()
    bound = pinned("lost", inputs=[made])
    assert decided(made, bound) == [None, None]
    assert decided(made, bound, for_good=True) == ["b", None]


def test_free_tasks_alone_go_where_their_inputs_are_else_to_the_largest_pool() -> None:
    far = Task(pool="a", nbytes=1000)
    into = Task(far, transfer=("a", "lost"))
    assert decided(into, Task(into)) == ["a", "a"]
    assert decided(Task()) == ["b"]


def test_value_that_is_held_elsewhere_counts_where_it_is() -> None:
    copied = pinned("lost", nbytes=1000)
    copied.held = ("a",)
    assert decided(copied, Task(copied)) == [None, "a"]


def test_nothing_moves_without_other_pools() -> None:
    alone = Survivors((), lambda _: (), None)
    assert successors("lost", [pinned("lost", "a")], alone) == {}  # type: ignore[list-item]


@pytest.mark.parametrize(
    "change",
    [
        {"annotations": None},
        {"annotations": {"resources": {"pool-lost": 0}}},
        {"actor": True},
        {"worker_restrictions": {"tcp://1"}},
        {"host_restrictions": {"node-1"}},
    ],
)
def test_what_we_did_not_bind_is_not_moved(change: dict[str, Any]) -> None:
    task = pinned("lost", "a")
    vars(task).update(change)
    assert not is_movable(task)  # type: ignore[arg-type]
    assert decided(task) == [None]


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    tasks: list[Task] = []
    for _ in range(draw(st.integers(1, 12))):
        inputs = draw(st.lists(st.sampled_from(tasks), unique=True, max_size=3)) if tasks else []
        task = Task(*inputs, nbytes=draw(st.integers(0, 5)))
        pools = draw(st.sampled_from([(), ("lost",), ("lost", "a"), ("lost", "b"), ("a", "b")]))
        if pools:
            task.annotations = {"pool": pools, "placement": "lost"}
        tasks.append(task)
    return tasks


@given(graphs(), st.booleans(), st.randoms())
def test_decisions_respect_pins_and_do_not_hang_on_the_order(
    tasks: list[Task], for_good: bool, random: Any
) -> None:
    found = dict(zip(tasks, decided(*tasks, for_good=for_good), strict=True))
    shuffled = random.sample(tasks, len(tasks))
    assert found == dict(zip(shuffled, decided(*shuffled, for_good=for_good), strict=True))
    for task, place in found.items():
        pools = (task.annotations or {}).get("pool")
        if pools is not None:
            assert place == next((name for name in pools if name in ("a", "b")), None)
        elif for_good:
            assert place in ("a", "b")
        elif place is None:
            # It stays with somebody who cannot move.
            assert any(found[other] is None for other in (task.dependencies | task.dependents))
