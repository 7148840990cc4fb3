"""Dask's own tests of data frames, with all sources pinned to two pools.

All of them that pass without pools have to pass with them, but for `EXCEPTIONS`. They run in
a Python of their own; `framed_plugin` says what is pinned and how. Left out are the tests which
start a cluster: no worker there is in a pool, so that what is pinned waits or is refused.

    pytest -m slow tests/third_party/test_dask_dataframe.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import dask
import pytest

from tests.third_party.outcomes import Run

pytest.importorskip("dask.dataframe")

HERE = Path(__file__).parent
#: Where the installed Dask lies; the names of its tests are relative to it.
INSTALLED = Path(dask.__file__).parent.parent
TESTS = ("dask/dataframe/dask_expr/tests", "dask/dataframe/dask_expr/io/tests")

OPERANDS = "It looks at an operand by its number, and the pin comes before all others."
#: What may fail, with the reason.
EXCEPTIONS = {
    f"{TESTS[1]}/{test}": reason
    for test, reason in {
        "test_parquet.py::test_predicate_pushdown": OPERANDS,
        "test_parquet.py::test_predicate_pushdown_compound": OPERANDS,
    }.items()
}
WITHOUT_CLUSTERS = "not distributed and not cluster and not during_optimization"


def run(pools: str, tests: Collection[str], directory: Path) -> Run:
    """Run some of Dask's tests in a Python of their own."""
    directory.mkdir()
    arguments = directory / "arguments"
    arguments.write_text("\n".join(str(INSTALLED / test) for test in tests))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=no", "--timeout=300"),
            *("-c", str(HERE / "dask.ini"), f"--rootdir={INSTALLED}", "-p", "no:cacheprovider"),
            *("-p", "no:asyncio", "-p", "tests.third_party.framed_plugin", f"--pools={pools}"),
            *("-W", "ignore", "-k", WITHOUT_CLUSTERS, f"--record={directory}", f"@{arguments}"),
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    ended = done.returncode in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    assert ended, f"pytest did not come to its end:\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    return Run.read(directory)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("pools", ["pinned", "taken"])
def test_dasks_data_frame_tests_pass_with_pools(pools: str, tmp_path, capsys) -> None:
    found = run(pools, TESTS, tmp_path / pools)
    stock = run("off", found.missed(), tmp_path / "off")
    with capsys.disabled():
        sys.stdout.write(
            f"\n{pools}: {len(found.passed())} of {len(found.outcomes)} tests passed, "
            f"{len(stock.passed())} more without pools; {dict(found.counts)}\n"
        )
    broken = stock.passed() - EXCEPTIONS.keys()
    assert not broken, "\n".join(["These tests pass without pools only:", *sorted(broken)])
    needless = EXCEPTIONS.keys() & found.passed()
    assert not needless, f"These are no exceptions any more: {sorted(needless)}"
    # That pools were really in play.
    assert len(found.passed()) > 4000
    assert found.counts["sources"] > 4000
    assert bool(found.counts["taken"]) is (pools == "taken")
