"""`visualize_pools` on real collections."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask
import dask.array as da
import pytest

from dask_pools import pool, visualize_pools
from dask_pools.graph import adapter
from dask_pools.graph.optimize import place_graph
from dask_pools.model import Link
from dask_pools.observe.visualize import draw


def mean_against_vector() -> tuple[da.Array, da.Array]:
    """A small value goes from A to B, by way of one transfer; the other sum stays in A."""
    with pool("A"):
        a = da.ones((10, 10), chunks=5) * da.arange(10, chunks=5)
    with pool("B"):
        b = da.arange(10, chunks=5)
    return (a - 1).sum(), b - a.mean()


def test_picture_shows_pools_and_transfers(tmp_path: Path) -> None:
    visualize_pools(*mean_against_vector(), filename=tmp_path / "pools.svg")
    text = (tmp_path / "pools.svg").read_text()
    assert "A → B: 1 transfer, 8 B" in text
    assert "mean" in text


def test_drawing_has_what_the_plan_has() -> None:
    collections = mean_against_vector()
    graph = adapter.HighLevelGraph.merge(*(x.dask for x in collections))
    keys = [x.__dask_keys__() for x in collections]
    placed = place_graph(graph, keys, transfers=True)
    picture = draw(placed)
    assert {name: picture.count(name) for name in picture.pools} == placed.plan.tasks
    assert picture.links == placed.plan.links == {Link("A", "B"): 8.0}
    assert any(box.pinned for box in picture.boxes)


def test_large_graph_is_drawn_by_layer_and_pool(tmp_path: Path) -> None:
    with pool("A"):
        x = da.ones(400, chunks=1)
    visualize_pools(x + 1, filename=tmp_path / "many")
    text = (tmp_path / "many.svg").read_text()
    assert "400 × add" in text
    assert "400 tasks, drawn as one box for those of one layer" in text


def test_limit_of_tasks_can_be_raised(tmp_path: Path) -> None:
    with pool("A"):
        x = da.ones(250, chunks=1)
    visualize_pools(x, filename=tmp_path / "many", max_tasks=250)
    assert "250 ×" not in (tmp_path / "many.svg").read_text()


@pytest.mark.parametrize(
    ("filename", "kind", "saved"),
    [
        ("pools", None, "pools.svg"),
        ("pools.svg", None, "pools.svg"),
        ("pools.v2", "svg", "pools.v2.svg"),
        ("POOLS.SVG", None, "POOLS.SVG"),
    ],
)
def test_name_of_the_file(tmp_path: Path, filename: str, kind: str | None, saved: str) -> None:
    visualize_pools(da.ones(2), filename=tmp_path / filename, format=kind)
    assert [path.name for path in tmp_path.iterdir()] == [saved]


def test_path_is_returned_without_ipython(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert visualize_pools(da.ones(2), filename=tmp_path / "x") == tmp_path / "x.svg"


def test_picture_is_returned_to_a_notebook(tmp_path: Path) -> None:
    display = pytest.importorskip("IPython.display")
    assert isinstance(visualize_pools(da.ones(2), filename=tmp_path / "x"), display.SVG)


def test_delayed_values_and_arrays_are_drawn_together(tmp_path: Path) -> None:
    with pool("A"):
        read = dask.delayed(len)("abc")
    with pool("B"):
        x = da.ones(4, chunks=2)
    visualize_pools(read, x, filename=tmp_path / "both")
    text = (tmp_path / "both.svg").read_text()
    assert "A: 1 task" in text
    assert "B: 2 tasks" in text


def test_drawing_computes_nothing(tmp_path: Path) -> None:
    ran = []
    visualize_pools(dask.delayed(ran.append)(1), filename=tmp_path / "x")
    assert ran == []


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(TypeError, match="nothing to draw"):
        visualize_pools()


def test_what_is_no_collection_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Dask collection.*int"):
        visualize_pools(3, filename=tmp_path / "x")


PROGRAM = """
import sys, dask.array as da
from dask_pools import pool, visualize_pools
with pool("A"): a = da.ones((40, 40), chunks=10).rechunk((7, 9))
with pool("B"): b = da.ones((40, 40), chunks=8)
visualize_pools((a.mean(axis=0) - b).sum(), filename=sys.argv[1])
"""


def test_picture_does_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / f"{seed}.svg")]
        subprocess.run(command, env=environment, check=True)
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
