"""A drawing: what a picture of a placed graph shows, before anyone says where or in which format.

A box is a task, or many tasks of one kind in one pool. Small graphs are drawn task by task; a
large one is first gathered (`gathered`), because nobody reads a picture of a thousand boxes.
"""

from __future__ import annotations

import colorsys
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from dask_pools.model import Link
from dask_pools.units import format_bytes


@dataclass(frozen=True, slots=True)
class Box:
    """One task, or several of one kind in one pool.

    Parameters
    ----------
    kind : hashable
        Boxes of the same kind and pool are gathered into one when a graph is large.
    label : str
        The first line of text.
    index : str
        The block's position, shown after the label; empty if it has none.
    pool : str or None
        The pool where it runs, None for an unplaced task.
    pinned : bool
        Whether the user (not the policy) said where it runs.
    link : Link or None
        The link which it crosses, if it is a transfer.
    nbytes : float
        The bytes it is planned to carry, if it is a transfer.
    tasks : int
        How many tasks the box stands for.
    tip : str
        The whole name, for those who ask.
    """

    kind: Hashable
    label: str
    index: str = ""
    pool: str | None = None
    pinned: bool = False
    link: Link | None = None
    nbytes: float = 0.0
    tasks: int = 1
    tip: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The text in the box, line by line."""
        if self.link is None:
            return (f"{self.tasks} × {self.label}" if self.tasks > 1 else self.label,)
        count = f"{self.tasks} × " if self.tasks > 1 else ""
        return (f"{self.link.source} → {self.link.target}", count + self._size)

    @property
    def _size(self) -> str:
        total = format_bytes(self.nbytes)
        if self.tasks == 1:
            return total
        return f"{format_bytes(self.nbytes / self.tasks)} = {total}"


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes and the arrows between them.

    Parameters
    ----------
    boxes : tuple of Box
        In the order in which they were found.
    arrows : tuple of (int, int)
        Positions of the box that makes a value and of the box that needs it; sorted, no
        arrow twice, none from a box to itself.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]

    @property
    def tasks(self) -> int:
        """Number of tasks, transfers among them."""
        return sum(box.tasks for box in self.boxes)

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that have a part in it, sorted."""
        links = [box.link for box in self.boxes if box.link is not None]
        names = {box.pool for box in self.boxes if box.pool is not None}
        return tuple(sorted(names.union(*((link.source, link.target) for link in links))))

    @property
    def links(self) -> dict[Link, float]:
        """Planned bytes over each link, sorted by link."""
        total: dict[Link, float] = {}
        for box in self.boxes:
            if box.link is not None:
                total[box.link] = total.get(box.link, 0.0) + box.nbytes
        return dict(sorted(total.items()))

    def count(self, pool: str | None) -> int:
        """Count the tasks in a pool that are no transfers; None counts the unplaced ones."""
        return sum(box.tasks for box in self.boxes if box.link is None and box.pool == pool)


class Shade(NamedTuple):
    """The colours of one pool: inside of a box, and its line."""

    fill: str
    line: str


UNPLACED = Shade("#ffffff", "#8a8f98")

_SHADES = (
    Shade("#d3e5f8", "#2f6fb0"),  # blue
    Shade("#fde2c4", "#c4661a"),  # orange
    Shade("#d5edd3", "#3a8540"),  # green
    Shade("#e6dcf5", "#7650ae"),  # violet
    Shade("#fad6e2", "#b83a68"),  # rose
    Shade("#cfecea", "#1d837e"),  # teal
    Shade("#f5edb8", "#8f7a10"),  # yellow
    Shade("#e9dccf", "#855a38"),  # brown
)


def shades(pools: Iterable[str]) -> dict[str, Shade]:
    """Choose a colour for each pool, in the order of the names.

    Examples
    --------
    >>> sorted(shades(["eumetsat", "ecmwf"]))
    ['ecmwf', 'eumetsat']
    >>> len(set(shades(map(str, range(40))).values()))
    40
    """
    names = sorted(pools)
    made = (_further_shade(number) for number in range(len(names) - len(_SHADES)))
    return dict(zip(names, (*_SHADES, *made), strict=False))


def _further_shade(number: int) -> Shade:
    # Steps of the golden ratio around the circle of hues never come back to the same one.
    hue = (0.12 + number * 0.618034) % 1
    fill, line = (
        colorsys.hls_to_rgb(hue, light, full) for light, full in ((0.88, 0.6), (0.4, 0.5))
    )
    return Shade(
        *("#" + "".join(f"{round(255 * c):02x}" for c in colour) for colour in (fill, line))
    )


def drawing(
    boxes: Mapping[Hashable, Box], inputs: Mapping[Hashable, Iterable[Hashable]]
) -> Drawing:
    """Make a drawing of boxes with names.

    Parameters
    ----------
    boxes : mapping of key to Box
        The boxes, in the order in which they should be numbered.
    inputs : mapping of key to keys
        What each box needs; keys that have no box are left out.
    """
    number = {key: n for n, key in enumerate(boxes)}
    arrows = {
        (number[value], number[key])
        for key, values in inputs.items()
        for value in values
        if value in number and key in number and value != key
    }
    return Drawing(tuple(boxes.values()), tuple(sorted(arrows)))


def gathered(task_by_task: Drawing) -> Drawing:
    """Draw the boxes of one kind, pool and link as one box that counts them.

    Returns
    -------
    Drawing
        Of the same tasks and bytes, with fewer boxes.

    Examples
    --------
    >>> sum_ = Box("sum-1f", "sum", pool="ecmwf")
    >>> few = gathered(Drawing((sum_, sum_), arrows=((0, 1),)))
    >>> few.boxes[0].lines, few.arrows
    (('2 × sum',), ())
    """
    groups: dict[Hashable, list[Box]] = {}
    names = [(box.kind, box.pool, box.link) for box in task_by_task.boxes]
    for name, box in zip(names, task_by_task.boxes, strict=True):
        groups.setdefault(name, []).append(box)
    boxes = {
        name: replace(
            group[0],
            index=group[0].index if len(group) == 1 else "",
            pinned=all(box.pinned for box in group),
            nbytes=sum(box.nbytes for box in group),
            tasks=sum(box.tasks for box in group),
        )
        for name, group in groups.items()
    }
    inputs: dict[Hashable, list[Hashable]] = {name: [] for name in boxes}
    for source, target in task_by_task.arrows:
        inputs[names[target]].append(names[source])
    return drawing(boxes, inputs)
