"""xarray's own tests of Dask, and of distributed, with pools in force.

All of them that pass without pools have to pass with them, but for `EXCEPTIONS`. They run in a
Python of their own: with pools first, and what did not pass once more without.

Three plugins say what is done with pools: `inside_plugin` runs each test as a whole in one pool,
`pinned_plugin` pins what tests start from, in turn to one of two pools, and with ``off``
nothing is done. Tests that start a cluster get workers that are in all of these pools.

    pytest -m slow tests/third_party/test_xarray.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest
import xarray

from tests.third_party.outcomes import Run

REPOSITORY = Path(__file__).parents[2]
#: Where the installed xarray lies; the names of its tests are relative to it.
INSTALLED = Path(xarray.__file__).parent.parent
DASK, DISTRIBUTED = "xarray/tests/test_dask.py", "xarray/tests/test_distributed.py"

#: Tests that pass without pools and not with them, each with the reason, by `--pools`.
EXCEPTIONS: dict[str, dict[str, str]] = {}


def run(plugin: str, pools: str, tests: Collection[str], directory: Path) -> Run:
    """Run some of xarray's tests in a Python of their own."""
    directory.mkdir()
    if not tests:
        return Run()
    arguments = directory / "arguments"
    arguments.write_text("\n".join(str(INSTALLED / test) for test in tests))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"),
            *(f"--rootdir={INSTALLED}", "-c", os.devnull, "-p", "no:asyncio", "--timeout=120"),
            *("-p", f"tests.third_party.{plugin}", f"--pools={pools}"),
            *(f"--record={directory}", f"@{arguments}"),
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    (directory / "output").write_text(done.stdout + done.stderr)
    ended = done.returncode in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    assert ended, f"pytest did not come to its end:\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    return Run.read(directory)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("file", "plugin", "pools", "least"),
    [
        (DASK, "inside_plugin", "on", 200),
        (DASK, "pinned_plugin", "pinned", 200),
        (DASK, "pinned_plugin", "placed", 200),
        (DASK, "pinned_plugin", "scattered", 200),
        (DISTRIBUTED, "inside_plugin", "on", 10),
        (DISTRIBUTED, "pinned_plugin", "pinned", 10),
    ],
)
def test_xarrays_tests_pass_with_pools(file, plugin, pools, least, tmp_path, capsys) -> None:
    found = run(plugin, pools, [file], tmp_path / "pools")
    stock = run(plugin, "off", found.missed(), tmp_path / "off")
    exceptions = EXCEPTIONS.get(pools, {}).keys() & found.outcomes.keys()
    with capsys.disabled():
        sys.stdout.write(
            f"\n{file}, {plugin} {pools}: {len(found.passed())} of {len(found.outcomes)} tests "
            f"passed, {len(stock.passed())} more without pools; {dict(found.counts)}\n"
        )
    broken = stock.passed() - exceptions
    assert not broken, "\n".join(["These tests pass without pools only:", *sorted(broken)])
    needless = exceptions & found.passed()
    assert not needless, f"These are no exceptions any more: {sorted(needless)}"
    # That pools were really in play.
    assert len(found.passed()) >= least
    assert found.counts["graphs"] or file == DISTRIBUTED  # whose graphs schedulers make
