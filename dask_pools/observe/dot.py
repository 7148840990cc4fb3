"""A drawing in the formats of the Graphviz program (PNG, PDF and others), where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from html import escape

from dask_pools.errors import GraphvizError
from dask_pools.observe.drawing import UNPLACED, Box, Drawing, Shade, shades
from dask_pools.units import counted, format_bytes

_INSTALL = (
    "Install Graphviz ('apt install graphviz', 'brew install graphviz' or "
    "'conda install graphviz'), or ask for format='svg', which needs no other program."
)


def render(picture: Drawing, caption: str, format: str) -> bytes:  # noqa: A002
    """Run Graphviz on a drawing.

    Parameters
    ----------
    picture : Drawing
        What to draw.
    caption : str
        A line in the legend.
    format : str
        A format of Graphviz's ``dot -T``, for example ``"png"``.

    Returns
    -------
    bytes
        The content of the file.

    Raises
    ------
    GraphvizError
        If the program ``dot`` is not installed, or does not know the format.
    """
    program = shutil.which("dot")
    if program is None:
        raise GraphvizError(
            f"a picture in the format {format!r} is made by the program 'dot' of Graphviz, "
            f"which is not on the PATH. {_INSTALL}"
        )
    done = subprocess.run(  # noqa: S603 the program is Graphviz, the format one of its arguments
        [program, f"-T{format}"],
        input=to_dot(picture, caption).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise GraphvizError(
            f"Graphviz could not make a picture in the format {format!r}: "
            f"{done.stderr.decode(errors='replace').strip()}. {_INSTALL}"
        )
    return done.stdout


def to_dot(picture: Drawing, caption: str = "") -> str:
    """Write a drawing in Graphviz's language.

    Examples
    --------
    >>> print(to_dot(Drawing((Box("x-1f", "x", pool="ecmwf"),), arrows=())))
    digraph pools {
    ...
    0 [label="x" shape=box fillcolor="#d3e5f8" color="#2f6fb0" penwidth=1.1]
    }
    """
    colours = shades(picture.pools)
    lines = [
        "rankdir=LR",
        'node [style="filled,rounded" fontname=Helvetica fontsize=12]',
        f'edge [color="{UNPLACED.line}" arrowsize=0.7]',
        f"labelloc=t labeljust=l fontname=Helvetica label={_legend(picture, caption, colours)}",
        *(_node(number, box, colours) for number, box in enumerate(picture.boxes)),
        *(f"{source} -> {target}" for source, target in picture.arrows),
    ]
    return "\n".join(["digraph pools {", *lines, "}"])


def _node(number: int, box: Box, colours: dict[str, Shade]) -> str:
    shade = UNPLACED if box.pool is None else colours[box.pool]
    label = "\n".join(box.lines) + (f" {box.index}" if box.index else "")
    fill, look = shade.fill, "shape=box"
    if box.link is not None:
        fill = f"{colours[box.link.source].fill}:{colours[box.link.target].fill}"
        look = "shape=hexagon style=filled"
    return (
        f'{number} [label={_quoted(label)} {look} fillcolor="{fill}" '
        f'color="{shade.line}" penwidth={2.4 if box.pinned else 1.1}]'
    )


def _legend(picture: Drawing, caption: str, colours: dict[str, Shade]) -> str:
    """Write a table in Graphviz's own kind of HTML, one coloured row for each pool."""
    rows = [
        (f"{name}: {counted(picture.count(name), 'task')}", colours[name].fill)
        for name in picture.pools
    ]
    if picture.count(None):
        rows.append((f"unplaced: {counted(picture.count(None), 'task')}", UNPLACED.fill))
    for link, nbytes in picture.links.items():
        fill = f"{colours[link.source].fill}:{colours[link.target].fill}"
        rows.append((f"{link.source} → {link.target}: {format_bytes(nbytes)}", fill))
    if caption:
        rows.append((caption, UNPLACED.fill))
    cells = "".join(f'<tr><td bgcolor="{fill}">{escape(text)}</td></tr>' for text, fill in rows)
    return f'<<table border="0" cellborder="1" cellspacing="4">{cells}</table>>'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
