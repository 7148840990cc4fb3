"""`dask-pools measure-links`: what it writes and says."""

from __future__ import annotations

from pathlib import Path

import dask
import pytest
from click.testing import CliRunner, Result

from dask_pools.cli import pools
from dask_pools.deploy.local import LocalPoolCluster
from dask_pools.topology.read import read_topology


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(pools, ["measure-links", *map(str, arguments)])


def test_command_writes_the_topology_and_says_what_it_moved(
    cluster: LocalPoolCluster, tmp_path: Path
) -> None:
    path = tmp_path / "links.yaml"
    path.write_text("pools: [ecmwf, eumetsat]\nlinks: [{between: [ecmwf, eumetsat], price: 3}]")
    options = ("--output", path, "--nbytes", "60 kB", "--rounds", "2")
    result = run(cluster.scheduler_address, *options)
    assert result.exit_code == 0, result.output
    there, back, last = result.output.splitlines()
    assert there.startswith("ecmwf -> eumetsat: ")
    assert there.endswith(" s, measured with 60 kB")
    assert back.startswith("eumetsat -> ecmwf: ")
    assert last == f"Moved 120 kB in all. The topology is in {path}"
    topology = read_topology(path)
    assert topology is not None
    assert [(link.price, link.bandwidth is None) for link in topology.links] == [(3, False)] * 2


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--pool", "ecmwf", "--pool", "eumetsta"), 1, "Did you mean 'eumetsat'?"),
        (("--pool", "ecmwf"), 1, "Name two of them."),
        (("--nbytes", "much"), 1, "'much' is not a number of bytes"),
        (("--nbytes", "2 B"), 1, "nbytes='2 B' is too little for 3 transfers"),
        (("--timeout", "soon"), 1, "'soon' is not a time"),
        (("--rounds", "0"), 2, "0 is not in the range x>=1"),
        (("--output", "nowhere/topology.yaml"), 2, "there is no directory 'nowhere'"),
    ],
)
def test_bad_option_is_refused(
    cluster: LocalPoolCluster,
    options: tuple[str, ...],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(cluster.scheduler_address, *options)
    assert result.exit_code == code
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_file_with_a_mistake_is_left_alone(cluster: LocalPoolCluster, tmp_path: Path) -> None:
    path = tmp_path / "links.yaml"
    path.write_text("links: precious")
    result = run(cluster.scheduler_address, "--output", path)
    assert result.exit_code == 1
    assert "links.yaml: links: this is a list of links, not 'precious'" in result.output
    assert path.read_text() == "links: precious"


@pytest.mark.parametrize("address", ["nonsense://127.0.0.1:1", "tcp://127.0.0.1:1"])
def test_scheduler_that_is_not_there(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with dask.config.set({"distributed.comm.timeouts.connect": "200 ms"}):
        result = run(address)
    assert result.exit_code == 1
    assert f"there is no connection to a scheduler at '{address}'" in result.output


def test_help_says_what_is_moved() -> None:
    assert "32 MB" in run("--help").output
