"""The work stealing.

When one of these tests fails, this release of distributed has changed something:
mend `dask_pools.scheduler.private.stealing`, and nothing else.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from distributed.stealing import WorkStealing
from distributed.utils_test import gen_cluster, gen_test

from dask_pools.errors import DistributedChangedError
from dask_pools.scheduler.private import stealing
from tests.scheduler.private.release import RELEASE, parameters
from tests.scheduler.states import still, task, worker

#: Every plugin of a scheduler has these.
HOOKS = {"remove_worker", "restart"}


class Notes(list[Any]):
    """Notes what it is told, and keeps tasks apart that have a restriction."""

    divides = False

    def put(self, ts: Any, address: str, level: int) -> bool:
        self.append(("put", ts.key, address, level))
        return bool(ts.resource_restrictions)

    def remove(self, ts: Any, address: str) -> None:
        self.append(("remove", ts.key, address))

    def forget_worker(self, address: str) -> None:
        self.append(("forget", address))


class Noting(stealing.RoundStealing):
    """Never balances."""

    book: Any

    def balance(self) -> None:
        self.book.append("balance")


@gen_cluster()
async def test_stealing_can_be_swapped_in_place(s, a, b):
    extension = stealing.stealing(s)
    assert type(extension) is WorkStealing, f"{RELEASE} has no extension 'stealing' of its own"
    undo = stealing.replace_stealing(s, Noting, book=Notes())
    ours: Any = s.extensions["stealing"]
    s.periodic_callbacks["stealing"].callback()
    assert ours.book[-1:] == ["balance"], (
        f"{RELEASE} no longer balances by the callback of periodic_callbacks['stealing']"
    )
    assert stealing.stealing(s) is None
    undo()
    undo()
    assert stealing.stealing(s) is extension
    assert not hasattr(extension, "book")
    assert s.periodic_callbacks["stealing"].callback.__func__ is WorkStealing.balance


@gen_test()
async def test_tasks_are_noted_as_they_come_and_go():
    async with still() as s:
        ws = worker(s, 0)
        before = task(s, "before-0", ws)
        stock = s.extensions["stealing"]
        undo = stealing.replace_stealing(s, Noting, book=Notes())
        told = stock.book
        assert ("put", "before-0", ws.address, 0) in told, (
            f"{RELEASE} keeps the tasks that may be stolen elsewhere than in key_stealable"
        )
        told.clear()
        ts = task(s, "x-0", ws)
        assert told == [("put", "x-0", ws.address, 0)], (
            f"{RELEASE} has changed WorkStealing.put_key_in_stealable"
        )
        told.clear()
        stock.move_task_request(ts, ws, worker(s, 1))
        assert told == [("remove", "x-0", ws.address)], (
            f"{RELEASE} no longer takes a task out of the book when it asks for it"
        )
        told.clear()
        transfer = task(s, "y-0", ws, transfer=("a", "b"))
        assert not told
        assert transfer not in stock.key_stealable, (
            f"{RELEASE} notes a task that may be stolen elsewhere than in put_key_in_stealable"
        )
        stock.remove_worker(s, ws.address)
        assert told == [("forget", ws.address)]
        stock.restart(s)
        assert not told
        stock.add_worker(s, ws.address)
        stock.put_key_in_stealable(before)
        undo()
        assert before in stock.key_stealable


@gen_test()
async def test_tasks_are_sorted_in_the_next_round_where_there_are_pools(monkeypatch):
    monkeypatch.setattr(stealing, "NEWCOMERS", 3)
    async with still() as s:
        ws = worker(s, 0)
        undo = stealing.replace_stealing(s, Noting, book=Notes())
        ours = s.extensions["stealing"]
        ours.book.divides = True
        gone, stays = task(s, "x-0", ws), task(s, "x-1", ws)
        assert (ours.book, ours.key_stealable) == ([], {})
        ours.remove_key_from_stealable(gone)
        ours.put_newcomers()
        assert ours.book == [("put", "x-1", ws.address, 0)]
        # Too many of them for one round: the first are sorted at once.
        more = [task(s, f"y-{i}", ws) for i in range(5)]
        assert ours.key_stealable.keys() == {stays, *more[:2]}
        undo()
        assert ours.key_stealable.keys() == {stays, *more}, (
            f"{RELEASE} does not note a task that is put by put_key_in_stealable"
        )


def test_arguments_of_what_is_replaced_are_known():
    expected = {
        "balance": {"self"},
        "put_key_in_stealable": {"self", "ts"},
        "remove_key_from_stealable": {"self", "ts"},
        "recalculate_cost": {"self", "ts"},
        "remove_worker": {"self", "scheduler", "worker", "kwargs"},
        "restart": {"self", "scheduler"},
        "move_task_request": {"self", "ts", "victim", "thief"},
        "stealing_objective": {"self", "ts", "ws", "occupancies"},
        "_get_thief": {"self", "scheduler", "ts", "potential_thieves", "occupancies"},
        "_combined_occupancy": {"self", "ws", "occupancies"},
    }
    assert expected.keys() == set(stealing.OF_STEALING)
    for name, wanted in expected.items():
        assert parameters(getattr(WorkStealing, name)) == wanted, (
            f"{RELEASE} has changed the arguments of WorkStealing.{name}"
        )


def test_other_methods_put_tasks_by_those_that_are_replaced():
    source = inspect.getsource(WorkStealing)
    assert source.count("self.stealable[worker][level].add(") == 1, (
        f"{RELEASE} notes tasks that may be stolen in more than one place"
    )


@pytest.mark.parametrize("name", sorted(set(stealing.OF_STEALING) - HOOKS))
@gen_cluster(nthreads=[])
async def test_missing_method_is_an_error_that_names_it(s, name):
    method = vars(WorkStealing)[name]
    delattr(WorkStealing, name)
    try:
        with pytest.raises(DistributedChangedError, match=name):
            stealing.replace_stealing(s, Noting, book=Notes())
    finally:
        setattr(WorkStealing, name, method)
