"""Formats that Graphviz makes."""

from __future__ import annotations

import shutil

import pytest

from dask_pools.errors import GraphvizError
from dask_pools.model import Link
from dask_pools.observe.dot import render, to_dot
from dask_pools.observe.drawing import Box, Drawing

PICTURE = Drawing(
    (
        Box("read-1f", 'a "quoted\\" name', pool="ecmwf", pinned=True),
        Box("move", "move", pool="eumetsat", link=Link("ecmwf", "eumetsat"), nbytes=12e6),
        Box("free-3d", "free", "0,1"),
    ),
    ((0, 1),),
)

needs_graphviz = pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")


def test_dot_has_a_node_for_each_box_and_an_edge_for_each_arrow() -> None:
    text = to_dot(PICTURE, "caption")
    assert 'label="ecmwf → eumetsat\\n12 MB" shape=hexagon' in text
    assert 'label="free 0,1"' in text
    assert "0 -> 1" in text
    assert "unplaced: 1 task<" in text
    assert "caption" in text


def test_without_graphviz_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GraphvizError, match=r"'png'.*apt install graphviz.*format='svg'"):
        render(PICTURE, "", "png")


@needs_graphviz
def test_graphviz_makes_a_png() -> None:
    assert render(PICTURE, "", "png").startswith(b"\x89PNG")


@needs_graphviz
def test_unknown_format_is_an_error_with_graphviz_own_words() -> None:
    with pytest.raises(GraphvizError, match=r"'nonsense'.*not recognized"):
        render(PICTURE, "", "nonsense")
