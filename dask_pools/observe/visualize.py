"""`visualize_pools`: the task graph as it will run, coloured by pool."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from dask.utils import key_split

from dask_pools.graph import adapter
from dask_pools.graph.optimize import place_graph
from dask_pools.graph.placing import PlacedGraph
from dask_pools.model import PIN, PLACEMENT, TRANSFER, Link, Topology
from dask_pools.observe import dot
from dask_pools.observe.drawing import Box, Drawing, drawing, gathered
from dask_pools.observe.svg import to_svg
from dask_pools.planning.policies import Policy
from dask_pools.settings import make_options

_FORMATS_OF_IPYTHON = ("png", "jpeg", "jpg", "gif")


def visualize_pools(
    *xs: object,
    filename: str | os.PathLike[str] = "pools",
    format: str | None = None,  # noqa: A002 named as in dask.visualize
    policy: str | Policy | None = None,
    objective: str = "bytes",
    topology: Topology | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    exact_order: bool = False,
    max_tasks: int = 200,
) -> object:
    """Draw the task graph of some collections, coloured by the pools in which tasks will run.

    Boxes are tasks after optimisation and placement, white where they may run anywhere.
    Hexagons are transfers, with the link and the bytes that are planned to cross it. A thick
    line is a pin.

    Parameters
    ----------
    *xs : Dask collections
        Arrays, xarray objects, bags, delayed values. They are placed together, as one
        ``dask.compute(*xs)`` would.
    filename : str or path
        Where to save the picture. Without a suffix the format's is added.
    format : str, optional
        ``"svg"``, or what the program Graphviz makes, such as ``"png"`` and ``"pdf"``. Default:
        the suffix of ``filename``, else ``"svg"``, which needs no other program.
    policy, objective, topology, exact_order
        What the placement is made by; as for `propagate_pools` and `plan`.
    max_tasks : int
        Larger graphs are drawn with one box for the tasks of one layer in one pool.

    Returns
    -------
    IPython.display.SVG, IPython.display.Image or pathlib.Path
        The picture for a notebook; its path if IPython is not installed, or cannot show
        the format.

    Raises
    ------
    TypeError
        If something is not a Dask collection, or nothing is given.
    GraphvizError
        If the format needs Graphviz, and it is not installed.

    Examples
    --------
    >>> import dask.array as da, tempfile
    >>> from dask_pools import pool
    >>> with pool("ecmwf"):
    ...     x = da.ones((4, 4), chunks=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = visualize_pools(x.sum(), filename=f"{folder}/sum.svg")
    """
    if not xs:
        raise TypeError(
            "visualize_pools() got nothing to draw: give it one Dask collection or more"
        )
    path = Path(filename)
    format = (format or path.suffix.removeprefix(".") or "svg").lower()  # noqa: A001
    if path.suffix.lower() != f".{format}":
        path = path.with_name(f"{path.name}.{format}")
    options = make_options(policy, objective, topology, exact_order=exact_order)
    graph = adapter.HighLevelGraph.merge(*map(adapter.high_level_graph, xs))
    keys = [x.__dask_keys__() for x in xs]  # type: ignore[attr-defined]
    picture, caption = draw(place_graph(graph, keys, options, transfers=True)), ""
    if picture.tasks > max_tasks:
        tasks, picture = picture.tasks, gathered(picture)
        caption = (
            f"{tasks} tasks, drawn as one box for those of one layer in one pool "
            f"(task by task up to max_tasks={max_tasks})"
        )
    if format == "svg":
        path.write_text(to_svg(picture, caption), encoding="utf-8")
    else:
        path.write_bytes(dot.render(picture, caption, format))
    return _display(path, format)


def draw(placed: PlacedGraph) -> Drawing:
    """Make a drawing of a placed graph, task by task."""
    nbytes = {(t.key, t.link): t.nbytes for t in placed.plan.transfers}
    boxes: dict[Hashable, Box] = {}
    inputs: dict[Hashable, list[Hashable]] = {}
    for layer in placed.graph.layers.values():
        annotations = layer.annotations or {}
        link = Link(*annotations[TRANSFER]) if TRANSFER in annotations else None
        for key, task in sorted(layer.items(), key=lambda item: _natural(item[0])):
            prefix = key_split(key)
            inputs[key] = sorted(adapter.dependencies(task), key=str)
            boxes[key] = Box(
                kind=key[0] if isinstance(key, tuple) else prefix,
                label=prefix,
                index=",".join(map(str, key[1:])) if isinstance(key, tuple) and not link else "",
                pool=annotations.get(PLACEMENT),
                pinned=PIN in annotations,
                link=link,
                nbytes=nbytes[inputs[key][0], link] if link else 0.0,
                tip=str(key),
            )
    return drawing(boxes, inputs)


def _natural(key: Hashable) -> tuple[str, tuple[tuple[bool, int, str], ...]]:
    """Sort the blocks of a layer by number, 2 before 10, whatever order they were made in.

    Examples
    --------
    >>> sorted([("x", 10), ("x", 2), "w"], key=_natural)
    ['w', ('x', 2), ('x', 10)]
    """
    name, *index = key if isinstance(key, tuple) else (key,)
    return str(name), tuple(
        (False, part, "") if isinstance(part, int) else (True, 0, str(part)) for part in index
    )


def _display(path: Path, format: str) -> object:  # noqa: A002
    try:
        from IPython import display
    except ImportError:
        return path
    if format == "svg":
        return display.SVG(filename=str(path))  # type: ignore[no-untyped-call]
    if format in _FORMATS_OF_IPYTHON:
        return display.Image(filename=str(path))  # type: ignore[no-untyped-call]
    return path
