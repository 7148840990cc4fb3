"""How a scheduler queues tasks, and chooses a worker for one.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.queuing`, and nothing else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from dask._task_spec import Task
from distributed import Scheduler, scheduler
from distributed.collections import HeapSet
from distributed.scheduler import TaskGroup, TaskPrefix, TaskState
from distributed.utils_test import gen_cluster, inc

from dask_pools.errors import DistributedChangedError
from dask_pools.scheduler.private import queuing
from tests.scheduler.imagined import imagine
from tests.scheduler.private.release import RELEASE, Empty, parameters


class Noted(dict[str, Any]):
    """Counts what it is told."""

    count = 0

    def __setitem__(self, address: str, ws: Any) -> None:
        self.count += 1
        super().__setitem__(address, ws)


class Noting:
    """Lets distributed do all, and notes what it was asked."""

    def __init__(self, mine: Callable[[Any], bool] = lambda ts: False) -> None:
        self.mine = mine
        self.asked: list[str] = []
        self.noted = Noted()

    def may_wait(self, ts: Any) -> bool:
        self.asked.append("may_wait")
        return self.mine(ts)

    def worker_at_once(self, ts: Any) -> Any:
        return None

    def worker_for_queued(self, ts: Any) -> Any:
        return None

    def serve(self, stimulus_id: str) -> None:
        self.asked.append("serve")


class Holding:
    """Has a task in its queues that does not exist, or none."""

    def __init__(self, *tasks: str) -> None:
        self.pool_of: Any = dict.fromkeys(tasks, "a")

    def add(self, ts: Any) -> None:
        raise AssertionError(ts)

    discard = add


@gen_cluster(client=True, nthreads=[("", 1)], worker_kwargs={"resources": {"x": 1}})
async def test_queue_is_asked_at_each_step(c, s, a):
    keeper, queues = Noting(), Holding()
    undo = queuing.keep_queues(s, keeper, queues, keeper.noted)
    futures = c.map(inc, range(20), key=[f"x-{i}" for i in range(20)])
    assert await c.gather(futures) == list(range(1, 21))
    assert "serve" not in keeper.asked
    queues.pool_of["somebody"] = "a"
    assert await c.submit(inc, 1, key="y", resources={"x": 0}) == 2
    assert {"may_wait", "serve"} <= set(keeper.asked), (
        f"{RELEASE} no longer queues tasks by Scheduler._TRANSITIONS_TABLE and "
        f"Scheduler.{queuing.SERVE}: asked were {sorted(set(keeper.asked))}"
    )
    # Once as a task starts, once as it ends.
    assert keeper.noted.count >= 40, (
        f"{RELEASE} no longer calls Scheduler.{queuing.LOAD_CHANGED} when a worker's tasks change"
    )
    undo()
    undo()
    assert not {queuing.TABLE, queuing.SERVE, queuing.LOAD_CHANGED} & set(vars(s))
    assert s._TRANSITIONS_TABLE is Scheduler._TRANSITIONS_TABLE


def test_queue_is_looked_at_as_the_last_step_of_events() -> None:
    for name in ("handle_task_finished", "handle_task_erred", "handle_long_running"):
        source = inspect.getsource(getattr(Scheduler, name)).rstrip()
        assert source.endswith(f"self.{queuing.SERVE}(stimulus_id=stimulus_id)"), (
            f"{RELEASE} no longer calls Scheduler.{queuing.SERVE} at the end of {name}"
        )
    for name in ("add_worker", "handle_worker_status_change", "client_releases_keys"):
        assert queuing.SERVE in inspect.getsource(getattr(Scheduler, name)), (
            f"{RELEASE} no longer calls Scheduler.{queuing.SERVE} in {name}"
        )


@gen_cluster(nthreads=[])
async def test_queue_is_a_heap_by_priority(s):
    assert type(s.queued) is HeapSet, f"{RELEASE} has changed the class of Scheduler.queued"
    ours, theirs = queuing.new_heap(), s.queued
    with imagine(s) as world:
        tasks = [world.add_task(f"x-{i}", priority=-i, wanted=False) for i in range(3)]
        for heap in (ours, theirs):
            for ts in tasks:
                heap.add(ts)
            assert heap.peek() is tasks[2], f"{RELEASE} no longer orders its queue by priority"
            assert list(heap.sorted()) == tasks[::-1]
            heap.discard(tasks[2])
            assert heap.peek() is tasks[1]
            for ts in tasks:
                heap.discard(ts)


def test_nobody_else_looks_at_the_queue_in_another_way() -> None:
    """Whoever stands in its place has these methods."""
    used = set(re.findall(r"self\.queued\.(\w+)", inspect.getsource(scheduler)))
    assert used <= {"add", "discard", "remove", "peek"}, (
        f"{RELEASE} uses other methods of Scheduler.queued: {sorted(used)}"
    )


@gen_cluster(nthreads=[])
async def test_rule_for_root_tasks_is_that_of_distributed(s):
    with imagine(s) as world:
        world.add_worker({}, nthreads=2)
        cases = []
        for size in (1, 4, 5, 10):
            made = [world.add_task(f"r{size}-{i}", priority=i) for i in range(size)]
            many = [f"r{size}-{i}" for i in range(size)]
            used = [world.add_task(f"u{size}-{i}", many, priority=i) for i in range(size)]
            cases += [made[0], used[0]]
        producer = world.add_task("produced", priority=0)
        producer.run_spec = Task("produced", int, _data_producer=True)
        assert producer.run_spec.data_producer, f"{RELEASE}: Task.data_producer has changed"
        cases.append(producer)
        found = [queuing.is_rootish(s, ts, s.total_nthreads) for ts in cases]
        assert found == [s.is_rootish(ts) for ts in cases], (
            f"{RELEASE} has changed Scheduler.is_rootish: ours says {found}"
        )
        assert len(set(found)) == 2
        assert all(queuing.is_queueable(ts) for ts in cases), (
            f"{RELEASE} has changed TaskState._queueable"
        )
        # Restrictions are all that we leave out.
        cases[6].resource_restrictions = {"pool-a": 0}
        assert queuing.is_rootish(s, cases[6], 2)
        assert not s.is_rootish(cases[6])


@gen_cluster(client=True)
async def test_choice_is_asked_for_tasks_that_are_not_queued(c, s, a, b):
    valid, decide = queuing.stock_choice(s)
    asked = []

    def ours(ts: Any) -> Any:
        asked.append(ts.key)
        return decide(ts)

    undo = queuing.replace_choice(s, valid, ours)
    assert await c.submit(inc, 1, key="x") == 2
    undo()
    undo()
    assert "x" in asked, f"{RELEASE} no longer calls Scheduler.{queuing.DECIDE}"
    assert not {queuing.VALID_WORKERS, queuing.DECIDE} & set(vars(s))
    assert parameters(Scheduler.valid_workers) == {"self", "ts"}
    assert parameters(Scheduler.worker_objective) == {"self", "ts", "ws"}


@gen_cluster()
async def test_objective_and_saturation_can_be_read(s, a, b):
    ts = TaskState("x", None, "released", TaskGroup("x", TaskPrefix("x")), validate=False)
    first = min(s.workers.values(), key=lambda ws: ws.address)
    assert queuing.least_busy(s, ts, s.workers.values()) is first
    assert queuing.least_busy(s, ts, []) is None
    assert queuing.worker_saturation(s) == s.WORKER_SATURATION
    assert queuing.has_room_for_unplaced(s), f"{RELEASE} has changed Scheduler.idle_task_count"


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda s: queuing.keep_queues(s, Noting(), Holding(), {}), "Scheduler.queued"),
        (lambda s: queuing.replace_choice(s, len, len), "Scheduler.worker_objective"),
        (queuing.stock_choice, "Scheduler.valid_workers"),
    ],
)
def test_missing_name_is_an_error_with_the_release(use: Any, name: str) -> None:
    with pytest.raises(DistributedChangedError, match=name) as caught:
        use(Empty())
    assert RELEASE in str(caught.value)


@pytest.mark.parametrize("step", [queuing.WAITS, queuing.STARTS, queuing.LEAVES])
@gen_cluster(nthreads=[])
async def test_missing_transition_is_an_error(s, step):
    s._TRANSITIONS_TABLE = {k: v for k, v in s._TRANSITIONS_TABLE.items() if k != step}
    names = set(vars(s))
    with pytest.raises(DistributedChangedError, match=step[1]):
        queuing.keep_queues(s, Noting(), Holding(), {})
    assert set(vars(s)) == names
    del s._TRANSITIONS_TABLE
