"""Which workers of a local cluster are given which credentials."""

from __future__ import annotations

import pytest

from dask_pools.deploy.local import LocalPoolCluster
from dask_pools.deploy.storage import check_storage_options
from dask_pools.errors import ConfigurationError, UnknownPoolError

#: What nobody may see.
HIDDEN = "1f2e3d4c"


def test_options_are_hidden_by_pool(tmp_path):
    path = tmp_path / "ecmwf.yaml"
    path.write_text("")
    given = {"ecmwf": {"s3": {"secret": HIDDEN}}, "eumetsat": path}
    checked = check_storage_options(given, ["ecmwf", "eumetsat"])
    assert repr(checked["ecmwf"]) == "StorageOptions('s3')"
    assert checked["eumetsat"] == str(path)
    assert check_storage_options(None, ["ecmwf"]) == {}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([HIDDEN], TypeError, "a mapping of pools"),
        ({"ecwmf": {"s3": {"secret": HIDDEN}}}, UnknownPoolError, "Did you mean 'ecmwf'"),
        ({"ecmwf": "/nowhere/options.yaml"}, FileNotFoundError, "'ecmwf'.*are not a file"),
        ({"ecmwf": {"s3": HIDDEN}}, ConfigurationError, "those of 's3' are of type str"),
    ],
)
def test_mistake_is_told_before_anything_starts(given, error, message):
    with pytest.raises(error, match=message) as caught:
        LocalPoolCluster({"ecmwf": 1}, storage_options=given)
    assert HIDDEN not in str(caught.value)
