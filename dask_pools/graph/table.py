"""The tasks of a graph as a table: numbered, each with its layer, and which needs which.

Planning works on arrays, so that a million tasks cost a few passes of NumPy. Python walks
over the tasks only where it makes or changes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter


@dataclass(frozen=True, eq=False)
class TaskTable:
    """Tasks in a fixed order, and the arcs between them.

    Parameters
    ----------
    keys : list of keys
        The key of each task; n of them.
    nodes : list of GraphNode
        The tasks.
    values, consumers : ndarray of intp, shape (m,)
        Arc ``i`` says that the task ``consumers[i]`` needs the value of ``values[i]``; sorted by
        consumer, then by value.
    outside : list of keys
        Values that tasks need and that no task here makes. Their numbers follow those of the
        tasks: n for the first.
    """

    keys: list[Key]
    nodes: list[adapter.GraphNode]
    values: NDArray[np.intp]
    consumers: NDArray[np.intp]
    outside: list[Key]

    @classmethod
    def of(cls, tasks: Mapping[Key, adapter.GraphNode]) -> TaskTable:
        """Make the table of a graph, in its order.

        Examples
        --------
        >>> from dask._task_spec import DataNode, Task, TaskRef
        >>> tasks = {"x": DataNode("x", 1), "y": Task("y", abs, TaskRef("x"))}
        >>> table = TaskTable.of(tasks)
        >>> table.values, table.consumers
        (array([0]), array([1]))
        """
        keys, nodes = list(tasks), list(tasks.values())
        n = len(keys)
        index = dict(zip(keys, range(n), strict=True))
        needs = [adapter.dependencies(node) for node in nodes]
        counts = np.fromiter(map(len, needs), dtype=np.intp, count=n)
        consumers = np.repeat(np.arange(n), counts)
        found = map(index.get, chain.from_iterable(needs), repeat(-1))
        values = np.fromiter(found, dtype=np.intp, count=len(consumers))
        outside: list[Key] = []
        absent = np.flatnonzero(values < 0).tolist()
        if absent:
            wanted = list(chain.from_iterable(needs))
            # In the order of names: that of a set hangs on the hash seed.
            outside = sorted({wanted[i] for i in absent}, key=str)
            number = {key: n + i for i, key in enumerate(outside)}
            values[absent] = [number[wanted[i]] for i in absent]
        # Dependencies come in the order of a set.
        order = np.argsort(consumers * (n + len(outside)) + values, kind="stable")
        return cls(keys, nodes, values[order], consumers, outside)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def index(self) -> dict[Key, int]:
        """The number of the task of each key."""
        return dict(zip(self.keys, range(len(self.keys)), strict=True))

    def tasks(self) -> dict[Key, adapter.GraphNode]:
        """Return the tasks by key, in their order."""
        return dict(zip(self.keys, self.nodes, strict=True))

    def name(self, value: int) -> Key:
        """Return the key of a value, made by a task or from outside."""
        n = len(self.keys)
        return self.keys[value] if value < n else self.outside[value - n]

    def mask(self, keys: Iterable[Key]) -> NDArray[np.bool_]:
        """Mark the tasks of some keys; other keys are ignored. Shape (n,)."""
        found = np.zeros(len(self), dtype=np.bool_)
        found[[self.index[key] for key in keys if key in self.index]] = True
        return found

    def needed(self, outputs: Iterable[Key]) -> NDArray[np.bool_]:
        """Mark the tasks from which some output comes. Shape (n,).

        A task is an output or leads on to others; those which lead nowhere are followed
        backwards. Mostly there are none, and that is seen at once.
        """
        n = len(self)
        wanted = self.mask(outputs)
        users = np.bincount(self.values, minlength=n)[:n]
        needed = np.ones(n, dtype=np.bool_)
        stack = np.flatnonzero((users == 0) & ~wanted).tolist()
        starts = np.searchsorted(self.consumers, np.arange(n + 1)) if stack else users
        while stack:
            task = stack.pop()
            needed[task] = False
            for value in self.values[starts[task] : starts[task + 1]].tolist():
                if value < n:
                    users[value] -= 1
                    if users[value] == 0 and not wanted[value]:
                        stack.append(value)
        return needed

    def only(self, kept: NDArray[np.bool_]) -> TaskTable:
        """Leave out tasks that none of the others needs."""
        if kept.all():
            return self
        n = len(self)
        arcs = kept[self.consumers]
        values, consumers = self.values[arcs], self.consumers[arcs]
        used = np.zeros(n + len(self.outside), dtype=np.bool_)
        used[:n] = kept
        used[values] = True
        number = np.cumsum(used) - 1
        return TaskTable(
            keys=[self.keys[i] for i in np.flatnonzero(kept).tolist()],
            nodes=[self.nodes[i] for i in np.flatnonzero(kept).tolist()],
            values=number[values],
            consumers=number[consumers],
            outside=[
                key for key, here in zip(self.outside, used[n:].tolist(), strict=True) if here
            ],
        )
