from __future__ import annotations

from typing import Any

from dask._task_spec import Task, TaskRef, execute_graph
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.graph import adapter
from dask_pools.graph.arriving import place_tasks
from dask_pools.graph.submission import Learned, Residence, Submission
from dask_pools.model import Pool, Topology
from dask_pools.planning.basis import Basis

POOLS = Topology((Pool("a", 1, 1), Pool("b", 1, 1)))


def add(*values: int) -> int:
    return sum(values) + 1


def graph(**inputs: str) -> dict[Any, Any]:
    """Write a graph down: x="u v" needs the values of u and v."""
    return {key: Task(key, add, *map(TaskRef, names.split())) for key, names in inputs.items()}


def circumstances(learned: dict[str, float] | None = None, **outside: Residence) -> Submission:
    return Submission(
        POOLS,
        outside.get,
        learned={kind: Learned(n, None) for kind, n in (learned or {}).items()},
    )


def test_tasks_are_placed_and_values_carried() -> None:
    tasks = graph(x="", y="", both="x y", end="both")
    placed = place_tasks(
        tasks,
        ["end"],
        circumstances({"x": 10.0, "y": 1000.0}),
        pins={"x": ("a",), "y": ("b",)},
    )
    assert placed.pools == {"x": "a", "y": "b", "both": "b", "end": "b", "transfer-a-b-/x": "b"}
    assert placed.transfers == {"transfer-a-b-/x": ("a", "b")}
    assert adapter.dependencies(placed.tasks["both"]) == {"transfer-a-b-/x", "y"}


def test_value_of_an_earlier_submission_is_where_it_is() -> None:
    placed = place_tasks(
        graph(sum="x y"),
        ["sum"],
        circumstances(x=Residence(("a",), 10), y=Residence(("b",), 1000)),
        pins={},
    )
    assert placed.pools == {"sum": "b", "transfer-a-b-/x": "b"}


def test_value_that_is_still_being_made_counts_as_its_kind() -> None:
    values = {"x-1": Residence(("a",), None), "y": Residence(("b",), 1000)}
    tasks = {"sum": Task("sum", add, TaskRef("x-1"), TaskRef("y"))}
    for nbytes, pool in [(10.0, "b"), (1e6, "a")]:
        placed = place_tasks(tasks, ["sum"], circumstances({"x": nbytes}, **values), pins={})
        assert placed.pools["sum"] == pool


def test_task_that_is_left_alone_gets_no_place_and_no_transfer() -> None:
    placed = place_tasks(
        graph(x="", y="", both="x y"),
        ["both"],
        circumstances(),
        pins={"x": ("a",), "y": ("b",)},
        alone={"both"},
    )
    assert placed.pools == {"x": "a", "y": "b"}
    assert not placed.transfers


def test_default_pin_holds_where_no_other_does() -> None:
    placed = place_tasks(
        graph(x="", y="x", z="y"),
        ["z"],
        circumstances(),
        pins={"x": ("b",), "z": ()},
        default=("a",),
    )
    assert {key: placed.pools[key] for key in "xyz"} == {"x": "b", "y": "a", "z": "a"}


def test_what_has_been_worked_on_is_carried_if_nothing_is_known() -> None:
    placed = place_tasks(
        graph(x="", y="", xx="x", yy="y", yyy="yy", both="xx yyy"),
        ["both"],
        circumstances({"x": 1000.0, "y": 1000.0}),
        pins={"x": ("a",), "y": ("b",)},
    )
    assert list(placed.transfers) == ["transfer-b-a-/yyy"]


def test_what_hangs_on_assumed_sizes_is_told() -> None:
    placed = place_tasks(
        graph(x="", y="", both="x y"),
        ["both"],
        circumstances({"y": 2e6}),
        pins={"x": ("a",), "y": ("b",)},
    )
    assert placed.estimates is not None
    assert sorted(placed.estimates.watched) == ["x", "y"]
    assert placed.estimates.of("x") == (1e6, Basis.ASSUMED)
    assert placed.estimates.of("y") == (2e6, Basis.LEARNED)
    assert placed.estimates.of("never seen") is None
    assert "transfer-a-b-/x" not in placed.estimates


@st.composite
def graphs(draw: Any) -> tuple[dict[Any, Any], dict[Any, tuple[str, ...]]]:
    n = draw(st.integers(1, 9))
    tasks, pins = {}, {}
    for i in range(n):
        needs = [f"t-{j}" for j in range(i) if draw(st.integers(0, 2)) == 0]
        tasks[f"t-{i}"] = Task(f"t-{i}", add, *map(TaskRef, needs))
        if draw(st.booleans()):
            pins[f"t-{i}"] = draw(st.sampled_from([("a",), ("b",), ("b", "a"), ()]))
    return tasks, pins


@given(graphs(), st.sets(st.integers(0, 8)))
def test_results_are_the_same_and_only_transfers_cross(made: Any, wanted: set[int]) -> None:
    tasks, pins = made
    keys = sorted({f"t-{i}" for i in wanted} & tasks.keys()) or ["t-0"]
    placed = place_tasks(tasks, keys, circumstances(), pins=pins)
    found, expected = (execute_graph(dict(t), keys=keys) for t in (placed.tasks, tasks))
    assert {key: found[key] for key in keys} == {key: expected[key] for key in keys}
    for key, task in placed.tasks.items():
        pin = pins.get(key)
        assert not pin or placed.pools[key] in pin
        for value in adapter.dependencies(task):
            pools = {placed.pools.get(key), placed.pools.get(value)} - {None}
            assert len(pools) < 2 or key in placed.transfers
