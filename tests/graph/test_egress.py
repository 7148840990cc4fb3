"""What may leave a pool whose raw data may not, on graphs as people build them."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import Task, TaskRef
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from dask_pools import pool
from dask_pools.errors import ResidencyError
from dask_pools.graph import adapter
from dask_pools.graph.adapter import reducing
from dask_pools.graph.egress import find_confined
from dask_pools.graph.pins import find_pins
from dask_pools.graph.rawness import Made
from dask_pools.graph.refusal import explain
from dask_pools.graph.sizes import describe_blocks
from dask_pools.graph.table import TaskTable
from dask_pools.graph.zones import find_zones
from dask_pools.model import Link, Pool, Topology
from dask_pools.planning.conflict import first_forbidden
from dask_pools.planning.place import place
from dask_pools.planning.problem import PlacementProblem, uniform_costs
from dask_pools.planning.residency import PlacementConflictError

#: Blocks of a field: large enough that they count, small enough to be made.
CHUNKS = (4, 10, 10)


def field(name: str | tuple[str, ...], chunks: Any = CHUNKS, shape: Any = (12, 10, 10)) -> da.Array:
    """Read a field in a pool: a store, and blocks of it."""
    with pool(*([name] if isinstance(name, str) else name)):
        return da.from_array(np.zeros(shape), chunks=chunks, name=f"read-{name}")


AGGREGATES = Topology((Pool("a", egress="aggregates"), Pool("b")))


@dataclass
class Case:
    """One graph made into tasks, and its problem."""

    made: Made
    problem: PlacementProblem
    topology: Topology

    def name(self, i: int) -> Any:
        return self.made.table.name(i)

    def leaving(self) -> dict[str, set[bool]]:
        """Tell by the names of layers whether their values may leave pool a; some may differ."""
        found: dict[str, set[bool]] = {}
        column = self.problem.pools.index("a")
        for i in range(len(self.problem.sizes)):
            held = self.problem.confined is not None and bool(self.problem.confined[i, column])
            layer = adapter.layer_name(self.name(i)).rpartition("-")[0]
            found.setdefault(layer, set()).add(not held)
        return found

    def place(self) -> list[str]:
        labels = place(self.problem)
        assert first_forbidden(self.problem, labels) is None
        return [self.problem.pools[i] for i in labels.tolist()]

    def refusal(self) -> ResidencyError:
        with pytest.raises(PlacementConflictError) as caught:
            place(self.problem)
        return explain(caught.value.conflict, self.problem, self.name, self.topology)


def case(
    x: Any,
    topology: Topology = AGGREGATES,
    *,
    fused: bool = True,
    outside: dict[Any, str] | None = None,
    guessed: bool = False,
) -> Case:
    """Make tasks of a collection as the optimiser does, and confine their values."""
    graph = adapter.high_level_graph(x)
    keys = adapter.flat_keys(x.__dask_keys__())
    pins = find_pins(graph, None, None)
    blocks = describe_blocks(graph)
    zones = find_zones(graph, pins.layers, pins.mixed, blocks)
    annotations: Any = {name: {"zone": zone} for name, zone in zones.items()}
    # Zones keep reads apart; without them Dask fuses reads with all that follows in their pool.
    zoned = adapter.with_annotations(graph, annotations)
    layers = adapter.cull(adapter.fuse_blockwise(zoned, keys) if fused else graph, keys)
    raw: dict[Any, Any] = {}
    number = []
    for i, layer in enumerate(layers.values()):
        made = adapter.layer_tasks(layer)
        raw.update(made)
        number += [i] * len(made)
    tasks = adapter.as_tasks(raw)
    made_by = [i for i, key in zip(number, raw, strict=True) if key in tasks]
    for key in outside or {}:
        i = list(tasks).index(key)
        del tasks[key], made_by[i]
    table = TaskTable.of(tasks)
    zone_pin = {zone: pins.layers[name] for name, zone in zones.items() if pins.layers[name]}
    names = list(layers)
    of_zone = [zone_pin.get(zones[names[i]]) for i in made_by]
    bound = [pins.keys.get(key) or pin for key, pin in zip(tasks, of_zone, strict=True)]
    bound += [((outside or {})[key],) for key in table.outside]
    pools = topology.names
    problem = PlacementProblem(
        pools=pools,
        sizes=np.array([_nbytes(key, blocks) for key in [*table.keys, *table.outside]]),
        allowed=np.array([np.isin(pools, pin or pools) for pin in bound]),
        values=table.values,
        consumers=table.consumers,
        costs=uniform_costs(len(pools)),
        bound=np.array([bool(pin) for pin in bound]),
    )
    made = Made(graph, blocks, pins, table, np.array(made_by, dtype=np.int32), names)
    guess = np.ones(len(bound), dtype=bool) if guessed else None
    for link in topology.links:
        if not link.allowed:
            problem.costs[pools.index(link.source), pools.index(link.target)] = np.inf
    confined = find_confined(made, problem, topology, guess)
    return Case(made, replace(problem, confined=confined), topology)


def _nbytes(key: Any, blocks: Any) -> float:
    block = adapter.block_of(key)
    known = None if block is None or block[0] not in blocks else blocks[block[0]].nbytes([key])
    return 1000.0 if known is None else float(known[0])


# --- what may leave ------------------------------------------------------------------------------


def test_no_rules_cost_nothing():
    x = field("a") - field("b")
    made = case(x, Topology((Pool("a"), Pool("b")))).made
    assert find_confined(made, None, None) is None  # type: ignore[arg-type]


def test_raw_data_and_what_is_made_of_it_may_not_leave():
    leaving = case((field("a") * 2).rechunk((6, 5, 5))[1:]).leaving()
    assert leaving.pop("array-original", {False}) == {False}
    assert set().union(*leaving.values()) == {False}


def test_other_pools_are_free():
    found = case(field("a") + field("b")).problem
    assert not found.confined[:, found.pools.index("b")].any()


@pytest.mark.parametrize(
    "reduce",
    [
        lambda x: x.mean(axis=0),
        lambda x: x.mean(axis=0) * 2 + 1,
        lambda x: (x - 273.15).mean(axis=0),
        lambda x: x.std(axis=(1, 2)),
        lambda x: da.nanmax(x, axis=0),
        lambda x: x.sum(),
        lambda x: x.argmax(axis=0),
        lambda x: x.mean(axis=0, split_every=2),
        lambda x: da.topk(x, 2, axis=0),
        lambda x: da.reduction(x, _loss, _loss, axis=0, dtype="f8"),
        lambda x: da.einsum("tij,ij->t", x, da.ones((10, 10))),
    ],
)
@pytest.mark.parametrize("fused", [True, False])
def test_what_was_reduced_may_leave(reduce, fused):
    y = reduce(field("a"))
    found = case(y, fused=fused)
    at = [found.made.table.index[key] for key in adapter.flat_keys(y.__dask_keys__())]
    assert found.problem.confined is not None
    assert not found.problem.confined[at].any()


def _loss(x: Any, axis: Any, keepdims: Any) -> Any:
    return np.min(x, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize(
    "keep",
    [
        lambda x: x.cumsum(axis=0),
        lambda x: x[:1],
        lambda x: da.map_blocks(_loss, x, axis=(0,), keepdims=True),
        lambda x: da.map_blocks(np.sum, x, axis=(0,), keepdims=True),
        lambda x: da.concatenate([x, x]),
        lambda x: x.map_overlap(lambda block: block, depth=1),
        lambda x: x.rechunk((1, 10, 10)).mean(axis=0, split_every=100)[None] * 0 + x,
        lambda x: x[:1].mean(axis=0),
        lambda x: da.einsum("tij,jk->tik", x, da.eye(10)),
        lambda x: x @ da.eye(10),
        lambda x: da.broadcast_to(x[:1, None], (1, 3, 10, 10)).mean(axis=1),
    ],
)
@pytest.mark.parametrize("fused", [True, False])
def test_what_was_not_reduced_may_not_leave(keep, fused):
    y = keep(field("a"))
    found = case(y, fused=fused)
    at = [found.made.table.index[key] for key in adapter.flat_keys(y.__dask_keys__())]
    assert found.problem.confined is not None
    assert found.problem.confined[at].any()


def test_one_member_per_block_is_reduced_only_when_members_are_combined():
    y = field("a", chunks=(1, 10, 10)).mean(axis=0)
    leaving = case(y).leaving()
    assert leaving["mean_chunk"] == {False}
    assert leaving["mean_combine-partial"] == {True}
    assert leaving["mean_agg-aggregate"] == {True}


def test_a_last_block_of_one_member_is_told_from_the_others():
    found = case(field("a", chunks=(4, 10, 10), shape=(9, 10, 10)).mean(axis=0))
    table, confined = found.made.table, found.problem.confined
    held = {
        key[1]: bool(confined[i, 0]) for key, i in table.index.items() if "mean_chunk" in key[0]
    }
    assert held == {0: False, 1: False, 2: True}


def test_an_anomaly_is_raw_although_the_mean_in_it_is_not():
    x = field("a")
    y = x - x.mean(axis=0)
    found = case(y)
    at = [found.made.table.index[key] for key in adapter.flat_keys(y.__dask_keys__())]
    assert found.problem.confined[at, 0].all()


def test_steps_made_inside_of_the_pool_are_no_raw_data():
    with pool("a"):
        y = field("a").mean(axis=0) - 273.15
    found = case(y)
    at = [found.made.table.index[key] for key in adapter.flat_keys(y.__dask_keys__())]
    assert not found.problem.confined[at].any()


def test_reductions_of_users_inside_of_the_pool_are_no_raw_data():
    with pool("a"):
        y = da.reduction(field("a"), _loss, _loss, axis=0, dtype="f8")
    assert case(y).leaving() == {"read": {False}, "loss": {True}, "_loss-aggregate": {True}}


@pytest.mark.parametrize("inline", [True, False])
def test_stores_are_raw_data_however_they_are_given_to_tasks(inline):
    with pool("a"):
        x = da.from_array(Store(), chunks=CHUNKS, name="read-store", inline_array=inline)
    y = x + 1
    found = case(y)
    at = [found.made.table.index[key] for key in adapter.flat_keys(y.__dask_keys__())]
    assert found.problem.confined[at, 0].all()


class Store:
    """What Dask cuts blocks out of when they are needed."""

    shape, dtype, ndim = (12, 10, 10), np.dtype("f8"), 3

    def __getitem__(self, index: Any) -> Any:
        return np.zeros(self.shape)[index]


def test_functions_of_users_inside_of_the_pool_may_read():
    with pool("a"):
        y = da.arange(12, chunks=4).map_blocks(lambda block: np.zeros(len(block)))
    assert False in case(y).leaving()["lambda"]
    z = da.arange(12, chunks=4).map_blocks(lambda block: np.zeros(len(block)))
    assert case(z + field("a")[:, 0, 0]).leaving()["arange"] == {True}


def test_delayed_values_are_raw_as_what_they_are_made_of():
    with pool("a"):
        value = dask.delayed(np.ones)(1000)
    y = dask.delayed(np.mean)(value)
    found = case(y)
    assert found.problem.confined.all(axis=0).tolist() == [True, False]


def test_groups_of_several_blocks_may_leave():
    time = xr.date_range("2000-01-01", periods=12, freq="MS")
    x = xr.DataArray(field("a"), dims=("time", "y", "x"), coords={"time": time})
    y = x.groupby("time.season").mean().data
    found = case(y)
    at = [found.made.table.index[key] for key in adapter.flat_keys(y.__dask_keys__())]
    assert found.problem.confined.any()
    assert not found.problem.confined[at].any()


def test_weighted_means_are_reductions():
    x = xr.DataArray(field("a"), dims=("time", "y", "x"))
    y = x.weighted(xr.DataArray(np.arange(10.0), dims="y")).mean(("y", "x")).data
    found = case(y)
    at = [found.made.table.index[key] for key in adapter.flat_keys(y.__dask_keys__())]
    assert not found.problem.confined[at].any()


def test_mirrors_are_confined_where_the_rule_is():
    found = case(field(("a", "b")) * 2).problem
    assert found.confined[:, found.pools.index("a")].all()
    assert not found.confined[:, found.pools.index("b")].any()


def test_a_store_opened_by_xarray(tmp_path):
    stored = xr.DataArray(np.zeros((8, 6, 6)), dims=("member", "y", "x"), name="t")
    stored.to_dataset().to_zarr(
        tmp_path / "t.zarr", encoding={"t": {"chunks": (2, 6, 6)}}, consolidated=False
    )
    with pool("a"):
        t = xr.open_zarr(tmp_path / "t.zarr", consolidated=False)["t"]
    found = case((t.mean("member").isel(y=3) - field("b", (6,), (6,))).data)
    reads = [i for key, i in found.made.table.index.items() if "open_dataset" in str(key)]
    assert found.problem.confined[reads, 0].all()
    leaving = found.leaving()
    assert leaving["mean_agg-aggregate"] == leaving["sub"] == {True}
    raw = case((t.isel(member=0, y=3) - field("b", (6,), (6,))).data)
    assert raw.leaving()["sub"] == {False}


def test_small_values_may_leave_up_to_the_limit():
    nbytes = 4 * 10 * 10 * 8
    for limit, free in ((nbytes, True), (nbytes - 1, False)):
        topology = Topology((Pool("a", egress="aggregates", egress_limit=limit), Pool("b")))
        leaving = case(field("a") + 1, topology).leaving()
        assert leaving["add"] == {free}


def test_a_guessed_size_is_over_every_limit():
    topology = Topology((Pool("a", egress="aggregates", egress_limit=1e12), Pool("b")))
    assert case(field("a"), topology).problem.confined is None
    assert case(field("a"), topology, guessed=True).problem.confined is not None


def test_persisted_values_are_raw_data_of_where_they_are():
    x = da.from_array(np.ones((4, 4)), chunks=2, name="persisted")
    y = x + 1
    found = case(y, fused=False, outside=dict.fromkeys(adapter.flat_keys(x.__dask_keys__()), "a"))
    assert found.problem.confined[:, 0].all()
    z = x.sum(axis=0)
    found = case(z, fused=False, outside=dict.fromkeys(adapter.flat_keys(x.__dask_keys__()), "a"))
    assert found.leaving()["sum"] == {True}


# --- placement, and its refusal ------------------------------------------------------------------

BOTH = Topology((Pool("a", egress="aggregates"), Pool("b")), (Link("b", "a", allowed=False),))


def test_fields_are_combined_where_the_confined_one_is():
    found = case(field("a") - field("b"))
    at = dict(zip(found.made.table.keys, found.place(), strict=False))
    assert {at[key] for key in at if key[0].startswith("sub")} == {"a"}


def test_raw_fields_of_two_pools_that_keep_theirs_are_refused():
    x = field("a") - field("b")
    found = case(x, BOTH)
    error = found.refusal()
    layers = [adapter.layer_name(key).split("-")[0] for key in error.chain]
    assert layers in (["read", "sub", "read"], ["array", "sub", "array"])
    message = str(error)
    assert "raw data of 'a' may not leave it (egress='aggregates')" in message
    assert "has not passed through a reduction" in message
    assert "the link 'b' -> 'a' is not allowed" in message
    assert "Nothing has been run" in message
    assert "reduce the data of 'a'" in message
    assert "3.2 kB" in message
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ResidencyError
    assert (str(again), again.chain) == (message, error.chain)


def test_the_mean_of_a_field_is_compared_where_the_other_one_is():
    found = case(field("a").mean(axis=0) - field("b").mean(axis=0), BOTH)
    places = found.place()
    at = dict(zip(found.made.table.keys, places, strict=False))
    assert {at[key] for key in at if key[0].startswith("sub")} == {"b"}


def test_pools_that_let_nothing_out_are_named():
    topology = Topology((Pool("a", egress="none"), Pool("b", egress="none")))
    found = case(field("a").sum() + field("b").sum(), topology)
    found.problem.costs[:] = np.where(np.eye(2, dtype=bool), 0, np.inf)
    message = str(found.refusal())
    assert "nothing may leave 'a' (egress='none')" in message
    assert "nothing may leave 'b' (egress='none')" in message


def test_the_last_step_of_compute_is_told_of():
    """Blocks of two pools that keep theirs cannot be put together in one of them."""
    x = da.concatenate([field("a"), field("b")])
    last = "finalize-hlgfinalizecompute-1"
    step = {last: (list, x.__dask_keys__())}
    graph = HighLevelGraph.from_collections(last, step, dependencies=[x])
    error = case(Delayed(last, graph), BOTH).refusal()
    assert last in error.chain
    assert "persist() the result" in str(error)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (np.add, True),
        (partial(np.mean, axis=0), True),
        (np.load, False),
        (np.frompyfunc(abs, 1, 1), False),
        (partial(np.apply_along_axis, _loss), False),
        (open, False),
        (_loss, False),
    ],
)
def test_functions_that_only_compute(function, expected):
    assert reducing.only_computes(Task("y", function, TaskRef("x"))) == expected


def test_limits_and_long_chains_are_told():
    topology = replace(BOTH, pools=(replace(BOTH.pools[0], egress_limit=500), BOTH.pools[1]))
    x = field("a")
    for i in range(20):
        x = (x + i).rechunk((4, 5, 10) if i % 2 else (4, 10, 5))
    message = str(case(x - field("b"), topology).refusal())
    assert "over the limit of 500 B" in message
    assert "more tasks ..." in message


def test_steps_of_reductions_are_known_without_their_layers():
    """Regrouped reductions have tasks that no layer has made."""
    found = case(field("a", chunks=(1, 10, 10)).mean(axis=0) * 2)
    made = found.made
    combining = ["-partial-" in adapter.layer_name(key) for key in made.table.keys]
    assert any(combining)
    without = replace(made, layers=np.where(combining, -1, made.layers).astype(np.int32))
    confined = find_confined(without, found.problem, AGGREGATES)
    assert confined is not None
    assert confined.tolist() == found.problem.confined.tolist()
