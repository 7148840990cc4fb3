"""Storage options of pools: found by prefix, read from files, and shown to nobody."""

from __future__ import annotations

import copy
import os
import pickle
import traceback
from multiprocessing import get_context

import dask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.errors import ConfigurationError, CredentialsError, TopologyError
from dask_pools.model.credentials import secret_options
from dask_pools.topology import kept
from dask_pools.topology.kept import KEY, keep_storage_options, storage_options_here
from dask_pools.topology.read import read_topology
from dask_pools.topology.storage import StorageOptions, read_storage_options
from dask_pools.topology.write import write_topology

#: What nobody may see.
HIDDEN = "1f2e3d4c"
OPTIONS = {"s3://bucket": {"key": "k", "secret": HIDDEN}}
TOPOLOGY = f"""
pools:
  ecmwf:
    egress: none
    storage_options: {{"s3://bucket": {{key: k, secret: {HIDDEN}}}}}
  eumetsat:
    storage_options: {{s3: {{anon: true}}}}
  cedadocs:
links:
  - {{source: ecmwf, target: eumetsat, price: 0.02}}
"""


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "options.yaml"


# Which options are secret


@pytest.mark.parametrize(
    "options",
    [
        {"key": "k"},
        {"SECRET": "s"},
        {"token": "t"},
        {"client_kwargs": {"aws_secret_access_key": "s"}},
        {"headers": {"Accept": "x"}},
        {"sas_token": "s"},
        {"account_key": "s"},
        {"connection_string": "s"},
        {"username": "me", "password": "s"},
        {"a": [{"client_secret": "s"}]},
        {"token": {"private_key": "s"}},
    ],
)
def test_secret_is_seen(options):
    assert len(list(secret_options(options))) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"anon": True, "endpoint_url": "http://127.0.0.1", "profile": "ecmwf"},
        {"token": "anon"},
        {"token": "google_default", "project": "p"},
        {"secret": None, "use_ssl": False, "key": ""},
        {"config_kwargs": {"max_pool_connections": 10}},
        None,
    ],
)
def test_what_is_no_secret_passes(options):
    assert list(secret_options(options)) == []


# By prefix


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("s3://bucket/a/b.zarr", "s3://bucket/a"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("S3a://bucket//a/", "s3://bucket/a"),
        ("s3://bucket/ab", "s3://bucket"),
        ("s3://bucket2/a", "s3"),
        ("s3://", "s3"),
        ("gs://bucket/a", None),
        ("/data/s3", None),
    ],
)
def test_longest_prefix_counts(url, prefix):
    options = StorageOptions({"s3": {"n": 1}, "s3://bucket/": {"n": 2}, "s3://bucket/a": {"n": 3}})
    found = options.of(url)
    assert (found and found[0]) == prefix


paths = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=4).map("/".join)


@given(prefixes=st.lists(paths, unique=True), path=paths)
def test_prefix_is_found_as_by_trying_all(prefixes, path):
    options = StorageOptions({f"s3://{prefix}": {"n": prefix} for prefix in prefixes})
    parts = path.split("/") if path else []
    longest = None
    for prefix in prefixes:
        above = prefix.split("/") if prefix else []
        if parts[: len(above)] == above and (longest is None or len(prefix) > len(longest)):
            longest = prefix
    found = options.of(f"s3://{path}")
    assert (found and found[1]["n"]) == longest


# Shown to nobody


def test_options_are_hidden_and_not_pickled():
    options = StorageOptions(OPTIONS)
    assert HIDDEN not in f"{options!r} {options} {vars(type(options))!r}"
    assert copy.deepcopy(options) is options
    with pytest.raises(CredentialsError, match="cannot be pickled"):
        pickle.dumps({"options": [options]})


def is_given(options):
    raise SystemExit(0 if options.of("s3://bucket")[1] == OPTIONS["s3://bucket"] else 1)


def test_options_go_into_a_process_that_is_started():
    process = get_context("spawn").Process(target=is_given, args=(StorageOptions(OPTIONS),))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("given", [HIDDEN, {"s3": HIDDEN}, {1: {"secret": HIDDEN}}, [HIDDEN]])
def test_wrong_options_are_told_without_their_values(given):
    with pytest.raises(ConfigurationError, match="a mapping of prefixes to options") as caught:
        StorageOptions(given)
    assert HIDDEN not in str(caught.value)


# In files


def test_topology_has_options_for_each_pool_alone(file):
    write(file, TOPOLOGY)
    assert read_storage_options(file, "ecmwf").of("s3://bucket")[1]["secret"] == HIDDEN
    assert read_storage_options(file, "eumetsat").prefixes == ("s3",)
    for pool in ("cedadocs", "unknown", None):
        assert read_storage_options(file, pool).prefixes == ()


def test_plain_file_has_options_whatever_the_pool(file):
    write(file, f's3: {{key: k, secret: "{HIDDEN}"}}')
    assert read_storage_options(file, None).prefixes == ("s3",)


def test_topology_itself_has_no_secrets(file, tmp_path):
    topology = read_topology(write(file, TOPOLOGY))
    assert topology.pool("ecmwf").egress == "none"
    write_topology(topology, tmp_path / "written.yaml")
    told = f"{topology!r} {pickle.dumps(topology)!r} {(tmp_path / 'written.yaml').read_text()}"
    assert HIDDEN not in told
    assert read_topology(tmp_path / "written.yaml") == topology


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
def test_secrets_that_anybody_may_read_are_refused(file):
    write(file, TOPOLOGY, mode=0o644)
    with pytest.raises(CredentialsError, match="chmod o-rwx") as caught:
        read_storage_options(file, "ecmwf")
    assert HIDDEN not in str(caught.value)
    assert read_storage_options(file, "eumetsat").prefixes == ("s3",)
    file.chmod(0o640)
    assert read_storage_options(file, "ecmwf").prefixes == ("s3://bucket",)


@pytest.mark.parametrize(
    "text",
    [
        f"s3: {HIDDEN}",
        f"- {HIDDEN}",
        f"s3: {{secret: {HIDDEN}, secret: {HIDDEN}}}",
        f"s3: {{secret: {HIDDEN}",
        f"pools: {{ecmwf: {{storage_options: [{HIDDEN}]}}}}",
        f"dask_pools: {{x: {HIDDEN}}}",
        "",
    ],
)
def test_mistake_in_a_file_is_told_without_a_value(text, file):
    write(file, text)
    with pytest.raises(ConfigurationError, match=r"options\.yaml") as caught:
        read_storage_options(file, "ecmwf")
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        f"pools: [ecmwf: {{storage_options: {{s3: {{secret: {HIDDEN}}}}}}}]",
        f"pools: {{ecmwf: [{{storage_options: {{s3: {{secret: {HIDDEN}}}}}}}]}}",
        f"[{{storage_options: {{s3: {{secret: {HIDDEN}}}}}}}]",
        f"pools: {{ecmwf: {{storage_options: {{s3: {{secret: {HIDDEN}}}",
        f"pools: {{ecmwf: {{storage_options: {{s3: {{secret: {HIDDEN}}}}}, egres: none}}}}",
    ],
)
def test_mistake_in_a_topology_is_told_without_a_secret(text, file):
    write(file, text)
    with pytest.raises(TopologyError) as caught:
        read_topology(file)
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


# In the configuration of a process


@pytest.fixture
def process(monkeypatch):
    monkeypatch.setattr(kept._Process, "given", None)
    monkeypatch.setattr(kept._Process, "file", None)


def test_nothing_configured_is_no_options(process):
    with dask.config.set({KEY: None, "dask_pools.topology": None}):
        assert storage_options_here(()).prefixes == ()


def test_configuration_names_a_file(process, file):
    write(file, TOPOLOGY)
    with dask.config.set({KEY: str(file)}):
        assert storage_options_here(("ecmwf",)).prefixes == ("s3://bucket",)
        assert storage_options_here(("eumetsat",)).prefixes == ("s3",)


def test_environment_names_a_file(process, file):
    write(file, TOPOLOGY)
    environment = {"DASK_DASK_POOLS__STORAGE_OPTIONS": str(file)}
    with dask.config.set(dask.config.collect_env(environment)):
        assert storage_options_here(("eumetsat",)).prefixes == ("s3",)


def test_file_of_the_topology_is_looked_at_as_well(process, file):
    write(file, TOPOLOGY)
    with dask.config.set({KEY: None, "dask_pools.topology": str(file)}):
        assert storage_options_here(("ecmwf",)).prefixes == ("s3://bucket",)


def test_what_a_worker_was_given_comes_first(process, file):
    with dask.config.set({KEY: str(file)}):
        keep_storage_options(StorageOptions(OPTIONS))
        assert storage_options_here(("ecmwf",)).prefixes == ("s3://bucket",)


def test_file_is_read_again_only_when_it_has_changed(process, file):
    write(file, "s3: {anon: true}")
    with dask.config.set({KEY: str(file)}):
        first = storage_options_here(())
        assert storage_options_here(()) is first
        os.utime(write(file, "gs: {}"), ns=(1, 1))
        assert storage_options_here(()).prefixes == ("gs",)


def test_options_without_secrets_may_be_in_the_configuration(process):
    with dask.config.set({KEY: {"s3": {"anon": True}}}):
        assert storage_options_here(("a", "b")).of("s3://x") == ("s3", {"anon": True})


def test_secrets_in_the_configuration_are_refused(process):
    """Dask shows it: `client.dump_cluster_state` has the configuration of each worker."""
    topology = {"pools": {"ecmwf": {"storage_options": OPTIONS}}}
    for key, value, read in [
        (KEY, OPTIONS, lambda: storage_options_here(())),
        ("dask_pools.topology", topology, read_topology),
    ]:
        with (
            dask.config.set({key: value}),
            pytest.raises(CredentialsError, match=r"secret.* a file") as caught,
        ):
            read()
        assert HIDDEN not in str(caught.value)


def test_pools_that_share_a_process_cannot_have_credentials(process, file):
    write(file, TOPOLOGY)
    with (
        dask.config.set({KEY: str(file)}),
        pytest.raises(CredentialsError, match="'ecmwf', 'eumetsat' share one process"),
    ):
        storage_options_here(("ecmwf", "eumetsat"))


@pytest.mark.parametrize("value", [1, ["s3"]])
def test_configuration_of_another_type_is_told(process, value):
    with (
        dask.config.set({KEY: value}),
        pytest.raises(ConfigurationError, match="is the path of a file, or a mapping"),
    ):
        storage_options_here(())


def test_file_that_is_not_there_is_told(process, file):
    with (
        dask.config.set({KEY: str(file)}),
        pytest.raises(ConfigurationError, match="cannot be read: No such file"),
    ):
        storage_options_here(())
