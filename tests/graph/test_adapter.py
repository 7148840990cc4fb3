"""Dask's internals, as far as they are relied on: each name breaks here when it moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask
import dask.array as da
import dask.bag as db
import dask.order
import numpy as np
from dask._task_spec import Alias, DataNode, Task, TaskRef, execute_graph
from dask.base import collections_to_expr

from dask_pools.graph import adapter

if TYPE_CHECKING:
    import pytest


def inc(x: int) -> int:
    return x + 1


def test_tokenize_is_looked_up_in_its_module_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module("dask.tokenize")
    monkeypatch.setattr(module, "_tokenize", lambda *args, **kwargs: "mine")
    adapter.name_keys_by(lambda: None)
    assert dask.base.tokenize(1) == "mine"
    adapter.name_keys_by(lambda: None)
    assert not hasattr(module._tokenize.__wrapped__, "names_pools"), "wrapped twice"


def test_high_level_graph_of_collections() -> None:
    x = da.ones(4)
    assert adapter.high_level_graph(x) is x.dask
    bag = db.from_sequence([1, 2])
    assert set(adapter.high_level_graph(bag)) == set(bag.dask)


def test_output_layers_finds_the_layers_of_the_last_keys() -> None:
    x = da.ones((4, 4), chunks=2) + 1
    assert adapter.output_layers(x.dask, x) == {
        x.name: [(x.name, i, j) for i in range(2) for j in range(2)]
    }


def test_sorted_layers_come_after_what_they_depend_on() -> None:
    x = da.ones((4, 4), chunks=2)
    y = (x + 1) @ (x - 1).T
    order = adapter.sorted_layers(y.dask)
    assert sorted(order) == sorted(y.dask.layers)
    for name in order:
        assert all(order.index(d) < order.index(name) for d in y.dask.dependencies[name])


def test_with_annotations_leaves_the_original_alone() -> None:
    with dask.annotate(priority=3):
        x = da.ones(4)
    copy = adapter.with_annotations(x.dask, {x.name: {"zone": 1}})
    assert copy.layers[x.name].annotations == {"zone": 1}
    assert x.dask.layers[x.name].annotations == {"priority": 3}


def test_annotations_of_a_key_may_be_functions() -> None:
    with dask.annotate(priority=lambda key: key[1], retries=2, pool=("a",)):
        x = da.ones(4, chunks=2)
    assert adapter.annotations_of(x.dask.layers[x.name], (x.name, 1)) == {
        "priority": 1,
        "retries": 2,
    }


def test_fuse_blockwise_keeps_layers_of_other_annotations_apart() -> None:
    x = da.zeros(4, chunks=2)
    y = x + 1
    z = y * 2
    keys = adapter.flat_keys(z.__dask_keys__())
    assert len(adapter.fuse_blockwise(z.dask, keys).layers) == 1
    zones = {x.name: {"zone": 0}, y.name: {"zone": 0}, z.name: {"zone": 1}}
    apart = adapter.fuse_blockwise(adapter.with_annotations(z.dask, zones), keys)
    assert set(apart.layers) == {y.name, z.name}
    assert adapter.fused_away(z.dask, keys) == {x.name, y.name}


def test_cull_gives_layers_their_names_back() -> None:
    x = da.zeros((4, 4), chunks=2)
    y = x[:2]
    layers = adapter.cull(y.dask, adapter.flat_keys(y.__dask_keys__()))
    assert set(layers) == {x.name, y.name}
    assert len(layers[x.name]) == 2


def test_as_tasks_leaves_out_what_is_made_already() -> None:
    tasks = adapter.as_tasks({"x": TaskRef("x"), "y": (inc, "x"), "z": 3})
    assert set(tasks) == {"y", "z"}
    assert set(adapter.dependencies(tasks["y"])) == {"x"}


def in_order(tasks: dict) -> list:
    """List the tasks of a chain, the first one first."""
    order = dask.order.order(tasks)
    return [tasks[key] for key in sorted(tasks, key=order.__getitem__)]


def test_a_task_may_refuse_to_be_fused() -> None:
    assert not adapter.refuses_fusion(Task("x", inc, 1))


def test_fusion_of_tasks() -> None:
    tasks = {
        ("x", 0): Task(("x", 0), inc, 1),
        ("y", 0): Task(("y", 0), inc, TaskRef(("x", 0))),
    }
    fused = adapter.fuse_chain(list(tasks.values()))
    (chain,) = (key for key in fused if key != ("y", 0))
    assert chain == ("x-y", 0)
    assert execute_graph(fused, keys=[("y", 0)])["y", 0] == 3
    assert adapter.alias_target(fused["y", 0]) == chain
    one = adapter.fuse_group(list(tasks.values()), ("y", 0))
    assert one({}) == 3


def test_slices_of_slices_become_one() -> None:
    x = da.from_array(
        np.arange(100).view(np.ndarray), chunks=100, inline_array=False, asarray=False
    )
    y = x[10:90][5:6]
    tasks = adapter.as_tasks(adapter.as_tasks(dict(y.dask)))
    keys = adapter.flat_keys(y.__dask_keys__())
    fused = adapter.fuse_slices(adapter.fuse_chain(in_order(tasks)))
    assert execute_graph(fused, keys=keys)[keys[0]].tolist() == [15]


def test_bags_are_made_lazy() -> None:
    bag = db.from_sequence(range(4), npartitions=1).map(inc).map(inc)
    tasks = adapter.fuse_chain(in_order(adapter.as_tasks(dict(bag.dask))))
    made = [task for task in tasks.values() if adapter.makes_lists(task)]
    assert made
    assert list(adapter.make_lazy(made[0])({})) == [2, 3, 4, 5]


def test_redirect_changes_what_a_task_needs() -> None:
    task = adapter.redirect(Task("y", inc, TaskRef("x")), {"x": "z"})
    assert set(adapter.dependencies(task)) == {"z"}
    alias = adapter.redirect(Alias("y", "x"), {"x": "z"})
    assert adapter.alias_target(alias) == "z"


def test_transfer_hands_the_value_on() -> None:
    value = np.ones(3)
    assert adapter.transfer_task("t", "x")({"x": value}) is value


def test_workers_need_no_dask_pools_for_a_transfer() -> None:
    assert adapter.transfer_task("t", "x").func.__module__.partition(".")[0] != "dask_pools"


def test_the_last_step_of_dask_has_the_name_by_which_it_is_known() -> None:
    from dask._expr import FinalizeCompute
    from dask.base import collections_to_expr

    expr = FinalizeCompute(collections_to_expr(da.ones(4, chunks=2))).optimize()
    (key,) = adapter.flat_keys(expr.__dask_keys__())
    assert not adapter.is_delayed_key(key)
    assert adapter.is_delayed_key(dask.delayed(inc)(1).key)


def test_steps_of_p2p_shuffles_are_known_by_their_module() -> None:
    from distributed.shuffle import rechunk_p2p

    x = da.zeros((8, 8), chunks=(4, 8))
    with dask.config.set({"array.rechunk.method": "p2p"}):
        y = rechunk_p2p(
            x, chunks=((8,), (4, 4)), threshold=None, block_size_limit=None, balance=False
        )
    tasks = adapter.as_tasks(dict(y.dask))
    shuffled = [key for key, task in tasks.items() if adapter.is_shuffle(task)]
    assert len(shuffled) >= 4, "something in, a barrier, two blocks out"
    assert not any(key in x.dask for key in shuffled)


def test_flat_keys_of_nested_lists() -> None:
    assert adapter.flat_keys([[("x", 0)], ["y", [("z", 1)]]]) == [("x", 0), "y", ("z", 1)]
    assert adapter.flat_keys("x") == ["x"]


def test_graphs_inside_an_expression_are_those_of_its_collections() -> None:
    x, y = da.ones(4, chunks=2), da.zeros(4, chunks=2)
    for finalise in (False, True):
        expression = collections_to_expr([x, y])
        expression = (expression.finalize_compute() if finalise else expression).optimize()
        found = adapter.graphs_inside(expression)
        assert {x.name, y.name} <= {name for graph in found for name in graph.layers}


def test_source_is_a_task_that_needs_no_value() -> None:
    assert adapter.is_source(Task("x", inc, 1))
    assert not adapter.is_source(Task("y", inc, TaskRef("x")))
    assert not adapter.is_source(DataNode("z", 1))
