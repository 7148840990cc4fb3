from __future__ import annotations

from distributed.scheduler import TaskGroup, TaskPrefix, TaskState

from dask_pools.scheduler.arrivals.rebinding import rebind


def task(key: str, **annotations: object) -> TaskState:
    ts = TaskState(key, None, "released", TaskGroup(key, TaskPrefix(key)), validate=True)
    ts.annotations = annotations
    ts.resource_restrictions = annotations.get("resources")  # type: ignore[assignment]
    return ts


def test_pool_of_a_task_changes_and_all_else_stays() -> None:
    shared = {"GPU": 1, "pool-a": 0}
    ts = task("x", placement="a", resources=shared, retries=2)
    rebind(ts, "b")
    assert ts.resource_restrictions == {"GPU": 1, "pool-b": 0}
    assert ts.annotations == {
        "placement": "b",
        "resources": {"GPU": 1, "pool-b": 0},
        "retries": 2,
    }
    assert shared == {"GPU": 1, "pool-a": 0}


def test_transfer_has_another_target_and_one_of_its_value_another_source() -> None:
    value = task("x", placement="a", resources={"pool-a": 0})
    transfer = task("t", placement="b", transfer=("a", "b"))
    other = task("u", placement="b", transfer=("d", "b"))
    for consumer in (transfer, other):
        consumer.add_dependency(value)
    rebind(value, "c")
    assert transfer.annotations == {"placement": "b", "transfer": ("c", "b")}
    assert other.annotations == {"placement": "b", "transfer": ("d", "b")}
    rebind(transfer, "c")
    assert transfer.annotations["transfer"] == ("c", "c")


def test_pinned_task_is_not_said_to_be_placed() -> None:
    ts = task("x", pool=("a", "b"), resources={"pool-a": 0})
    rebind(ts, "b")
    assert ts.annotations == {"pool": ("a", "b"), "resources": {"pool-b": 0}}
