"""Expressions that read or write data frames in a pool. Importing it imports dask.dataframe.

Of each class of Dask's that reads or writes a twin is made, with the pin as one more operand, in
front of the others. It goes through all of Dask's optimisation like its original: columns and
filters are pushed into it, it is fused with what follows. The tasks that are made of it at last
carry the pin (`dask_pools.graph.adapter.marks`).

What of Dask this relies on (each has a test that says so when it changes):

- Dask makes expressions anew by ``type(expression)(*operands)``, and tells them apart by tokens.
- ``_task`` makes the task of a partition, ``_layer`` all tasks of `ToParquetBarrier`.
- Small reads are put together as `FusedIO`, by ``_tune_up``; ``_fusion_buckets`` says which.
- Footers of parquet files are read where a frame is optimised: by ``load_statistics`` with
  ``filesystem="arrow"``, else for ``_pq_length_stats``. What was found is pickled with the frame:
  the scheduler, which makes the tasks, does not see the files.
"""

from __future__ import annotations

import functools
from typing import Any

from dask._collections import new_collection
from dask._expr import Expr
from dask._task_spec import convert_legacy_graph
from dask.base import annotate, compute
from dask.dataframe.dask_expr._collection import from_graph
from dask.dataframe.dask_expr._expr import ArrowStringConversion, PartitionsFiltered
from dask.dataframe.dask_expr.io.io import FromMap, FusedIO
from dask.dataframe.dask_expr.io.parquet import (
    ReadParquet,
    ReadParquetFSSpec,
    ReadParquetPyarrowFS,
    ToParquet,
    ToParquetBarrier,
    ToParquetData,
    _read_partition_stats_group,
)
from dask.delayed import delayed
from dask.tokenize import _tokenize_deterministic as token_of

from dask_pools.graph.adapter.file_sizes import (
    PART_SIZES,
    block_nbytes,
    in_memory,
    part_sizes,
)
from dask_pools.graph.adapter.marks import mark
from dask_pools.model import PIN, Pin, restriction

_PIN = "_pools"


class Pinned(Expr):
    """What the expressions of all twins have in common."""

    holds_pin = True
    #: The class of which this one is the twin.
    original: type[Expr]
    #: Names of properties that have to be known before an expression is pickled.
    _kept: tuple[str, ...] = ()

    @property
    def pin(self) -> Pin:
        """The pools in which its tasks run."""
        pin: Pin = self.operands[0]
        return pin

    def __dask_tokenize__(self) -> str:
        if not self._determ_token:
            # The pin is an operand: the one in force here has nothing to say.
            with annotate(**{PIN: None}):
                self._determ_token = token_of(self.original, *self._named_by())
        return self._determ_token

    def _named_by(self) -> tuple[Any, ...]:
        return tuple(self.operands)

    def __reduce__(self) -> tuple[Any, ...]:
        stock: Any = super()
        _, (*_, token, _) = stock.__reduce__()
        known = {name: getattr(self, name) for name in self._kept}
        return _rebuild, (self.original, self._to_send(), token, known)

    def _to_send(self) -> list[Any]:
        return list(self.operands)

    def _task(self, key: Any, index: int) -> Any:
        part = self._partitions[index] if isinstance(self, PartitionsFiltered) else index
        return mark(super()._task(key, index), self.pin, self.part_nbytes(part))

    def part_nbytes(self, part: int) -> float | None:  # noqa: ARG002 - others know more
        """Bytes that reading one part makes; None if nobody knows."""
        return None

    def _tune_up(self, parent: Any) -> Any:
        tuned: Any = super()._tune_up(parent)  # type: ignore[no-untyped-call]
        for part in () if tuned is None else tuned.dependencies():
            mine = isinstance(part, FusedIO) and part.operand("_expr") is self
            if mine and not isinstance(part, Pinned):
                return tuned.substitute(part, pinned(type(part))(self.pin, self))
        return tuned


class _PinnedTogether(Pinned, FusedIO):
    """Several small reads in one task."""

    _kept = ("_fusion_buckets",)

    @functools.cached_property
    def _fusion_buckets(self) -> Any:
        return super()._fusion_buckets

    def part_nbytes(self, part: int) -> float | None:
        read: Any = self.operands[1]
        found = [read.part_nbytes(i) for i in self._fusion_buckets[part]]
        return None if None in found else sum(found)


class _PinnedMap(Pinned, FromMap):
    """A function of each item, as of each block of a CSV file."""

    def part_nbytes(self, part: int) -> float | None:
        return block_nbytes(self.iterables[0][part])


class _PinnedParquet(Pinned, ReadParquet):
    """A read of parquet files."""

    def _named_by(self) -> tuple[Any, ...]:
        known = self.operands[-2:] if self.original is ReadParquetFSSpec else self.operands[-1:]
        return (self.checksum, *self.operands[: len(self.operands) - len(known)])

    def _in_pool(self) -> Any:
        return annotate(**{PIN: self.pin, "resources": restriction(self.pin[0])})


class _PinnedArrowParquet(_PinnedParquet, ReadParquetPyarrowFS):
    _kept = ("_division_from_stats",)

    # Footers are read by tasks, and kept under tokens of their files: both are of the pool.

    def approx_statistics(self) -> Any:
        with self._in_pool():
            return super().approx_statistics()

    def all_statistics_known(self) -> Any:
        with self._in_pool():
            return super().all_statistics_known()

    @functools.cached_property
    def raw_statistics(self) -> Any:
        with self._in_pool():
            return super().raw_statistics

    @functools.cached_property
    def _sizes(self) -> dict[str, float]:
        return {file.path: float(file.size) for file in self._dataset_info.get("all_files", ())}

    def part_nbytes(self, part: int) -> float | None:
        nbytes = self._sizes.get(self.fragments[part].path)
        names = self._dataset_info["schema"].names
        return None if nbytes is None else in_memory(nbytes, self.columns, names)


class _PinnedFsspecParquet(_PinnedParquet, ReadParquetFSSpec):
    def _to_send(self) -> list[Any]:
        info = self._dataset_info
        # Where the scheduler is in this process, it will be this very expression again.
        info[PART_SIZES] = part_sizes(info)
        # To pickle a data set of pyarrow reads all footers. The plan was made from it already.
        known = {name: value for name, value in info.items() if name != "ds"}
        operands = dict(zip(self._parameters, self.operands, strict=True))
        return list({**operands, "_dataset_info_cache": known}.values())

    def part_nbytes(self, part: int) -> float | None:
        info = self._dataset_info
        sizes = info.get(PART_SIZES)
        return None if not sizes else in_memory(sizes[part], self.columns, info["all_columns"])

    @functools.cached_property
    def _pq_length_stats(self) -> tuple[int, ...]:
        plan = self._plan
        if plan["statistics"] or plan["empty"]:
            lengths: tuple[int, ...] = super()._pq_length_stats
            return lengths
        parts = [plan["parts"][i] for i in self._partitions]
        with self._in_pool():
            read = delayed(_read_partition_stats_group)(parts, self._io_func.fs)
            (statistics,) = compute(read)
        return tuple(part["num-rows"] for part in statistics)


class _PinnedWrite(Pinned, ToParquet):
    """Parquet files that are written."""

    def _lower(self) -> Any:
        pin, *operands = self.operands
        return pinned(ToParquetBarrier)(pin, pinned(ToParquetData)(pin, *operands), *operands[1:])


class _PinnedBarrier(Pinned, ToParquetBarrier):
    """What comes after the files have been written: their common metadata."""

    def _layer(self) -> dict[Any, Any]:
        tasks = super()._layer()  # type: ignore[no-untyped-call]
        keys = {*tasks, *self.frame.__dask_keys__()}
        return {k: mark(t, self.pin) for k, t in convert_legacy_graph(tasks, keys).items()}


_KINDS: tuple[tuple[type[Expr], type[Pinned]], ...] = (
    (FusedIO, _PinnedTogether),
    (ReadParquetPyarrowFS, _PinnedArrowParquet),
    (ReadParquetFSSpec, _PinnedFsspecParquet),
    (ReadParquet, _PinnedParquet),
    (FromMap, _PinnedMap),
    (ToParquet, _PinnedWrite),
    (ToParquetBarrier, _PinnedBarrier),
    (Expr, Pinned),
)


#: The twins that have been made, by their originals.
_TWINS: dict[Any, Any] = {}


def pinned(original: Any) -> Any:
    """Return the twin of a class of expressions, whose first operand is the pin."""
    if original not in _TWINS:
        kind = next(kind for known, kind in _KINDS if issubclass(original, known))
        body = {
            "_parameters": [_PIN, *original._parameters],  # noqa: SLF001 - no other way to know
            "original": original,
            "__module__": original.__module__,
        }
        # Under the same name, which is part of the names of keys.
        _TWINS.setdefault(original, type(original.__name__, (kind, original), body))
    return _TWINS[original]


def _rebuild(original: type[Expr], operands: list[Any], token: str, known: dict[str, Any]) -> Any:
    expression = pinned(original)(*operands, _determ_token=token)
    expression.__dict__.update(known)
    return expression


def pin_of(expression: Any) -> Pin | None:
    """Return the pin of the last step of an expression; a conversion to Arrow belongs to a read."""
    while isinstance(expression, ArrowStringConversion):
        expression = expression.operands[0]
    return expression.pin if isinstance(expression, Pinned) else None


def unfilled(frame: Any) -> Any:
    """Make a frame of the same columns and partitions as another one, without data in it."""
    meta = frame._meta  # noqa: SLF001 - part of the protocol of collections
    return from_graph({}, meta, frame.divisions, [], "unfilled")


def filled(made: Any, without: Any, frame: Any) -> Any:
    """Put a frame in the place of the one without data of which something was made."""
    return new_collection(made.expr.substitute(without.expr, frame.expr))


def reads_of(frame: Any) -> list[tuple[str, Pin | None]]:
    """List the paths of parquet files that a frame reads, with their pins."""
    return [
        (str(path), read.pin if isinstance(read, Pinned) else None)
        for read in frame.expr.find_operations(ReadParquet)
        for path in (read.path if isinstance(read.path, list) else [read.path])
    ]
