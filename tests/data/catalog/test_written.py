"""Catalogs in files: what may be in them, and what is said of what may not."""

from __future__ import annotations

import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dask_pools import Catalog, CatalogError, pool, set_locations
from dask_pools.data.catalog.documents import MOST_BYTES
from dask_pools.data.catalog.entry import Entry
from dask_pools.data.catalog.written import written_entries

FULL = """\
# What we have.
ens:
  location: s3://ecmwf-open/predictions.zarr
  engine: zarr
  options: {chunks: {realization: 1}, consolidated: false}
  pools: [ecmwf, cedadocs]
  description: Ensemble forecast
  tags: [forecast, temperature]
obs:
  location:
    - /data/eumetsat/2023.nc
    - /data/eumetsat/2024.nc
  pools: eumetsat
  tags:
"""


def write(folder, text):
    path = folder / "catalog.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder, text):
    with pytest.raises(CatalogError) as caught:
        Catalog.from_yaml(write(folder, text))
    return str(caught.value)


def test_catalog_is_read(tmp_path):
    assert list(Catalog.from_yaml(write(tmp_path, FULL)).values()) == [
        Entry(
            "ens",
            "s3://ecmwf-open/predictions.zarr",
            "zarr",
            {"chunks": {"realization": 1}, "consolidated": False},
            ("ecmwf", "cedadocs"),
            "Ensemble forecast",
            ("forecast", "temperature"),
        ),
        Entry("obs", ("/data/eumetsat/2023.nc", "/data/eumetsat/2024.nc"), pools="eumetsat"),
    ]


def test_catalog_is_read_from_any_url(tmp_path):
    path = write(tmp_path, FULL)
    import fsspec

    with fsspec.open("memory://catalogs/c.yaml", "w") as file:
        file.write(FULL)
    read = [Catalog.from_yaml(url) for url in (path, str(path), f"file://{path}")]
    read.append(Catalog.from_yaml("memory://catalogs/c.yaml"))
    assert all(catalog == read[0] for catalog in read)


text = st.text(string.printable, min_size=1, max_size=12).map(str.strip).filter(bool)
entries = st.builds(
    Entry,
    name=st.text(string.ascii_letters + string.digits + "-/.", min_size=1, max_size=8),
    location=text.map(lambda x: f"/{x}") | st.lists(text.map(lambda x: f"/{x}"), min_size=1),
    engine=st.none() | st.sampled_from(["zarr", "netcdf4"]),
    options=st.dictionaries(st.sampled_from(["chunks", "group"]), st.integers() | st.booleans()),
    pools=st.lists(st.sampled_from(["a", "b", "eu-west-1"]), unique=True).map(tuple),
    description=text | st.just(""),
    tags=st.lists(text, unique=True).map(tuple),
)


def as_written(entry):
    fields = ("location", "engine", "options", "pools", "description", "tags")
    given = {name: getattr(entry, name) for name in fields}
    lists = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    return {name: value for name, value in lists.items() if value}


@given(st.lists(entries, min_size=1, max_size=4, unique_by=lambda entry: entry.name))
def test_what_is_written_is_what_is_read(given):
    written = yaml.safe_dump({entry.name: as_written(entry) for entry in given}, sort_keys=False)
    assert written_entries(written, "/c.yaml", ()) == given


def test_everything_that_is_wrong_is_told_with_its_line(tmp_path):
    text = """\
ens:
  locaton: /data/ens.zarr
  engine: 3
obs:
  location: /data/obs.nc
  pools:
    - ecmwf
    - ec mwf
  options:
    storage_options:
      anon: false
      secret: hunter2
obs:
  location: /data/other.nc
no:
  location: /x.nc
wind: /data/wind.nc
"""
    message = refused(tmp_path, text)
    assert message.splitlines()[0] == (
        f"{tmp_path}/catalog.yaml cannot be used as a catalog; there are 8 problems:"
    )
    told = dict(line.strip().split(": ", 1) for line in message.splitlines()[1:])
    assert "ens: it has no location" in told["line 1"]
    assert "there is no such field" in told["line 2"]
    assert "Did you mean 'location'?" in told["line 2"]
    assert "the engine is a name" in told["line 3"]
    assert "obs: pools: 1: 'ec mwf' is not a name" in told["line 8"]
    assert "credentials belong to the workers" in told["line 12"]
    assert "'obs' is there twice, first on line 4" in told["line 13"]
    assert "put texts in quotes" in told["line 15"]
    assert "wind: an entry is a mapping" in told["line 17"]
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "line 1: this is no mapping"),
        ("a: {location: [}", "not right YAML"),
        ("a: !!python/object/apply:os.system ['true']", "is refused: a catalog is plain data"),
        ("a: {location: /x, pool: b}", "Did you mean 'pools'?"),
        ("a: {location: ''}", "a location is a URL or a path"),
        ("a: {location: /x, pools: yes}", "pools are the name of a pool"),
        ("a: {location: null}", "it has no location"),
    ],
)
def test_file_is_refused(tmp_path, text, said):
    assert said in refused(tmp_path, text)


def test_nothing_is_run_or_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", "/secret")
    text = "a: {location: '/data/${PLACE}/{{ env(PLACE) }}/$PLACE.zarr'}"
    location = Catalog.from_yaml(write(tmp_path, text))["a"].location
    assert location == "/data/${PLACE}/{{ env(PLACE) }}/$PLACE.zarr"


def test_large_file_is_refused(tmp_path):
    message = refused(tmp_path, "#" * (MOST_BYTES + 1))
    assert "is larger than 2 MB" in message


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogError, match="is no text in UTF-8"):
        Catalog.from_yaml(path)


def test_missing_file_is_a_builtin_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.yaml"):
        Catalog.from_yaml(tmp_path / "missing.yaml")


def test_source_of_another_type_is_refused():
    with pytest.raises(TypeError, match="from a URL or a path, not from dict"):
        Catalog.from_yaml({"ens": {}})


def test_what_lies_beside_the_file_is_in_its_pool(tmp_path):
    path = write(tmp_path, "a: {location: sub/a.nc}\nb: {location: [x.nc, /y.nc]}\n")
    plain = Catalog.from_yaml(path)
    assert plain["a"].location == f"{tmp_path}/sub/a.nc"
    assert plain["b"].location == (f"{tmp_path}/x.nc", "/y.nc")
    assert plain["a"].pools == ()
    said = Catalog.from_yaml(path, pool=("ecmwf", "mirror"))
    assert said["a"].pools == ("ecmwf", "mirror")
    assert said["b"].pools == ()  # one of its files may be elsewhere
    with pool("here"):
        assert Catalog.from_yaml(path)["a"].pools == ("here",)
    # What is known of locations may become another thing later.
    with set_locations({tmp_path: "ecmwf"}):
        known = Catalog.from_yaml(path)
        assert known["a"].pools == ()
        assert known["a"].pin() == ("ecmwf",)


def test_entries_may_share_options(tmp_path):
    text = (
        "a: &all\n  location: /a.nc\n  options: &options {chunks: {}}\n  pools: x\n"
        "b: {<<: *all, location: /b.nc}\nc: {location: /c.nc, options: *options}\n"
    )
    catalog = Catalog.from_yaml(write(tmp_path, text))
    assert catalog["b"] == Entry("b", "/b.nc", options={"chunks": {}}, pools="x")
    assert catalog["c"].options == {"chunks": {}}
