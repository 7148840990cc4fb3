"""What the README and the documentation show is run: nobody has to find out that it is wrong.

A block that begins with three backticks and ``python`` is a script. Each is run in a process of
its own, as by a reader who pastes it into a file. (``{code-block} python`` is for what needs a
cluster or data of the reader's own.)
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPT = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


SCRIPTS = [
    pytest.param(source, id=f"{page.relative_to(ROOT).as_posix()}-{number}")
    for page in PAGES
    for number, source in enumerate(SCRIPT.findall(page.read_text(encoding="utf-8")), start=1)
]


def command(name: str) -> str:
    """Read the command in the block of the README that follows a marker."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- command: {name} -->\n```bash\n(.+)\n```", readme)
    assert found, f"README.md has no block after <!-- command: {name} -->"
    return found[1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("source", SCRIPTS)
def test_script_of_a_page_runs(source: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr


def test_example_of_the_readme_is_short() -> None:
    (example,) = SCRIPT.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(example.splitlines()) <= 15


def test_commands_of_the_readme_are_complete() -> None:
    """Both begin with a new environment, and end with what they promise."""
    assert command("demo").startswith("python3.11 -m venv .venv && ")
    assert command("demo").endswith(".venv/bin/dask-pools demo")
    assert command("tests").startswith("python3.11 -m venv .venv && ")
    assert command("tests").endswith(".venv/bin/pytest")


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "readme_command tests" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_files_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(((?!https?:)[^)#\s]+)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_changelog_tells_of_the_version() -> None:
    version = re.search(
        r'^__version__ = "(.+)"', (ROOT / "dask_pools" / "__init__.py").read_text(), re.MULTILINE
    )
    assert version
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_has_a_lower_bound() -> None:
    """CI installs the lower bounds, all of them together."""
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "lowest.py"],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(done.stdout.split()) >= len(project["dependencies"])
