"""Secrets are seen by their names, and never repeated."""

from __future__ import annotations

import pytest

from dask_pools.data.catalog.credentials import secrets_in_location, secrets_in_options


@pytest.mark.parametrize(
    "name",
    [
        *("key", "secret", "token", "password", "account_key", "sas_token", "connection_string"),
        *("aws_secret_access_key", "apikey", "Authorization", "credential"),
    ],
)
def test_secret_is_seen_at_any_depth(name):
    assert list(secrets_in_options({"storage_options": {name: "x"}})) == [("storage_options", name)]
    deep = {"backend_kwargs": {"storage_options": {"client_kwargs": {name: "x"}}}}
    assert [path[-1] for path in secrets_in_options(deep)] == [name]
    assert list(secrets_in_options({name: "x"})) == [(name,)]


@pytest.mark.parametrize(
    "options",
    [
        {"storage_options": {"anon": True, "token": "anon", "key": None, "use_ssl": False}},
        {"storage_options": {"endpoint_url": "https://host", "profile": "me"}},
        {"chunks": {"key": 10}, "decode_times": {"token": False}},
        {"backend_kwargs": {"filter_by_keys": {"typeOfLevel": "surface"}}},
        {"consolidated": True, "group": "keys"},
    ],
)
def test_what_gives_nothing_away_passes(options):
    assert list(secrets_in_options(options)) == []


@pytest.mark.parametrize(
    "location",
    [
        "https://me:pw@host/x.nc",
        "https://host/x.nc?X-Amz-Signature=1",
        "https://host/x.zarr?sv=2&sig=1",
        "simplecache::https://host/x.nc?token=1",
    ],
)
def test_secret_in_a_url_is_seen(location):
    assert list(secrets_in_location(location))


@pytest.mark.parametrize(
    "location",
    [
        *("/data/token=1/x.nc", "s3://key/secret.zarr", "https://me@host/x.nc?level=1"),
        *("https://host/x[0-9]*.nc", "http://[broken/x.nc"),
    ],
)
def test_other_urls_pass(location):
    assert list(secrets_in_location(location)) == []
