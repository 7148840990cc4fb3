"""The demo's computation in each of its ways, on two data centres and the client's site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from dask_pools.demo import data, ways
from dask_pools.demo.reads import Read
from dask_pools.demo.run import Outcome, run_ways, start_cluster
from dask_pools.model import Link

pytest.importorskip("netCDF4")

# Starting processes takes long where other work is done at the same time.
pytestmark = pytest.mark.timeout(400)

SCALE = 0.01
TO_CLIENT = {Link("ecmwf", "client"), Link("eumetsat", "client")}
BETWEEN_SITES = {Link("ecmwf", "eumetsat"), Link("eumetsat", "ecmwf")}
#: One height is needed, which is in one block of each realization; and the observations.
READS = data.REALIZATIONS + 1
FIELD = 4 * data.grid(SCALE).latitudes * data.grid(SCALE).longitudes


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    data.write_forecast(data.forecast_path(path), SCALE)
    data.write_observations(data.observations_path(path), SCALE)
    return path


@pytest.fixture(scope="module")
def client(directory: Path) -> Iterator[Client]:
    with start_cluster(directory, workers=1) as cluster, cluster.get_client() as client:
        yield client


@pytest.fixture(scope="module")
def outcomes(client: Client, directory: Path) -> dict[str, Outcome]:
    return {outcome.way: outcome for outcome in run_ways(client, directory)}


@pytest.mark.parametrize("way", [ways.GATHERED, ways.PINNED, ways.POOLS], ids=lambda way: way.name)
def test_result_is_that_of_numpy_and_data_is_read_at_home(
    outcomes: dict[str, Outcome], directory: Path, way: ways.Way
) -> None:
    outcome = outcomes[way.name]
    assert outcome.failure == ""
    assert outcome.is_correct(data.expected_difference(directory))
    assert (outcome.reads, outcome.astray) == (READS, 0)


def test_gathering_moves_every_block_to_the_client(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[ways.GATHERED.name]
    assert set(outcome.links) == TO_CLIENT
    assert outcome.nbytes == pytest.approx((11 * data.REALIZATIONS + 1) * FIELD, rel=0.01)


def test_pools_move_one_field_between_the_sites(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[ways.POOLS.name]
    assert set(outcome.links) < BETWEEN_SITES
    assert outcome.nbytes == pytest.approx(FIELD, rel=0.01)


def test_stock_dask_as_it_comes_goes_wrong_only_by_reading_elsewhere(
    outcomes: dict[str, Outcome], directory: Path
) -> None:
    """Where it runs its reads is chance, so that it may be right as well."""
    outcome = outcomes[ways.DEFAULT.name]
    assert outcome.is_correct(data.expected_difference(directory)) or outcome.astray > 0


def test_ways_are_announced_before_they_run(client: Client, directory: Path) -> None:
    said: list[str] = []
    for outcome in run_ways(client, directory, [ways.POOLS], said.append):
        assert said == [outcome.way]


def test_way_that_fails_is_an_outcome(client: Client, directory: Path) -> None:
    def fail(_: object) -> object:
        raise RuntimeError("no luck")

    way = ways.Way("failing", ways.POOLS.prepare, fail)  # type: ignore[arg-type]
    [outcome] = run_ways(client, directory, [way])
    assert outcome.failure == "RuntimeError: no luck"
    assert not outcome.is_correct(data.expected_difference(directory))


def test_read_is_astray_where_the_data_is_not() -> None:
    assert Read("ecmwf", ("eumetsat",)).astray
    assert Read("ecmwf", ()).astray
    assert not Read("ecmwf", ("ecmwf", "gpu")).astray
