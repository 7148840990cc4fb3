"""Every kind of collection, computed in every way: read at home, and the same result as ever.

The data of each of two pools is hidden from the workers of the other one. All collections are
built outside of `propagate_pools`, but in one way, where they are built inside of it.
"""

from __future__ import annotations

import operator
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
import xarray as xr
import zarr
from dask.graph_manipulation import bind, checkpoint, clone, wait_on
from distributed import Client, wait
from tlz import identity

from dask_pools import LocalPoolCluster, get_pool, link_bytes, pool, propagate_pools
from tests import homes
from tests.computations import assert_close
from tests.homes import COLUMNS, ROWS, STEP, take_reads

# The first test waits for a cluster of five processes.
pytestmark = pytest.mark.timeout(300)

HOMES = ("a", "b")


class Sources:
    """What is read at both sites: pinned or, for the plain result, not."""

    def __init__(self, directories: Mapping[str, Path], *, pinned: bool) -> None:
        self.directories = directories
        self.pinned = pinned

    def _load(self, home: str) -> Any:
        return pool(home) if self.pinned else nullcontext()

    def array(self, home: str) -> da.Array:
        with self._load(home):
            return da.from_array(homes.Field(self.directories[home]), chunks=(STEP, -1), name=False)

    def arrays(self) -> tuple[da.Array, da.Array]:
        return self.array("a"), self.array("b")

    def dataset(self, home: str) -> xr.Dataset:
        return xr.Dataset({"t": (("x", "y"), self.array(home))}, {"x": np.arange(ROWS)})

    def delayed(self, home: str) -> list[Any]:
        with self._load(home):
            read = dask.delayed(homes.read)
            return [read(self.directories[home], start) for start in range(0, ROWS, STEP)]

    def bag(self, home: str) -> db.Bag:
        paths = [str(self.directories[home] / f"{i}.txt") for i in range(2)]
        with self._load(home):
            return db.from_sequence(paths, npartitions=2).map(homes.lines).flatten()

    def bags(self) -> db.Bag:
        return db.concat([self.bag("a"), self.bag("b")])


total = dask.delayed(homes.total)

# ---- kinds of collections


def array(s: Sources) -> Any:
    x, y = s.arrays()
    return (x + y).rechunk((ROWS // 2, 2)).cumsum(axis=0)


def array_gufunc(s: Sources) -> Any:
    return da.apply_gufunc(homes.dot, "(i),(i)->()", *s.arrays(), output_dtypes=float)


def array_map_blocks(s: Sources) -> Any:
    return da.map_blocks(np.maximum, *s.arrays(), dtype=float)


def array_option(s: Sources) -> Any:
    """Of an array that is given by name, Dask makes a delayed value."""
    x, y = s.arrays()
    return x.map_blocks(homes.add, other=y.mean(axis=0), dtype=x.dtype, meta=x._meta)


def array_of_delayed(s: Sources) -> Any:
    parts = [da.from_delayed(part, (STEP, COLUMNS), "f8") for part in s.delayed("a")]
    return da.concatenate(parts) * s.array("b")


def array_of_pieces(s: Sources) -> Any:
    x, y = s.arrays()
    pieces = (x + y).to_delayed().ravel()
    return da.concatenate([da.from_delayed(p, (STEP, COLUMNS), "f8") for p in pieces]) - x


def array_optimised(s: Sources) -> Any:
    x, y = dask.optimize(*s.arrays())
    return x - y.mean(axis=0)


def bag(s: Sources) -> Any:
    return s.bags().map(homes.words)


def bag_folded(s: Sources) -> Any:
    return s.bags().foldby(homes.words, homes.lengths, 0, operator.add, 0)


def bag_grouped_by_disk(s: Sources) -> Any:
    return s.bags().groupby(homes.words, shuffle="disk").map(homes.members)


def bag_grouped_by_tasks(s: Sources) -> Any:
    return s.bags().groupby(homes.words, shuffle="tasks").map(homes.members)


def bag_of_delayed(s: Sources) -> Any:
    pieces = s.bag("a").to_delayed() + s.bag("b").map(str.upper).to_delayed()
    return db.from_delayed(pieces)


def bag_product(s: Sources) -> Any:
    return s.bag("a").product(s.bag("b")).map(len).sum()


def bag_with_array(s: Sources) -> Any:
    return s.bag("a").map(homes.plus, dask.delayed(s.array("b").sum()))


def bound(s: Sources) -> Any:
    x, y = s.arrays()
    return bind(x + 1, y)


def checked(s: Sources) -> Any:
    return checkpoint(*s.arrays())


def cloned(s: Sources) -> Any:
    x, y = s.arrays()
    return clone(x + y, omit=y)


def waited_for(s: Sources) -> Any:
    x, y = wait_on(*s.arrays())
    return x - y


def delayed(s: Sources) -> Any:
    pairs = zip(s.delayed("a"), s.delayed("b"), strict=True)
    return total([dask.delayed(np.subtract)(x, y) for x, y in pairs])


def delayed_of_arrays(s: Sources) -> Any:
    x, y = s.arrays()
    return total(x, {"y": y, "more": [x, x + y]}, last=y.mean())


def delayed_of_bags(s: Sources) -> Any:
    item, lines = s.bag("a").map(homes.words).sum(), s.bag("b").map(homes.words)
    return total(item.to_delayed(), lines.to_delayed(), item, lines)


def delayed_of_dataset(s: Sources) -> Any:
    return total(s.dataset("a"), [s.dataset("b").t])


def delayed_of_pieces(s: Sources) -> Any:
    x, y = s.arrays()
    return total((x - y).to_delayed().ravel().tolist())


def delayed_of_plain_pieces(s: Sources) -> Any:
    x, y = s.arrays()
    return total((x - y).to_delayed(optimize_graph=False).ravel().tolist())


def delayed_of_optimised(s: Sources) -> Any:
    x, y = s.arrays()
    return total(*dask.optimize(x, y - 1, s.bag("a").map(homes.words), s.dataset("b"), delayed(s)))


def dataset(s: Sources) -> Any:
    return s.dataset("a") - s.dataset("b").mean("x")


def dataset_map_blocks(s: Sources) -> Any:
    x, y = s.dataset("a"), s.dataset("b")
    return xr.map_blocks(operator.sub, x, args=[y], template=x)


def dataset_ufunc(s: Sources) -> Any:
    return xr.apply_ufunc(np.hypot, s.dataset("a"), s.dataset("b"), dask="parallelized")


KINDS: tuple[Callable[[Sources], Any], ...] = (
    array,
    array_gufunc,
    array_map_blocks,
    array_of_delayed,
    array_of_pieces,
    array_optimised,
    array_option,
    bag,
    bag_folded,
    bag_grouped_by_disk,
    bag_grouped_by_tasks,
    bag_of_delayed,
    bag_product,
    bag_with_array,
    bound,
    checked,
    cloned,
    dataset,
    dataset_map_blocks,
    dataset_ufunc,
    delayed,
    delayed_of_arrays,
    delayed_of_bags,
    delayed_of_dataset,
    delayed_of_optimised,
    delayed_of_pieces,
    delayed_of_plain_pieces,
    waited_for,
)
#: Those that are computed in all ways by default.
USUAL = (array_option, bag, dataset, delayed_of_pieces)

# ---- ways to compute them


def compute(client: Client, x: Any) -> Any:
    return x.compute()


def compute_delayed(client: Client, x: Any) -> Any:
    return dask.delayed(identity)(x).compute()


def compute_optimised(client: Client, x: Any) -> Any:
    (optimised,) = dask.optimize(x)
    return optimised.compute()


def compute_persisted(client: Client, x: Any) -> Any:
    persisted = x.persist()
    wait(persisted)
    return persisted.compute()


def compute_persisted_in_a(client: Client, x: Any) -> Any:
    with pool("a"):
        persisted = client.persist(x)
    return client.compute(persisted).result()


def compute_several(client: Client, x: Any) -> Any:
    return dask.compute({"x": x}, x, [dask.delayed(1)])[1]


def compute_by_client(client: Client, x: Any) -> Any:
    return client.compute(x).result()


def compute_unoptimised(client: Client, x: Any) -> Any:
    return client.compute(x, optimize_graph=False).result()


WAYS: tuple[Callable[[Client, Any], Any], ...] = (
    compute,
    compute_by_client,
    compute_delayed,
    compute_optimised,
    compute_persisted,
    compute_persisted_in_a,
    compute_several,
    compute_unoptimised,
)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sites")
    return {home: homes.write(root / home, seed) for seed, home in enumerate(HOMES)}


@pytest.fixture(scope="module")
def client(directories: dict[str, Path]) -> Iterator[Client]:
    numbers = dict.fromkeys(HOMES, 2)
    with (
        LocalPoolCluster(numbers, data=directories, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def pinned(client: Client, directories: dict[str, Path]) -> Iterator[Sources]:
    """Sources that have been read at home, and at both homes, when the test is over."""
    take_reads(client)
    yield Sources(directories, pinned=True)
    reads = take_reads(client)
    assert {home for home, _ in reads} == set(HOMES)
    assert sum(n for (home, reader), n in reads.items() if home != reader) == 0


@pytest.fixture
def plain(directories: dict[str, Path]) -> Sources:
    return Sources(directories, pinned=False)


def check(found: Any, expected: Any) -> None:
    if isinstance(expected, xr.Dataset):
        xr.testing.assert_identical(found, expected)
    elif isinstance(expected, list):  # of a bag, which has no order
        assert sorted(found) == sorted(expected)
    elif expected is None:
        assert found is None
    else:
        assert_close(found, expected)


def pairs() -> Iterator[Any]:
    for kind in KINDS:
        for way in WAYS:
            usual = way is compute or kind in USUAL
            marks = () if usual else pytest.mark.slow
            yield pytest.param(kind, way, marks=marks, id=f"{kind.__name__}-{way.__name__}")


@pytest.mark.parametrize(("kind", "way"), [*pairs()])
def test_collection_is_read_at_home(kind, way, client, pinned, plain):
    (expected,) = dask.compute(kind(plain), scheduler="synchronous")
    collection = kind(pinned)
    with propagate_pools():
        check(way(client, collection), expected)


@pytest.mark.parametrize(
    "kind", [*USUAL, *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS)]
)
def test_collection_that_is_built_inside_is_read_at_home(kind, client, pinned, plain):
    (expected,) = dask.compute(kind(plain), scheduler="synchronous")
    with propagate_pools():
        check(kind(pinned).compute(), expected)


@pytest.mark.parametrize(
    "kind", [delayed, delayed_of_arrays, delayed_of_dataset, delayed_of_pieces]
)
def test_delayed_value_is_read_at_home_without_the_switch(kind, client, pinned, plain):
    """Of what Dask does not fuse, it keeps annotations, and the scheduler places it."""
    (expected,) = dask.compute(kind(plain), scheduler="synchronous")
    check(kind(pinned).compute(), expected)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("kind", KINDS)
def test_local_schedulers_compute_as_ever(kind, scheduler, directories, plain):
    (expected,) = dask.compute(kind(plain), scheduler="synchronous")
    collection = kind(Sources(directories, pinned=True))
    for switch in (nullcontext(), propagate_pools()):
        with switch:
            check(collection.compute(scheduler=scheduler), expected)


def test_several_kinds_of_one_computation_share_what_they_read(client, pinned, plain):
    def kinds(s: Sources) -> list[Any]:
        x, y = s.arrays()
        return [x.sum(), xr.DataArray(x + y).mean(), bag_product(s), total(s.delayed("b"))]

    expected = dask.compute(*kinds(plain), scheduler="synchronous")
    with propagate_pools():
        found = dask.compute(*kinds(pinned))
    for one, other in zip(found, expected, strict=True):
        check(one, other)


# ---- futures


def read_futures(client: Client, s: Sources, home: str) -> list[Any]:
    with pool(home):
        starts = range(0, ROWS, STEP)
        return client.map(homes.read, [s.directories[home]] * len(starts), starts, pure=False)


def test_futures_are_made_at_home_and_used(client, pinned, plain):
    x, y = read_futures(client, pinned, "a"), read_futures(client, pinned, "b")
    expected = homes.total(*(s.compute(scheduler="synchronous") for s in plain.arrays()))
    assert client.submit(homes.total, x, y).result() == expected
    with propagate_pools():
        assert total(x, {"y": y}).compute() == expected
        assert client.submit(homes.total, x, last=y).result() == expected


def test_futures_become_collections(client, pinned, plain):
    parts = [
        da.from_delayed(dask.delayed(future), (STEP, COLUMNS), "f8")
        for future in read_futures(client, pinned, "a")
    ]
    x, y = da.concatenate(parts), pinned.array("b")
    expected = plain.array("a") - plain.array("b")
    with propagate_pools():
        check((x - y).compute(), expected.compute(scheduler="synchronous"))


def test_collections_are_given_to_submit(client, pinned, plain):
    """Dask computes what it finds inside of tasks where they run, as if they had done it."""
    with propagate_pools():
        ds = client.persist(dataset(pinned))
        found = client.submit(xr.Dataset.equals, ds.compute(), ds.compute()).result()
        mean = client.submit(homes.total, client.compute(ds)).result()
    assert found
    expected = dataset(plain).compute(scheduler="synchronous")
    assert mean == pytest.approx(homes.total(expected))


# ---- persisted collections


def test_persisted_blocks_stay_at_home_and_are_built_upon(client, pinned, plain):
    with propagate_pools():
        x, y = client.persist(list(pinned.arrays()))
        wait([x, y])
        found = (x + y).rechunk((ROWS, 1)).std(axis=0).compute()
        before = sum(link_bytes(client).values())
        sums = dask.compute(x.sum(), y.sum())
        assert sum(link_bytes(client).values()) - before < ROWS * COLUMNS  # two numbers
    a, b = plain.arrays()
    check(found, (a + b).std(axis=0).compute(scheduler="synchronous"))
    check(sums[0], a.sum().compute(scheduler="synchronous"))


def test_persisted_blocks_that_are_lost_are_read_at_home_again(client, pinned, plain):
    with propagate_pools():
        x = (pinned.array("a") + 0).persist()
        wait(x)
        (holder, *_), *_ = client.who_has(x).values()
        os.kill(client.run(os.getpid, workers=[holder])[holder], signal.SIGKILL)
        found = (x - pinned.array("b")).compute()
    a, b = plain.arrays()
    check(found, (a - b).compute(scheduler="synchronous"))


# ---- what is written


def test_arrays_are_stored(client, pinned, plain, tmp_path):
    target = zarr.create_array(
        tmp_path / "sum.zarr", shape=(ROWS, COLUMNS), chunks=(STEP, COLUMNS), dtype="f8"
    )
    x, y = pinned.arrays()
    with propagate_pools():
        da.store([x + y], [target])
        (x - y).to_zarr(str(tmp_path / "difference.zarr"))
    a, b = dask.compute(*plain.arrays(), scheduler="synchronous")
    np.testing.assert_array_equal(target[:], a + b)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "difference.zarr")[:], a - b)


def test_datasets_are_written_later(client, pinned, plain, tmp_path):
    path = tmp_path / "dataset.zarr"
    writing = dataset(pinned).to_zarr(path, compute=False, consolidated=False)
    with propagate_pools():
        writing.compute()
    expected = dataset(plain).compute(scheduler="synchronous")
    with xr.open_zarr(path, consolidated=False) as found:
        xr.testing.assert_identical(found.compute(scheduler="synchronous"), expected)


def test_text_is_written_at_home(client, pinned, directories):
    with propagate_pools():
        for home in HOMES:
            paths = [str(directories[home] / f"upper-{i}.txt") for i in range(2)]
            with pool(home):
                pinned.bag(home).map(str.upper).to_textfiles(paths)
    assert Path(paths[0]).read_text().startswith("B 0")


# ---- pins that can be seen


def test_pins_are_seen_on_what_was_flattened(directories):
    x, y = Sources(directories, pinned=True).arrays()
    assert get_pool(x.to_delayed()[0, 0]) == "a"
    assert get_pool(dask.optimize(y)[0]) == "b"
