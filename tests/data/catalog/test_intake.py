"""Catalogs of intake, 1 and 2: read as data, nothing of them run."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import xarray as xr
import yaml

from dask_pools import Catalog, CatalogError, set_locations

ONE = """\
metadata: {version: 1}
plugins:
  source:
    - module: antigravity
sources:
  sst:
    description: Surface temperature
    driver: zarr
    args:
      urlpath: '{{ CATALOG_DIR }}/sst.zarr'
      consolidated: true
      chunks: {time: 1}
    metadata: {tags: [ocean, sst]}
  parts:
    driver: intake_xarray.netcdf.NetCDFSource
    args:
      urlpath: ['{{CATALOG_DIR}}/a.nc', 's3://bucket/b.nc']
      xarray_kwargs: {decode_times: false, engine: h5netcdf}
      concat_dim: time
      combine: nested
  dap:
    driver: opendap
    args: {urlpath: 'https://host/dap/x', chunks: {}, engine: null}
  table:
    driver: csv
    args: {urlpath: x.csv}
  shell:
    driver: netcdf
    args: {urlpath: '{{ shell("touch /tmp/run") }}.nc'}
  home:
    driver: netcdf
    args: {urlpath: '{{ env(HOME) }}/x.nc'}
  member:
    driver: netcdf
    args: {urlpath: 's3://bucket/{{ member }}.nc'}
    parameters: {member: {type: int, default: 1}}
  pattern:
    driver: netcdf
    args: {urlpath: 's3://bucket/{year}.nc', path_as_pattern: true}
  inside:
    driver: yaml_file_cat
    args: {path: other.yaml}
  secret:
    driver: zarr
    args: {urlpath: s3://b/x.zarr, storage_options: {key: me, secret: hunter2}}
  broken: 3
"""


def write(folder, text):
    path = folder / "catalog.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def read(path, **more):
    with pytest.warns(UserWarning, match="left out") as caught:
        catalog = Catalog.from_intake(path, **more)
    return catalog, str(caught[0].message)


def test_sources_of_intake_1(tmp_path):
    catalog, _ = read(write(tmp_path, ONE))
    assert list(catalog) == ["sst", "parts", "dap"]
    sst, parts, dap = catalog.values()
    assert (sst.location, sst.engine) == (f"{tmp_path}/sst.zarr", "zarr")
    assert sst.options == {"consolidated": True, "chunks": {"time": 1}}
    assert (sst.description, sst.tags) == ("Surface temperature", ("ocean", "sst"))
    assert parts.location == (f"{tmp_path}/a.nc", "s3://bucket/b.nc")
    assert parts.engine == "h5netcdf"
    assert parts.options == {"decode_times": False, "concat_dim": "time", "combine": "nested"}
    assert (dap.location, dap.engine, dap.options) == ("https://host/dap/x", None, {"chunks": {}})


def test_what_is_left_out_is_told_with_the_reason(tmp_path):
    _, message = read(write(tmp_path, ONE))
    told = dict(line.strip().split(": ", 1) for line in message.splitlines()[1:])
    assert "driver 'csv'" in told["'table'"]
    assert "has parameters, or a template" in told["'shell'"]
    assert "has parameters, or a template" in told["'home'"]
    assert "has parameters, or a template" in told["'member'"]
    assert "names of files" in told["'pattern'"]
    assert "another catalog" in told["'inside'"]
    assert "credentials belong to the workers" in told["'secret'"]
    assert "not a mapping" in told["'broken'"]
    assert "hunter2" not in message


def test_nothing_of_a_file_is_imported(tmp_path):
    read(write(tmp_path, ONE))
    assert "antigravity" not in sys.modules


def test_pools_are_those_of_the_file_or_of_the_location(tmp_path):
    path = write(tmp_path, ONE)
    catalog, _ = read(path, pool="a")
    assert [entry.pools for entry in catalog.values()] == [("a",), (), ()]
    with set_locations({tmp_path: "b", "https://host": "c"}):
        catalog, _ = read(path)
        assert catalog["sst"].pin() == ("b",)
        assert catalog["dap"].pin() == ("c",)


def dataset():
    return xr.Dataset({"a": ("x", np.arange(4.0))})


def test_catalog_that_intake_2_has_written(tmp_path):
    intake = pytest.importorskip("intake")
    dataset().to_zarr(tmp_path / "x.zarr", zarr_format=2, consolidated=True)
    dataset().to_netcdf(tmp_path / "x.nc")
    types, Reader = intake.datatypes, intake.readers.readers.XArrayDatasetReader
    made = intake.entry.Catalog()
    made["store"] = Reader(types.Zarr(f"{tmp_path}/x.zarr"), consolidated=True)
    made["file"] = Reader(types.HDF5(f"{tmp_path}/x.nc"), chunks={})
    made["beside"] = Reader(types.Zarr("{CATALOG_DIR}/x.zarr", root="g"), engine="zarr")
    made["data"] = types.HDF5(f"{tmp_path}/x.nc")
    made["steps"] = Reader(types.HDF5(f"{tmp_path}/x.nc")).isel(x=0)
    made["table"] = intake.readers.readers.PandasCSV(types.CSV("x.csv"))
    path = tmp_path / "catalog.yaml"
    made.to_yaml_file(str(path))

    for source in (path, made):
        catalog, message = read(source)
        assert set(catalog) == {"store", "file", "beside", "data"}
        assert "'steps': it is read by Pipeline" in message
        assert "'table': it is read by PandasCSV" in message
        assert catalog["store"].options == {"consolidated": True}
        assert catalog["beside"].options == {"group": "g"}
        for name in ("store", "file", "data"):
            xr.testing.assert_equal(catalog[name].open().load(), dataset())
    beside = read(path)[0]["beside"]
    assert (beside.location, beside.engine) == (f"{tmp_path}/x.zarr", "zarr")


def test_aliases_of_intake_2_are_names(tmp_path):
    described = {
        "version": 2,
        "aliases": {"mine": "0123456789abcdef"},
        "entries": {},
        "data": {
            "0123456789abcdef": {
                "datatype": "intake.readers.datatypes:Zarr",
                "kwargs": {"url": "s3://b/x.zarr", "storage_options": {"anon": True}},
            }
        },
    }
    (entry,) = Catalog.from_intake(write(tmp_path, yaml.safe_dump(described))).values()
    assert (entry.name, entry.location, entry.engine) == ("mine", "s3://b/x.zarr", "zarr")
    assert entry.options == {"storage_options": {"anon": True}}


def test_classes_named_by_a_file_of_intake_2_are_not_imported(tmp_path):
    described = {
        "version": 2,
        "entries": {"x": {"reader": "antigravity:Reader", "kwargs": {}}},
        "user_parameters": {"p": {"cls": "antigravity:Parameter"}},
        "data": {"d": {"datatype": "antigravity:Zarr", "kwargs": {"url": "/x.zarr"}}},
    }
    catalog, _ = read(write(tmp_path, yaml.safe_dump(described)))
    assert list(catalog) == ["d"]
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 1", "it is not a mapping"),
        ("a: {location: /x}", "Our own form is read with Catalog.from_yaml"),
        ("sources: {a: !!python/name:os.system ''}", "line 1: the tag"),
        ("sources: {a: {driver: csv}}", "has nothing that can be opened"),
        ("sources: {a: {driver: netcdf, args: [1]}}", "its 'args' is not a mapping"),
        ("sources: {a: {driver: netcdf}}", "does not say where its data is"),
        ("version: 2\nentries: 3", "its 'entries' is not a mapping"),
        ("version: 2\naliases: {a: b}", "it is not a mapping"),
    ],
)
def test_what_is_no_catalog_is_refused(tmp_path, text, said):
    with pytest.raises(CatalogError) as caught:
        Catalog.from_intake(write(tmp_path, text))
    assert said in str(caught.value)


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match="as the URL of its file, or as a catalog of intake 2"):
        Catalog.from_intake({"sources": {}})
