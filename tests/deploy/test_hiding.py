"""The two ways to hide a directory, each in a process of its own, since neither can be undone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dask_pools.deploy import namespaces

needs_namespaces = pytest.mark.skipif(
    namespaces.why_unavailable() is not None, reason=str(namespaces.why_unavailable())
)
both_ways = pytest.mark.parametrize(
    "way", ["guard", pytest.param("namespaces", marks=needs_namespaces)]
)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path):
    """A directory with data, `site/sub/file`, and one beside it, `site-2/file`."""
    (tmp_path / "site/sub").mkdir(parents=True)
    (tmp_path / "site/sub/file").write_text("data")
    (tmp_path / "site-2").mkdir()
    (tmp_path / "site-2/file").write_text("data")
    return tmp_path / "site"


def hide_and_try(way: str, site: Path, code: str) -> str:
    """Hide `site` in a new process, run code there, and return what it did."""
    script = f"""
import os, pathlib, sys
from dask_pools.deploy.{way} import hide
site = {str(site)!r}
hide([os.path.realpath(site)])
try:
    {code}
except OSError as error:
    print(type(error).__name__, error.filename)
else:
    print("done")
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@both_ways
@pytest.mark.parametrize(
    "code",
    [
        "open(site + '/sub/file')",
        "open(os.fsencode(site + '/sub/file'))",
        "open(site + '/../site/sub/file')",
        "pathlib.Path(site, 'sub', 'file').read_bytes()",
        "os.open(site + '/sub/file', os.O_RDONLY)",
        "open(site + '/new', 'w')",
        "os.mkdir(site + '/new')",
        "os.listdir(site + '/sub')",
        "list(os.scandir(site + '/sub'))",
        "os.remove(site + '/sub/file')",
        "os.chdir(os.path.dirname(site)); open('site/sub/file')",
    ],
)
def test_nothing_is_found_in_a_hidden_directory(way, site, code):
    assert hide_and_try(way, site, code).startswith("FileNotFoundError")
    assert (site / "sub/file").read_text() == "data"
    assert [path.name for path in site.iterdir()] == ["sub"]


@both_ways
def test_failure_names_the_path_like_the_real_world_does(way, site):
    path = str(site / "sub/file")
    assert hide_and_try(way, site, f"open({path!r})") == f"FileNotFoundError {path}"


@both_ways
def test_link_from_elsewhere_does_not_lead_inside(way, site):
    link = site.parent / "link"
    link.symlink_to(site)
    assert hide_and_try(way, link, "open(site + '/sub/file')").startswith("FileNotFoundError")
    assert hide_and_try(way, site, f"open({str(link / 'sub/file')!r})").startswith("FileNotFound")


@both_ways
def test_other_directories_are_seen_as_before(way, site):
    assert hide_and_try(way, site, "open(site + '-2/file'); os.listdir(site + '-2')") == "done"


@both_ways
def test_other_openings_are_let_through(way, site):
    assert hide_and_try(way, site, "open(0, closefd=False); os.listdir(); os.listdir(0)") != ""


@needs_namespaces
def test_threads_and_processes_made_later_see_the_same(site):
    in_a_thread = "import threading as t; x = t.Thread(target=lambda: print(os.listdir(site)))"
    assert hide_and_try("namespaces", site, f"{in_a_thread}; x.start(); x.join()") == "[]\ndone"
    assert hide_and_try("namespaces", site, "os.system(f'cat {site}/sub/file')") == "done"


@needs_namespaces
def test_directory_that_is_gone_is_an_error(site):
    code = "hide([site + '/gone'])"
    assert hide_and_try("namespaces", site, code) == f"FileNotFoundError {site}/gone"


@needs_namespaces
def test_hiding_leaves_no_temporary_directory_behind(site, tmp_path):
    code = (
        "import tempfile; tempfile.tempdir = site + '-2'; hide([]); print(os.listdir(site + '-2'))"
    )
    assert hide_and_try("namespaces", site, code) == "['file']\ndone"


def test_reason_why_namespaces_are_unavailable_is_that_of_the_trial(monkeypatch):
    monkeypatch.setattr(namespaces.subprocess, "run", lambda *args, **kwargs: failed)
    failed = subprocess.CompletedProcess([], 1, stderr="Traceback\nOSError: unshare: not permitted")
    assert namespaces.why_unavailable() == "OSError: unshare: not permitted"


def test_namespaces_are_a_matter_of_linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert (
        namespaces.why_unavailable()
        == "mount namespaces are a feature of Linux, and this is darwin"
    )
