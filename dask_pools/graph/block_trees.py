"""The tree by which one block of a reduction's result comes about, and how it is built anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from dask.typing import Key

from dask_pools.graph import adapter
from dask_pools.graph.adapter import reductions
from dask_pools.graph.homes import PinOf

Tasks = Mapping[Key, adapter.GraphNode]

#: The group of the blocks that come from nothing pinned, and of what several pools have made.
NOWHERE = ""


@dataclass(frozen=True, slots=True)
class BlockTree:
    """The tree of one block of a result.

    ``steps`` has the inputs of each step by its key, the last step first; ``layer`` is the one
    whose steps combine leaves; ``depth`` that of the lists which the steps take.
    """

    output: Key
    aggregate: reductions.Function
    combine: reductions.Function
    layer: str
    depth: int
    steps: dict[Key, list[Key]]
    leaves: list[Key]

    @property
    def inner(self) -> list[Key]:
        """Keys of the partial results."""
        return [key for key in self.steps if key != self.output]

    @property
    def fan(self) -> int:
        """The largest number of inputs of a step."""
        return max(2, *(len(inputs) for inputs in self.steps.values()))

    def gains(self, groups: Mapping[str, Sequence[Key]]) -> bool:
        """Whether more values have to cross in the tree as it is than one for each pool.

        Counted by the parsimony of Fitch and Hartigan: of the inputs of a step, those cross
        that are not at home where most are.
        """
        homes: dict[Key, frozenset[str]] = {}
        for pool, leaves in groups.items():
            homes.update(dict.fromkeys(leaves, frozenset({pool} - {NOWHERE})))
        crossing = 0
        for key, inputs in reversed(self.steps.items()):
            at_home = [homes[d] for d in inputs if homes[d]]
            votes = Counter(pool for home in at_home for pool in home)
            most = max(votes.values(), default=0)
            crossing += len(at_home) - most
            homes[key] = frozenset(pool for pool, n in votes.items() if n == most)
        return crossing > len(groups.keys() - {NOWHERE}) - 1

    def grow(self, groups: Mapping[str, Sequence[Key]]) -> dict[Key, adapter.GraphNode]:
        """Build the tree anew: first inside each group, then of the groups."""
        made: dict[Key, adapter.GraphNode] = {}
        roots = [self._combined(made, pool, leaves, 1)[0] for pool, leaves in groups.items()]
        roots = self._combined(made, NOWHERE, roots, self.fan)
        made[self.output] = reductions.tree_task(self.output, self.aggregate, roots, self.depth)
        return made

    def _combined(
        self, made: dict[Key, adapter.GraphNode], pool: str, keys: Sequence[Key], at_most: int
    ) -> list[Key]:
        """Combine values, a few at a time, until there are few enough."""
        level, fan = list(keys), self.fan
        while len(level) > at_most:
            parts = [level[i : i + fan] for i in range(0, len(level), fan)]
            level = []
            for part in parts:
                key = part[0] if len(part) == 1 else regroup_key(part, pool, self.layer)
                if len(part) > 1:
                    made[key] = reductions.tree_task(key, self.combine, part, self.depth)
                level.append(key)
        return level


def read_trees(
    tasks: Tasks, tree: reductions.Tree, outputs: Sequence[Key], pin_of: PinOf
) -> list[BlockTree]:
    """Read the trees of the blocks of one result, as far as it is known how to combine them."""
    combines: dict[int, reductions.Function | None] = {}
    found = []
    for output in outputs:
        function = reductions.function_of(tasks.get(output))
        if function is None:
            continue
        if id(function) not in combines:
            combines[id(function)] = reductions.combine_of(function)
        combine = combines[id(function)]
        if combine is not None and (read := _read(tasks, tree, output, combine, pin_of)):
            found.append(read)
    return found


def _read(
    tasks: Tasks, tree: reductions.Tree, output: Key, combine: reductions.Function, pin_of: PinOf
) -> BlockTree | None:
    """Read the tree of one block; None if any step of it is not what it should be."""
    steps: dict[Key, list[Key]] = {}
    leaves: list[Key] = []
    depths: set[int] = set()
    layer, level = tree.name, [output]
    while level:
        below: list[Key] = []
        for key in level:
            nested = reductions.nested_keys(tasks[key])
            if nested is None:
                return None
            steps[key] = nested[0]
            below += nested[0]
            depths.add(nested[1])
        # What is pinned, or made already, is taken as it is.
        level = [
            d
            for d in below
            if adapter.layer_name(d) in tree.partials and d in tasks and not pin_of(d)
        ]
        if not all(reductions.is_combine(tasks[d], combine) for d in level):
            return None
        layer = adapter.layer_name(level[0]) if level else layer
        inner = set(level)
        leaves += [d for d in below if d not in inner]
    if len(depths) != 1 or len(set(leaves)) < len(leaves):
        return None
    aggregate = reductions.function_of(tasks[output])
    return aggregate and BlockTree(output, aggregate, combine, layer, depths.pop(), steps, leaves)


def regroup_key(inputs: Sequence[Key], pool: str, layer: str) -> Key:
    """Name the task that combines some partial results of a pool.

    Tasks of a pool and a layer share a prefix. The slash, which no pool has in its name, says
    where the pool ends; the digest stands for what is combined.

    Examples
    --------
    >>> regroup_key([("mean_chunk-1f", 0, 3), ("mean_chunk-1f", 2, 3)], "ecmwf", "mean-partial-2a")
    ('regroup-ecmwf-/mean-partial-2a', 0, 3, '...')
    """
    digest = blake2b(repr(tuple(inputs)).encode(), digest_size=8).hexdigest()
    block = adapter.block_of(inputs[0])
    # Without the digest that partial results of partial results have in theirs.
    index = () if block is None else tuple(i for i in block[1] if not isinstance(i, str))
    return (f"regroup-{pool}-/{layer}", *index, digest)
