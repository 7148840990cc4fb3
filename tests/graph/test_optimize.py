"""The optimiser as a whole: places, transfers, annotations, and what stays as in stock Dask."""

from __future__ import annotations

import pickle
from operator import add
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest

from dask_pools import get_pool, pool, propagate_pools, propagate_pools_in_collection
from dask_pools.graph import adapter
from dask_pools.graph.carrying import transfer_key
from dask_pools.graph.optimize import PoolOptimizer, place_graph
from dask_pools.graph.options import Options
from dask_pools.graph.placing import PlacedGraph
from dask_pools.graph.submission import Residence, Submission
from dask_pools.model import Link, Pool, Topology
from dask_pools.planning.policies import get_policy
from tests.graph.test_zones import read


def placed(x: Any, **options: Any) -> PlacedGraph:
    options.setdefault("transfers", True)
    return place_graph(x.__dask_graph__(), x.__dask_keys__(), **options)


def submission(*pools: str, **residences: Residence) -> Submission:
    topology = Topology(tuple(Pool(name, 1, 1) for name in pools))
    return Submission(topology, lambda key: residences.get(str(key)))


def annotations(graph: PlacedGraph) -> dict[Any, dict[str, Any]]:
    return {key: layer.annotations or {} for layer in graph.graph.layers.values() for key in layer}


def places(graph: PlacedGraph) -> set[str | None]:
    return {a.get("placement") for a in annotations(graph).values()}


def test_a_computation_without_pins_is_the_one_of_stock_dask() -> None:
    x = (da.zeros((8, 8), chunks=2) + 1).sum(axis=0)[1:5]
    stock = x.__dask_optimize__(x.dask, x.__dask_keys__())
    ours = placed(x)
    assert set(ours.graph.keys()) == set(stock)
    assert places(ours) == {None}
    assert ours.plan.transfers == ()


def test_everything_goes_to_the_only_pool() -> None:
    x, free = ((read(name) + 1).sum() for name in ("a", None))
    assert places(placed(x)) == {"a"}
    assert len(placed(x).graph) == len(free.__dask_optimize__(free.dask, free.__dask_keys__()))


def test_what_has_nothing_to_do_with_pools_is_unplaced() -> None:
    x, y = read("a") + 1, read(None) + 1
    graph = dask.highlevelgraph.HighLevelGraph.merge(x.dask, y.dask)
    result = place_graph(graph, [x.__dask_keys__(), y.__dask_keys__()], transfers=True)
    found = annotations(result)
    assert {found[key].get("placement") for key in dask.core.flatten(x.__dask_keys__())} == {"a"}
    assert {found[key].get("placement") for key in dask.core.flatten(y.__dask_keys__())} == {None}


def test_a_value_crosses_once_for_all_that_need_it() -> None:
    index = read("a", (10,), 10)
    x = read("b", (40, 10), 10) * index
    plan = placed(x).plan
    assert [t.link for t in plan.transfers] == [Link("a", "b")]
    assert plan.nbytes == 80
    assert plan.tasks == {"a": 1, "b": 4}


def test_transfers_are_annotated_and_their_names_tell_the_link() -> None:
    result = placed(read("b", (40, 10), 10) * read("a", (10,), 10))
    ((key, found),) = ((k, a) for k, a in annotations(result).items() if "transfer" in a)
    assert key[0].startswith("transfer-a-b-/read-a-")
    assert found == {
        "placement": "b",
        "transfer": ("a", "b"),
        "resources": {"pool-b": 0},
    }


def test_pinned_tasks_keep_their_pin_beside_their_place() -> None:
    result = placed(read("a") + read("b"))
    pinned = [a for a in annotations(result).values() if "pool" in a]
    assert {a["pool"] for a in pinned} == {("a",), ("b",)}
    assert all(a["placement"] in a["pool"] for a in pinned)


def test_there_is_one_layer_for_each_way_of_running() -> None:
    result = placed((read("a") + read("b")).mean())
    assert set(result.graph.layers) <= {"a", "b", "a (pinned)", "b (pinned)", "a > b", "b > a"}


def test_pools_may_be_named_like_anything() -> None:
    names = ("a", "a-pinned", "unplaced", "free", "a-to-b")
    x = sum(read(name) for name in names) + read(None)
    result = placed(x)
    for key, found in annotations(result).items():
        assert found.get("pool", (found["placement"],)) == (found["placement"],), key
    assert places(result) == set(names)


def test_transfers_to_pools_of_similar_names_have_different_keys() -> None:
    assert transfer_key("c-x", "a", "b") != transfer_key("x", "a", "b-c")
    prefix = dask.utils.key_split(transfer_key(("mean-1f", 0), "north", "south"))
    assert prefix == "transfer-north-south", "one colour for each link on the dashboard"


def test_mirrors_are_read_where_the_rest_is() -> None:
    with pool("b", "a"):
        mirrored = da.from_array(np.ones((40, 40)), chunks=10)
    result = placed(mirrored + read("a"))
    assert places(result) == {"a"}
    assert result.plan.transfers == ()


def test_what_is_fused_may_run_where_all_of_its_parts_may() -> None:
    with pool("a"):
        only = da.ones((40, 40), chunks=10)
    with pool("a", "c"):
        mirrored = da.ones((40, 40), chunks=10)
    for x in (only - mirrored, mirrored - only):
        graph = placed(x, submission=submission("a", "b", "c"))
        assert {a.get("pool") for a in annotations(graph).values()} == {("a",)}


def test_mirrors_without_workers_are_not_used() -> None:
    with pool("b", "c"):
        mirrored = da.from_array(np.ones((40, 40)), chunks=10)
    result = placed(mirrored + read("a"), submission=submission("a", "b"))
    assert places(result) == {"a", "b"}


def test_mirrors_everywhere_still_have_to_be_in_one_of_their_pools() -> None:
    """A worker that is in no pool must not read them; both pools share the work."""
    with pool("a", "b"):
        mirrored = da.from_array(np.ones((40, 40)), chunks=10)
    result = placed(mirrored + 1)
    assert result.plan.tasks == {"a": 16, "b": 16}
    assert result.plan.transfers == ()


def test_the_pin_of_the_computation_holds_for_what_has_none() -> None:
    x = read("a") + read(None)
    result = placed(x, pin=("b",))
    found = annotations(result)
    for key in dask.core.flatten(x.__dask_keys__()):
        assert found[key]["placement"] == "b"
    assert places(result) == {"a", "b"}


def test_the_optimiser_takes_along_the_pin_around_compute() -> None:
    """Dask pickles it in the thread that calls compute()."""
    with pool("b"):
        restored = pickle.loads(pickle.dumps(PoolOptimizer()))
    assert restored.pin == ("b",)
    assert pickle.loads(pickle.dumps(PoolOptimizer())) == PoolOptimizer()


def test_values_of_earlier_computations_have_their_place() -> None:
    x = read("a")
    keys = list(dask.core.flatten(x.__dask_keys__()))
    there = {str(key): Residence(("b",), 800) for key in keys}
    y = da.Array(
        dask.highlevelgraph.HighLevelGraph.from_collections(
            x.name, {key: dask._task_spec.TaskRef(key) for key in keys}
        ),
        x.name,
        x.chunks,
        x.dtype,
    )
    result = placed(y + 1, submission=submission("a", "b", **there))
    assert places(result) == {"b"}
    moved = placed(y + read("c"), submission=submission("b", "c", **there))
    assert moved.plan.nbytes == 16 * 800
    assert not set(keys) & set(moved.graph.keys())


def test_delayed_tasks_are_not_fused_and_keep_their_annotations() -> None:
    with pool("a"), dask.annotate(priority=7, retries=2):
        first = dask.delayed(add)(1, 2)
    second = dask.delayed(add)(first, 3)
    result = placed(second)
    assert set(result.graph.keys()) == {first.key, second.key}
    found = annotations(result)
    assert found[first.key]["priority"] == 7
    assert found[first.key]["retries"] == 2
    assert found[second.key] == {"placement": "a", "resources": {"pool-a": 0}}


def test_delayed_tasks_are_fused_if_the_configuration_says_so() -> None:
    first = dask.delayed(add)(1, 2)
    second = dask.delayed(add)(first, 3)
    with dask.config.set({"optimization.fuse.delayed": True}):
        assert len(placed(second).graph) == 1


def test_resources_of_delayed_tasks_are_kept_beside_the_pool() -> None:
    with pool("a"), dask.annotate(resources={"GPU": 1}):
        x = dask.delayed(add)(1, 2)
    assert annotations(placed(x))[x.key]["resources"] == {"GPU": 1, "pool-a": 0}


def test_annotations_that_are_functions_of_the_key() -> None:
    """As Dask makes them for ``delayed(f)([a, b])``."""
    with pool("a"):
        one = dask.delayed(add)(1, 2)
    with pool("b"):
        two = dask.delayed(add)(3, 4)
    with propagate_pools():
        both = dask.delayed(sum)([one, two])
    result = placed(both)
    found = annotations(result)
    assert found[one.key]["pool"] == ("a",)
    assert found[two.key]["pool"] == ("b",)
    assert len(result.plan.transfers) == 1


def test_bags_are_placed_and_fused() -> None:
    with pool("a"):
        bag = db.from_sequence(range(8), npartitions=2)
    result = placed(bag.map(str).map(int))
    assert places(result) == {"a"}
    assert len(result.graph) == len(
        bag.map(str)
        .map(int)
        .__dask_optimize__(bag.map(str).map(int).dask, bag.map(str).map(int).__dask_keys__())
    )


def test_fusion_can_be_switched_off() -> None:
    x = (read("a") + read("b"))[3:7].sum()
    with dask.config.set({"optimization.fuse.active": False}):
        apart = placed(x)
    assert len(apart.graph) > len(placed(x).graph)


def test_without_a_scheduler_pins_are_kept_and_nothing_is_carried() -> None:
    result = placed(read("a") + read("b"), transfers=False)
    (layer,) = result.graph.layers.values()
    assert set(layer.annotations) == {"pool", "resources"}
    found = {key: layer.annotations["pool"](key) for key in layer}
    assert set(found.values()) == {("a",), ("b",)}


def test_local_schedulers_run_the_graph_of_stock_dask() -> None:
    x = (read(None) + 1).sum(axis=0)
    y = (read("a") + read("b")).mean()
    with propagate_pools():
        for scheduler in ("synchronous", "threads"):
            assert (x.compute(scheduler=scheduler) == 40).all()
            assert y.compute(scheduler=scheduler) == 0
        optimised, _ = dask.optimize(x, y)
        assert (optimised.compute(scheduler="synchronous") == 40).all()
        assert ((optimised + 1).compute(scheduler="synchronous") == 41).all()


def test_what_is_optimised_on_the_client_can_be_built_upon() -> None:
    """`to_delayed` optimises, and has its own way with what comes out of it."""
    with pool("a"):
        bag, array = db.from_sequence(range(4), npartitions=2), da.arange(4, chunks=2)
    with propagate_pools():
        total, pieces = bag.sum().to_delayed(), array.to_delayed()
        both = dask.delayed(sum)([total, dask.delayed(sum)(pieces[0])])
        assert both.compute(scheduler="synchronous") == 7
        assert {"a"} <= places(placed(both))


def test_p2p_shuffle_is_placed_as_a_whole() -> None:
    with dask.config.set({"array.rechunk.method": "p2p"}):
        x = da.concatenate([read("a", (40, 40)), read("b", (80, 40))]).rechunk((-1, 1))
        result = placed(x + read("a", (120, 40), (120, 1))[:1])
    found = annotations(result)
    shuffled = [key for key, task in result.graph.items() if adapter.is_shuffle(task)]
    assert len(shuffled) > 40
    assert {found[key].get("placement") for key in shuffled} == {"b"}
    assert sum(t.nbytes for t in result.plan.transfers) == (40 * 40 + 40) * 8


def test_layers_made_here_do_not_take_on_the_pin_around() -> None:
    x = read(None) + 1
    with pool("b"):
        graph = place_graph(x.dask, x.__dask_keys__(), transfers=False).graph
    assert all(layer.annotations is None for layer in graph.layers.values())


def test_propagate_restores_what_was_there() -> None:
    def mine(dsk: Any, keys: Any) -> Any:
        return dsk

    with dask.config.set(array_optimize=mine):
        with propagate_pools():
            with propagate_pools("majority"):
                inner = dask.config.get("array_optimize")
            outer = dask.config.get("array_optimize")
        assert dask.config.get("array_optimize") is mine
    assert (inner.options.policy, outer.options.policy) == ("majority", "mincut")
    assert dask.config.get("array_optimize", None) is None
    assert dask.config.get("bag_optimize", None) is None


def test_one_optimiser_serves_all_kinds_so_that_they_are_placed_together() -> None:
    with propagate_pools():
        hooks = {dask.config.get(f"{kind}_optimize") for kind in ("array", "bag", "delayed")}
    assert len(hooks) == 1


def test_a_plain_call_holds_for_the_rest() -> None:
    with dask.config.set({}):
        switch = propagate_pools()
        assert isinstance(dask.config.get("array_optimize"), PoolOptimizer)
        switch.__exit__(None, None, None)
    assert dask.config.get("array_optimize", None) is None


def test_one_switch_can_be_used_again_and_inside_itself() -> None:
    switch = propagate_pools()
    with switch:
        with switch:
            pass
        assert isinstance(dask.config.get("array_optimize"), PoolOptimizer)
    assert dask.config.get("array_optimize", None) is None
    with switch:
        assert isinstance(dask.config.get("array_optimize"), PoolOptimizer)
    assert dask.config.get("array_optimize", None) is None


def test_propagate_in_a_collection_annotates_each_step() -> None:
    a, b = read("a"), read("b")
    x = a.mean(0) - b.mean(0)
    result = propagate_pools_in_collection(x)
    assert set(result.dask.layers) == set(x.dask.layers)
    assert get_pool(result) in ("a", "b")
    np.testing.assert_array_equal(
        result.compute(scheduler="synchronous"), x.compute(scheduler="synchronous")
    )
    joined = propagate_pools_in_collection(da.concatenate([a, b]) + 1)
    assert get_pool(joined) == ("a", "b")
    assert get_pool(x) is None, "the collection that is given stays as it is"


def test_deterministic_in_one_process() -> None:
    x = (da.concatenate([read("a"), read("b")]).rechunk(15) - read("c", (80, 40))).mean(0)
    first, second = placed(x), placed(x)
    assert first.plan == second.plan
    assert annotations(first) == annotations(second)


@pytest.mark.parametrize("policy", ["mincut", "majority"])
def test_a_policy_of_ones_own(policy: str) -> None:
    calls = []

    def mine(problem):
        calls.append(problem)
        return get_policy(policy)(problem)

    x = read("a") + read("b")
    own, known = placed(x, options=Options(mine)).plan, placed(x, options=Options(policy)).plan
    assert own.nbytes == known.nbytes
    assert len(calls) == 1


def test_values_used_twice_over_and_over_take_no_longer() -> None:
    """There are 2**60 ways from the first read to the result of filling gaps."""
    with pool("a"):
        reads = [da.from_array(np.full(4, i), chunks=2) for i in range(60)]
    filled = reads[0]
    for other in reads[1:]:
        filled = da.where(da.isnan(filled), other, filled)
    with propagate_pools():
        (optimised,) = dask.optimize(filled)
    np.testing.assert_array_equal(optimised.compute(scheduler="synchronous"), np.zeros(4))
