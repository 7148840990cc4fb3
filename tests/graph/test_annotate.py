"""`pool`, as a context manager, a decorator, in threads and tasks; `get_pool`."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
import xarray as xr

from dask_pools import ExpressionArraysError, PoolError, PoolNameError, get_pool, pool
from dask_pools.graph.annotate import current_pin


def test_what_is_built_inside_is_pinned_and_what_is_built_on_it_is_free() -> None:
    with pool("ecmwf"):
        x = da.ones(4)
    assert get_pool(x) == "ecmwf"
    assert get_pool(x + 1) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: da.ones(4, chunks=2),
        lambda: xr.DataArray(np.ones(4), dims="x").chunk(2),
        lambda: xr.Dataset({"t": ("x", np.ones(4))}).chunk(2),
        lambda: dask.delayed(sum)([1, 2]),
        lambda: db.from_sequence(range(4)),
    ],
    ids=["array", "xarray-array", "xarray-dataset", "delayed", "bag"],
)
def test_every_kind_of_collection_is_pinned(make) -> None:
    with pool("ecmwf"):
        x = make()
    assert get_pool(x) == "ecmwf"
    assert get_pool(make()) is None


def test_the_innermost_wins_and_the_outer_one_is_restored() -> None:
    with pool("a"):
        with pool("b", "c"):
            assert current_pin() == ("b", "c")
        assert current_pin() == ("a",)
    assert current_pin() is None


def test_pool_none_blocks_a_pin() -> None:
    with pool("a"), pool(None):
        x = da.ones(4)
        assert current_pin() is None
    assert get_pool(x) is None


def test_pool_none_leaves_no_trace_where_nothing_is_pinned() -> None:
    """A layer with another annotation than its neighbour would not be fused with it."""
    with pool(None):
        assert dask.get_annotations() == {}


def test_one_object_can_be_entered_again_and_inside_itself() -> None:
    here = pool("a")
    with here:
        with here, pool("b"):
            assert current_pin() == ("b",)
        assert current_pin() == ("a",)
    with here:
        assert current_pin() == ("a",)
    assert current_pin() is None


def test_the_pin_is_taken_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), pool("a"):
        1 / 0  # noqa: B018
    assert current_pin() is None


def test_decorated_functions_run_inside() -> None:
    @pool("a", "b")
    def load(n: int) -> tuple[object, da.Array]:
        return current_pin(), da.ones(n)

    pin, x = load(3)
    assert pin == ("a", "b")
    assert get_pool(x) == ("a", "b")
    assert load.__name__ == "load"
    assert current_pin() is None


def test_decorated_coroutines_run_inside_until_their_end() -> None:
    @pool("a")
    async def load() -> object:
        await asyncio.sleep(0)
        return current_pin()

    assert asyncio.run(load()) == ("a",)


def test_generators_cannot_be_decorated() -> None:
    def steps():
        yield

    with pytest.raises(TypeError, match=r"generator 'steps'.*with pool\(...\)` inside"):
        pool("a")(steps)


def test_threads_do_not_see_each_other() -> None:
    barrier = threading.Barrier(4)
    here = pool("shared")

    def work(name: str) -> tuple[object, object]:
        with here, pool(name):
            barrier.wait()
            pin = current_pin()
            barrier.wait()
        return pin, current_pin()

    names = ["a", "b", "c", "d"]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, names)) == [((name,), None) for name in names]


def test_asyncio_tasks_do_not_see_each_other() -> None:
    async def work(name: str, here: asyncio.Event, there: asyncio.Event) -> object:
        with pool(name):
            here.set()
            await there.wait()
            return current_pin()

    async def both() -> list[object]:
        a, b = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(work("a", a, b), work("b", b, a))

    assert asyncio.run(both()) == [("a",), ("b",)]


def test_resources_of_the_user_are_kept() -> None:
    with dask.annotate(resources={"GPU": 1}), pool("a"):
        assert dask.get_annotations()["resources"] == {"GPU": 1, "pool-a": 0}
        with pool("b"):
            assert dask.get_annotations()["resources"] == {"GPU": 1, "pool-b": 0}
            with pool(None):
                assert dask.get_annotations()["resources"] == {"GPU": 1}


def test_resources_that_depend_on_the_key_are_kept() -> None:
    with dask.annotate(resources=lambda key: {"GPU": key, "pool-z": 0}), pool("a"):
        assert dask.get_annotations()["resources"](3) == {"GPU": 3, "pool-a": 0}


# ---- names of keys


def test_the_same_call_in_two_pools_has_two_names() -> None:
    names = set()
    for name in ("a", "b"):
        with pool(name):
            names.add(da.ones(4).name)
            names.add(da.from_array(np.ones(4)).name)
    assert len(names) == 4


def test_the_same_call_in_one_pool_has_one_name() -> None:
    with pool("a"):
        first = da.ones(4).name
    with pool("a"):
        assert da.ones(4).name == first


def test_names_are_as_ever_where_nothing_is_pinned() -> None:
    before = da.ones(4).name
    with pool("a"), pool(None):
        assert da.ones(4).name == before
    assert da.ones(4).name == before


def test_mirrors_are_a_part_of_the_name() -> None:
    with pool("a"):
        one = da.ones(4).name
    with pool("a", "b"):
        assert da.ones(4).name != one


# ---- bad input


@pytest.mark.parametrize("name", ["", "a b", "ecmwf:1", "-a", "a/b", "é"])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(PoolNameError, match="is not a name for a pool: use letters"):
        pool(name)


@pytest.mark.parametrize("name", [3, b"a", ["a"], ("a", "b")])
def test_a_name_of_another_type_is_refused(name: object) -> None:
    with pytest.raises(TypeError, match="the name of a pool is a string such as 'ecmwf', not"):
        pool(name)  # type: ignore[arg-type]


def test_mirrors_are_checked_too() -> None:
    with pytest.raises(PoolNameError, match="''"):
        pool("a", "")
    with pytest.raises(PoolNameError, match=r"each name once, not \('a', 'a'\)"):
        pool("a", "a")
    with pytest.raises(PoolError, match="takes no mirrors"):
        pool(None, "a")


def test_expression_arrays_are_refused() -> None:
    with (
        dask.config.set({"array.query-planning": True}),
        pytest.raises(ExpressionArraysError, match="DASK_ARRAY__QUERY_PLANNING=False"),
        pool("a"),
    ):
        pass
    assert current_pin() is None


def test_get_pool_wants_a_collection() -> None:
    with pytest.raises(TypeError, match=r"expected a Dask collection .* not int: 3"):
        get_pool(3)


def test_get_pool_of_variables_in_several_pools() -> None:
    parts = {}
    for name in ("a", "b"):
        with pool(name):
            parts[name] = ("x", da.ones(4))
    assert get_pool(xr.Dataset(parts)) == ("a", "b")
