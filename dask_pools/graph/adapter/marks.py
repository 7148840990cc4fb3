"""Pins that tasks carry with them, where no layer is left to be annotated.

Data frames become plain tasks in many places: when an expression is lowered, when a frame is
turned into an array, a bag or delayed values, when it is computed together with an array. None
of these keeps annotations, but all of them keep the function of a task. So the pin of a task that
reads is put around its function, and found again where the tasks come to be placed. There it is
taken off: workers need no dask_pools.

What is relied on: the first argument of a task that `Task.fuse` has made are the fused ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, Task, convert_legacy_graph
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.typing import Key
from dask.utils import funcname
from tlz import identity

from dask_pools.model import PIN, Pin


class InPool:
    """A function that is to be called in one of some pools.

    Parameters
    ----------
    function : callable
        The function.
    pin : tuple of str
        The pools.
    nbytes : float or None
        Bytes of its value, as far as files tell; None if nothing is known.
    """

    __slots__ = ("function", "nbytes", "pin")

    def __init__(self, function: Any, pin: Pin, nbytes: float | None = None) -> None:
        self.function = function
        self.pin = pin
        self.nbytes = nbytes

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, wherever that is: local schedulers know no pools."""
        return self.function(*args, **kwargs)

    @property
    def __name__(self) -> str:
        return str(funcname(self.function))

    def __dask_tokenize__(self) -> object:
        return type(self).__name__, self.function, self.pin


def mark(task: GraphNode, pin: Pin, nbytes: float | None = None) -> GraphNode:
    """Give a task a pin, if it has none of its own; an alias needs none."""
    if isinstance(task, Alias) or pins_of(task):
        return task
    if type(task) is not Task:  # a literal, or a list of values
        marked = InPool(identity, pin)
        return Task(task.key, marked, task, _data_producer=task.data_producer)
    return _calling(task, InPool(task.func, pin, nbytes))


def _calling(task: Task, function: Any) -> Task:
    made = Task(task.key, function, *task.args, _data_producer=task.data_producer)
    made.kwargs = task.kwargs
    return made


def unmark(task: GraphNode) -> GraphNode:
    """Take the pin off a task, and off all parts of a fused one."""
    if not isinstance(task, Task):
        return task
    if isinstance(task.func, InPool):
        inner = task.args[0] if task.func.function is identity else None
        if isinstance(inner, DataNode):
            return DataNode(task.key, inner.value)
        return unmark(_calling(task, task.func.function))
    if task.has_subgraph() and pins_of(task):
        parts, *others = task.args
        fused = Task(task.key, task.func, {k: unmark(t) for k, t in parts.items()}, *others)
        fused._data_producer = task.data_producer  # noqa: SLF001 - as a keyword, it is for `func`
        return fused
    return task


def marks_of(task: GraphNode) -> list[InPool]:
    """List the marks of a task, or of the parts of which it was fused."""
    if not isinstance(task, Task):
        return []
    if isinstance(task.func, InPool):
        return [task.func]
    if not task.has_subgraph():
        return []
    return [mark for part in task.args[0].values() for mark in marks_of(part)]


def pins_of(task: GraphNode) -> list[Pin]:
    """List the pins of a task, or of the parts of which it was fused."""
    return [mark.pin for mark in marks_of(task)]


def read_nbytes(task: GraphNode) -> float | None:
    """Add up what the parts of a task read, in bytes; None if that is not known of all of them."""
    found = [mark.nbytes for mark in marks_of(task)]
    known = [nbytes for nbytes in found if nbytes is not None]
    return sum(known) if known and len(known) == len(found) else None


def mark_graph(graph: HighLevelGraph) -> HighLevelGraph:
    """Write the pins of layers into their tasks, as far as there are any."""
    pins = {
        name: pin
        for name, layer in graph.layers.items()
        if (pin := (layer.annotations or {}).get(PIN))
    }
    if not pins:
        return graph
    keys = graph.get_all_external_keys()
    layers = dict(graph.layers)
    for name, pin in pins.items():
        tasks = convert_legacy_graph(dict(layers[name]), keys)
        marked = {
            key: _marked(task, pin(key) if callable(pin) else pin) for key, task in tasks.items()
        }
        layers[name] = layer_of(marked, None)
    return HighLevelGraph(layers, graph.dependencies)


def layer_of(tasks: Mapping[Key, GraphNode], annotations: Any) -> MaterializedLayer:
    """Make a layer with these annotations, and none of those that are in force."""
    layer = MaterializedLayer(tasks)
    layer.annotations = annotations
    return layer


def _marked(task: GraphNode, pin: object) -> GraphNode:
    return mark(task, pin) if isinstance(pin, tuple) and pin else task
