"""Zones: what may be fused before it is placed, and what must not be."""

from __future__ import annotations

import dask.array as da
import numpy as np

from dask_pools import pool
from dask_pools.graph.pins import find_pins
from dask_pools.graph.sizes import describe_blocks
from dask_pools.graph.zones import find_zones


def read(name: str | None, shape=(40, 40), chunks=10) -> da.Array:
    with pool(name):
        return da.map_blocks(
            lambda block_info=None: np.zeros(block_info[None]["chunk-shape"]),
            chunks=da.core.normalize_chunks(chunks, shape),
            dtype=float,
            meta=np.empty((0,) * len(shape)),
            name=f"read-{name}-{da.core.tokenize(name, shape, chunks)}",
        )


def zones(x: da.Array) -> dict[str, int]:
    pins = find_pins(x.dask, None, None)
    return find_zones(x.dask, pins.layers, pins.mixed, describe_blocks(x.dask))


def together(x: da.Array, *parts: da.Array) -> bool:
    found = zones(x)
    return len({found[part.name] for part in parts}) == 1


def test_one_pool_is_one_zone() -> None:
    a = read("a")
    x = (a - a.mean(0)) @ a.T + read(None)
    assert len(set(zones(x).values())) == 1


def test_parts_that_are_not_connected_are_zones_of_their_own() -> None:
    a, free = read("a"), read(None)
    x = a + 1
    found = zones(x)
    assert found[a.name] == found[x.name]
    assert len(set(zones(free + 1).values())) == 1


def test_what_does_not_grow_follows_its_only_input() -> None:
    a, b = read("a"), read("b")
    one = a + 1
    small = one.astype("f4")
    x = small + b
    assert together(x, a, one, small)
    assert not together(x, small, x)
    assert not together(x, a, b)


def test_a_literal_array_among_the_arguments_is_no_input() -> None:
    a, b = read("a"), read("b")
    scaled = a.map_blocks(lambda block, factors: block * factors.mean(), np.arange(3.0))
    assert together(scaled + b, a, scaled)


def test_what_grows_does_not_follow() -> None:
    """It is better carried before it grows, if its consumer is elsewhere."""
    a, b = read("a"), read("b", (160, 40), (40, 10))
    grown = a.map_blocks(lambda x: np.repeat(x, 4, axis=0), chunks=((40,) * 4, a.chunks[1]))
    x = grown + b
    assert not together(x, a, grown)
    assert together(x, grown, x), "but it goes to where it is needed"


def test_a_source_is_pulled_to_its_only_consumer() -> None:
    a, b, noise = read("a"), read("b"), read(None)
    noisy = a + noise
    x = noisy + b
    assert together(x, a, noise, noisy)


def test_a_value_that_two_need_is_not_fused() -> None:
    a, b = read("a"), read("b")
    shared = a + 1
    x = (shared + b) + (shared * b)
    assert not together(x, shared, shared + b)


def test_a_broadcast_value_is_not_fused_with_its_many_consumers() -> None:
    """The same block is needed by tasks that may be in several pools."""
    index = read("a", shape=(40,))
    both = da.concatenate([read("a"), read("b")])
    x = both + index
    assert not together(x, index, x)


def test_tasks_of_a_free_zone_are_joined_block_by_block_only() -> None:
    """x[i, j] and x[j, i] may be in different pools."""
    x = da.concatenate([read("a", shape=(20, 40)), read("b", shape=(20, 40))])
    one = x + 1
    y = one + one.T
    assert not together(y, one, y)


def test_a_contraction_is_not_fused_with_its_inputs() -> None:
    a, b = read("a"), read("b")
    product = a @ b
    assert not together(product, a, product)


def test_mirrors_differ_from_a_single_pool() -> None:
    with pool("a", "b"):
        mirrored = da.zeros((40, 40), chunks=10)
    x = mirrored + read("a")
    assert not together(x, mirrored, read("a"))
