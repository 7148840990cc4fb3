"""Drawings: what is counted and gathered, and how pools are told apart."""

from __future__ import annotations

import pytest

from dask_pools.model import Link
from dask_pools.observe.drawing import Box, Drawing, drawing, gathered, shades

LINK = Link("ecmwf", "eumetsat")


def reads_and_transfers(n: int) -> Drawing:
    boxes: dict[object, Box] = {}
    for i in range(n):
        boxes["read", i] = Box("read-1f", "read", str(i), "ecmwf", pinned=True)
        boxes["move", i] = Box("move-2e", "move", "", "eumetsat", link=LINK, nbytes=500.0)
        boxes["sum", i] = Box("sum-3d", "sum", str(i), "eumetsat" if i else None)
    inputs = {("move", i): [("read", i)] for i in range(n)}
    return drawing(boxes, {**inputs, **{("sum", i): [("move", i)] for i in range(n)}})


def test_arrows_are_sorted_and_only_between_boxes() -> None:
    boxes = {key: Box(key, key) for key in "abc"}
    assert drawing(boxes, {"c": ["b", "a", "a", "c", "elsewhere"]}).arrows == ((0, 2), (1, 2))


def test_links_hold_the_bytes_of_all_transfers() -> None:
    assert reads_and_transfers(3).links == {LINK: 1500.0}


def test_transfers_count_as_no_task_of_a_pool() -> None:
    picture = reads_and_transfers(3)
    assert [picture.count(name) for name in ("ecmwf", "eumetsat", None)] == [3, 2, 1]
    assert picture.tasks == 9


def test_gathering_keeps_tasks_bytes_and_arrows() -> None:
    many = reads_and_transfers(50)
    few = gathered(many)
    assert few.tasks == many.tasks
    assert few.links == many.links
    assert [(box.label, box.pool, box.tasks) for box in few.boxes] == [
        ("read", "ecmwf", 50),
        ("move", "eumetsat", 50),
        ("sum", None, 1),
        ("sum", "eumetsat", 49),
    ]
    assert few.arrows == ((0, 1), (1, 2), (1, 3))


def test_box_is_pinned_if_all_its_tasks_are() -> None:
    boxes = (Box("x", "x", pinned=True), Box("x", "x", pinned=False))
    assert not gathered(Drawing(boxes, ())).boxes[0].pinned


@pytest.mark.parametrize(
    ("box", "lines"),
    [
        (Box("sum-1f", "sum"), ("sum",)),
        (Box("sum-1f", "sum", tasks=3), ("3 × sum",)),
        (Box("m", "m", link=LINK, nbytes=500e3), ("ecmwf → eumetsat", "500 kB")),
        (
            Box("m", "m", link=LINK, nbytes=2e6, tasks=4),
            ("ecmwf → eumetsat", "4 × 500 kB = 2 MB"),
        ),
    ],
)
def test_text_of_a_box(box: Box, lines: tuple[str, ...]) -> None:
    assert box.lines == lines


def test_colours_do_not_depend_on_the_order_of_pools() -> None:
    assert shades(["b", "a", "c"]) == shades(["a", "b", "c"])
