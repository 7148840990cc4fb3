from __future__ import annotations

from typing import Any

import pytest
from distributed.utils_test import gen_cluster

from dask_pools.scheduler.membership import Membership
from dask_pools.scheduler.roster import Roster, bound_only, bound_to
from tests.scheduler.imagined import imagine
from tests.scheduler.queued import TO_A, TO_B

alone = gen_cluster(nthreads=[])


class Heard:
    """A roster, and what it has told."""

    def __init__(self, scheduler: Any) -> None:
        self.roster = Roster(scheduler, Membership())
        self.stop = self.roster.watch()
        self.events: list[Any] = []
        self.roster.moved.append(self.moved)
        self.roster.changed.append(lambda pool: self.events.append(pool.name))

    def moved(self, ws: Any, pools: Any) -> None:
        self.events.append((ws, [pool.name for pool in pools]))

    def take(self) -> list[Any]:
        events, self.events = self.events, []
        return events


@alone
async def test_listeners_hear_of_a_worker_before_they_hear_of_its_pools(s):
    heard = Heard(s)
    with imagine(s) as world:
        both = world.add_worker({"pool-a": 1, "pool-b": 1})
        assert heard.take() == [(both, ["a", "b"]), "a", "b"]
        other = world.add_worker({"GPU": 1})
        assert heard.take() == []
        s.handle_worker_status_change("paused", both, "test")
        assert heard.take() == [(both, ["a", "b"]), "a", "b"]
        assert not heard.roster.running("a")
        s.handle_worker_status_change("running", both, "test")
        assert heard.roster.running("a") == {both}
        heard.take()
    assert heard.take() == [(both, ["a", "b"]), "a", "b", (other, [])]
    assert not heard.roster.pools
    heard.stop()


@alone
async def test_pools_are_counted_and_keep_their_identity(s):
    heard = Heard(s)
    with imagine(s) as world:
        first = world.add_worker(TO_A, nthreads=2)
        world.add_worker(TO_A, nthreads=3)
        pool = heard.roster.pools["a"]
        assert pool.nthreads == 5
        assert heard.roster.pools_of(first) == (pool,)
    assert heard.roster.pools_of(first) == ()
    assert pool.nthreads == 0
    with imagine(s) as world:
        world.add_worker(TO_A)
        assert heard.roster.pools["a"] is pool
    heard.stop()


@alone
async def test_workers_of_before_are_known(s):
    with imagine(s) as world:
        ws = world.add_worker(TO_A)
        assert Roster(s, Membership()).running("a") == {ws}


class Restricted:
    def __init__(self, resources: Any = None, workers: Any = None, hosts: Any = None) -> None:
        self.resource_restrictions = resources
        self.worker_restrictions = workers
        self.host_restrictions = hosts


@pytest.mark.parametrize(
    ("task", "pool", "only"),
    [
        (Restricted(), None, None),
        (Restricted({}), None, None),
        (Restricted({"GPU": 1}), None, None),
        (Restricted(TO_B), "b", "b"),
        (Restricted({"pool-b": 1}), "b", None),
        (Restricted({"GPU": 1, "pool-b": 0}), "b", None),
        (Restricted(TO_B, workers={"tcp://x:1"}), "b", None),
        (Restricted(TO_B, hosts={"x"}), "b", None),
    ],
)
def test_pool_of_a_task_is_read_from_its_restrictions(task: Any, pool: Any, only: Any) -> None:
    assert bound_to(task) == pool
    assert bound_only(task) == only
