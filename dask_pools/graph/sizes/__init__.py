"""How many bytes the value of each task has and how long it takes, before anything runs.

Arrays carry the chunks and the type of their blocks on the layers of their graphs. Some layers
do not tell the truth, as those of the steps of reductions, whose values may be dictionaries of
arrays (`mean` hands on a sum and a count): these are tried out on a few elements. Keys that are
no blocks of any array (the pieces of a rechunk, delayed values) are looked at one by one. What
nothing is known of was learned from earlier runs, or is assumed.
"""

from __future__ import annotations

from dask_pools.graph.sizes.blocks import Blocks, describe_blocks
from dask_pools.graph.sizes.estimate import ASSUMED_RATE, Sizes, estimate
from dask_pools.graph.sizes.single import ASSUMED_NBYTES, Told

__all__ = [
    "ASSUMED_NBYTES",
    "ASSUMED_RATE",
    "Blocks",
    "Sizes",
    "Told",
    "describe_blocks",
    "estimate",
]
