"""The decisions about whose data is hidden from whom, without any worker."""

from __future__ import annotations

import logging
import re
import sys
import tempfile
from pathlib import Path

import pytest

from dask_pools.deploy import namespaces
from dask_pools.deploy.visibility import check_data, check_hide, choose_means, hidden_from
from dask_pools.errors import UnknownPoolError

POOLS = ("ecmwf", "eumetsat")


@pytest.fixture
def sites(tmp_path):
    """Directories of two data centres, side by side."""
    for pool in POOLS:
        (tmp_path / pool).mkdir()
    return tmp_path


def test_directories_are_resolved(sites, monkeypatch):
    (sites / "link").symlink_to(sites / "ecmwf")
    monkeypatch.chdir(sites)
    data = {"ecmwf": "link", "eumetsat": Path("eumetsat")}
    assert check_data(data, POOLS) == {pool: str((sites / pool).resolve()) for pool in POOLS}


def test_without_data_nothing_is_hidden():
    assert check_data(None, POOLS) == {}
    assert hidden_from("ecmwf", {}) == ()


def test_pool_without_data_sees_that_of_nobody():
    assert hidden_from("cloud", {"b": "/data/b", "a": "/data/a"}) == ("/data/a", "/data/b")


def test_directories_whose_names_begin_alike_are_apart(sites):
    (sites / "ecmwf-2").mkdir()
    data = {"ecmwf": sites / "ecmwf", "eumetsat": sites / "ecmwf-2"}
    assert len(check_data(data, POOLS)) == 2


def test_data_of_an_unknown_pool_is_refused(sites):
    with pytest.raises(UnknownPoolError, match=r"gives a directory to 'ecwmf'.*mean 'ecmwf'\?"):
        check_data({"ecwmf": sites / "ecmwf"}, POOLS)


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("missing", FileNotFoundError, "of pool 'ecmwf', '{}', does not exist"),
        ("file", NotADirectoryError, "of pool 'ecmwf', '{}', is not a directory"),
    ],
)
def test_directory_that_is_none_is_refused(sites, path, error, message):
    (sites / "file").touch()
    with pytest.raises(error, match=re.escape(message.format(sites / path))):
        check_data({"ecmwf": sites / path}, POOLS)


@pytest.mark.parametrize("data", ["/data", ["/data"], 3])
def test_data_that_is_no_mapping_is_refused(data):
    with pytest.raises(TypeError, match="data= is a mapping of pools to their directories"):
        check_data(data, POOLS)


def test_directory_that_is_no_path_is_refused():
    with pytest.raises(TypeError, match="directory of pool 'ecmwf' is a path, not 3 of type int"):
        check_data({"ecmwf": 3}, POOLS)


@pytest.mark.parametrize("inner", ["ecmwf", "ecmwf/deep/down"])
def test_directories_of_two_pools_may_not_overlap(sites, inner):
    (sites / "ecmwf/deep/down").mkdir(parents=True)
    data = {"ecmwf": sites / "ecmwf", "eumetsat": sites / inner}
    for order in (data, dict(reversed(data.items()))):
        with pytest.raises(ValueError, match="is or is inside of that of pool"):
            check_data(order, POOLS)


@pytest.mark.parametrize(
    ("directory", "what"),
    [(tempfile.gettempdir(), "temporary files"), (sys.base_prefix, "Python")],
)
def test_directory_that_other_pools_need_is_refused(directory, what, monkeypatch):
    """Their workers would start, and fail in strange ways."""
    monkeypatch.chdir(Path(directory).anchor)  # the tests may themselves run in such a directory
    with pytest.raises(ValueError, match=f"contains .*{what}.*data only"):
        check_data({"ecmwf": directory}, POOLS)
    assert check_data({"ecmwf": directory}, ["ecmwf"]), "there are no others"


def test_working_directory_is_not_hidden(sites, monkeypatch):
    monkeypatch.chdir(sites / "ecmwf")
    with pytest.raises(ValueError, match="contains the working directory"):
        check_data({"ecmwf": "."}, POOLS)


def test_import_path_is_not_hidden(sites, monkeypatch):
    monkeypatch.syspath_prepend(sites / "ecmwf")
    with pytest.raises(ValueError, match=re.escape("contains a directory of sys.path")):
        check_data({"ecmwf": sites / "ecmwf"}, POOLS)


def test_means_can_be_chosen(monkeypatch):
    monkeypatch.setattr(namespaces, "why_unavailable", lambda: None)
    assert choose_means("auto") == choose_means("namespaces") == "namespaces"
    assert choose_means("guard") == "guard"


def test_guard_is_taken_where_there_are_no_namespaces_and_the_reason_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(namespaces, "why_unavailable", lambda: "the reason")
    with caplog.at_level(logging.INFO, logger="dask_pools"):
        assert choose_means("auto") == "guard"
    assert "netCDF4" in caplog.text
    assert "the reason" in caplog.text
    assert len(caplog.records) == 1


def test_namespaces_that_cannot_be_had_are_an_error(monkeypatch):
    monkeypatch.setattr(namespaces, "why_unavailable", lambda: "the reason")
    with pytest.raises(RuntimeError, match=r"not possible here: the reason.*hide='guard'"):
        choose_means("namespaces")


@pytest.mark.parametrize("hide", ["always", "", None, True])
def test_way_to_hide_that_is_none_is_refused(hide):
    with pytest.raises(ValueError, match="use 'auto', 'namespaces' or 'guard'"):
        check_hide(hide)
