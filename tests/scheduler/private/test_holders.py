"""How a scheduler tells workers who holds the values that they need.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.holders`, and nothing else.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from distributed import Scheduler, Worker, wait
from distributed.stealing import WorkStealing
from distributed.utils_test import NO_AMM, async_poll_for, gen_cluster, inc

from dask_pools.errors import DistributedChangedError
from dask_pools.scheduler.private import holders
from tests.scheduler.private.release import RELEASE, Empty, parameters

THREE: dict[str, Any] = {"client": True, "nthreads": [("", 1)] * 3, "config": NO_AMM}


async def two_holders(c: Any, a: Any, b: Any) -> Any:
    """Make a value that two workers hold."""
    value = c.submit(inc, 1, key="value", workers=[a.address])
    await wait(c.submit(inc, value, key="copy", workers=[b.address]))
    return value


def sources(worker: Any) -> list[str]:
    return [entry["who"] for entry in worker.transfer_incoming_log if "value" in entry["keys"]]


@gen_cluster(**THREE)
async def test_worker_fetches_from_the_holders_it_is_told_for_a_task(c, s, a, b, third):
    for wanted in (a, b):
        value = await two_holders(c, a, b)
        asked = []

        def choose(ts: Any, wanted: Any = wanted, asked: Any = asked) -> Any:
            asked.append((ts.key, ts.processing_on.address))
            return {"value": [wanted.address]}

        undo = holders.choose_holders_of_tasks(s, choose)
        task = c.submit(inc, value, key="task", workers=[third.address])
        await task
        undo()
        assert asked == [("task", third.address)], (
            f"{RELEASE} no longer makes the message of a task by Scheduler._task_to_msg "
            "when ts.processing_on is set"
        )
        assert sources(third)[-1] == wanted.address, (
            f"{RELEASE} no longer tells workers of holders by 'who_has' of the message of a task"
        )
        del task, value
        await async_poll_for(lambda: not s.tasks, 5)
    assert "_task_to_msg" not in vars(s)


def test_stolen_tasks_are_sent_after_they_are_on_the_thief() -> None:
    source = inspect.getsource(WorkStealing.move_task_confirm)
    assert source.index("ts.processing_on = thief") < source.index("send_task_to_worker"), (
        f"{RELEASE} sends stolen tasks before it sets ts.processing_on"
    )
    assert "_task_to_msg" in inspect.getsource(Scheduler.send_task_to_worker), (
        f"{RELEASE} no longer makes the message of a stolen task by Scheduler._task_to_msg"
    )


@gen_cluster(**THREE)
async def test_worker_told_of_itself_waits_asks_and_can_be_told_of_others(c, s, a, b, third):
    value = await two_holders(c, a, b)
    questions: list[tuple[str, str, bool]] = []

    def answer(ws: Any, ts: Any, missing: bool) -> Any:
        questions.append((ws.address, ts.key, missing))
        return None

    undo_task = holders.choose_holders_of_tasks(s, lambda ts: {"value": [ts.processing_on.address]})
    undo = holders.choose_holders_asked_for(s, answer)
    task = c.submit(inc, value, key="task", workers=[third.address])
    await async_poll_for(lambda: len(questions) > 1, 10)
    assert set(questions) == {(third.address, "value", True)}, (
        f"{RELEASE} no longer has workers ask by 'request-refresh-who-has' with a stimulus "
        "'find-missing-…' for values of which they know no holder"
    )
    assert third.state.tasks["value"].state == "missing"
    ts = third.state.tasks["value"]
    holders.name_holders(s, s.workers[third.address], {"value": [b.address]}, "test")
    await task
    assert sources(third) == [b.address], (
        f"{RELEASE} no longer fetches from the holders of the message 'refresh-who-has'"
    )
    assert ts.state == "memory"
    undo()
    undo_task()
    handler = s.stream_handlers["request-refresh-who-has"]
    assert handler == s.handle_request_refresh_who_has
    assert handler.__func__ is Scheduler.handle_request_refresh_who_has


@gen_cluster(**THREE)
async def test_worker_forgets_what_the_scheduler_does_not_know(c, s, a, b, third):
    sent: list[Any] = []
    undo = holders.choose_holders_asked_for(s, lambda ws, ts, missing: [])
    s.stream_comms[a.address].send = sent.append
    s.handle_request_refresh_who_has(keys=["nobody"], worker=a.address, stimulus_id="test")
    assert [message["op"] for message in sent] == ["free-keys"], (
        f"{RELEASE} no longer answers questions for unknown values by 'free-keys'"
    )
    del s.stream_comms[a.address].send
    undo()


def test_only_questions_of_workers_that_know_no_holder_are_marked() -> None:
    assert f'f"{holders.MISSING}-' in inspect.getsource(Worker.find_missing), (
        f"{RELEASE} no longer begins the stimulus of Worker.find_missing with 'find-missing'"
    )


@gen_cluster(**THREE)
async def test_fetch_that_was_put_off_can_be_called_off(c, s, a, b, third):
    value = await two_holders(c, a, b)
    limit, third.state.transfer_incoming_bytes_limit = third.state.transfer_incoming_bytes_limit, 0
    task = c.submit(inc, value, key="task", workers=[third.address])
    await async_poll_for(lambda: "value" in third.state.tasks, 5)
    assert third.state.tasks["value"].state == "fetch"
    holders.name_holders(s, s.workers[third.address], {"value": ()}, "test")
    await async_poll_for(lambda: third.state.tasks["value"].state == "missing", 5)
    third.state.transfer_incoming_bytes_limit = limit
    assert await task == 3


@gen_cluster(**THREE)
async def test_copies_come_from_the_holders_that_are_chosen(c, s, a, b, third):
    for wanted in (a, b):
        value = await two_holders(c, a, b)
        undo = holders.choose_holders_for_copies(s, lambda ws, ts, w=wanted: [w.address])
        s.request_acquire_replicas(third.address, ["value"], stimulus_id="test")
        await async_poll_for(lambda: "value" in third.data, 5)
        assert sources(third)[-1] == wanted.address, (
            f"{RELEASE} no longer fetches from the holders of the message 'acquire-replicas'"
        )
        undo()
        del value
        await async_poll_for(lambda: not s.tasks, 5)


@gen_cluster(**THREE)
async def test_gathering_asks_for_the_holders_among_those_given(c, s, a, b, third):
    value = await two_holders(c, a, b)
    assert parameters(Scheduler.gather_on_worker) == {"self", "worker_address", "who_has"}
    told: list[Any] = []

    async def gather(who_has: Any) -> Any:
        told.append({key: list(who) for key, who in who_has.items()})
        return {"status": "partial-fail", "keys": list(who_has)}

    third.handlers["gather"] = gather
    undo = holders.choose_holders_for_copies(s, lambda ws, ts: [b.address])
    both = {value.key: [a.address, b.address]}
    assert await s.gather_on_worker(third.address, both) == {value.key}
    await s.gather_on_worker(third.address, {value.key: [a.address]})
    undo()
    await s.gather_on_worker(third.address, both)
    assert told == [{"value": [b.address]}, {"value": [a.address]}, both], (
        f"{RELEASE} no longer has workers gather from the holders given to "
        "Scheduler.gather_on_worker"
    )


@gen_cluster(**THREE)
async def test_arrivals_are_heard_of_whatever_brings_a_value(c, s, a, b, third):
    heard: list[tuple[Any, str]] = []
    undo = holders.hear_of_arrivals(s, lambda ts, ws: heard.append((ts.key, ws.address)), "any")
    value = c.submit(inc, 1, key="value", workers=[a.address])
    await wait(value)
    assert heard == [("value", a.address)], f"{RELEASE} no longer calls Scheduler.add_replica"
    await c.submit(inc, value, key="copy", workers=[b.address])
    assert ("value", b.address) in heard, (
        f"{RELEASE} no longer calls Scheduler.add_replica for what a worker has fetched"
    )
    await c.replicate(value)
    assert ("value", third.address) in heard, (
        f"{RELEASE} no longer calls Scheduler.add_replica for what was replicated"
    )
    await c.scatter({"scattered": 1}, workers=[a.address])
    assert ("scattered", a.address) in heard, (
        f"{RELEASE} no longer calls Scheduler.add_replica for what was scattered"
    )
    undo()
    assert "add_replica" not in vars(s)


@pytest.mark.parametrize(
    ("install", "name"),
    [
        (holders.choose_holders_of_tasks, "_task_to_msg"),
        (holders.choose_holders_asked_for, "handle_request_refresh_who_has"),
        (holders.choose_holders_for_copies, "request_acquire_replicas"),
        (lambda s, hear: holders.hear_of_arrivals(s, hear, "any"), "add_replica"),
    ],
)
def test_missing_name_is_an_error_with_the_release(install: Any, name: str) -> None:
    with pytest.raises(DistributedChangedError, match=name) as caught:
        install(Empty(), print)
    assert RELEASE in str(caught.value)


def test_other_arguments_are_an_error() -> None:
    scheduler: Any = Empty()
    scheduler._task_to_msg = lambda task: {}
    with pytest.raises(DistributedChangedError, match=r"_task_to_msg\(ts\)"):
        holders.choose_holders_of_tasks(scheduler, lambda ts: {})
