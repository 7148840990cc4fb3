"""Data frames keep their pins through all of Dask's optimisation, and nothing else changes."""

from __future__ import annotations

import operator
import pickle
import subprocess
import sys

import dask
import dask.array as da
import dask.bag as db
import pandas as pd
import pytest

from dask_pools import get_pool, pool
from dask_pools.graph import adapter

dd = pytest.importorskip("dask.dataframe")
frames = pytest.importorskip("tests.frames")

pytestmark = [
    # Dask's own use of pandas 3.1.
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Concatenating dataframes with unknown divisions"),
]

A, B = ("a",), ("b",)
ENGINES = ("fsspec", "arrow")


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    root = tmp_path_factory.mktemp("sites")
    return {name: str(frames.write(root / name, i)) for i, name in enumerate("ab")}


@pytest.fixture(autouse=True)
def here():
    with dask.config.set(scheduler="synchronous"):
        yield


def same(found, wanted):
    if isinstance(wanted, (pd.DataFrame, pd.Series)):
        by = list(wanted.columns) if isinstance(wanted, pd.DataFrame) else None
        ordered = [x.sort_values(by, ignore_index=True) if by else x for x in (found, wanted)]
        (pd.testing.assert_frame_equal if by else pd.testing.assert_series_equal)(*ordered)
    else:
        assert found == pytest.approx(wanted)


def read(name, site):
    if name == "csv":
        return dd.read_csv(f"{site}/part-*.csv")
    return dd.read_parquet(f"{site}/plain", filesystem=name)


every_reader = pytest.mark.parametrize("reader", [*ENGINES, "csv"])

STEPS = {
    "all": lambda x: x,
    "columns": lambda x: x[["t", "station"]],
    "filter": lambda x: x[x.t > 0.5].wind + 1,
    "groupby": lambda x: x.groupby("station").t.mean(),
    "sum": lambda x: x.t.sum(),
    "assign": lambda x: x.assign(u=x.t * x.wind)[["u"]],
    "repartition": lambda x: x.repartition(npartitions=2).t.max(),
    "partitions": lambda x: x.partitions[1:3].t.sum(),
    "shuffle": lambda x: x.shuffle("station", shuffle_method="tasks").t.sum(),
    "merge": lambda x: x.merge(x.groupby("station").wind.max().reset_index(), on="station").t.sum(),
    "map_partitions": lambda x: x.map_partitions(len),
}


@every_reader
@pytest.mark.parametrize("step", STEPS)
def test_pinned_frame_has_the_tasks_and_the_result_of_a_plain_one(sites, reader, step):
    """Reads are fused with what follows them, columns and filters are pushed into them."""
    plain = read(reader, sites["a"])
    with pool("a"):
        pinned = read(reader, sites["a"])
    mine, pins = frames.arrived(STEPS[step](pinned))
    theirs, none = frames.arrived(STEPS[step](plain))
    assert sorted(map(adapter.kind_of, mine)) == sorted(map(adapter.kind_of, theirs))
    assert not none
    sources = {key for key, task in mine.items() if not task.dependencies}
    assert pins == dict.fromkeys(sources, A)
    same(STEPS[step](pinned).compute(), STEPS[step](plain).compute())


@pytest.mark.parametrize("reader", ENGINES)
def test_lengths_are_those_of_the_footers(sites, reader):
    with pool("a"):
        pinned = read(reader, sites["a"])
    assert len(pinned) == frames.ROWS
    assert len(pinned[pinned.t < 2]) == frames.ROWS


@pytest.mark.parametrize("reader", ENGINES)
def test_divisions_of_sorted_files_are_kept(sites, reader):
    with pool("a"):
        x = dd.read_parquet(
            f"{sites['a']}/sorted", filesystem=reader, index="station", calculate_divisions=True
        )
    assert x.known_divisions
    found = x.loc[3:5].t.sum()
    assert set(frames.arrived(found)[1].values()) == {A}
    whole = frames.table(0)
    assert found.compute() == pytest.approx(whole.t[whole.station.between(3, 5)].sum())


def test_tasks_have_no_marks_after_their_pins_were_taken(sites):
    with pool("a"):
        x = read("arrow", sites["a"])
    tasks, pins = frames.arrived(x.t + 1)
    assert pins
    assert "InPool" not in repr(pickle.dumps(tasks))


# ---- two pools


@every_reader
def test_same_path_in_two_pools_is_read_twice(sites, reader):
    with pool("a"):
        x = read(reader, sites["a"])
    with pool("b"):
        y = read(reader, sites["a"])
    assert set(x[["t"]].optimize().__dask_keys__()).isdisjoint(y[["t"]].optimize().__dask_keys__())
    _, pins = frames.arrived(dd.concat([x, y]))
    assert set(pins.values()) == {A, B}


@every_reader
def test_reads_of_two_pools_in_one_blockwise_step_stay_apart(sites, reader):
    frames_by_pool = {}
    for name in sites:
        with pool(name):
            frames_by_pool[name] = read(reader, sites[name])
    x, y = frames_by_pool["a"].t * 2, frames_by_pool["b"].wind + 1
    both = dd.concat([x, y], axis=1, ignore_unknown_divisions=True)
    tasks, pins = frames.arrived(both)
    assert set(pins.values()) == {A, B}
    free = [key for key in tasks if key not in pins]
    # One task of each pool, with its own steps, and one that takes what both have made.
    assert len(free) * 2 == len(pins)
    for key in free:
        assert sorted(pins[d] for d in tasks[key].dependencies) == [A, B]
    wanted = pd.concat([frames.table(0).t * 2, frames.table(1).wind + 1], axis=1)
    same(both.compute(), wanted)
    values = {}
    for key in [*pins, *free]:
        values[key] = tasks[key]({d: values[d] for d in tasks[key].dependencies})
    same(pd.concat([values[key] for key in sorted(free)]), wanted)


def test_mirrors_that_have_a_pool_in_common_are_read_there_together(sites):
    with pool("a", "b"):
        x = read("fsspec", sites["a"])
    with pool("b", "c"):
        y = read("fsspec", sites["b"])
    both = dd.concat([x.t, y.wind], axis=1, ignore_unknown_divisions=True)
    tasks, pins = frames.arrived(both)
    assert set(pins.values()) == {B}
    assert len(pins) == len(tasks)


def test_part_that_several_steps_use_is_made_once(sites):
    with pool("a"):
        x = read("fsspec", sites["a"])
    with pool("b"):
        y = read("fsspec", sites["b"])
    both = dd.concat([x.t + 1, x.t - 1, y.t], axis=1, ignore_unknown_divisions=True)
    tasks, pins = frames.arrived(both)
    assert sum(pin == A and not tasks[key].dependencies for key, pin in pins.items()) <= 3
    values = both.compute()
    assert (values.iloc[:, 0] - values.iloc[:, 1]).round(9).eq(2).all()


def test_pin_of_a_frame_does_not_hang_on_where_it_is_used(sites):
    with pool("a"):
        x = read("fsspec", sites["a"])
    with pool("b"):
        optimised = x[x.t > 0.5][["wind"]].optimize()
    assert set(frames.arrived(optimised)[1].values()) == {A}
    assert set(frames.arrived(pickle.loads(pickle.dumps(optimised)))[1].values()) == {A}


def test_pool_none_blocks_the_pin_around_it(sites):
    with pool("a"), pool(None):
        x = read("fsspec", sites["a"])
    assert not frames.arrived(x)[1]


# ---- other sources


def load(i, columns=None):
    whole = frames.table(i)
    return whole if columns is None else whole[columns]


def sources():
    whole = frames.table(0)
    return {
        "from_map": lambda: dd.from_map(load, [0, 1]),
        "from_pandas": lambda: dd.from_pandas(whole, npartitions=3),
        "from_array": lambda: dd.from_array(whole[["t"]].to_numpy(), columns=["t"], chunksize=200),
        "from_delayed": lambda: dd.from_delayed(
            [dask.delayed(load)(i) for i in (0, 1)], meta=whole.iloc[:0]
        ),
        "from_dask_array": lambda: dd.from_dask_array(
            da.arange(10, chunks=5).reshape(10, 1), columns=["t"]
        ),
        "to_dataframe": lambda: db.from_sequence([{"t": 1}, {"t": 2}], npartitions=2).to_dataframe(
            meta={"t": int}
        ),
        "from_dict": lambda: dd.from_dict({"t": [1, 2, 3]}, npartitions=2),
        "timeseries": lambda: dask.datasets.timeseries(end="2000-01-03").rename(columns={"x": "t"}),
    }


@pytest.mark.parametrize("name", sources())
def test_every_source_is_pinned(name):
    make = sources()[name]
    with pool("a"):
        x = make()
    tasks, pins = frames.arrived(x[["t"]] + 1)
    assert {pins.get(key) for key, task in tasks.items() if not task.dependencies} == {A}
    if name not in ("from_delayed", "timeseries"):
        same((x[["t"]] + 1).compute(), (make()[["t"]] + 1).compute())


def test_pins_inside_of_other_collections_are_kept():
    with pool("a"):
        parts = [dask.delayed(load)(i) for i in (0, 1)]
        array = da.ones((10, 1), chunks=5)
        bag = db.from_sequence([{"t": 1}, {"t": 2}], npartitions=2)
    for x in (
        dd.from_delayed(parts, meta=load(0).iloc[:0]),
        dd.from_dask_array(array + 1, columns=["t"]),
        bag.to_dataframe(meta={"t": int}),
    ):
        tasks, pins = frames.arrived(x)
        assert {pins.get(key) for key, task in tasks.items() if not task.dependencies} == {A}
        x.compute()


def test_delayed_argument_of_a_step_keeps_its_pin():
    with pool("a"):
        shift = dask.delayed(operator.neg)(-3)
    x = dd.from_pandas(load(0)[["t"]], npartitions=2)
    moved = x.map_partitions(operator.add, shift, meta=x)
    assert list(frames.arrived(moved)[1].values()) == [A]
    same(moved.compute(), load(0)[["t"]] + 3)


# ---- what a frame becomes


def pins_in_graph(x):
    _, found = adapter.take_layer_pins(adapter.high_level_graph(x))
    return {pin for taken in found.values() for pin in taken.pins.values()}


def test_array_bag_and_delayed_values_of_a_frame_keep_its_pin(sites):
    with pool("a"):
        x = read("fsspec", sites["a"])[["t"]]
    assert pins_in_graph(x.to_dask_array() + 1) == {A}
    assert pins_in_graph(x.to_bag()) == {A}
    assert pins_in_graph(x.to_delayed()[0]) == {A}
    assert x.to_dask_array().sum().compute() == pytest.approx(frames.table(0).t.sum())


# ---- writing


def test_write_belongs_to_the_pool_in_which_it_was_asked_for(sites, tmp_path):
    with pool("a"):
        x = read("fsspec", sites["a"])
    with pool("b"):
        write = x[["t"]].to_parquet(str(tmp_path / "x"), compute=False, write_metadata_file=True)
    tasks, pins = frames.arrived(write)
    reads = {key for key, task in tasks.items() if not task.dependencies}
    assert {key for key, pin in pins.items() if pin == A} == reads
    assert {key for key, pin in pins.items() if pin == B} == tasks.keys() - reads
    write.compute()
    same(dd.read_parquet(tmp_path / "x").compute(), frames.table(0)[["t"]])


# ---- the user's view


def test_get_pool_of_a_frame(sites):
    with pool("a", "b"):
        x = read("fsspec", sites["a"])
    assert get_pool(x) == ("a", "b")
    assert get_pool(x.t + 1) is None
    with pool("a"):
        assert get_pool(read("csv", sites["a"])) == "a"
    assert get_pool(read("csv", sites["a"])) is None


SCRIPT = """
import warnings
warnings.simplefilter("error", UserWarning)
import pandas as pd
import dask
from dask_pools import pool
with pool("a"):
    import dask.dataframe as dd
    x = dd.from_pandas(pd.DataFrame({"t": [1, 2]}), npartitions=2) + 1
from dask_pools.graph import adapter
_, taken = adapter.take_pins(adapter.as_tasks(dict(x.optimize().__dask_graph__())))
print(set(taken.pins.values()))
with dask.annotate(priority=3):
    try:
        x + 1
    except UserWarning as warning:
        print("warned of", str(warning).split()[2])
"""


def test_pins_are_kept_and_not_warned_of_whenever_frames_are_imported():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\n")[:2] == ["{('a',)}", "warned of {'priority':"]


ARRAY = """
import dask.array as da
from dask_pools import pool
with pool("a"):
    x = da.ones((4, 1), chunks=2)
import dask.dataframe as dd
from dask_pools.graph import adapter
x = dd.from_dask_array(x)
_, taken = adapter.take_pins(adapter.as_tasks(dict(x.optimize().__dask_graph__())))
print(set(taken.pins.values()))
"""


def test_pins_of_arrays_are_kept_if_frames_are_imported_later():
    ended = subprocess.run(
        [sys.executable, "-c", ARRAY], capture_output=True, text=True, check=False
    )
    assert ended.stdout == "{('a',)}\n", ended.stderr


ENTERING = """
import sys
from dask_pools import pool
with pool("a"):
    print("dask.dataframe" in sys.modules)
"""


def test_entering_a_pool_does_not_import_frames():
    ended = subprocess.run(
        [sys.executable, "-c", ENTERING], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "False\n"
