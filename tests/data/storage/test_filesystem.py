"""The file system that opens stores with what the process it is in has for them."""

from __future__ import annotations

import pickle
import traceback
from typing import ClassVar

import cloudpickle
import dask
import fsspec
import pytest
from dask.tokenize import tokenize
from fsspec.implementations.memory import MemoryFileSystem

from dask_pools.data.storage import filesystem, target
from dask_pools.data.storage.filesystem import PooledFileSystem
from dask_pools.data.storage.target import check_arguments, open_target
from dask_pools.errors import CredentialsError
from dask_pools.graph.annotate import pool
from dask_pools.topology import kept
from dask_pools.topology.storage import StorageOptions

#: What nobody may see.
HIDDEN = "1f2e3d4c"


class GuardedFileSystem(MemoryFileSystem):
    """A file system which opens with a secret only, and says too much when it fails."""

    protocol = "guarded"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def __init__(self, secret=None, level=0, **kwargs):
        super().__init__(**kwargs)
        if secret != HIDDEN:
            raise PermissionError(f"the secret is not {secret}")

    def cat_file(self, path, start=None, end=None, **kwargs):
        try:
            return super().cat_file(path, start, end)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} was asked for with {HIDDEN}") from error


@pytest.fixture(autouse=True)
def guarded(monkeypatch):
    fsspec.register_implementation("guarded", GuardedFileSystem, clobber=True)
    monkeypatch.setattr(GuardedFileSystem, "store", {})
    monkeypatch.setattr(GuardedFileSystem, "pseudo_dirs", [""])


@pytest.fixture
def here(monkeypatch):
    """Make this process one of the pool ecmwf, with the secret."""
    monkeypatch.setattr(kept._Process, "given", StorageOptions({"guarded": {"secret": HIDDEN}}))
    for module in (filesystem, target):
        monkeypatch.setattr(module, "pools_here", lambda: ("ecmwf",))


def opened(url, **options):
    url, found = open_target(url, options or None)
    return fsspec.url_to_fs(url, **(found or {}))


def test_url_without_options_here_is_left_as_it_is(here):
    assert open_target("s3://bucket/a", {"anon": True}) == ("s3://bucket/a", {"anon": True})
    assert open_target("/data/guarded") == ("/data/guarded", None)


def test_url_with_options_here_leads_to_our_file_system_and_stays_the_same(here):
    url, options = open_target("guarded://a/b.nc")
    assert url == "guarded://a/b.nc"
    assert HIDDEN not in repr(options)
    fs, path = fsspec.url_to_fs(url, **options)
    assert isinstance(fs, PooledFileSystem)
    assert fs.unstrip_protocol(path) == "guarded://a/b.nc"


def test_reading_and_writing_go_to_the_real_file_system(here):
    fs, _ = opened("guarded://a")
    fs.makedirs("/a/b")
    fs.pipe_file("/a/b/c", b"content")
    assert fs.cat_file("/a/b/c") == b"content"
    assert fs.cat_file("/a/b/c", start=1, end=3) == b"on"
    assert fs.cat({"/a/b/c": None}) == {"/a/b/c": b"content"}
    assert fs.size("/a/b/c") == 7
    assert fs.find("/a") == fs.glob("/a/*/c") == ["/a/b/c"]
    assert fs.ls("/a/b", detail=False) == ["/a/b/c"]
    assert fs.isdir("/a/b")
    assert not fs.exists("/a/x")
    fs.cp_file("/a/b/c", "/a/d")
    with fs.open("/a/e", "wb") as file:
        file.write(b"written")
    assert fs.cat_file("/a/e") == b"written"
    fs.rm("/a", recursive=True)
    assert not fs.exists("/a/d")


def test_files_are_copied_from_and_to_this_machine(here, tmp_path):
    fs, _ = opened("guarded://a")
    (tmp_path / "up").write_bytes(b"up")
    fs.put_file(str(tmp_path / "up"), "/up")
    fs.get_file("/up", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == b"up"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_nothing_pickled_has_the_secret(here, asynchronous):
    fs, path = opened("guarded://a", asynchronous=asynchronous)
    if not asynchronous:
        fs.pipe_file(path, b"content")
    for pickled in (pickle.dumps(fs), cloudpickle.dumps(fs), fs.to_json().encode()):
        assert HIDDEN.encode() not in pickled
    assert HIDDEN not in repr(fs)
    assert pickle.loads(pickle.dumps(fs)) is not None


def test_open_file_reads_on_after_it_was_pickled(here):
    fs, path = opened("guarded://a")
    fs.pipe_file(path, b"content")
    with fs.open(path) as file:
        assert file.read(3) == b"con"
        pickled = pickle.dumps(file)
    assert HIDDEN.encode() not in pickled
    with pickle.loads(pickled) as again:
        assert again.read() == b"tent"


def test_chain_is_opened_by_its_last_link(here):
    fs, path = opened("guarded://a")
    fs.pipe_file(path, b"content")
    url, options = open_target("simplecache::guarded://a", {"guarded": {"level": 1}})
    assert HIDDEN not in repr(options)
    assert options["pooled"]["target_options"] == {"level": 1}
    with fsspec.open(url, **options) as file:
        assert file.read() == b"content"


def test_token_depends_on_place_and_pool_and_on_no_secret(here, monkeypatch):
    def token(secret, **options):
        by_prefix = {"guarded": {"secret": secret, **options}}
        monkeypatch.setattr(kept._Process, "given", StorageOptions(by_prefix))
        fs, _ = opened("guarded://a")
        return tokenize(fs), str(fs)

    assert token(HIDDEN) == token("other")
    tokens = {token(HIDDEN), token(HIDDEN, endpoint_url="http://127.0.0.1:1")}
    monkeypatch.setattr(target, "pools_here", lambda: ("eumetsat",))
    tokens.add(token(HIDDEN))
    assert len(tokens) == 3


def test_password_of_an_endpoint_does_not_leave(here, monkeypatch):
    url = f"http://me:{HIDDEN}@127.0.0.1"
    by_prefix = {"guarded": {"client_kwargs": {"endpoint_url": url}}}
    monkeypatch.setattr(kept._Process, "given", StorageOptions(by_prefix))
    assert HIDDEN not in repr(open_target("guarded://a"))


def test_errors_show_no_secret(here):
    fs, path = opened("guarded://a")
    with pytest.raises(FileNotFoundError) as caught:
        fs.cat_file(path)
    told = "".join(traceback.format_exception(caught.value))
    assert "was asked for with ***" in told
    assert HIDDEN not in told


def test_error_about_the_credentials_does_not_show_them(here, monkeypatch):
    monkeypatch.setattr(kept._Process, "given", StorageOptions({"guarded": {"secret": "wrong!"}}))
    fs, path = opened("guarded://a")
    with pytest.raises(PermissionError, match=r"the secret is not \*\*\*"):
        fs.cat_file(path)


@pytest.mark.parametrize(
    ("pools", "where"), [(("eumetsat",), "pool 'eumetsat'"), ((), "outside of all pools")]
)
def test_elsewhere_the_error_names_the_pool(here, monkeypatch, pools, where):
    """Also where there are options for the URL: the same URL may be something else there."""
    fs, path = opened("guarded://a")
    monkeypatch.setattr(filesystem, "pools_here", lambda: pools)
    with pytest.raises(CredentialsError, match="was opened in pool 'ecmwf'") as caught:
        fs.cat_file(path)
    assert where in str(caught.value)


def test_mirror_may_use_what_the_pool_has_opened(here, monkeypatch):
    with pool("ecmwf", "cedadocs"):
        fs, path = opened("guarded://a")
    monkeypatch.setattr(filesystem, "pools_here", lambda: ("cedadocs",))
    fs.pipe_file(path, b"content")
    assert fs.cat_file(path) == b"content"


def test_no_options_here_is_told(here, monkeypatch):
    fs, path = opened("guarded://a")
    monkeypatch.setattr(kept._Process, "given", StorageOptions({"s3://bucket": {}}))
    with pytest.raises(CredentialsError, match=r"have the prefixes 's3://bucket'"):
        fs.cat_file(path)


def test_renewed_credentials_are_used(here, monkeypatch, tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("guarded: {secret: expired}")
    path.chmod(0o600)
    monkeypatch.setattr(kept._Process, "given", None)
    with dask.config.set({kept.KEY: str(path)}):
        fs, _ = opened("guarded://a")
        with pytest.raises(PermissionError):
            fs.pipe_file("/a", b"")
        path.write_text(f"guarded: {{secret: {HIDDEN}}}")
        fs.pipe_file("/a", b"renewed")
        assert fs.cat_file("/a") == b"renewed"


def test_secrets_given_by_the_user_are_refused():
    with pytest.raises(CredentialsError, match="'secret' in storage_options") as caught:
        check_arguments({"storage_options": {"secret": HIDDEN}})
    assert HIDDEN not in str(caught.value)
    nested = {"client_kwargs": {"aws_session_token": HIDDEN}}
    with pytest.raises(
        CredentialsError, match=r"'storage_options.client_kwargs.aws_session_token'"
    ):
        check_arguments({"backend_kwargs": {"storage_options": nested}})
    check_arguments({"chunks": {"key": 1}, "storage_options": {"anon": True}})


def test_secrets_given_by_the_user_are_refused_beside_those_here(here):
    with pytest.raises(CredentialsError, match="'key' in storage_options"):
        open_target("guarded://a", {"key": HIDDEN})
