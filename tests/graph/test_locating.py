"""Reads that nobody pinned are pinned by their paths, and by nothing else."""

from __future__ import annotations

import pickle
import shutil

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
import xarray as xr
import zarr
from dask.delayed import delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from dask_pools import (
    LocationError,
    UnknownPoolError,
    get_pool,
    plan,
    pool,
    propagate_pools,
    read_locations,
    set_locations,
)
from dask_pools.graph import adapter
from dask_pools.graph.locating import locate
from dask_pools.graph.optimize import PoolOptimizer, place_graph
from dask_pools.graph.options import Options
from dask_pools.graph.submission import Submission
from dask_pools.model import PLACEMENT, Locations, Pool, Topology
from dask_pools.settings import make_options
from tests.computations import merge


@pytest.fixture
def sites(tmp_path):
    """Two sites, a and b, each with a field as zarr, netCDF and NumPy's stack, and with texts."""
    for i, name in enumerate("ab"):
        here = tmp_path / name
        here.mkdir()
        values = np.arange(24.0).reshape(6, 4) + 100 * i
        field = xr.Dataset({"t": (("y", "x"), values), "u": (("y", "x"), -values)})
        chunks = {"chunks": (2, 4)}
        field.to_zarr(here / "x.zarr", consolidated=False, encoding={"t": chunks, "u": chunks})
        field.to_netcdf(here / "x.nc")
        da.to_npy_stack(here / "stack", da.from_array(values, chunks=(2, 4)))
        for part in range(2):
            (here / f"{part}.txt").write_text(f"{name} {part}\nend")
    return tmp_path


@pytest.fixture
def known(sites):
    """The locations of both sites are known."""
    with set_locations({sites / name: name for name in "ab"}):
        yield sites


def opened(path):
    """Open a dataset of blocks of two rows."""
    if path.suffix == ".zarr":
        return xr.open_zarr(path, chunks={}, consolidated=False)
    return xr.open_dataset(path, chunks={"y": 2})


def tasks(*collections, **options):
    return plan(*collections, locate=True, **options).tasks


def submission(*pools, awaited=()):
    topology = Topology(tuple(Pool(name, 1, 1) for name in pools))
    return Submission(topology, lambda _: None, awaited=awaited)


def place(*collections, locations, pin=None, there=None):
    graph, keys = merge(collections)
    options = Options(locations=read_locations(locations))
    return place_graph(graph, keys, options, pin=pin, submission=there, transfers=True)


# ---- what is found


def test_array_from_two_sites_is_read_at_both_and_joined_once(known):
    for suffix in ("zarr", "nc"):
        a, b = (opened(known / name / f"x.{suffix}") for name in "ab")
        found = plan((a.t - b.t.mean("y")).data, locate=True)
        assert {"a", "b"} == found.tasks.keys()
        assert found.nbytes == 4 * 8  # the mean, once
        assert plan((a.t - b.t.mean("y")).data).tasks.keys() == {None}


def test_sources_of_two_sites_are_not_fused(known):
    """Blockwise fusion would make one task of both reads before it is known where they run."""
    a, b = (opened(known / name / "x.zarr").t.data for name in "ab")
    placed = place(a - b, locations={known / name: name for name in "ab"}).graph
    found = set()
    for layer in placed.layers.values():
        for _, origins in adapter.origins(HighLevelGraph({"x": layer}, {})):
            for paths in origins.keys.values():
                sites = {path.partition(f"{known}/")[2].partition("/")[0] for path in paths}
                assert sites == {layer.annotations[PLACEMENT]}
                found |= sites
    assert found == {"a", "b"}


def test_nothing_is_opened_for_it(known):
    a, b = (opened(known / name / "x.nc").t.data for name in "ab")
    stack = da.from_npy_stack(known / "a" / "stack")
    text = db.read_text([str(known / name / "0.txt") for name in "ab"])
    for name in "ab":
        shutil.rmtree(known / name)
    for collection in pickle.loads(pickle.dumps([a - b, text])):
        assert tasks(collection).keys() == {"a", "b"}
    assert tasks(stack).keys() == {"a"}


def test_every_kind_of_source_is_found(known):
    zarrs = [da.from_zarr(str(known / name / "x.zarr"), "t") for name in "ab"]
    stacks = [da.from_npy_stack(known / name / "stack") for name in "ab"]
    calls = [delayed(len)(str(known / name / "x.nc")) for name in "ab"]
    lists = [delayed(len)([known / name / "x.nc", known / name]) for name in "ab"]
    blocks = [da.map_blocks(len, str(known / n), chunks=((1, 1),), dtype=int) for n in "ab"]
    texts = [db.read_text(str(known / name / "*.txt"), blocksize=4) for name in "ab"]
    for at_a, at_b in (zarrs, stacks, calls, lists, blocks, texts):
        assert tasks(at_a).keys() == {"a"}
        assert tasks(at_b).keys() == {"b"}
    together = tasks(*zarrs, *stacks, *calls, *lists, *blocks, *texts)
    assert together.keys() == {"a", "b"}


def test_tasks_of_one_layer_may_be_in_several_places(known):
    paths = [str(known / name / "0.txt") for name in "ab"]
    layer = {("lines", i): (len, path) for i, path in enumerate([*paths, "/elsewhere"])}
    graph = HighLevelGraph({"lines": MaterializedLayer(layer)}, {"lines": set()})
    located = locate(graph, read_locations({known / name: name for name in "ab"}))
    assert located.layers == {}
    assert located.keys == {"lines": {("lines", 0): ("a",), ("lines", 1): ("b",)}}
    assert tasks(db.Bag(graph, "lines", 3), persist=True) == {"a": 1, "b": 1, None: 1}


def test_what_is_given_to_each_block_tells_its_place(known):
    blocks = dask.blockwise.BlockwiseDepDict({(i,): str(known / n) for i, n in enumerate("ab")})
    layer = dask.blockwise.blockwise(
        len, "blocks", "i", blocks, "i", numblocks={}, concatenate=None, dependencies=[]
    )
    graph = HighLevelGraph({"blocks": layer}, {"blocks": set()})
    located = locate(graph, read_locations({known / name: name for name in "ab"}))
    assert located.keys == {"blocks": {("blocks", 0): ("a",), ("blocks", 1): ("b",)}}


def test_what_is_written_is_written_in_its_place(known):
    a = opened(known / "a" / "x.zarr").t.data
    target = zarr.create_array(known / "b" / "out", shape=a.shape, chunks=(2, 4), dtype="f8")
    found = plan(da.store(a, target, compute=False), locate=True)
    assert found.nbytes == a.nbytes
    assert found.tasks["b"] >= a.npartitions


def test_path_in_no_location_is_free(known):
    with set_locations({"/nowhere": "a"}):
        assert tasks(opened(known / "a" / "x.nc").t.data).keys() == {None}


def test_longest_prefix_counts(known):
    with set_locations({known: "all", known / "a" / "x.zarr" / "u": "u"}):
        field = opened(known / "a" / "x.zarr")
        assert tasks(field.t.data).keys() == {"all"}
        assert tasks(field.u.data).keys() == {"u"}


def test_mirrors_are_several_pools(known):
    with set_locations({known / "a": ["m", "a"], known / "b": "a"}):
        a, b = (opened(known / name / "x.nc").t.data for name in "ab")
        assert tasks(a + b).keys() == {"a"}
        assert tasks(a).keys() <= {"a", "m"}
    locations = {known / "a": ["m", "a"]}
    assert place(a, locations=locations, there=submission("a")).plan.tasks.keys() == {"a"}


def test_task_that_needs_several_places_runs_where_it_can_reach_all(known):
    both = delayed(len)([str(known / "a"), str(known / "b"), "/elsewhere"])
    with set_locations({known / "a": ["m", "a"], known / "b": ["b", "a"]}):
        assert tasks(both) == {"a": 1}


def test_task_that_could_not_reach_all_of_its_data_is_an_error(known):
    paths = [str(known / name) for name in "ab"]
    with pytest.raises(LocationError) as error:
        tasks(delayed(len)(paths, dask_key_name="both"))
    text = str(error.value)
    assert f"'both' takes data from '{paths[0]}' ('a', by the location '{paths[0]}') and" in text
    assert "no pool has all of it. Nothing has been run" in text
    for said in (pool("c"), pool(None)):
        with said:
            assert len(tasks(delayed(len)(paths))) == 1


def test_reads_that_were_fused_before_are_an_error(known):
    """A chunk that is not there is filled by zarr: the result would be wrong silently."""
    a, b = (opened(known / name / "x.zarr").t.data for name in "ab")
    fused = dask.optimize(a - b)[0]
    with pytest.raises(LocationError, match=r"inside of propagate_pools\(locate=True\)"):
        tasks(fused)


# ---- pins come first


def test_pins_of_the_user_are_kept(known):
    with pool("c"):
        pinned = opened(known / "a" / "x.zarr").t.data
    assert tasks(pinned).keys() == {"c"}
    both = tasks(pinned, opened(known / "a" / "x.zarr").u.data)
    assert both.keys() == {"a", "c"}


def test_pool_none_blocks(known):
    with pool(None):
        free = opened(known / "a" / "x.zarr").t.data
    with pool("c"), pool(None):
        as_free = opened(known / "a" / "x.nc").t.data
    assert tasks(free).keys() == tasks(as_free).keys() == {None}
    assert get_pool(free) is None


def test_data_is_read_where_it_lives_inside_another_pool(known):
    a = opened(known / "a" / "x.zarr").t.data
    with pool("c"):
        assert tasks(a + 1).keys() == {"a", "c"}


def test_nothing_is_located_where_nobody_asks(known):
    a = opened(known / "a" / "x.zarr").t.data
    assert plan(a).tasks.keys() == {None}
    assert not make_options().locations


# ---- pools that are not there


def test_location_without_workers_is_an_error_that_names_path_and_location(known):
    field = opened(known / "a" / "x.zarr")
    with pytest.raises(UnknownPoolError) as error:
        place(field.t.data, locations={known / "a": "ecwmf"}, there=submission("ecmwf", "b"))
    text = str(error.value)
    assert f"'{known}/a/x.zarr/t' lives, by the location '{known}/a'" in text
    assert "Did you mean 'ecmwf'?" in text
    assert "Pools with workers: 'b', 'ecmwf'" in text
    assert "Nothing has been run" in text
    assert str(pickle.loads(pickle.dumps(error.value))) == text
    with pytest.raises(UnknownPoolError, match="any of the pools 'm', 'n', where"):
        place(field.t.data, locations={known / "a": ["m", "n"]}, there=submission("b"))


def test_location_of_what_is_not_needed_may_be_without_workers(known):
    a, b = (opened(known / name / "x.zarr").t.data for name in "ab")
    first = da.concatenate([a, b])[: a.shape[0]]
    locations = {known / name: name for name in "ab"}
    assert place(first, locations=locations, there=submission("a")).plan.tasks.keys() == {"a"}


def test_pool_whose_workers_come_back_is_waited_for(known):
    a = opened(known / "a" / "x.zarr").t.data
    there = submission("b", awaited=frozenset({"a"}))
    assert place(a, locations={known / "a": "a"}, there=there).plan.tasks.keys() == {"a"}


# ---- flattened graphs, and the way to the scheduler


def test_places_are_kept_where_dask_flattens_a_graph(known):
    a, b = (opened(known / name / "x.zarr").t.data for name in "ab")
    with propagate_pools(locate=True):
        totals = [delayed(sum)([a.sum(), b.sum()]), delayed(np.dot)(a.T, b)]
        pieces = (a + 1).to_delayed().ravel().tolist()
    for total in totals:
        for found in (plan(total, locate=True), plan(total)):
            assert found.tasks.keys() == {"a", "b"}
            # Opened arrays, which are small, do not cross; what was read does.
            assert not any("original" in str(transfer.key) for transfer in found.transfers)
    assert plan(*pieces).tasks.keys() == {"a"}


def test_options_are_small_on_their_way_to_the_scheduler():
    locations = {f"/data/site{i}": f"p{i % 9}" for i in range(1000)}
    with set_locations(locations):
        optimizer = PoolOptimizer(make_options(locate=True))
    sent = pickle.dumps(optimizer)
    assert len(sent) < 64 * len(locations)
    assert pickle.loads(sent).options.locations == read_locations(locations)


def test_locations_that_are_not_known_are_an_error():
    with pytest.raises(LocationError, match=r"none is known.*set_locations"):
        propagate_pools(locate=True)
    with pytest.raises(TypeError, match="locate is True or False, not"):
        plan(delayed(1), locate={"/data": "a"})


def test_results_on_threads_are_as_ever(known):
    a, b = (opened(known / name / "x.nc").t for name in "ab")
    expected = (a - b).sum().compute()
    with propagate_pools(locate=True):
        assert (a - b).sum().compute() == expected


# ---- work


class Counting(Locations):
    """Counts how often a path is looked up."""

    __slots__ = ()
    asked = 0

    def location_of(self, path):
        type(self).asked += 1
        return super().location_of(path)


def test_layer_of_blocks_is_looked_at_once(known):
    x = zarr.create_array(known / "a" / "many", shape=100_000, chunks=1, dtype="f8")
    lazy = da.from_array(x, chunks=1)
    graph = (lazy + 1).__dask_graph__()
    locations = Counting(read_locations({known / "a": "a"}).all)
    located = locate(graph, locations)
    assert set(located.layers.values()) == {("a",)}
    assert Counting.asked == 1
    assert located.keys == {}
