"""The command line: what it runs, and what it says about bad input."""

from __future__ import annotations

import shutil
import signal
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result

from dask_pools import __version__, cli
from dask_pools.demo import data

pytest.importorskip("netCDF4")
pytest.importorskip("matplotlib")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.pools, arguments)


def test_command_is_one_that_dask_can_take_up() -> None:
    loaded = EntryPoint("pools", "dask_pools.cli:pools", "dask_cli").load()
    assert isinstance(loaded, click.Group)
    assert loaded.name == "pools"
    assert cli.main is loaded


def test_help_tells_of_the_demo() -> None:
    assert "demo" in run("--help").output
    assert "--scale" in run("demo", "-h").output


def test_version() -> None:
    assert run("--version").output == f"dask-pools, version {__version__}\n"


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("elsewhere")
def test_demo_measures_three_ways_and_saves_the_map() -> None:
    result = run("demo", "--scale", "0.01", "--workers", "1", "--keep", "data")
    assert result.exit_code == 0, result.output
    rows = [line for line in result.output.splitlines() if " of 19" in line]
    assert [row.split("  ")[0] for row in rows] == [
        "everything gathered at the client",
        "stock Dask, reads pinned by hand",
        "dask_pools",
        "stock Dask as it comes",
    ]
    for row in rows[:3]:
        assert " yes " in row
        assert row.endswith(" 0 of 19")
    assert Path("dask-pools-demo.png").read_bytes().startswith(b"\x89PNG")
    assert data.forecast_path(Path("data")).is_dir()
    assert data.observations_path(Path("data")).is_file()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ("0", "0 is not a size for the data: give a number above 0"),
        ("-1", "-1 is not a size"),
        ("nan", "nan is not a size"),
        ("inf", "inf is not a size"),
        ("big", "'big' is not a valid float"),
    ],
)
def test_bad_scale_is_refused(elsewhere: Path, scale: str, message: str) -> None:
    result = run("demo", "--scale", scale)
    assert result.exit_code == 2
    assert message in result.output
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", "0"), "0 is not in the range 1<=x<=64"),
        (("--seed", "-1"), "-1 is not in the range x>=0"),
        (("--output", "nowhere/map.png"), "there is no directory 'nowhere'"),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_bad_option_is_refused(arguments: tuple[str, str], message: str) -> None:
    result = run("demo", *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_directory_with_something_in_it_is_left_alone(elsewhere: Path) -> None:
    (elsewhere / "mine").write_text("precious")
    result = run("demo", "--keep", str(elsewhere))
    assert result.exit_code == 2
    assert "is not empty" in result.output
    assert [path.name for path in elsewhere.iterdir()] == ["mine"]


@pytest.mark.usefixtures("elsewhere")
def test_missing_packages_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_DEMO_PACKAGES", ("numpy", "not_there", "nor_there"))
    result = run("demo")
    assert result.exit_code == 1
    assert "needs not_there and nor_there, which are not installed" in result.output
    assert "pip install 'dask_pools[demo]'" in result.output


@pytest.mark.usefixtures("elsewhere")
def test_full_disk_is_an_error_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    result = run("demo", "--scale", "0.01")
    assert result.exit_code == 1
    assert "needs 3.02 MB, and only 2 MB are free" in result.output
    assert "--scale" in result.output


def test_interrupt_removes_the_data(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert any(elsewhere.glob("dask-pools-demo-*/ecmwf/predictions.zarr"))
        raise KeyboardInterrupt

    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.setattr(data, "write_observations", interrupt)
    result = run("demo", "--scale", "0.01")
    assert result.exit_code == 1
    assert "Aborted!" in result.output
    assert list(elsewhere.iterdir()) == []
