"""Which layers and tasks of a graph take their data from paths, and from which.

Three things lead to a path:

- a lazily opened object (an array of xarray or zarr, a file of fsspec) among the arguments of a
  task, whatever else it needs, or under a key of its own, which stands for the tasks that need it;
- a plain string among the arguments of a task that needs nothing else in the graph, such as
  ``delayed(read)("/data/x.nc")``.

What takes in an iterator of such a task reads for it, and counts as well: `dask.bag.read_text`
makes generators. A layer of blocks has one task for all of them, and is looked at once. A string
that is itself a value in the graph is data, and leads nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import isgeneratorfunction
from itertools import islice
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef
from dask.blockwise import Blockwise, BlockwiseDepDict
from dask.core import istask, keys_in_tasks
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.typing import Key
from tlz import concat, curry

from dask_pools.graph.adapter.layers import sorted_layers
from dask_pools.graph.adapter.paths import finder_of, holds_path, paths_of

#: So many tasks of a layer that takes in values are looked at, before all of them are.
FEW = 32


@dataclass(frozen=True, slots=True)
class Origins:
    """The paths from which the tasks of one layer take their data.

    Parameters
    ----------
    shared : list of str
        Paths from which all of its tasks do.
    keys : dict
        The paths of single tasks, besides.
    """

    shared: list[str] = field(default_factory=list)
    keys: dict[Key, list[str]] = field(default_factory=dict)


def origins(graph: HighLevelGraph, skip: Collection[str] = ()) -> Iterator[tuple[str, Origins]]:
    """Find the layers that take data from paths.

    Parameters
    ----------
    graph : HighLevelGraph
        The graph, as the collections made it; what its layers depend on need not be known.
    skip : collection of str
        Layers that are not asked for.

    Yields
    ------
    name, Origins
        Of each layer in which there is anything.
    """
    objects: dict[Key, list[str]] = {}
    holders: set[str] = set()  # the layers that have them
    for name in sorted_layers(graph):
        layer = graph.layers[name]
        if name in skip:
            continue
        found = Origins()
        if isinstance(layer, Blockwise):
            found = _of_blocks(layer, objects)
        elif isinstance(layer, MaterializedLayer):
            below = graph.dependencies.get(name)
            if not below or not holders.isdisjoint(below) or _takes_more(layer.mapping):
                objects |= (made := _objects(layer.mapping))
                found.keys.update(_of_tasks(layer.mapping, objects, alone=below == set()))
                objects |= (lazy := _iterators(layer.mapping, found.keys))
                holders.update([name] if made or lazy else ())
        if found.shared or found.keys:
            yield name, found


def _of_blocks(layer: Blockwise, objects: Mapping[Key, list[str]]) -> Origins:
    """Look at what is the same for all blocks of a layer, and at what each block is given."""
    shared: list[str] = []
    literals: list[Any] = [layer.task]
    source = True
    for needed, index in layer.indices:
        if isinstance(needed, (TaskRef, Alias)):
            shared += objects.get(_target(needed), ())
            source = source and _target(needed) in objects
        elif index is None:
            literals.append(needed)
        else:
            source = source and needed in layer.io_deps
    shared += paths_of(literals, plain=source)
    keys: dict[Key, list[str]] = {}
    for needed, index in layer.indices:
        blocks = layer.io_deps.get(needed) if isinstance(needed, str) else None
        if not isinstance(blocks, BlockwiseDepDict):
            continue
        if index != layer.output_indices:
            shared += paths_of(blocks.mapping, plain=source)
            continue
        for block, value in blocks.mapping.items():
            if paths := paths_of(value, plain=source):
                keys.setdefault((layer.output, *block), []).extend(paths)
    return Origins(list(dict.fromkeys(shared)), keys)


def _target(reference: TaskRef | Alias) -> Key:
    return reference.key if isinstance(reference, TaskRef) else reference.target


def _takes_more(tasks: Mapping[Key, Any]) -> bool:
    """Whether the tasks of a layer take anything but values of other layers.

    There may be millions of them, which then are alike: a few tell what all of them are.
    """
    few = dict(islice(tasks.items(), FEW))
    return len(tasks) <= FEW or bool(_objects(few) or _of_tasks(few, {}, alone=False))


def _objects(tasks: Mapping[Key, Any]) -> dict[Key, list[str]]:
    """Find the opened objects that have a key of their own."""
    found = {}
    for key, node in tasks.items():
        value = _handed_on(node)
        # Tasks, of either kind, are no values.
        if finder_of(type(value)) is None or isinstance(value, GraphNode) or istask(value):
            continue
        if paths := paths_of(value, plain=False):
            found[key] = paths
    return found


def _handed_on(node: Any) -> Any:
    """Take a value out of the literal that holds it, or of a task that does nothing but return it.

    Where Dask flattens a graph, it wraps every task in one that has another key.
    """
    while isinstance(node, Task) and getattr(node.func, "__name__", "") == "_identity":
        node = node.args[0]
    return node.value if type(node) is DataNode else node


def _iterators(tasks: Mapping[Key, Any], read: Mapping[Key, list[str]]) -> dict[Key, list[str]]:
    """Find the tasks that return before they have read: as opened objects, their values are read.

    An iterator cannot be sent to another worker either.
    """
    return {
        key: paths
        for key, paths in read.items()
        if isinstance(tasks[key], Task) and _makes_iterator(tasks[key].func)
    }


def _makes_iterator(function: Any) -> bool:
    while isinstance(function, (partial, curry)):
        function = function.func
    if isinstance(function, type):
        return issubclass(function, Iterator)
    return function is concat or isgeneratorfunction(function)


def _of_tasks(
    tasks: Mapping[Key, Any], objects: Mapping[Key, list[str]], *, alone: bool
) -> dict[Key, list[str]]:
    """Look at each task of a layer; ``alone`` says that it depends on no other one."""
    found: dict[Key, list[str]] = {}
    # Whether a tuple needs anything is known only where all keys are. Mostly none of them does.
    tuples = [node for node in tasks.values() if istask(node)]
    needy = not alone or bool(tuples and keys_in_tasks(tasks, tuples))
    for key, node in tasks.items():
        if key in objects:
            paths = objects[key]
        elif isinstance(node, GraphNode):
            paths = _of_task(node, objects)
        elif istask(node):
            source = alone and not (needy and keys_in_tasks(tasks, [node]))
            needed = keys_in_tasks(objects, [node]) if objects else ()
            paths = [*_of_objects(needed, objects), *paths_of(list(node), plain=source)]
        else:
            continue
        if paths:
            found[key] = paths
    return found


def _of_task(task: GraphNode, objects: Mapping[Key, list[str]]) -> list[str]:
    if not isinstance(task, Task):
        return []
    needed = task.dependencies
    if not needed:
        return paths_of(task)
    paths = []
    if objects and not objects.keys().isdisjoint(needed):
        paths = _of_objects(needed, objects)
    if task.has_subgraph():
        return [*paths, *paths_of(task, plain=False)]
    # Of a task that takes in other values, which there may be millions of, the arguments alone.
    for given in (task.func, *task.args, *task.kwargs.values()):
        value = given.value if type(given) is DataNode else given
        if type(value) is partial or holds_path(value):
            paths += paths_of(value, plain=False)
    return paths


def _of_objects(needed: Iterable[Key], objects: Mapping[Key, list[str]]) -> list[str]:
    found = [path for key in needed for path in objects.get(key, ())]
    return sorted(set(found))
