"""The SVG picture, read back as XML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from dask_pools.model import Link
from dask_pools.observe.drawing import UNPLACED, Box, Drawing, shades
from dask_pools.observe.svg import shortened, to_svg

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = Drawing(
    (
        Box("read-1f", "read", "0,1", "ecmwf", pinned=True, tip="('read-1f', 0, 1)"),
        Box("move", "move", "", "eumetsat", link=Link("ecmwf", "eumetsat"), nbytes=12e6),
        Box("lambda-2e", "<lambda> & co", pool="eumetsat"),
        Box("free-3d", "free"),
    ),
    ((0, 1), (1, 2)),
)


def root(picture: Drawing = PICTURE, caption: str = "") -> ET.Element:
    return ET.fromstring(to_svg(picture, caption))  # noqa: S314 - it was made right here


def texts(element: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in element.iter(f"{SVG}text")]


def boxes(element: ET.Element) -> dict[str, ET.Element]:
    """The groups of the boxes, by the first line of what is shown on hovering."""
    groups = [group for group in element.iter(f"{SVG}g") if group.find(f"{SVG}title") is not None]
    return {group.findtext(f"{SVG}title", "").split("\n")[0]: group for group in groups}


def test_every_box_says_what_it_is() -> None:
    shown = {tip: texts(group) for tip, group in boxes(root()).items()}
    assert shown == {
        "('read-1f', 0, 1)": ["read 0,1"],
        "move": ["ecmwf → eumetsat", "12 MB"],
        "<lambda> & co": ["<lambda> & co"],
        "free": ["free"],
    }


def test_legend_names_pools_counts_and_bytes() -> None:
    said = texts(root(caption="half of it"))
    for line in (
        "ecmwf: 1 task",
        "eumetsat: 1 task",
        "unplaced: 1 task",
        "thick line: pinned",
        "ecmwf → eumetsat: 1 transfer, 12 MB",
        "half of it",
    ):
        assert line in said


def test_boxes_have_the_colour_of_their_pool() -> None:
    colours = shades(["ecmwf", "eumetsat"])
    fills = {
        tip: rect.get("fill")
        for tip, group in boxes(root()).items()
        if (rect := group.find(f"{SVG}rect")) is not None
    }
    assert fills == {
        "('read-1f', 0, 1)": colours["ecmwf"].fill,
        "<lambda> & co": colours["eumetsat"].fill,
        "free": UNPLACED.fill,
    }


def test_transfer_has_a_shape_of_its_own_in_both_colours() -> None:
    picture = root()
    shape = boxes(picture)["move"].find(f"{SVG}path")
    assert shape is not None
    name = (shape.get("fill") or "").removeprefix("url(#").removesuffix(")")
    [gradient] = [g for g in picture.iter(f"{SVG}linearGradient") if g.get("id") == name]
    colours = shades(["ecmwf", "eumetsat"])
    assert [stop.get("stop-color") for stop in gradient] == [
        colours["ecmwf"].fill,
        colours["eumetsat"].fill,
    ]


def test_all_of_it_is_inside_the_picture() -> None:
    """Many pools break the legend into lines; nothing may leave the frame."""
    many = Drawing(tuple(Box(f"x{i}", "x" * i, pool=f"centre-{i}") for i in range(30)), ())
    picture = root(many)
    width, height = (float(picture.get(name, "")) for name in ("width", "height"))
    for text in picture.iter(f"{SVG}text"):
        assert 0 < float(text.get("x", "")) < width
        assert 0 < float(text.get("y", "")) < height


def test_empty_drawing_is_a_picture() -> None:
    assert root(Drawing((), ())).tag == f"{SVG}svg"


def test_long_label_is_cut_in_the_middle() -> None:
    assert len(shortened("x" * 99)) <= 28
