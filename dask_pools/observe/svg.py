"""A drawing as an SVG picture, made without any program or package beside Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from dask_pools.model import Link
from dask_pools.observe.drawing import UNPLACED, Box, Drawing, Shade, shades
from dask_pools.observe.layout import Layout, lay_out
from dask_pools.units import counted, format_bytes

_FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
_FONT_SIZE = 12
_INK, _FAINT = "#24292f", "#6b7280"
#: Width of a mean letter of this font at this size, and the space beside the text of a box.
_LETTER, _PADDING = 6.5, 11
_LONGEST_LABEL = 28
_LINE, _BOX_HEIGHT = 15, 28
_COLUMN_GAP, _ROW_GAP, _MARGIN = 56, 9, 22
_SWATCH, _LEGEND_LINE, _LEGEND_GAP = 16, 26, 26
#: The legend does not break its lines earlier than at this width.
_LEGEND_WIDTH = 620
#: How far the sides of a transfer's hexagon reach out.
_POINT = 11


_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    'viewBox="0 0 {width} {height}" role="img" '
    f'font-family="{_FONT}" font-size="{_FONT_SIZE}">'
)


def to_svg(picture: Drawing, caption: str = "") -> str:
    """Render a drawing as the text of an SVG file.

    Parameters
    ----------
    picture : Drawing
        What to draw.
    caption : str
        A line under the legend.

    Examples
    --------
    >>> svg = to_svg(Drawing((Box("x-1f", "x", pool="ecmwf"),), arrows=()))
    >>> svg.startswith("<svg") and "ecmwf" in svg
    True
    """
    return _Page(picture, caption).text()


@dataclass(frozen=True, slots=True)
class _Place:
    """A box's rectangle."""

    left: float
    top: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.top + self.height / 2

    @property
    def right(self) -> float:
        return self.left + self.width


class _Page:
    """The picture while it is made: measures first, then marks from the back to the front."""

    def __init__(self, picture: Drawing, caption: str) -> None:
        self.picture = picture
        self.caption = caption
        self.shades = shades(picture.pools)
        sizes = [_BOX_HEIGHT + _LINE * (len(box.lines) - 1) for box in picture.boxes]
        self.layout: Layout = lay_out(sizes, picture.arrows, _ROW_GAP)
        widths: dict[int, float] = {}
        for box, column in zip(picture.boxes, self.layout.columns, strict=True):
            widths[column] = max(widths.get(column, 0.0), _box_width(box))
        self.edges: list[tuple[float, float]] = []  # left and right of each column
        x = float(_MARGIN)
        for _, width in sorted(widths.items()):
            self.edges.append((x, x + width))
            x += width + _COLUMN_GAP
        graph_width = x - _COLUMN_GAP - _MARGIN if self.edges else 0.0
        self.legend, self.top = self._legend(max(graph_width, _LEGEND_WIDTH))
        self.width = max(graph_width, _LEGEND_WIDTH) + 2 * _MARGIN
        self.height = self.top + self.layout.extent + _MARGIN
        self.places = [
            _Place(self.edges[column][0], self.top + middle - size / 2, widths[column], size)
            for column, middle, size in zip(
                self.layout.columns, self.layout.heights, sizes, strict=True
            )
        ]

    def text(self) -> str:
        width, height = _n(self.width), _n(self.height)
        links = sorted({box.link for box in self.picture.boxes if box.link is not None})
        return "\n".join(
            [
                _HEAD.format(width=width, height=height),
                "<title>Task graph, coloured by pool</title>",
                "<defs>",
                *self._gradients(links),
                "</defs>",
                f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
                *self.legend,
                *(self._arrow(arrow) for arrow in self.picture.arrows),
                *(
                    self._box(box, place)
                    for box, place in zip(self.picture.boxes, self.places, strict=True)
                ),
                "</svg>\n",
            ]
        )

    def _shade(self, pool: str | None) -> Shade:
        return UNPLACED if pool is None else self.shades[pool]

    def _gradients(self, links: list[Link]) -> Iterator[str]:
        for link in links:
            source, target = self.shades[link.source].fill, self.shades[link.target].fill
            yield (
                f'<linearGradient id="{self._gradient(link)}">'
                f'<stop offset="0.35" stop-color="{source}"/>'
                f'<stop offset="0.65" stop-color="{target}"/></linearGradient>'
            )

    def _gradient(self, link: Link) -> str:
        # Pictures in one notebook share their names, so that a name has to say the colours.
        source, target = (self.shades[pool].fill[1:] for pool in (link.source, link.target))
        return f"from-{source}-to-{target}"

    def _transfer(self, link: Link, place: _Place) -> str:
        return _hexagon(place, f"url(#{self._gradient(link)})", self.shades[link.target].line)

    def _arrow(self, arrow: tuple[int, int]) -> str:
        source, target = (self.places[end] for end in arrow)
        backward = source.left > target.left
        here = (source.left if backward else source.right, source.middle)
        path = [f"M{_n(here[0])} {_n(here[1])}"]
        for column, middle in self.layout.knees.get(arrow, ()):
            near, far = self.edges[column][:: -1 if backward else 1]
            path.append(_curve(here, (near, self.top + middle)))
            path.append(f"H{_n(far)}")
            here = (far, self.top + middle)
        tip = target.right if backward else target.left
        head = 6 if backward else -6
        path.append(_curve(here, (tip + head, target.middle)))
        colour = self._shade(self.picture.boxes[arrow[0]].pool).line
        point = f"M{_n(tip)} {_n(target.middle)}l{head} -3.5v7z"
        return (
            f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-opacity="0.55" '
            f'stroke-width="1.2"/><path d="{point}" fill="{colour}"/>'
        )

    def _box(self, box: Box, place: _Place) -> str:
        shade = self._shade(box.pool)
        rows = box.lines
        first = place.middle - _LINE * (len(rows) - 1) / 2 + _FONT_SIZE * 0.36
        x = place.left + place.width / 2
        parts = [f"<g><title>{escape(_tip(box))}</title>"]
        if box.link is None:
            parts.append(
                _rectangle(place, shade, 2.4 if box.pinned else 1.1, stacked=box.tasks > 1)
            )
        else:
            parts.append(self._transfer(box.link, place))
        for number, row in enumerate(rows):
            faint = f' fill="{_FAINT}"' if number else f' fill="{_INK}"'
            index = (
                "" if number or not box.index else f'<tspan fill="{_FAINT}"> {box.index}</tspan>'
            )
            parts.append(
                f'<text x="{_n(x)}" y="{_n(first + number * _LINE)}" text-anchor="middle"{faint}>'
                f"{escape(shortened(row))}{index}</text>"
            )
        return "".join([*parts, "</g>"])

    def _legend(self, width: float) -> tuple[list[str], float]:
        """Draw the legend; also say where the graph begins."""
        marks: list[str] = []
        x, y = float(_MARGIN), float(_MARGIN)
        for swatch, words in self._entries():
            need = _SWATCH * 2 + 8 + len(words) * _LETTER
            if x > _MARGIN and x + need > width + _MARGIN:
                x, y = float(_MARGIN), y + _LEGEND_LINE
            marks.append(f'<g transform="translate({_n(x)} {_n(y)})">{swatch}</g>')
            marks.append(
                f'<text x="{_n(x + _SWATCH * 2 + 8)}" y="{_n(y + 12)}" fill="{_INK}">'
                f"{escape(words)}</text>"
            )
            x += need + _LEGEND_GAP
        if self.caption:
            y += _LEGEND_LINE
            marks.append(
                f'<text x="{_MARGIN}" y="{_n(y + 12)}" fill="{_FAINT}">'
                f"{escape(self.caption)}</text>"
            )
        y += _LEGEND_LINE + 8
        line = f'<path d="M{_MARGIN} {_n(y)}H{_n(width + _MARGIN)}" stroke="#e5e7eb"/>'
        return [*marks, line], y + _MARGIN

    def _entries(self) -> Iterator[tuple[str, str]]:
        sample = _Place(0, 0, _SWATCH * 2, _SWATCH)
        for name in (*self.picture.pools, None):
            count = self.picture.count(name)
            if name is not None or count:
                yield (
                    _rectangle(sample, self._shade(name), 1.1),
                    f"{name or 'unplaced'}: {counted(count, 'task')}",
                )
        if any(box.pinned for box in self.picture.boxes):
            yield _rectangle(sample, UNPLACED, 2.4), "thick line: pinned"
        for link, nbytes in self.picture.links.items():
            count = sum(box.tasks for box in self.picture.boxes if box.link == link)
            what = f"{counted(count, 'transfer')}, {format_bytes(nbytes)}"
            yield self._transfer(link, sample), f"{link.source} → {link.target}: {what}"


def shortened(label: str, longest: int = _LONGEST_LABEL) -> str:
    """Cut the middle out of a long label.

    Examples
    --------
    >>> shortened("mean_chunk-open_dataset-air_temperature", 21)
    'mean_chunk…emperature'
    """
    if len(label) <= longest:
        return label
    half = (longest - 1) // 2
    return f"{label[:half]}…{label[-half:]}"


def _tip(box: Box) -> str:
    where = f"in {box.pool}" if box.pool is not None else "unplaced"
    return f"{box.tip or box.label}\n{counted(box.tasks, 'task')} {where}{', pinned' * box.pinned}"


def _box_width(box: Box) -> float:
    lengths = [len(shortened(row)) for row in box.lines]
    lengths[0] += len(box.index) + bool(box.index)
    return max(lengths) * _LETTER + 2 * (_PADDING if box.link is None else _POINT + 6)


def _rectangle(place: _Place, shade: Shade, line: float, *, stacked: bool = False) -> str:
    shape = (
        f'width="{_n(place.width)}" height="{_n(place.height)}" rx="6" '
        f'fill="{shade.fill}" stroke="{shade.line}"'
    )
    # A second sheet behind the first says that a box stands for many tasks.
    behind = f'<rect x="{_n(place.left + 3)}" y="{_n(place.top + 3)}" {shape}/>' if stacked else ""
    front = f'<rect x="{_n(place.left)}" y="{_n(place.top)}" {shape} stroke-width="{line}"/>'
    return behind + front


def _hexagon(place: _Place, fill: str, line: str) -> str:
    point = min(_POINT, place.height / 2)
    inner = place.width - 2 * point
    half = place.height / 2
    path = (
        f"M{_n(place.left)} {_n(place.middle)}l{_n(point)} {_n(-half)}h{_n(inner)}"
        f"l{_n(point)} {_n(half)}l{_n(-point)} {_n(half)}h{_n(-inner)}z"
    )
    return (
        f'<path d="{path}" fill="{fill}" stroke="{line}" stroke-width="1.3" '
        'stroke-linejoin="round"/>'
    )


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    middle = (start[0] + end[0]) / 2
    if round(start[1], 1) == round(end[1], 1):
        return f"H{_n(end[0])}"
    return f"C{_n(middle)} {_n(start[1])} {_n(middle)} {_n(end[1])} {_n(end[0])} {_n(end[1])}"


def _n(value: float) -> str:
    """Write a coordinate with one decimal at most."""
    return f"{round(value, 1):g}" if abs(value) < _EXACT else f"{value:.1f}"


#: Six digits, which is what ``:g`` keeps, hold numbers below this with one decimal.
_EXACT = 1e5
