"""Dask's tree reductions, as far as they are relied on: each name breaks here when it moves."""

from __future__ import annotations

import operator
from functools import partial

import dask.array as da
import numpy as np
import pytest

from dask_pools.graph import adapter
from dask_pools.graph.adapter import reductions


def test_dask_builds_its_trees_as_expected() -> None:
    x = da.ones((8, 8), chunks=2).sum(split_every=2)
    (name,) = [n for n in x.dask.layers if "-aggregate-" in n]
    tree = reductions.tree_of(x.dask, name)
    assert tree is not None
    assert tree.partials
    assert all("-partial-" in n for n in tree.partials)
    assert tree.source in x.dask.layers
    assert reductions.may_be_arranged(x.dask, tree)
    assert reductions.tree_outputs(x.dask, tree) == (tree, [(name,)])
    tasks = adapter.as_tasks(dict(x.dask))
    nested = reductions.nested_keys(tasks[(name,)])
    assert nested is not None
    assert nested[1] == 2


@pytest.mark.parametrize("name", ["sum", "prod", "any", "all", "min", "max", "mean", "var"])
def test_combining_functions_are_those_of_dask(name: str) -> None:
    x = getattr(da.ones(8, chunks=1), name)(split_every=2)
    tasks = adapter.as_tasks(dict(x.dask))
    aggregate = reductions.function_of(tasks[(x.name,)])
    assert aggregate is not None
    combine = reductions.combine_of(aggregate)
    assert combine is not None
    steps = [t for key, t in tasks.items() if "-partial-" in key[0]]
    assert steps
    assert all(reductions.is_combine(task, combine) for task in steps)


def test_literal_lists_are_read_in_both_of_their_forms() -> None:
    keys = ["x", "y"]
    legacy = adapter.as_tasks({"x": 1, "y": 2, "z": (sum, [["x"], ["y"]])})["z"]
    assert reductions.nested_keys(legacy) == (keys, 2)
    ours = reductions.tree_task("z", sum, keys, 2)
    assert reductions.nested_keys(ours) == (keys, 2)
    assert reductions.nested_keys(adapter.as_tasks({"x": 1, "z": (operator.neg, "x")})["z"]) is None


def test_flox_builds_its_trees_as_expected() -> None:
    flox = pytest.importorskip("flox")
    x = da.ones((12, 4), chunks=(1, 2)).T
    for method in ("map-reduce", "cohorts"):
        result, _ = flox.groupby_reduce(x, np.arange(12) % 3, func="nanmean", method=method)
        trees = [t for name in result.dask.layers if (t := reductions.tree_of(result.dask, name))]
        assert len(trees) == 1
        assert reductions.may_be_arranged(result.dask, trees[0])
        tree, outputs = reductions.tree_outputs(result.dask, trees[0])
        assert outputs
        tasks = adapter.as_tasks(dict(result.dask))
        aggregate = reductions.function_of(tasks[outputs[0]])
        assert aggregate is not None
        combine = reductions.combine_of(aggregate)
        assert combine is not None
        steps = [task for key, task in tasks.items() if key[0] in tree.partials]
        assert all(reductions.is_combine(task, combine) for task in steps)
        assert steps or method == "cohorts"


def test_nothing_is_known_of_other_functions() -> None:
    assert reductions.combine_of(sum) is None
    assert reductions.combine_of(partial(np.median, axis=(0,), keepdims=False)) is None
    assert reductions.combine_of(partial(np.sum, axis=(0,), keepdims=False)) is None, "on a list"
