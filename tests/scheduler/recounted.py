"""What waits for another pool, counted anew from all tasks of a scheduler: slow, and simple."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dask_pools.model import TRANSFER
from dask_pools.scheduler.roster import bound_to
from tests.scheduler.staged import Stage

READY = {"queued", "no-worker", "processing"}


def is_transfer(ts: Any) -> bool:
    return TRANSFER in (ts.annotations or {})


def fetches(ts: Any) -> bool:
    """Ask whether a task is going to fetch a value from another pool."""
    own = bound_to(ts)
    apart = own and any(bound_to(dts) not in (None, own) for dts in ts.dependencies)
    return bool(is_transfer(ts) or apart) and ts.state in READY | {"waiting"}


class Recount:
    """The state of a scheduler, counted anew.

    One thing depends on the past: whether a task that is ready came from abroad until then.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.tasks = list(stage.scheduler.tasks.values())
        self._comes: dict[Any, bool] = {}

    def comes(self, ts: Any) -> bool:
        """Ask whether a task comes from abroad."""
        if ts not in self._comes:
            if ts.state == "waiting":
                known = bool(ts.waiting_on) or fetches(ts)
                comes = known and all(self.is_foreign(dts, ts) for dts in ts.waiting_on or ())
            elif ts.state in READY:
                comes = fetches(ts) or ts in self.stage.pressure.abroad.coming
            else:
                comes = False
            self._comes[ts] = comes
        return self._comes[ts]

    def is_foreign(self, ts: Any, waiter: Any) -> bool:
        own, other = bound_to(waiter), bound_to(ts)
        return self.comes(ts) or is_transfer(waiter) or bool(own and other and own != other)

    def waits(self, value: Any) -> bool:
        """Ask whether a value waits for another pool."""
        return bool(value.who_has) and any(
            self.comes(ts) and (ts.state == "waiting" or fetches(ts)) for ts in value.dependents
        )

    def check(self) -> None:
        """Compare with what has been counted step by step."""
        pressure, s = self.stage.pressure, self.stage.scheduler
        assert pressure.abroad.crossing == {ts for ts in self.tasks if fetches(ts)}
        assert pressure.abroad.coming == {ts for ts in self.tasks if self.comes(ts)}
        held = {ts for ts in self.tasks if self.waits(ts)}
        assert set(pressure.abroad._waits_for) == held

        bytes_in: Counter[str] = Counter()
        for ts in held:
            if not ts.who_wants:
                bytes_in[bound_to(ts) or pressure._place_of(ts) or ""] += ts.get_nbytes()
        bytes_in.pop("", None)
        loads = pressure._loads
        assert {pool: load.waiting for pool, load in loads.items() if load.waiting} == bytes_in
        crossings = Counter(pressure.computations.of(ts) for ts in pressure.abroad.crossing)
        assert pressure._crossings == crossings

        for pool, load in loads.items():
            expected = [r for r in pressure._expected.values() if r[0] is load]
            values = [r for r in pressure._values.values() if r[0] is load] + expected
            assert load.expected == sum(size for _, _, size in expected)
            assert load.values == Counter(computation for _, computation, _ in values)
            assert set().union(*load.reads._by_computation.values()) == {
                ts for ts in self.tasks if ts.state == "queued" and bound_to(ts) == pool
            }
        assert all(ts.state == "processing" for ts in pressure._expected)
        processing = {ts for ts in self.tasks if ts.state == "processing"}
        moving = {ts for tasks in pressure.motion._processing.values() for ts in tasks}
        assert moving <= processing - {ts for ws in s.workers.values() for ts in ws.long_running}

    def check_alive(self) -> None:
        """Check that something goes on, unless nothing can."""
        stage, s = self.stage, self.stage.scheduler
        for pool in sorted({bound_to(ts) for ts in self.tasks if ts.state == "queued"}):
            if stage.queuing.slots.has_room(pool):
                assert any(
                    ts.state == "processing"
                    and ts.processing_on in s.running
                    and ts not in ts.processing_on.long_running
                    and (ts.waiters or fetches(ts))
                    for ts in self.tasks
                ), f"{pool} has room and queued reads, and waits for nothing"
