"""Locations as people write them, and what they are told of their mistakes."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import pytest

from dask_pools import Location, LocationError, Locations, read_locations


@pytest.fixture
def write(tmp_path):
    path = tmp_path / "locations.yaml"

    def write_(text):
        path.write_text(text)
        return path

    return write_


def test_mapping_of_names_lists_and_paths_is_read():
    locations = read_locations({Path("/data"): "a", "s3://open/": ["a", "b"], "/other": ("c",)})
    assert locations == Locations(
        (Location("/data", ("a",)), Location("s3://open", ("a", "b")), Location("/other", ("c",)))
    )
    assert read_locations(locations) is locations


def test_file_is_read(write):
    text = "# sites\n/data/ecmwf: ecmwf\ns3://open: [ecmwf, cedadocs]\n"
    expected = read_locations({"/data/ecmwf": "ecmwf", "s3://open": ["ecmwf", "cedadocs"]})
    assert read_locations(write(text)) == read_locations(str(write(text))) == expected


def test_file_of_dasks_configuration_is_read(write):
    text = "dask_pools:\n  memory-share: 0.3\n  locations:\n    /data: a\n"
    assert read_locations(write(text)) == read_locations({"/data": "a"})


def test_no_mistake_shows_a_line(write):
    """The file may be one of Dask's configuration, with secrets in it."""
    secret = "".join(reversed("rlaJw"))
    path = write(f"/data: a\nsecret: [{secret}\n")
    with pytest.raises(LocationError) as caught:
        read_locations(path)
    assert "line 3" in str(caught.value)
    assert secret not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("- /data\n", "line 1 begins no mapping"),
        ("/data: [a\n", "not right YAML.*line"),
        ("\xff: {", "not right YAML"),
        ("/a: x\ndata/b: y\n", "line 2: the prefix 'data/b' is a relative path"),
        ("/a: x\n\n/b/*: y\n", r"line 3: the prefix '/b/\*'"),
        ("'': x\n", "line 1: the prefix of a location is empty"),
        ("/a: x\n3: y\n", "line 2: the prefix.*not 3 of type int.*quotes"),
        ("/a: no\n", "line 1: the pools of '/a'.*not False.*quotes"),
        ("/a:\n", "line 1: the pools of '/a'.*not None"),
        ("/a: []\n", "line 1: the location '/a' has one pool or more"),
        ("/a: [x, 3]\n", r"line 1: the pools of '/a'.*not \['x', 3\]"),
        ("/a: x y\n", "line 1: 'x y' is not a name for a pool"),
        ("/a: x\n/b: z\n/a/: y\n", r"line 3: '/a/' leads to 'y', and to 'x' in '/a' \(line 1\)"),
        ("/a: x\n/a: x\n", r"line 2: '/a' says the same as '/a' \(line 1\)"),
        ("dask_pools:\n  location: {}\n", "no 'locations' in it.*'location'"),
        ("dask_pools:\n  locations:\n    /a: x\n    b: y\n", "line 4: the prefix 'b'"),
    ],
)
def test_mistake_in_a_file_is_told_with_its_line(write, text, says):
    path = write(text)
    if "\xff" in text:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(LocationError, match=rf"(?s)locations\.yaml: .*{says}") as error:
        read_locations(path)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(LocationError, match="cannot be read: No such file"):
        read_locations(tmp_path / "none.yaml")


def test_conflict_in_a_mapping_is_told_as_it_was_written():
    with pytest.raises(LocationError, match=r"'file:///a' leads to \['y'\], and to 'x' in '/a'"):
        read_locations({"/a": "x", "file:///a": ["y"]})


@pytest.mark.parametrize("source", [3, ["/data"], None])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(TypeError, match="mapping of prefixes to pools"):
        read_locations(source)
