"""Dask's own array tests, with `propagate_pools()` in force and inputs pinned.

All of them that pass without pools have to pass with them, but for `EXCEPTIONS`. They run in
a Python of their own: with pools first, and what did not pass once more without, so that
nothing runs twice without need. `pinned_plugin` says what is pinned and how.

    pytest -m slow tests/third_party

With pytest-xdist installed, the tests are distributed over the processors; set
PYTEST_XDIST_AUTO_NUM_WORKERS to use fewer.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import dask
import pytest

from tests.third_party.outcomes import Run

HERE = Path(__file__).parent
#: Where the installed Dask lies; the names of its tests are relative to it.
INSTALLED = Path(dask.__file__).parent.parent
ARRAY_TESTS = "dask/array/tests"

BY_HAND = (
    "It counts the layers that Dask's own blockwise fusion, called by hand, leaves of arrays. "
    "Dask does not fuse a pinned layer with one of another annotation, which is what keeps a "
    "read in its pool; the optimiser of dask_pools, which fuses them where that is right, has "
    "not been called."
)
ACROSS = (
    "It counts the tasks of a sum of two inputs that are pinned to different pools here: "
    "each stays in its pool, instead of being fused into one task."
)

SCATTERED = (
    "It counts the tasks of a computation on one array, whose blocks are in two pools here: "
    "blocks are not fused across pools, and what crosses does so by a transfer task."
)

TWICE = (
    "The tasks of a pinned array are in its graph a second time, as those of a data frame that was "
    "made of the array, and Dask's tests want them to be the same to the letter: there they carry "
    "the pin with them, here their layer has it. It is the same pin."
)

#: Tests that pass without pools and not with them, each with the reason.
EXCEPTIONS = {
    f"{ARRAY_TESTS}/{test}": reason
    for test, reason in {
        "test_array_core.py::test_blockwise_fusion": SCATTERED,
        "test_array_core.py::test_map_blocks_optimize_blockwise[<lambda>0]": BY_HAND,
        "test_array_core.py::test_map_blocks_optimize_blockwise[<lambda>1]": BY_HAND,
        "test_atop.py::test_blockwise_diamond_fusion": BY_HAND,
        "test_atop.py::test_blockwise_non_blockwise_output": BY_HAND,
        "test_atop.py::test_dont_merge_before_reductions": BY_HAND,
        "test_atop.py::test_optimize_blockwise": BY_HAND,
        "test_atop.py::test_optimize_blockwise_control_annotations": BY_HAND,
        "test_atop.py::test_optimize_blockwise_custom_annotations": BY_HAND,
        "test_creation.py::test_creation_data_producers": SCATTERED,
        "test_optimization.py::test_array_creation_blockwise_fusion": BY_HAND,
        "test_optimization.py::test_fuse_roots_annotations": BY_HAND,
        "test_optimization.py::test_fuse_getter_with_asarray[10]": ACROSS,
        "test_optimization.py::test_fuse_roots": ACROSS,
        **{
            f"test_rechunk.py::test_rechunk_with_partially_unknown_dimension{case}": TWICE
            for case in (
                *("[x9-chunks9]", "[x10-chunks10]", "[x11-chunks11]"),
                *("_explicit[new_chunks0]", "_explicit[new_chunks1]", "_explicit[new_chunks2]"),
            )
        },
    }.items()
}


def run(pools: str, tests: Collection[str], directory: Path) -> Run:
    """Run some of Dask's tests in a Python of their own."""
    directory.mkdir()
    arguments = directory / "arguments"
    arguments.write_text("\n".join(str(INSTALLED / test) for test in tests))
    distributed = ["-n", "auto"] if importlib.util.find_spec("xdist") else []
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *distributed, "-q", "--tb=short", "--timeout=600"),
            *("-c", str(HERE / "dask.ini"), f"--rootdir={INSTALLED}", "-p", "no:cacheprovider"),
            *("-p", "no:asyncio", "-p", "tests.third_party.pinned_plugin", f"--pools={pools}"),
            *(f"--record={directory}", f"@{arguments}"),
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
@pytest.mark.parametrize("pools", ["pinned", "placed", "scattered"])
def test_dasks_array_tests_pass_with_pools(pools: str, tmp_path, capsys) -> None:
    found = run(pools, [ARRAY_TESTS], tmp_path / pools)
    stock = run("off", found.missed(), tmp_path / "off")
    exceptions = {
        test
        for test, reason in EXCEPTIONS.items()
        if reason is not SCATTERED or pools == "scattered"
    }
    broken = stock.passed() - exceptions
    counts = found.counts
    with capsys.disabled():
        sys.stdout.write(
            f"\n{pools}: {len(found.passed())} of {len(found.outcomes)} tests passed, "
            f"{len(stock.passed())} more without pools; {dict(counts)}\n"
        )
    assert not broken, "\n".join(["These tests pass without pools only:", *sorted(broken)])
    needless = exceptions & found.passed()
    assert not needless, f"These are no exceptions any more: {sorted(needless)}"
    # That pools were really in play, and cost no more tasks than they may.
    assert len(found.passed()) > 4000
    assert counts["two_pools"] > 1000
    assert bool(counts["transfers"]) is (pools != "pinned")
    assert counts["tasks"] <= 1.2 * counts["stock"]
