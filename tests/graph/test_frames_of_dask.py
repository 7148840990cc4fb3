"""What dask_pools relies on in Dask's expressions of frames: each breaks here when it changes."""

from __future__ import annotations

import importlib
import inspect

import dask
import pandas as pd
import pytest
from dask import _expr
from dask._task_spec import Alias, Task, TaskRef

from dask_pools import pool
from dask_pools.graph.adapter import recording

dd = pytest.importorskip("dask.dataframe")

# Dask's own use of pandas 3.1.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

IO = "dask.dataframe.dask_expr.io.io"
PARQUET = "dask.dataframe.dask_expr.io.parquet"


def known(name):
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute, None)
    assert found is not None, f"this Dask has no {name}, by which dask_pools knows frames"
    return found


def example(npartitions=2):
    return dd.from_pandas(pd.DataFrame({"t": range(6)}), npartitions=npartitions)


def test_frames_are_made_by_the_new_method_of_singletons():
    assert issubclass(known("dask.dataframe.dask_expr._expr.Expr"), _expr.SingletonExpr), (
        "expressions of frames are not made by dask._expr.SingletonExpr.__new__ any more: "
        "recording.py would not see them"
    )
    assert "__new__" not in vars(known(f"{IO}.BlockwiseIO"))


def test_classes_are_found_under_the_names_that_are_looked_for():
    names = {
        *recording._PINNED,
        *recording._HOLDING,
        recording._TOGETHER,
    }
    for module, name in names:
        assert known(f"{module}.{name}").__module__ == module


@pytest.mark.parametrize("module", recording._FLATTENING)
def test_graphs_are_flattened_by_a_function_of_this_module(module):
    assert "ensure_dict" in vars(importlib.import_module(module)), (
        f"{module} has no ensure_dict: pins of arrays would be lost on their way to frames"
    )


def test_frames_ask_their_own_module_for_annotations():
    source = inspect.getsource(known("dask.dataframe.dask_expr._collection.FrameBase").__init__)
    assert "get_annotations()" in source, "the warning of ignored annotations is made elsewhere"


def test_every_source_is_blockwise():
    for name in ("FromMap", "FromMapProjectable", "FromPandas", "FromArray"):
        assert issubclass(known(f"{IO}.{name}"), known(f"{IO}.BlockwiseIO"))
    for name in ("ReadParquetFSSpec", "ReadParquetPyarrowFS"):
        assert issubclass(known(f"{PARQUET}.{name}"), known(f"{IO}.BlockwiseIO"))
    delayed = known("dask.dataframe.dask_expr.io._delayed.FromDelayed")
    assert issubclass(delayed, known(f"{IO}.BlockwiseIO"))


def test_small_reads_are_put_together_by_tuning_up():
    assert "FusedIO(self)" in inspect.getsource(known(f"{IO}.BlockwiseIO")._tune_up)
    assert "FusedParquetIO(self)" in inspect.getsource(
        known(f"{PARQUET}.ReadParquetPyarrowFS")._tune_up
    )
    assert isinstance(inspect.getattr_static(known(f"{IO}.FusedIO"), "_fusion_buckets"), property)


def test_operands_of_parquet_reads_end_with_what_is_no_part_of_their_names():
    ends = {
        "ReadParquetFSSpec": ["_dataset_info_cache", "_pq_length_stats"],
        "ReadParquetPyarrowFS": ["_dataset_info_cache"],
    }
    for name, end in ends.items():
        assert known(f"{PARQUET}.{name}")._parameters[-len(end) :] == end


def test_statistics_of_parquet_files_are_where_they_are_looked_for():
    arrow, fsspec = known(f"{PARQUET}.ReadParquetPyarrowFS"), known(f"{PARQUET}.ReadParquetFSSpec")
    for name in ("approx_statistics", "all_statistics_known", "raw_statistics"):
        assert name in vars(arrow)
    assert "_division_from_stats" in vars(arrow)
    assert "_pq_length_stats" in vars(fsspec)
    known(f"{PARQUET}._read_partition_stats_group")


def test_data_set_of_pyarrow_is_not_used_once_there_is_a_plan(tmp_path):
    """It is not sent with a frame: to pickle it would read all footers."""
    with dask.config.set(scheduler="synchronous"):
        example().to_parquet(str(tmp_path))
        frame = dd.read_parquet(str(tmp_path))
        info = frame.expr._dataset_info
        assert "plan" in info
        del info["ds"]
        assert frame.t.sum().compute() == 15


def test_write_is_lowered_to_files_and_a_barrier():
    write, data = known(f"{PARQUET}.ToParquet"), known(f"{PARQUET}.ToParquetData")
    assert write._parameters == data._parameters == known(f"{PARQUET}.ToParquetBarrier")._parameters
    assert write._parameters[0] == "frame"


def test_fused_task_keeps_its_parts_and_the_key_of_its_value():
    one = Task("one", len, [1])
    fused = Task.fuse(one, Task("two", abs, TaskRef("one")), key="both")
    assert fused.has_subgraph()
    parts, out, *_ = fused.args
    assert parts["one"] is one
    assert out == "two"


def test_task_is_told_of_its_data_producer_and_of_keywords():
    task = Task("x", dict, _data_producer=True, a=1)
    assert task.data_producer
    assert task.kwargs == {"a": 1}
    assert Alias("x", "y").target == "y"


def test_recording_is_installed_once():
    with pool("a"):
        made = vars(_expr.SingletonExpr)["__new__"]
    with pool("b"):
        assert vars(_expr.SingletonExpr)["__new__"] is made
    assert known("dask.dataframe.dask_expr._collection.get_annotations").keeps_pins
