"""What crosses when members of an ensemble are held in turn by three pools, and in an addition.

    python -m tests.benchmarks.ensemble [MEMBERS]

Member i is in pool i mod 3. Its mean and spread over members need one partial result from all
pools but one for each block; in Dask's own order of the members they need far more. The second
table adds two equal fields of two pools: half of each has to cross, and the links may share it.
All numbers are of the workers' logs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np

from dask_pools import pool
from tests.benchmarks.running import Way, cluster_of, crossed, in_order, nbytes_of, pooled, stock
from tests.benchmarks.table import print_table

POOLS = ("cedadocs", "ecmwf", "eumetsat")
SHAPE, CHUNKS = (512, 512), (128, 256)
BLOCKS = 8

WAYS: Mapping[str, Way] = {
    "dask_pools": pooled,
    "exact_order=True": in_order,
    "stock Dask, reads pinned": stock,
}


def field(name: str, seed: int, shape: tuple[int, ...] = SHAPE, chunks: Any = CHUNKS) -> da.Array:
    """Make a field of random numbers that is read in a pool."""

    def block(block_info: Any = None) -> np.ndarray:
        where = block_info[None]["array-location"]
        generator = np.random.default_rng([seed, *(start for start, _ in where)])
        return generator.random([stop - start for start, stop in where])

    with pool(name):
        return da.map_blocks(
            block,
            chunks=da.core.normalize_chunks(chunks, shape),
            dtype=float,
            meta=np.empty((0, 0)),
            name=f"field-{name}-{seed}",
        )


def ensemble(members: int) -> da.Array:
    """Stack members that the pools hold in turn."""
    return da.stack([field(POOLS[i % len(POOLS)], i) for i in range(members)])


def main(members: int) -> None:
    """Print two tables."""
    held = ensemble(members)
    statistics = {"mean": held.mean(axis=0), "spread": held.std(axis=0)}
    rows, directions = [], []
    with cluster_of(dict.fromkeys(POOLS, 1)) as (cluster, client):
        for statistic, x in statistics.items():
            expected = x.compute(scheduler="synchronous")
            for name, way in WAYS.items():
                found = crossed(way, x, cluster, client, expected)
                each = nbytes_of(found) / expected.nbytes
                counts = f"{len(found) / BLOCKS:.2f}", f"{nbytes_of(found):,}", f"{each:.2f}"
                rows.append([statistic, name, *counts])
        x = field(POOLS[0], 0) + field(POOLS[1], 1)
        expected = x.compute(scheduler="synchronous")
        for name, way in WAYS.items():
            found = crossed(way, x, cluster, client, expected)
            there, back = (
                sum(c.nbytes for c in found if c.link.source == source) for source in POOLS[:2]
            )
            more = max(there, back) / max(min(there, back), 1)
            directions.append([name, f"{there:,}", f"{back:,}", f"{more:.2f}"])
    heads = ["statistic", f"{members} members in {len(POOLS)} pools"]
    print_table([*heads, "values per block", "bytes", "bytes / result"], rows)
    print()
    print_table(["addition of two equal fields", "bytes there", "bytes back", "ratio"], directions)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
