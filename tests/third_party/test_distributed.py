"""distributed's own tests on schedulers that have our plugin, while nobody uses pools.

All of them that pass on stock schedulers have to pass on these, but for `EXCEPTIONS`. Each file
runs in a Python of its own: with the plugin first, what did not pass once more without, and
what passed then once more with it, since some of these tests depend on the time of day.

The packages that pip installs do not contain distributed's tests. They are taken from a checkout
of the installed release, whose path the environment variable `CHECKOUT` names:

    git clone --depth 1 --branch 2026.8.0 https://github.com/dask/distributed ../distributed
    DISTRIBUTED_CHECKOUT=../distributed pytest -m slow tests/third_party/test_distributed.py

They bind ports, the default ones of Dask among them, and not only on this machine's own
address. On Linux a network namespace keeps them apart from everything else:

    unshare --net --map-root-user sh -c 'ip link set lo up && exec "$@"' - env ... pytest ...
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import distributed
import pytest

from tests.third_party.outcomes import Run

CHECKOUT = "DISTRIBUTED_CHECKOUT"
REPOSITORY = Path(__file__).parents[2]

#: What is run: everything that a scheduler has a part in.
FILES = (
    "tests/test_active_memory_manager.py",
    "tests/test_actor.py",
    "tests/test_as_completed.py",
    "tests/test_cancelled_state.py",
    "tests/test_chaos.py",
    "tests/test_client.py",
    "tests/test_cluster_dump.py",
    "tests/test_computations.py",
    "tests/test_dask_collections.py",
    "tests/test_event_logging.py",
    "tests/test_events.py",
    "tests/test_failed_workers.py",
    "tests/test_locks.py",
    "tests/test_multi_locks.py",
    "tests/test_nanny.py",
    "tests/test_preload.py",
    "tests/test_priorities.py",
    "tests/test_publish.py",
    "tests/test_queues.py",
    "tests/test_reschedule.py",
    "tests/test_resources.py",
    "tests/test_scheduler.py",
    "tests/test_semaphore.py",
    "tests/test_spans.py",
    "tests/test_steal.py",
    "tests/test_stories.py",
    "tests/test_stress.py",
    "tests/test_tls_functional.py",
    "tests/test_utils_test.py",
    "tests/test_variable.py",
    "tests/test_worker.py",
    "tests/test_worker_client.py",
    "tests/test_worker_memory.py",
    "tests/test_worker_metrics.py",
    "shuffle/tests/test_graph.py",
    "shuffle/tests/test_merge.py",
    "shuffle/tests/test_merge_column_and_index.py",
    "shuffle/tests/test_metrics.py",
    "shuffle/tests/test_rechunk.py",
    "shuffle/tests/test_shuffle.py",
    "shuffle/tests/test_shuffle_plugins.py",
    "diagnostics/tests/test_progress.py",
    "diagnostics/tests/test_scheduler_plugin.py",
    "diagnostics/tests/test_task_stream.py",
    "diagnostics/tests/test_worker_plugin.py",
    "http/scheduler/tests/test_scheduler_http.py",
    "deploy/tests/test_adaptive.py",
    "deploy/tests/test_local.py",
    "deploy/tests/test_spec_cluster.py",
)

#: Tests that pass on a stock scheduler only, each with the reason.
EXCEPTIONS: dict[str, str] = {}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed distributed with its tests beside it, as if they had been installed."""
    checkout = os.environ.get(CHECKOUT)
    if checkout is None:
        pytest.skip(f"{CHECKOUT} does not say where distributed's tests are")
    tree = tmp_path_factory.mktemp("tree")
    package, source = tree / "distributed", Path(checkout) / "distributed"
    clutter = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(distributed.__file__).parent, package, ignore=clutter)
    found = [tests for tests in source.rglob("tests") if tests.is_dir()]
    assert found, f"{CHECKOUT}={checkout} has no tests; it has to be a checkout of distributed"
    for tests in found:
        shutil.copytree(
            tests, package / tests.relative_to(source), ignore=clutter, dirs_exist_ok=True
        )
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(Path(checkout) / name, tree)
    return tree


def run(tree: Path, pools: str, tests: Collection[str], directory: Path) -> Run:
    """Run some of distributed's tests in a Python of their own."""
    directory.mkdir()
    if not tests:
        return Run()
    arguments = directory / "arguments"
    arguments.write_text("\n".join(str(tree / "distributed" / test) for test in tests))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"),
            *("-c", str(tree / "pyproject.toml"), f"--rootdir={tree}", "-o", "addopts="),
            *("-p", "no:asyncio", "-p", "no:hypothesispytest"),
            *("--timeout=120", "-o", "timeout_method=signal"),
            *("-p", "tests.third_party.installed_plugin", f"--pools={pools}"),
            *(f"--record={directory}", f"@{arguments}"),
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(REPOSITORY)])},
        capture_output=True,
        text=True,
        check=False,
    )
    (directory / "output").write_text(done.stdout + done.stderr)
    ended = done.returncode in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    assert ended, f"pytest did not come to its end:\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    found = Run.read(directory)
    found.outcomes = {
        test.removeprefix("distributed/"): outcome for test, outcome in found.outcomes.items()
    }
    return found


def broken(tree: Path, missed: Collection[str], directory: Path) -> Iterator[set[str]]:
    """Yield which of the tests pass on a stock scheduler, and fail on ours once more."""
    stock = run(tree, "off", missed, directory / "off").passed()
    yield stock
    yield stock - run(tree, "on", sorted(stock), directory / "again").passed()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", FILES)
def test_distributeds_tests_pass_with_the_plugin(file: str, tree, tmp_path, capsys) -> None:
    found = run(tree, "on", [file], tmp_path / "on")
    stock, failed = broken(tree, found.missed(), tmp_path)
    exceptions = {test for test in EXCEPTIONS if test.startswith(f"{file}::")}
    with capsys.disabled():
        sys.stdout.write(
            f"\n{file}: {len(found.passed())} of {len(found.outcomes)} tests passed, of the others "
            f"{len(stock)} without the plugin, {len(stock - failed)} at the second try; "
            f"{found.counts['schedulers']} schedulers with the plugin\n"
        )
    worse = failed - exceptions
    assert not worse, "\n".join(["These tests pass without the plugin only:", *sorted(worse)])
    needless = exceptions & found.passed()
    assert not needless, f"These are no exceptions any more: {sorted(needless)}"
    assert found.counts["schedulers"], "no scheduler was started: nothing has been tested"
