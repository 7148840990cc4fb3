"""The locations in force: set, nested, configured; and `pool_of`."""

from __future__ import annotations

import json
from pathlib import Path

import dask
import pytest

from dask_pools import LocationError, Locations, current_locations, pool_of, set_locations

KEY = "dask_pools.locations"


def test_nothing_is_known_at_first():
    assert current_locations() == Locations()
    assert pool_of("/data/x") is None


def test_pool_is_named_and_mirrors_are_a_tuple():
    with set_locations({"/data": "a", "s3://open": ["a", "b"]}):
        assert pool_of("/data/x.nc") == pool_of(Path("/data/x.nc")) == "a"
        assert pool_of("simplecache::s3://open/x.nc") == ("a", "b")
        assert pool_of("/elsewhere") is None
        assert pool_of("data/x.nc") is None
    assert pool_of("/data/x.nc") is None


def test_innermost_is_in_force_alone_and_the_outer_one_is_restored():
    with set_locations({"/data": "a", "/other": "b"}):
        with set_locations({"/data": "c"}):
            assert (pool_of("/data"), pool_of("/other")) == ("c", None)
            with set_locations({}):
                assert pool_of("/data") is None
        assert (pool_of("/data"), pool_of("/other")) == ("a", "b")


def test_one_object_can_be_entered_again_and_inside_itself():
    here = set_locations({"/data": "a"})
    with here:
        with here, set_locations({"/data": "b"}):
            assert pool_of("/data") == "b"
        assert pool_of("/data") == "a"
    assert pool_of("/data") is None
    with here:
        assert pool_of("/data") == "a"
    assert pool_of("/data") is None


def test_plain_call_holds_until_it_is_left():
    plain = set_locations({"/data": "a"})
    assert pool_of("/data") == "a"
    with plain:
        assert pool_of("/data") == "a"
    assert pool_of("/data") is None


def test_mistake_changes_nothing():
    with set_locations({"/data": "a"}):
        with pytest.raises(LocationError):
            set_locations({"data": "b"})
        assert pool_of("/data") == "a"


def test_setting_is_plain_data():
    """Clusters on other machines get the client's configuration as JSON."""
    with set_locations({"/data": "a", "s3://open": ("a", "b")}):
        said = dask.config.get(KEY)
    assert json.loads(json.dumps(said)) == said == {"/data": ["a"], "s3://open": ["a", "b"]}


def test_configured_mapping_is_in_force_also_after_it_changed_in_place():
    mirrors = ["b"]
    said = {"/data": "a", "/other": mirrors}
    with dask.config.set({KEY: said}):
        assert (pool_of("/data"), pool_of("/other")) == ("a", "b")
        said["/data"] = "c"
        mirrors.append("d")
        assert (pool_of("/data"), pool_of("/other")) == ("c", ("b", "d"))


def test_configured_file_is_read_again_when_it_was_written(tmp_path):
    path = tmp_path / "locations.yaml"
    path.write_text("/data: a\n")
    with dask.config.set({KEY: str(path)}):
        assert pool_of("/data") == "a"
        path.write_text("/data: another\n")
        assert pool_of("/data") == "another"
        path.unlink()
        with pytest.raises(LocationError, match="cannot be read"):
            pool_of("/data")


def test_configured_locations_are_in_force():
    with set_locations({"/data": "a"}):
        locations = current_locations()
    with dask.config.set({KEY: locations}):
        assert current_locations() is locations


@pytest.mark.parametrize("said", [3, ["/data"], {"data": "a"}, {"/data": None}])
def test_mistake_in_the_configuration_says_where_it_is(said):
    with (
        dask.config.set({KEY: said}),
        pytest.raises(LocationError, match=r"dask_pools\.locations in Dask's configuration: "),
    ):
        pool_of("/data")
