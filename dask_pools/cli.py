"""The command line: ``dask-pools``, which is ``dask pools`` as well."""

from __future__ import annotations

import importlib.util
import math
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dask_pools import __version__
from dask_pools.errors import PoolError
from dask_pools.units import format_bytes

if TYPE_CHECKING:
    from distributed import Client

#: What `demo` needs beyond the package itself: the extra "demo".
_DEMO_PACKAGES = ("matplotlib", "netCDF4")
#: Room that is left on the disk beside the data, for workers and pictures; bytes.
_SPARE = 100_000_000


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88})
@click.version_option(__version__, prog_name="dask-pools")
def pools() -> None:
    """One lazy computation over data in several places."""


#: The name of the installed program.
main = pools


def _check_scale(_: click.Context, __: click.Parameter, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise click.BadParameter(
            f"{value:g} is not a size for the data: give a number above 0, such as 1 for a "
            "forecast of 300 MB, or 0.1 for one of 30 MB."
        )
    return value


def _check_output(_: click.Context, __: click.Parameter, value: Path) -> Path:
    if not value.parent.is_dir():
        raise click.BadParameter(
            f"there is no directory '{value.parent}' to save '{value.name}' in. Make it first, "
            "or choose another."
        )
    return value


@pools.command()
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    callback=_check_scale,
    help="Size of the forecast; 1 is about 300 MB.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The same seed gives the same weather.",
)
@click.option(
    "--keep",
    "--directory",
    "keep",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the data here and keep it. Default: a temporary directory, removed at the end.",
)
@click.option(
    "--output",
    metavar="PNG",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("dask-pools-demo.png"),
    show_default=True,
    callback=_check_output,
    help="Where to save the map.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Workers of each data centre.",
)
def demo(scale: float, seed: int, keep: Path | None, output: Path, workers: int) -> None:
    """Compare a forecast with observations that lie in another data centre.

    Two data centres and the client's site are made of processes on this machine; each sees
    its own data only. One computation is run in several ways: everything gathered at the
    client, stock Dask, and dask_pools. The table says what each of them moved.
    """
    _require_packages()
    with _data_directory(keep) as directory:
        _run_demo(directory, scale, seed, output, workers)


@pools.command("measure-links")
@click.argument("scheduler")
@click.option(
    "--output",
    metavar="YAML",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("topology.yaml"),
    show_default=True,
    callback=_check_output,
    help="The topology. If it exists, its prices and rules are kept, and its speeds replaced.",
)
@click.option(
    "--pool",
    "names",
    metavar="NAME",
    multiple=True,
    help="A pool to measure; give it twice or more often. Default: all that have workers.",
)
@click.option(
    "--nbytes",
    default="32 MB",
    show_default=True,
    help="Bytes that cross each link, at most.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Transfers over which they are shared out; the median counts.",
)
@click.option(
    "--timeout",
    default="5 min",
    show_default=True,
    help="How long one link may take.",
)
def measure(
    scheduler: str, output: Path, names: tuple[str, ...], nbytes: str, rounds: int, timeout: str
) -> None:
    """Measure the links between the pools of the cluster at SCHEDULER.

    SCHEDULER is the address of a scheduler, such as tcp://10.0.0.1:8786. Values that do not
    compress are sent from a worker of each pool to a worker of each other pool, one link
    after the other. Links that the topology forbids are left out. How fast they were goes into
    the topology, a file of YAML that the planner reads.
    """
    from dask_pools.topology.measure import measure_links
    from dask_pools.topology.probe import Measurement

    moved = []

    def tell(measured: Measurement) -> None:
        moved.append(measured.nbytes)
        link = measured.link
        click.echo(
            f"{link}: {format_bytes(link.bandwidth or 0)}/s, round trip {link.latency:g} s, "
            f"measured with {format_bytes(measured.nbytes)}"
        )

    try:
        with _client(scheduler) as client:
            measure_links(
                client,
                pools=names or None,
                nbytes=nbytes,
                rounds=rounds,
                timeout=timeout,
                path=output,
                on_link=tell,
            )
    except (PoolError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Moved {format_bytes(sum(moved))} in all. The topology is in {output}")


def _client(scheduler: str) -> Client:
    from distributed import Client

    try:
        return Client(scheduler, set_as_default=False)
    except (OSError, ValueError) as error:
        raise click.ClickException(
            f"there is no connection to a scheduler at {scheduler!r}: {error}. Give its address, "
            "such as tcp://10.0.0.1:8786."
        ) from error


def _run_demo(directory: Path, scale: float, seed: int, output: Path, workers: int) -> None:
    from dask_pools.demo import data, picture, run, table

    shape = data.grid(scale)
    _require_room(directory, shape.nbytes)
    size = format_bytes(shape.nbytes)
    with click.progressbar(
        length=shape.blocks, label=f"Writing a forecast of {size} at {data.FORECAST_POOL}"
    ) as bar:
        data.write_forecast(data.forecast_path(directory), scale, seed, lambda: bar.update(1))
    click.echo(f"Writing observations at {data.OBSERVATIONS_POOL}")
    data.write_observations(data.observations_path(directory), scale, seed)
    expected = data.expected_difference(directory)

    click.echo(f"Starting {2 * workers + 1} workers")
    with ExitStack() as stack:
        with _interrupts_ignored():
            cluster = stack.enter_context(run.start_cluster(directory, workers))
        client = stack.enter_context(cluster.get_client())
        outcomes = list(
            run.run_ways(client, directory, on_start=lambda way: click.echo(f"Running: {way}"))
        )
    click.echo(f"\n{table.to_text(outcomes, expected)}\n")
    click.echo(table.explanation(outcomes))

    best = table.of_pools(outcomes)
    if best.field is None:
        raise click.ClickException(f"dask_pools failed: {best.failure}")
    note = (
        f"{data.REALIZATIONS} realizations ({size}) at {data.FORECAST_POOL}, observations at "
        f"{data.OBSERVATIONS_POOL}; {format_bytes(best.nbytes)} crossed between them"
    )
    picture.draw_map(output, best.field, *shape.coordinates(), note)
    click.echo(f"\nThe map is in {output}")
    if not best.is_correct(expected):
        raise click.ClickException("the result of dask_pools differs from that of numpy")


def _require_packages() -> None:
    missing = [name for name in _DEMO_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"the demo needs {' and '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} "
            "not installed. Run: pip install 'dask_pools[demo]'"
        )


def _require_room(directory: Path, nbytes: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < nbytes + _SPARE:
        raise click.ClickException(
            f"the forecast needs {format_bytes(nbytes)}, and only {format_bytes(free)} are free "
            f"in {directory}. Choose a smaller --scale, or another place with --keep DIR."
        )


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C; processes that are started in the meantime ignore it for good.

    It goes to all processes of the terminal at once. The workers would answer with
    tracebacks, and a cluster that is half started does not close; so afterwards only this
    process takes it, and closes the cluster.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _data_directory(keep: Path | None) -> Iterator[Path]:
    """Make the directory of the data, and remove it afterwards if it is not to be kept."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="dask-pools-demo-") as directory:
            yield Path(directory)
        return
    if keep.exists() and any(keep.iterdir()):
        raise click.BadParameter(
            f"the directory '{keep}' is not empty. Choose one that is empty or does not exist: "
            "the demo overwrites nothing.",
            param_hint="--keep",
        )
    keep.mkdir(parents=True, exist_ok=True)
    # Workers run in directories of their own, so that a relative path would lead them astray.
    yield keep.resolve()
    click.echo(f"The data is in {keep}")
