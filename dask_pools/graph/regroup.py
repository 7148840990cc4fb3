"""Reductions over blocks that lie in several pools: each pool reduces its own part first.

Dask combines neighbouring blocks, wherever they are. If the members of an ensemble are held in
turn by three pools, every step of such a tree mixes all three, and two thirds of what the
members are reduced to have to cross. Where the algebra allows it (`adapter.reductions`), a tree
is built anew for each block of the result: the partial results of one pool are combined there,
and one value of each pool crosses, which is the least there can be. Results are equal within
the reassociation of floating-point numbers, and exactly for whole ones. A tree that is as good
as it is stays as it is, to the last bit.

Only the tree is built anew, not what comes before it. Where xarray groups without flox, it
gathers scattered pieces into one block before it reduces that; the pieces cross as they are.
With flox each block is reduced by groups where it is, and the tree of that is regrouped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dask.typing import Key

from dask_pools.graph import adapter
from dask_pools.graph.adapter import reductions
from dask_pools.graph.block_trees import NOWHERE, Tasks, read_trees
from dask_pools.graph.homes import PinOf, find_homes, pinned_ancestors, scattered_layers
from dask_pools.graph.leftovers import find_leftovers
from dask_pools.model import Pin


@dataclass(frozen=True, slots=True)
class Trees:
    """The tree reductions of a graph that may have blocks in several pools.

    Parameters
    ----------
    trees : tuple of Tree
        The layers of each.
    outputs : tuple of list of Key
        The keys of the results of each.
    """

    trees: tuple[reductions.Tree, ...] = ()
    outputs: tuple[list[Key], ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.trees)


@dataclass(frozen=True, slots=True)
class Regrouped:
    """A graph whose reductions have been regrouped.

    Parameters
    ----------
    tasks : dict
        The whole graph. Results have their keys; partial results may have new ones.
    like : dict
        For each new key a key of the old graph whose value has the same size.
    part_of : dict
        For each new key the key of the result whose tree it belongs to; what is true of the
        layer of that result (its pin, its zone) is true of the new task.
    count : int
        How many blocks of results have another tree now.
    """

    tasks: dict[Key, adapter.GraphNode]
    like: dict[Key, Key]
    part_of: dict[Key, Key]
    count: int


def find_trees(
    graph: adapter.HighLevelGraph, pins: Mapping[str, Pin | None], mixed: Collection[str]
) -> Trees:
    """Find the reductions of a graph whose blocks may lie in several pools.

    Only layers are looked at, so that a graph without any costs next to nothing.

    Parameters
    ----------
    graph : HighLevelGraph
        The layers, not fused and not culled.
    pins : mapping
        The pin of each layer, None if it is free.
    mixed : collection of str
        Layers whose tasks differ in their pins, or are values made earlier.

    Returns
    -------
    Trees
        For `regroup`; false if there is nothing to regroup.
    """
    known = set(pins.values()) - {None}
    if len(known) < 2 and not mixed:  # noqa: PLR2004 - one pool is none to choose from
        return Trees()
    # A layer that is mixed counts as two pools, which no real pin can be equal to.
    layers = {**pins, **{name: ("", name) for name in mixed}}
    trees = [tree for name in sorted(graph.layers) if (tree := reductions.tree_of(graph, name))]
    above = pinned_ancestors(graph, layers, [tree.source for tree in trees])
    scattered = scattered_layers(graph, above)
    found = [
        reductions.tree_outputs(graph, tree)
        for tree in trees
        if not pins.get(tree.name)
        and tree.source in scattered
        and reductions.may_be_arranged(graph, tree)
    ]
    return Trees(tuple(tree for tree, _ in found), tuple(keys for _, keys in found))


def regroup(
    tasks: Tasks,
    trees: Trees,
    pin_of: PinOf,
    *,
    nbytes: Mapping[Key, float] | None = None,
    keep: Collection[Key] = (),
) -> Regrouped:
    """Have each pool reduce its own blocks first.

    Parameters
    ----------
    tasks : mapping
        The graph, blockwise-fused and culled; nothing in it is placed yet.
    trees : Trees
        What `find_trees` has found in its layers.
    pin_of : callable
        Tells the pools to which a key is bound, also one that is not in the graph (a value made
        earlier, where it is); None if it is free.
    nbytes : mapping or None
        Bytes of the values, which tell where a block is at home that comes from several pools.
    keep : collection of Key
        Keys that are wanted from the graph.

    Returns
    -------
    Regrouped
        The graph, with new tasks right before those that need them.

    Notes
    -----
    A block that may be in several pools (mirrors) joins the largest group among those it may
    be in. Blocks that come from nothing pinned are a group of their own, which any pool takes.
    The keys of new tasks tell the pool, the layer, and a digest of what they combine: another
    arrangement of pools has other keys.
    """
    found = [
        block
        for tree, keys in zip(trees.trees, trees.outputs, strict=True)
        for block in read_trees(tasks, tree, keys, pin_of)
    ]
    leaves = dict.fromkeys(leaf for block in found for leaf in block.leaves)
    homes = find_homes(tasks, leaves, pin_of, nbytes) if leaves else {}
    made: dict[Key, dict[Key, adapter.GraphNode]] = {}
    like: dict[Key, Key] = {}
    part_of: dict[Key, Key] = {}
    old: dict[Key, None] = {}
    for block in found:
        groups = _groups(block.leaves, homes)
        if len(groups) < 2 or not block.gains(groups):  # noqa: PLR2004 - the same
            continue
        new = block.grow(groups)
        # Trees that shared partial results share the new ones as well.
        made[block.output] = {key: task for key, task in new.items() if key not in like}
        added = [key for key in made[block.output] if key != block.output]
        like.update(dict.fromkeys(added, block.leaves[0]))
        part_of.update(dict.fromkeys(added, block.output))
        old.update(dict.fromkeys(block.inner))
    if not made:
        return Regrouped(dict(tasks), {}, {}, 0)
    return Regrouped(_replaced(tasks, made, old, keep), like, part_of, len(made))


def _replaced(
    tasks: Tasks,
    made: Mapping[Key, Mapping[Key, adapter.GraphNode]],
    old: Collection[Key],
    keep: Collection[Key],
) -> dict[Key, adapter.GraphNode]:
    """Put new tasks in the places of old ones; drop the old ones that nothing needs any more."""
    result: dict[Key, adapter.GraphNode] = {}
    for key, task in tasks.items():
        if key in made:
            result.update(made[key])
        else:
            result[key] = task
    for key in find_leftovers(result, old, keep):
        del result[key]
    return result


def _groups(leaves: Sequence[Key], homes: Mapping[Key, Pin]) -> dict[str, list[Key]]:
    """Gather leaves by their pool, in the order of the names of pools; those without one last."""
    groups: dict[str, list[Key]] = {}
    for leaf in leaves:
        if len(homes[leaf]) == 1:
            groups.setdefault(homes[leaf][0], []).append(leaf)
    size = {pool: len(members) for pool, members in groups.items()}
    rest: list[Key] = []
    for leaf in leaves:
        if len(homes[leaf]) != 1:
            there = [pool for pool in homes[leaf] if pool in groups]
            best = min(there, key=lambda pool: (-size[pool], pool), default=None)
            (rest if best is None else groups[best]).append(leaf)
    ordered = {pool: groups[pool] for pool in sorted(groups)}
    return {**ordered, **({NOWHERE: rest} if rest else {})}
