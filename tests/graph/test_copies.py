"""Values that any pool can make for itself: found, copied, and equal to the original."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask._task_spec import execute_graph

from dask_pools.graph import adapter
from dask_pools.graph.copies import (
    LARGEST_LITERAL,
    LONGEST_COPY,
    copy_key,
    copy_task,
    find_copyable,
)
from dask_pools.graph.leftovers import find_leftovers
from tests.sources import Store


def tasks_of(x: Any) -> dict[Any, Any]:
    keys = adapter.flat_keys(x.__dask_keys__())
    graph = adapter.fuse_blockwise(x.__dask_graph__(), keys)
    raw: dict[Any, Any] = {}
    for name in adapter.sorted_layers(graph):
        raw.update(adapter.layer_tasks(graph.layers[name]))
    return adapter.as_tasks(raw)


def free(key: Any) -> None:
    """Say that nothing is bound."""


SOURCES: dict[str, Callable[[], da.Array]] = {
    "ones": lambda: da.ones((4, 4), chunks=2),
    "zeros": lambda: da.zeros((4, 4), chunks=2, dtype="i4"),
    "full": lambda: da.full((4, 4), 3.5, chunks=2),
    "full_like": lambda: da.full_like(da.ones(4, chunks=2), 2),
    "arange": lambda: da.arange(8, chunks=2),
    "linspace": lambda: da.linspace(0, 1, 8, chunks=2),
    "eye": lambda: da.eye(4, chunks=2),
    "indices": lambda: da.indices((4, 4), chunks=2),
    "tri": lambda: da.tri(4, chunks=2),
    "diag": lambda: da.diag(da.arange(4, chunks=2)),
    "meshgrid": lambda: da.meshgrid(da.arange(4, chunks=2), da.arange(4, chunks=2))[0],
    "array of the user": lambda: da.from_array(np.arange(8.0), chunks=2),
    "its slices": lambda: da.from_array(np.arange(8.0), chunks=2)[1:5],
    "number": lambda: da.asarray(3.0),
    "random": lambda: da.random.random(8, chunks=2),
    "normal": lambda: da.random.default_rng(3).normal(size=8, chunks=2),
    "integers": lambda: da.random.default_rng(3).integers(8, size=8, chunks=2),
    "normal around": lambda: da.random.default_rng(3).normal(da.ones(8, chunks=2), chunks=2),
    "RandomState": lambda: da.random.RandomState(3).normal(size=8, chunks=2),
    "RandomState.choice": lambda: da.random.RandomState(3).choice(8, size=8, chunks=2),
    "arithmetic": lambda: (da.arange(8, chunks=2) * 2 + 1 > 5).astype("f4"),
    "of two": lambda: da.random.default_rng(1).random((8, 8), chunks=4) * da.arange(8, chunks=4),
    "ufunc": lambda: da.sin(da.arange(8, chunks=2)),
    "rechunked": lambda: da.arange(8, chunks=4).rechunk(2),
}


@pytest.mark.parametrize("name", SOURCES)
def test_copies_are_equal_to_the_original(name: str) -> None:
    x = SOURCES[name]()
    keys = adapter.flat_keys(x.__dask_keys__())
    tasks = tasks_of(x)
    found = find_copyable(tasks, free)
    assert set(keys) <= set(found)
    before = execute_graph(dict(tasks), keys=set(keys))
    for key in keys:
        copy = copy_task(tasks, found[key], copy_key(key, "a"))
        assert copy.key == copy_key(key, "a")
        assert not copy.dependencies
        other = pickle.loads(pickle.dumps(copy))
        for again in (copy, copy, other):
            value = again({})
            np.testing.assert_array_equal(value, before[key])
            assert np.asarray(value).dtype == np.asarray(before[key]).dtype
    # Making copies has changed nothing that the originals are made of.
    after = execute_graph(dict(tasks), keys=set(keys))
    for key in keys:
        np.testing.assert_array_equal(after[key], before[key])


def delayed() -> da.Array:
    return da.from_delayed(dask.delayed(np.ones)(4), (4,), "f8")


NOT_COPIED: dict[str, Callable[[], da.Array]] = {
    "empty": lambda: da.empty((4, 4), chunks=2),
    "generator that is used up": lambda: da.random.default_rng(3).choice(8, size=8, chunks=2),
    "function of the user": lambda: da.fromfunction(lambda i: i, shape=(8,), chunks=2),
    "map_blocks": lambda: da.arange(8, chunks=2).map_blocks(lambda x: x + time.time()),
    "ufunc of the user": lambda: da.arange(8, chunks=2).map_blocks(np.frompyfunc(abs, 1, 1)),
    "large literal": lambda: da.from_array(np.zeros(LARGEST_LITERAL // 8), chunks=-1),
    "objects": lambda: da.from_array(np.array([None, 1], dtype=object), chunks=1),
    "no literal": lambda: da.from_array(Store(0, (8,), np.dtype("f8"), ()), chunks=2),
    "delayed function": delayed,
    "product of matrices": lambda: da.ones((4, 4), chunks=4) @ da.ones((4, 4), chunks=4),
}


@pytest.mark.parametrize("name", NOT_COPIED)
def test_what_may_differ_or_costs_too_much_is_not_copied(name: str) -> None:
    x = NOT_COPIED[name]()
    found = find_copyable(tasks_of(x), free)
    assert not set(adapter.flat_keys(x.__dask_keys__())) & set(found)


def test_small_literal_is_copied_up_to_a_megabyte() -> None:
    x = da.from_array(np.zeros(LARGEST_LITERAL // 8 - 1), chunks=-1)
    assert len(find_copyable(tasks_of(x), free)) == 1


def test_literals_of_all_parts_count_together() -> None:
    half = np.zeros(LARGEST_LITERAL // 8 // 2 + 1)
    x = da.stack([da.from_array(half, chunks=-1), da.from_array(half + 1, chunks=-1)]).rechunk(-1)
    assert x.__dask_keys__()[0][0] not in find_copyable(tasks_of(x), free)


def test_bound_tasks_and_what_comes_from_them_are_not_copied() -> None:
    x = da.arange(8, chunks=4)
    y = da.ones(8, chunks=4)
    tasks = tasks_of(da.stack([x, y]))
    found = find_copyable(tasks, lambda key: key[0] == x.name or None)
    assert found
    assert not any(x.name in (part[0] for part in parts) for parts in found.values())


def test_long_chains_are_not_repeated() -> None:
    x = da.arange(8, chunks=4)
    tasks = tasks_of(x)
    for i in range(LONGEST_COPY + 2):
        source = (x.name, 0) if i == 0 else ("step", i - 1)
        tasks["step", i] = adapter.as_tasks({("step", i): (np.negative, source), source: 1})[
            "step", i
        ]
    found = find_copyable(tasks, free)
    assert max(len(parts) for parts in found.values()) == LONGEST_COPY
    assert ("step", LONGEST_COPY + 1) not in found


def test_order_of_the_tasks_does_not_matter() -> None:
    tasks = tasks_of(SOURCES["indices"]())
    backwards = dict(reversed(tasks.items()))
    assert find_copyable(tasks, free) == find_copyable(backwards, free)


def test_keys_of_copies_tell_the_pool() -> None:
    assert copy_key(("x-1", 0, 2), "a") == ("copy-a-/x-1", 0, 2)
    assert copy_key("x-1", "a") == "copy-a-/x-1"


def test_two_pools_share_random_numbers_by_making_them_twice() -> None:
    noise = da.random.default_rng(7).normal(size=8, chunks=4)
    total = da.stack([noise + 1, noise * 2])
    tasks = tasks_of(total)
    keys = adapter.flat_keys(total.__dask_keys__())
    expected = execute_graph(dict(tasks), keys=set(keys))
    found = find_copyable(tasks, free)
    copied = [key for key in found if key[0] == noise.name]
    assert len(copied) == 2
    instead = {key: copy_key(key, "b") for key in copied}
    # The second row is in another pool.
    for key, task in list(tasks.items()):
        used = task.dependencies & set(copied)
        if used and "mul" in key[0]:
            tasks[key] = adapter.redirect(task, {d: instead[d] for d in used})
    tasks.update({k: copy_task(tasks, found[old], k) for old, k in instead.items()})
    done = execute_graph(dict(tasks), keys=set(keys))
    for key in keys:
        np.testing.assert_array_equal(done[key], expected[key])


def test_originals_that_only_their_copies_replace_are_left_over() -> None:
    tasks = adapter.as_tasks({"a": (abs, -1), "b": (abs, "a"), "c": (abs, "b"), "d": (abs, -2)})
    assert find_leftovers(tasks, ["a", "b"], {"c"}) == set()
    assert find_leftovers(tasks, ["c", "b"], {"d"}) == {"c", "b"}
    assert find_leftovers(tasks, ["a", "b", "c"], {"b"}) == {"c"}
    assert find_leftovers(tasks, ["a", "b", "c", "missing"], ()) == {"a", "b", "c"}
