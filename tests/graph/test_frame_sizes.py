"""Sizes of frames before they are read: from those of their files, and what steps keep of them."""

from __future__ import annotations

import dask
import pytest

from dask_pools import pool
from dask_pools.graph import adapter

dd = pytest.importorskip("dask.dataframe")
frames = pytest.importorskip("tests.frames")

# Dask's own use of pandas 3.1.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return frames.write(tmp_path_factory.mktemp("site") / "a", 0)


@pytest.fixture(autouse=True)
def here():
    with dask.config.set(scheduler="synchronous"):
        yield


def told(x):
    """Return the sizes of what is read, as they arrive, in order."""
    expression = x.expr.optimize(fuse=False)
    sent = frames.sent(expression)
    _, taken = adapter.take_pins(adapter.as_tasks(dict(sent.__dask_graph__())))
    return [taken.nbytes[key] for key in sorted(taken.nbytes)]


@pytest.mark.parametrize("engine", ["fsspec", "arrow"])
def test_parquet_files_tell_the_sizes_of_parts(site, engine):
    with pool("a"):
        x = dd.read_parquet(str(site / "plain"), filesystem=engine)
    files = sorted(path.stat().st_size for path in (site / "plain").iterdir())
    assert sorted(told(x)) == [2.0 * nbytes for nbytes in files]
    assert told(x.partitions[2:4]) == told(x)[2:4]
    # Dask reads several parts together where few columns are wanted.
    assert sum(told(x[["t"]])) == pytest.approx(2.0 * sum(files) / 4)


def test_blocks_of_csv_files_tell_their_sizes(site):
    with pool("a"):
        x = dd.read_csv(f"{site}/part-*.csv", blocksize=4000)
    files = [path.stat().st_size for path in site.glob("part-*.csv")]
    assert sum(told(x)) == pytest.approx(sum(files), rel=0.01)
    with pool("a"):
        assert told(dd.read_csv(f"{site}/part-*.csv", blocksize=None)) == []


def test_others_tell_nothing():
    with pool("a"):
        assert told(dd.from_map(lambda i: frames.table(i), [0, 1])) == []


def shares(x):
    found = adapter.shares_inside(x.expr.optimize(fuse=False))
    return {adapter.kind_of(name): share for name, share in found.items()}


def test_shares_of_steps(site):
    x = dd.from_pandas(frames.table(0), npartitions=2)
    few = x[x.t > 0.5][["t", "wind"]]
    found = adapter.shares_inside(few.wind.sum().expr.lower_completely())
    assert sorted(found.values()) == [0.05, 0.125, 0.5, 0.5, 0.5, 0.5]
    assert not shares(x.assign(u=1))


def test_share_of_columns_is_counted_if_the_read_says_how_many_there_are(site):
    x = dd.read_parquet(str(site / "plain"), columns=["station", "t", "wind"])
    found = adapter.shares_inside(x[["t"]].expr.lower_completely())
    assert list(found.values()) == [pytest.approx(1 / 3)]


def test_fused_steps_keep_what_all_of_them_keep(site):
    x = dd.read_parquet(str(site / "plain"))
    found = adapter.shares_inside(x[x.t > 0.5].wind.sum().expr.optimize(fuse=True))
    assert any(share == pytest.approx(0.5 * 0.05) for share in found.values())
