from __future__ import annotations

from typing import Any

import pytest

from dask_pools.errors import UnknownPoolError
from dask_pools.scheduler.arrivals.restrictions import (
    Choice,
    choose_pools,
    is_restricted,
    restrict,
    restricted_keys,
)

ALIVE = {"a", "b"}


def settled(
    tasks: list[str], annotations: dict[str, Any], overall: dict[str, Any] | None = None
) -> tuple[dict[str, Any], Any]:
    default = (overall or {}).get("pool")
    overall_after = restrict(choose_pools(tasks, annotations, default, ALIVE), annotations, overall)
    return annotations, overall_after


@pytest.mark.parametrize(
    ("own", "default", "pool"),
    [
        ({"pool": ("a",)}, None, "a"),
        ({"pool": "a"}, None, "a"),
        ({"pool": ("b", "a")}, None, "b"),
        ({"pool": ("gone", "b")}, None, "b"),
        ({"placement": "b"}, None, "b"),
        ({"pool": ("a", "b"), "placement": "b"}, None, "b"),
        ({"pool": ("a", "gone"), "placement": "gone"}, None, "a"),
        ({"pool": ("a",), "placement": "b"}, None, "a"),
        ({"pool": ("b",)}, ("a",), "b"),
        ({"placement": "gone"}, ("gone", "a"), "a"),
        ({"placement": "b"}, ("a",), "a"),
        ({"placement": "b", "transfer": ("a", "b")}, ("a",), "b"),
        ({"pool": None}, ("a",), None),
        ({"pool": None}, None, None),
    ],
)
def test_pool_of_a_task_with_annotations_of_its_own(
    own: dict[str, Any], default: tuple[str, ...] | None, pool: str | None
) -> None:
    annotations = {kind: {"x": value} for kind, value in own.items()}
    assert choose_pools(["x"], annotations, default, ALIVE).pools.get("x") == pool


@pytest.mark.parametrize(("default", "pool"), [(("a", "b"), "a"), (("gone", "b"), "b")])
def test_pin_of_the_whole_is_settled_once(default: tuple[str, ...], pool: str) -> None:
    assert choose_pools(["x", "y"], {}, default, ALIVE) == Choice({}, pool)


@pytest.mark.parametrize(
    ("annotations", "default", "message"),
    [
        ({"pool": {"x": ("gone",)}}, None, "pool 'gone', to which the pin of task 'x' leads"),
        ({"pool": {"x": ("aa", "c")}}, None, "any of the pools 'aa', 'c'.*Did you mean 'a'"),
        ({"pool": dict.fromkeys("xyz", ("gone",))}, None, "pin of 3 tasks, such as 'x'"),
        ({}, ("gone",), "pool 'gone', to which the pin of 3 tasks, such as 'x'"),
        ({"pool": {"x": ("a",)}}, ("gone",), "pin of 2 tasks, such as 'y'"),
        ({"placement": {"x": "gone"}}, None, "pool 'gone', in which task 'x' had been placed"),
        ({"placement": dict.fromkeys("xy", "gone")}, None, "in which 2 tasks, such as 'x'"),
    ],
)
def test_pool_without_workers_is_an_error(
    annotations: dict[str, Any], default: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(UnknownPoolError, match=message) as caught:
        choose_pools(["x", "y", "z"], annotations, default, ALIVE)
    assert "Pools with workers: 'a', 'b'." in str(caught.value)
    assert "Nothing has been run" in str(caught.value)


def test_culled_task_may_be_pinned_anywhere() -> None:
    assert choose_pools(["x"], {"pool": {"culled": ("gone",)}}, None, ALIVE).pools == {}


def test_default_that_nobody_needs_may_be_unknown() -> None:
    assert choose_pools(["x"], {"pool": {"x": ("a",)}}, ("gone",), ALIVE) == Choice(
        {"x": "a"}, None
    )


def test_restriction_names_the_chosen_pool_with_quantity_zero() -> None:
    annotations, overall = settled(["x", "y"], {"pool": {"x": ("gone", "b")}})
    assert annotations["resources"] == {"x": {"pool-b": 0}}
    assert overall is None


def test_other_resources_of_the_user_are_kept_and_other_pools_dropped() -> None:
    annotations, _ = settled(
        ["x"], {"pool": {"x": ("b",)}, "resources": {"x": {"GPU": 1, "pool-a": 0}}}
    )
    assert annotations["resources"] == {"x": {"GPU": 1, "pool-b": 0}}


def test_resources_of_the_whole_reach_pinned_tasks() -> None:
    """Dask itself drops them for a task that has resources of its own, such as its pool."""
    annotations, overall = settled(
        ["x", "y"],
        {"pool": {"x": ("b",)}, "resources": {"x": {"pool-b": 0}}},
        {"resources": {"GPU": 1}},
    )
    assert annotations["resources"] == {"x": {"GPU": 1, "pool-b": 0}}
    assert overall == {"resources": {"GPU": 1}}


def test_pin_of_the_whole_is_one_restriction_for_all() -> None:
    overall = {"pool": ("gone", "b"), "resources": {"GPU": 1, "pool-gone": 0}}
    annotations, after = settled(["x", "y"], {}, overall)
    assert annotations == {}
    assert after == {"pool": ("gone", "b"), "resources": {"GPU": 1, "pool-b": 0}}
    assert overall["resources"] == {"GPU": 1, "pool-gone": 0}, "the argument was changed"


def test_pin_of_the_whole_reaches_tasks_with_resources_of_their_own() -> None:
    annotations, _ = settled(
        ["x", "y"], {"resources": {"x": {"GPU": 1}}}, {"pool": ("a",), "resources": {"pool-a": 0}}
    )
    assert annotations["resources"] == {"x": {"GPU": 1, "pool-a": 0}}


def test_resources_given_by_a_function_of_the_key_are_kept() -> None:
    overall = {"pool": ("a",), "resources": lambda key: {"GPU": len(key), "pool-b": 0}}
    annotations, after = settled(["x", "yy"], {"pool": {"x": ("b",)}}, overall)
    assert annotations["resources"] == {"x": {"GPU": 1, "pool-b": 0}}
    assert after["resources"]("yy") == {"GPU": 2, "pool-a": 0}


def test_tasks_that_share_resources_share_the_restriction() -> None:
    """Graphs have millions of tasks; a dictionary each would be felt."""
    resources = {"pool-a": 0}
    annotations, _ = settled(
        ["x", "y"],
        {"pool": dict.fromkeys("xy", ("a",)), "resources": dict.fromkeys("xy", resources)},
    )
    assert annotations["resources"]["x"] is annotations["resources"]["y"]


@pytest.mark.parametrize("loose", ["allow_other_workers", "loose_restrictions"])
def test_preference_for_workers_cannot_lead_out_of_the_pool(loose: str) -> None:
    annotations, _ = settled(
        ["x", "free"],
        {
            "pool": {"x": ("a",)},
            "workers": {"x": ["tcp://b"], "free": ["tcp://b"]},
            loose: dict.fromkeys(["x", "free"], True),
        },
    )
    assert annotations[loose] == {"x": False, "free": True}
    assert annotations["workers"] == {"x": (), "free": ["tcp://b"]}


def test_preference_of_the_whole_cannot_lead_out_of_the_pool() -> None:
    overall = {"pool": ("a",), "workers": ["tcp://b"], "allow_other_workers": True}
    annotations, after = settled(["x", "y"], {"pool": {"x": ("b",)}}, overall)
    assert after == {"pool": ("a",), "resources": {"pool-a": 0}}
    assert annotations["allow_other_workers"] == {"x": False}
    assert annotations["workers"] == {"x": ()}


def test_strict_workers_are_left_as_they_are() -> None:
    overall = {"pool": ("a",), "workers": ["tcp://a"]}
    annotations, after = settled(["x"], {}, overall)
    assert annotations == {}
    assert after["workers"] == ["tcp://a"]


@pytest.mark.parametrize(
    ("overall", "restricted"),
    [
        (None, False),
        ({}, False),
        ({"priority": 1}, False),
        ({"pool": ("a",), "resources": {"pool-a": 0}}, False),
        ({"pool": ("a",), "resources": {"pool-a": 0, "GPU": 1}}, True),
        ({"resources": {"pool-a": 0}}, True),
        ({"resources": len}, True),
        ({"workers": ["tcp://a"]}, True),
        ({"workers": []}, False),
    ],
)
def test_restrictions_of_the_user_beside_a_pin(overall: Any, restricted: bool) -> None:
    assert is_restricted(overall) is restricted


def test_tasks_with_restrictions_of_their_own() -> None:
    annotations = {
        "workers": {"x": ["tcp://a"], "y": ()},
        "resources": {"z": {"GPU": 1}, "u": {}},
        "priority": {"v": 1},
    }
    assert sorted(restricted_keys(annotations)) == ["x", "z"]
