"""Prefixes of paths: one form for each place, the longest counts, and by whole parts."""

from __future__ import annotations

import pickle
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.errors import LocationError, PoolNameError
from dask_pools.model import Location, Locations
from dask_pools.model.locations import place_of


@pytest.mark.parametrize(
    ("spelling", "place"),
    [
        ("/data//ecmwf/./x.nc", "/data/ecmwf/x.nc"),
        ("/data/other/../ecmwf/", "/data/ecmwf"),
        ("/../..", "/"),
        ("file:///data/x", "/data/x"),
        ("file:/data/x", "/data/x"),
        ("local:///data/x", "/data/x"),
        (Path("/data/x"), "/data/x"),
        ("C:\\data\\x.nc", "C:/data/x.nc"),
        ("file:///c:/data", "C:/data"),
        ("S3://Bucket/Key/", "s3://bucket/Key"),
        ("s3a://bucket/x", "s3://bucket/x"),
        ("gcs://bucket", "gs://bucket"),
        ("az://container/x", "abfs://container/x"),
        ("s3://bucket/../x", "s3://bucket/x"),
        ("s3://", "s3://"),
        ("https://me:secret@Host:443/x.nc?token=secret#top", "https://host/x.nc"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("abfs://Box@Account.dfs.core.windows.net/x", "abfs://box@account.dfs.core.windows.net/x"),
        ("memory://Box/x", "memory://Box/x"),
        ("simplecache::s3://bucket/x", "s3://bucket/x"),
        ("blockcache::filecache::https://host/x", "https://host/x"),
        ("zip://inner.nc::file:///data/x.zip", "/data/x.zip"),
        ("zip://*.nc::/data/x.zip", "/data/x.zip"),
        ("reference::/data/references.json", "/data/references.json"),
        ("/data/a::b.nc", "/data/a::b.nc"),
        ("/data/*.nc", "/data/*.nc"),
        ("data/x", None),
        ("x.nc", None),
        ("", None),
        ("simplecache::x.nc", None),
    ],
)
def test_every_spelling_of_a_place_has_one_form(spelling, place):
    assert place_of(spelling) == place
    if place is not None:
        assert place_of(place) == place


def test_home_is_resolved(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert place_of("~/data") == place_of("file://~/data") == "/home/me/data"


@pytest.mark.parametrize("path", [3, None, b"/data", ["/data"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(TypeError, match="a path is a str or a PathLike"):
        place_of(path)


@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("data/ecmwf", "'data/ecmwf' is a relative path.*'/data/ecmwf'"),
        ("./data", "relative path"),
        ("/data/*/x", r"has '\*' in it, and is no pattern"),
        ("/data/20??", r"has '\?' in it"),
        ("/data/[ab]", r"has '\[' in it"),
        ("s3://bucket/{year}", r"has '\{' in it"),
    ],
)
def test_prefix_that_names_no_place_is_refused(prefix, says):
    with pytest.raises(LocationError, match=says):
        Location(prefix, ("a",))


def test_secret_in_a_url_is_not_told():
    assert "secret" not in repr(Location("https://me:secret@host/x", ("a",)))
    with pytest.raises(LocationError) as error:
        Location("https://me:secret@host/*?token=secret", ("a",))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("pools", "error"),
    [
        ((), LocationError),
        (("a", "a"), LocationError),
        (("a b",), PoolNameError),
        ((3,), TypeError),
        ("a", TypeError),
        (["a"], TypeError),
    ],
)
def test_pools_that_are_none_are_refused(pools, error):
    with pytest.raises(error):
        Location("/data", pools)


def test_prefix_that_is_there_twice_is_refused():
    with pytest.raises(LocationError, match=r"'/data' is there twice.*\('a',\) and \('b',\)"):
        Locations((Location("/data", ("a",)), Location("file:///data/", ("b",))))


def test_what_is_no_location_is_refused():
    with pytest.raises(TypeError, match="Location objects"):
        Locations(("/data",))


def test_order_does_not_matter_and_nothing_is_true_of_none():
    one, two = Location("/a", ("a",)), Location("/b", ("b",))
    assert Locations((one, two)) == Locations((two, one))
    assert hash(Locations((one, two))) == hash(Locations((two, one)))
    assert Locations((one,))
    assert not Locations()
    assert Locations().pools_of("/a") is None


def test_whole_parts_are_compared():
    locations = Locations((Location("/data/ecmwf/", ("a",)), Location("s3://open", ("b",))))
    assert locations.pools_of("/data/ecmwf") == ("a",)
    assert locations.pools_of(PurePosixPath("/data/ecmwf/x/y.nc")) == ("a",)
    assert locations.pools_of("/data/ecmwf2/x") is None
    assert locations.pools_of("s3://open2/x") is None
    assert locations.pools_of("/open/x") is None
    assert locations.pools_of("data/ecmwf/x") is None


def test_root_and_scheme_stand_for_all_below_them():
    locations = Locations((Location("/", ("a",)), Location("s3://", ("b",))))
    assert locations.pools_of("/") == locations.pools_of("/data/x") == ("a",)
    assert locations.pools_of("s3://bucket/x") == ("b",)
    assert locations.pools_of("gs://bucket/x") is None


def test_pickles_are_small_and_equal():
    locations = Locations(tuple(Location(f"/data/{i}", ("a",)) for i in range(1000)))
    assert locations.pools_of("/data/3/x") == ("a",)
    pickled = pickle.dumps(locations)
    assert pickle.loads(pickled) == locations
    assert pickle.loads(pickled).pools_of("/data/3/x") == ("a",)
    assert len(pickled) < 64 * len(locations.all)


# ---- against brute force

PARTS = st.lists(st.sampled_from(["a", "b", "ab", "c.nc", ".x"]), max_size=4)
#: Roots of places as their parts, each with ways to write it.
ROOTS = {
    ("file",): ["/", "file:///", "//", "simplecache::file:///"],
    ("s3", "a"): ["s3://a/", "S3://A/", "s3a://a//", "zip://x::s3://a/"],
    ("s3",): ["s3://"],
    ("https", "ab"): ["https://AB:443/", "https://me@ab/"],
    ("memory",): ["memory://"],
}


@st.composite
def places(draw):
    """Draw a place, as its parts, and one of the ways to write it."""
    root = draw(st.sampled_from(sorted(ROOTS)))
    # What follows the scheme is a bucket, for which there are fewer ways.
    parts = [] if root == ("s3",) else draw(PARTS)
    slash = draw(st.sampled_from(["/", "//", "/./", "/b/../"]))
    spelling = draw(st.sampled_from(ROOTS[root])) + slash.join(parts)
    if parts:
        spelling += draw(st.sampled_from(["", "/"]))
    return (*root, *parts), spelling


@given(st.lists(places(), max_size=8), places())
def test_longest_prefix_counts_as_brute_force_finds_it(prefixes, path):
    given_ = {}
    for whole, spelling in prefixes:
        given_.setdefault(whole, spelling)
    locations = Locations(
        tuple(Location(spelling, (f"p{i}",)) for i, spelling in enumerate(given_.values()))
    )
    whole, spelling = path
    fitting = [(len(p), i) for i, p in enumerate(given_) if whole[: len(p)] == p]
    expected = (f"p{max(fitting)[1]}",) if fitting else None
    assert locations.pools_of(spelling) == expected
