"""Sizes of values one by one: of those that are not simply the blocks of an array."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.graph import adapter
from dask_pools.graph.sizes.blocks import NONE_NBYTES, Blocks
from dask_pools.graph.sizes.slices import Shape, cut
from dask_pools.graph.submission import Learned
from dask_pools.planning.basis import Basis

#: Bytes assumed of a value that comes from no other value and that nothing is known of, as
#: of most delayed functions. A guess: about the size of a small chunk.
ASSUMED_NBYTES = 1_000_000.0


class Known(NamedTuple):
    """The size of one value in bytes, and what it rests on."""

    nbytes: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of the values of data frames.

    Parameters
    ----------
    read : dict
        Bytes that tasks read from files, by key.
    shares : dict
        The share of what they take in that tasks keep, by the name of their layer.
    """

    read: dict[Key, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)

    def share(self, key: Key) -> float:
        """Return the share that a task keeps."""
        block = adapter.block_of(key)
        return self.shares.get(block[0], 1.0) if block is not None and self.shares else 1.0


class Singles:
    """Fills the gaps in the sizes of the tasks of a graph.

    Parameters
    ----------
    tasks : mapping
        The graph.
    blocks : mapping
        The blocks of its array layers.
    outside : mapping
        Sizes of values that are not in the graph.
    nbytes, basis : ndarray
        What is known already, in the order of the tasks, NaN for what is not; changed here.
    learned : callable
        Returns what was learned of the kind of a key, None if nothing was.
    told : Told
        What is known of data frames.
    """

    def __init__(
        self,
        tasks: Mapping[Key, adapter.GraphNode],
        blocks: Mapping[str, Blocks],
        outside: Mapping[Key, float],
        nbytes: NDArray[np.float64],
        basis: NDArray[np.int8],
        learned: Callable[[Key], Learned | None],
        *,
        told: Told,
    ) -> None:
        self.tasks = tasks
        self.blocks = blocks
        self.outside = outside
        self.nbytes = nbytes
        self.basis = basis
        self.learned = learned
        self.told = told
        self._keys: list[Key] | None = None
        self._index: dict[Key, int] | None = None
        self._shapes: dict[Key, Shape] = {}

    @property
    def keys(self) -> list[Key]:
        """The keys of the tasks, in their order."""
        if self._keys is None:
            self._keys = list(self.tasks)
        return self._keys

    @property
    def index(self) -> dict[Key, int]:
        """The position of each task."""
        if self._index is None:
            self._index = {key: i for i, key in enumerate(self.keys)}
        return self._index

    def count(self, literals: Sequence[int]) -> None:
        """Count values that are written into the graph."""
        if not literals:
            return
        keys, tasks = self.keys, self.tasks
        for i in literals:
            nbytes = adapter.literal_nbytes(tasks[keys[i]])
            if nbytes is not None:
                self._set(i, Known(nbytes, Basis.EXACT))

    def tell(self) -> None:
        """Use the sizes of files for what is read from them.

        A task that was fused of a read and more steps makes another value: what was learned of
        its kind is better, if anything was.
        """
        for key, nbytes in self.told.read.items():
            i = self.index.get(key)
            if i is None or not math.isnan(self.nbytes[i]):
                continue
            kind = self.learned(key) if adapter.is_fused(self.tasks[key]) else None
            if kind is None or kind.nbytes is None:
                self._set(i, Known(nbytes * self.told.share(key), Basis.ASSUMED))

    def agree(self, aliases: Sequence[int]) -> None:
        """Have an alias and its target agree: they are one value.

        `da.from_delayed` knows the size of a delayed value. The other way round, a block that
        stands for a broadcast one is as small as that one.
        """
        if not aliases:
            return
        keys, index, nbytes, basis = self.keys, self.index, self.nbytes, self.basis
        for i in aliases:
            target = adapter.alias_target(self.tasks[keys[i]])
            if target is None or math.isnan(nbytes[i]):
                continue
            j = index.get(target)
            if j is None:
                if target in self.outside:
                    self._set(i, Known(self.outside[target], Basis.EXACT))
            elif nbytes[j] == nbytes[i]:
                basis[i] = basis[j] = min(basis[i], basis[j])
            elif math.isnan(nbytes[j]) or basis[j] > basis[i]:
                nbytes[j], basis[j] = nbytes[i], basis[i]
            else:
                nbytes[i], basis[i] = nbytes[j], basis[j]

    def visit(self, unknown: Sequence[int]) -> None:
        """Estimate some values and, before each of them, whatever it comes from."""
        if not unknown:
            return
        keys, index, tasks, nbytes = self.keys, self.index, self.tasks, self.nbytes
        for start in unknown:
            stack = [start]
            while stack:
                i = stack[-1]
                if not math.isnan(nbytes[i]):
                    stack.pop()
                    continue
                inputs = adapter.dependencies(tasks[keys[i]])
                missing = [
                    j for d in inputs if (j := index.get(d)) is not None and math.isnan(nbytes[j])
                ]
                if missing:
                    stack += missing
                else:
                    stack.pop()
                    self._set(i, self._one(keys[i], inputs))

    def _set(self, i: int, known: Known) -> None:
        self.nbytes[i], self.basis[i] = known

    # ---- one value

    def _one(self, key: Key, inputs: Collection[Key]) -> Known:
        task = self.tasks[key]
        target = adapter.alias_target(task)
        if target is not None:
            return self._alias(key, target)
        shape = self._slice(key, task)
        if shape is not None:
            return Known(math.prod(shape.held) * shape.itemsize, shape.basis)
        block = adapter.block_of(key)
        layer = None if block is None else self.blocks.get(block[0])
        if layer is None or block is None:
            nbytes, basis = self._value(task, inputs)
            known = Known(nbytes * self.told.share(key), basis)
        elif layer.has(block[1]):
            known = self._block(key, layer, block[1], inputs)
        else:
            known = self._piece(block[0], task, inputs)
        return self._better(key, known) if known.basis == Basis.ASSUMED else known

    def _better(self, key: Key, guess: Known) -> Known:
        """Return what was learned of a kind of task, if anything was, instead of a guess."""
        learned = self.learned(key)
        if learned is not None and learned.nbytes is not None:
            return Known(learned.nbytes, Basis.LEARNED)
        return Known(ASSUMED_NBYTES, Basis.ASSUMED) if math.isnan(guess.nbytes) else guess

    def _alias(self, key: Key, target: Key) -> Known:
        shape = self._shape(target)
        if shape is not None and shape.held != shape.lengths:
            self._shapes[key] = shape
        return self._of(target)

    def _block(
        self, key: Key, layer: Blocks, index: tuple[int, ...], inputs: Collection[Key]
    ) -> Known:
        """Size of a block that may be a view, or of which no chunks are known."""
        lengths = layer.shape(index)
        if lengths is None:
            # No larger than what it comes from.
            found = [self._of(d).nbytes for d in inputs]
            return Known(max(found, default=0.0), Basis.ASSUMED)
        task = self.tasks[key]
        nbytes = math.prod(layer.held(index)) * layer.itemsize
        if adapter.writes_out(task):
            return Known(nbytes, layer.basis)
        if self._is_settled(layer.doubts, inputs):
            return Known(nbytes, layer.basis)
        return Known(nbytes, Basis.ASSUMED)

    def _is_settled(self, doubts: Sequence[str], inputs: Collection[Key]) -> bool:
        """Whether a task gets no broadcast view of the layers of which its value may be a view."""
        given: dict[object, list[Key]] = {}
        for d in inputs:
            given.setdefault(d[0] if isinstance(d, tuple) else d, []).append(d)
        stack, seen = list(doubts), set(doubts)
        while stack:
            name = stack.pop()
            if name in given:
                if any(map(self._is_view, given[name])):
                    return False
                continue
            # It was fused into the task: what it was given has become an input of the task.
            layer = self.blocks[name]
            if layer.shown is not None:
                return False
            stack += [d for d in layer.doubts if d not in seen]
            seen.update(layer.doubts)
        return True

    def _is_view(self, key: Key) -> bool:
        """Whether a value may be a broadcast view: whatever is not known exactly may be one."""
        shape = self._shape(key)
        if shape is None or shape.held != shape.lengths:
            return True
        return self._of(key).basis != Basis.EXACT

    def _value(self, task: adapter.GraphNode, inputs: Collection[Key]) -> Known:
        """Size of a value that belongs to no array."""
        if adapter.stores(task):
            return Known(NONE_NBYTES, Basis.EXACT)
        found = [self._of(d) for d in inputs]
        worst = max((known.basis for known in found), default=Basis.EXACT)
        total = math.fsum(known.nbytes for known in found)
        gathered = adapter.gathered_nbytes(task)
        if gathered is not None:
            return Known(total + gathered, worst)
        if adapter.joins_blocks(task):
            return self._joined(inputs, total, worst)
        # A function of several values may well return all of them.
        return Known(total if found else ASSUMED_NBYTES, Basis.ASSUMED)

    def _of(self, key: Key) -> Known:
        i = self.index.get(key)
        if i is not None:
            return Known(float(self.nbytes[i]), Basis(int(self.basis[i])))
        nbytes = self.outside.get(key)
        return (
            Known(ASSUMED_NBYTES, Basis.ASSUMED) if nbytes is None else Known(nbytes, Basis.EXACT)
        )

    def _slice(self, key: Key, task: adapter.GraphNode) -> Shape | None:
        """Shape of a slice of an array whose shape is known."""
        sliced = adapter.slicing(task, self.tasks)
        shape = None if sliced is None else self._shape(sliced.source)
        found = None if sliced is None or shape is None else cut(shape, sliced)
        if found is not None and sliced is not None:
            block, source = adapter.block_of(key), adapter.block_of(sliced.source)
            told = block is not None and block[0] in self.blocks
            if told or source is None or source[0] not in self.blocks:
                self._shapes[key] = found  # of a slice of a block it is found again at once
        return found

    def _shape(self, key: Key) -> Shape | None:
        """Shape of a block, of a slice of one, or of what an alias stands for."""
        while key not in self._shapes:
            block = adapter.block_of(key)
            if block is not None and block[0] in self.blocks:
                return self._block_shape(key, *block)
            task = self.tasks.get(key)
            target = adapter.alias_target(task)
            if target is None:
                sliced = adapter.slicing(task, self.tasks)
                source = None if sliced is None else adapter.block_of(sliced.source)
                if sliced is None or source is None or source[0] not in self.blocks:
                    return None
                shape = self._shapes.get(sliced.source)
                shape = shape or self._block_shape(sliced.source, *source)
                return None if shape is None else cut(shape, sliced)
            key = target
        return self._shapes[key]

    def _block_shape(self, key: Key, name: str, index: tuple[Any, ...]) -> Shape | None:
        known = self.blocks[name]
        lengths = known.shape(index) if known.has(index) else None
        if lengths is None or (known.doubts and self._of(key).basis != Basis.EXACT):
            return None
        held = lengths if known.shown is None else known.held(index)
        return Shape(lengths, held, known.itemsize, known.basis)

    def _piece(self, name: str, task: adapter.GraphNode, inputs: Collection[Key]) -> Known:
        """Size of a value that the layer of an array makes on the way, as in a running sum."""
        filled = adapter.filled_nbytes(task)
        if filled is not None:
            return Known(filled, Basis.EXACT)
        own = [d for d in inputs if isinstance(d, tuple) and d[0] == name]
        found = {self._of(d) for d in own or inputs}
        if adapter.adds_up(task) and len(found) == 1:
            return found.pop()
        # What comes from nothing is some constant.
        return Known(max((known.nbytes for known in found), default=0.0), Basis.ASSUMED)

    def _joined(self, inputs: Collection[Key], total: float, worst: Basis) -> Known:
        """Size of the blocks of an array, joined: broadcast ones are written out."""
        shapes = [self._shape(d) for d in inputs]
        found = [math.prod(s.lengths) * s.itemsize for s in shapes if s is not None]
        if len(found) < len(shapes):
            return Known(total, Basis.ASSUMED)
        return Known(sum(found), worst)
