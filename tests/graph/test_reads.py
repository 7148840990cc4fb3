"""What fused tasks read, against what their reads would have returned."""

from __future__ import annotations

from collections import Counter

import dask
import dask.array as da
import numpy as np
import pytest
from dask.delayed import delayed

from dask_pools import pool
from dask_pools.graph import adapter
from dask_pools.graph.pins import find_pins
from dask_pools.graph.reads import find_reads
from dask_pools.graph.sizes import describe_blocks
from dask_pools.graph.table import TaskTable
from dask_pools.graph.titles import readable

#: Bytes of the values of delayed functions in these tests.
UNIT = 7.0


def field(name: str | None = "a", shape=(40, 60), chunks=(10, 20), **options) -> da.Array:
    with pool(name):
        data = np.zeros(shape, dtype="f4")
        return da.from_array(Opaque(data), chunks=chunks, asarray=False, name=None, **options)


class Opaque:
    """A store: what it holds is read block by block."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim

    def __getitem__(self, index):
        return self.data[index]


def read_by(x) -> dict[str, float]:
    """Tell what all tasks of each kind of layer read together, after Dask's own fusion.

    Fusion does not know of the pins, as inside of a zone.
    """
    graph, keys = adapter.high_level_graph(x), adapter.flat_keys(x.__dask_keys__())
    pins = find_pins(graph, None, None)
    layers = adapter.cull(adapter.fuse_blockwise(adapter.with_annotations(graph, {}), keys), keys)
    raw, layer_of = {}, []
    for i, layer in enumerate(layers.values()):
        made = adapter.layer_tasks(layer)
        raw.update(made)
        layer_of += [i] * len(made)
    table = TaskTable.of(adapter.as_tasks(raw))
    pinned = pins.mixed | {name for name, pin in pins.layers.items() if pin}
    names, numbers = list(layers), np.array(layer_of)
    sizes = np.full(len(table) + 1, UNIT)  # the last one is of a value from outside
    reads = find_reads(graph, describe_blocks(graph), pinned, names)
    read = reads.nbytes(table, names, numbers, sizes).tolist()
    assert read.pop() == 0
    total: Counter[str] = Counter()
    for number, nbytes in zip(layer_of, read, strict=True):
        total[readable(names[number])] += nbytes
    return {name: nbytes for name, nbytes in total.items() if nbytes}


NBYTES = 40 * 60 * 4


@pytest.mark.parametrize("inline", [False, True])
def test_a_read_by_itself(inline):
    assert read_by(field(inline_array=inline)) == {"array": NBYTES}


def test_a_read_that_is_fused_with_a_reduction_is_still_whole():
    assert read_by(field().mean(axis=0)) == {"mean_chunk": NBYTES}


def test_it_is_known_which_arrays_a_fused_step_reads():
    x, y = field(), field("b")
    z = x * 2 + y
    reads = find_reads(z.dask, describe_blocks(z.dask), [x.name, y.name], [z.name])
    assert reads.arrays == {z.name: tuple(sorted([x.name, y.name]))}


def test_a_chain_of_steps_reads_once():
    assert read_by(((field() + 1) * 2).astype("f8").sum()) == {"sum": NBYTES}


def test_an_array_used_twice_by_one_task_is_read_once():
    x = field()
    assert list(read_by((x - x**2).max()).values()) == [NBYTES]


def test_two_arrays_in_one_task_are_both_read():
    x, y = field(), field(shape=(40, 60), chunks=(10, 20), inline_array=True)
    assert sum(read_by(x + y).values()) == 2 * NBYTES


def test_only_the_blocks_that_are_needed_are_read():
    assert sum(read_by((field() + 1)[:10, :20]).values()) == NBYTES / 12


def test_a_block_that_several_tasks_need_is_read_by_each():
    x, y = field(shape=(40,), chunks=10), field("b", shape=(60, 40), chunks=10)
    assert sum(read_by(y + x).values()) == (60 * 40 + 6 * 40) * 4


def test_what_needs_many_blocks_of_an_array_does_not_read_it_again():
    assert sum(read_by(field().rechunk((40, 10)).std()).values()) == NBYTES


def test_what_is_not_pinned_reads_nothing_from_a_pool():
    assert read_by(field(None) + 1) == {}


def test_a_step_that_is_pinned_is_no_read():
    x = field(None)
    with pool("a"):
        y = x + 1
    assert read_by(y) == {}


def test_a_delayed_function_reads_as_much_as_it_returns():
    with pool("a"):
        loaded = [delayed(str)(i) for i in range(3)]
    assert sum(read_by(delayed(list)([x + "" for x in loaded])).values()) == 3 * UNIT


def test_an_array_of_delayed_functions_is_read_once():
    with pool("a"):
        parts = [da.from_delayed(delayed(np.ones)(5), (5,), "f8") for _ in range(3)]
    assert sum(read_by(da.concatenate(parts)).values()) == 15 * 8


def test_a_delayed_function_before_an_array_is_not_counted_twice():
    with pool("a"):
        raw = delayed(np.ones)(5)
        x = da.from_delayed(delayed(np.negative)(raw), (5,), "f8")
    assert sum(read_by(x).values()) == UNIT


def test_what_is_read_of_unknown_size_is_taken_for_what_is_returned():
    with pool("a"):
        x = da.map_blocks(
            lambda: np.ones(3), chunks=((np.nan, np.nan),), dtype="f8", meta=np.ones(0)
        )
    assert sum(read_by(x).values()) == 2 * UNIT


def test_a_graph_without_layers():
    with pool("a"), dask.config.set({"optimization.fuse.active": False}):
        x = da.from_delayed(field().to_delayed()[0, 0], (10, 20), "f4")
    assert read_by(x)
