"""The page "My data is in …" is run: each section on data that only its own pool sees.

Its blocks are no scripts, but what one would type in a session, so they are run here, in order,
with ``/data`` in another place.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from dask.base import is_dask_collection
from distributed import Client

from dask_pools import LocalPoolCluster, propagate_pools

pytest.importorskip("netCDF4")

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "my-data-is-in.md"
BLOCK = re.compile(r"^```\{code-block\} python\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: What blocks name that cannot be had here: these are only compiled.
ELSEWHERE = re.compile(r"s3://|mirror")


def _sections() -> dict[str, list[str]]:
    """Map the headings of the page to their blocks; the text before the first one has none."""
    first, *others = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {"": BLOCK.findall(first)}
    for section in others:
        heading, _, text = section.partition("\n")
        found[heading.removeprefix("… ")] = BLOCK.findall(text)
    return {heading: blocks for heading, blocks in found.items() if blocks}


SECTIONS = _sections()


def field(number: int) -> xr.Dataset:
    values = np.full((2, 3, 4), float(number))
    return xr.Dataset(
        {"t2m": (("time", "realization", "x"), values)}, {"time": 2 * number + np.arange(2)}
    )


def zarr(directory: Path) -> None:
    field(1).to_zarr(directory / "predictions.zarr", zarr_format=2)


def netcdf(directory: Path) -> None:
    for number in range(2):
        field(number).to_netcdf(directory / f"hindcast-{number}.nc")
    other = directory.parent / "eumetsat"
    field(2).to_netcdf(other / "hindcast-2.nc")
    field(1).to_netcdf(other / "observations.nc")


def parquet(directory: Path) -> None:
    pytest.importorskip("pyarrow")
    pd = pytest.importorskip("pandas")
    pd.DataFrame({"t2m": [1.0, 2.0, 3.0]}).to_parquet(directory / "stations.parquet")


def icechunk(directory: Path) -> None:
    module = pytest.importorskip("icechunk")
    storage = module.local_filesystem_storage(str(directory / "reanalysis.icechunk"))
    session = module.Repository.create(storage).writable_session("main")
    field(1).to_zarr(session.store, consolidated=False)
    session.commit("the first")


def kerchunk(directory: Path) -> None:
    """Refer to every chunk of a store, as kerchunk does for files of other formats."""
    store = directory / "referred.zarr"
    field(1).to_zarr(store, zarr_format=2, consolidated=False)
    files = [path for path in store.rglob("*") if path.is_file()]
    references = {
        path.relative_to(store).as_posix(): path.read_text()
        if path.name.startswith(".z")
        else [path.as_uri(), 0, path.stat().st_size]
        for path in files
    }
    text = json.dumps({"version": 1, "refs": references})
    (directory / "references.json").write_text(text)


@functools.cache
def made_once(maker: Callable[[Path], None], directory: Path) -> None:
    maker(directory)


#: By what a block names, what makes it.
MAKERS: dict[str, Callable[[Path], None]] = {
    "predictions.zarr": zarr,
    "hindcast-": netcdf,
    "observations.nc": netcdf,
    "stations.parquet": parquet,
    "reanalysis.icechunk": icechunk,
    "references.json": kerchunk,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    for pool in "ecmwf", "eumetsat":
        (directory / pool).mkdir()
    return directory


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[Client]:
    homes = {pool: data / pool for pool in ("ecmwf", "eumetsat")}
    with (
        LocalPoolCluster(dict.fromkeys(homes, 1), data=homes, dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _configuration() -> Iterator[None]:
    """What a session sets is as it was for the next test."""
    with dask.config.set({}):
        before = dict(dask.config.config)
        yield
        dask.config.config.clear()
        dask.config.config.update(before)


@pytest.mark.parametrize("heading", SECTIONS)
def test_section_of_the_page_runs(
    client: Client, data: Path, heading: str, request: pytest.FixtureRequest
) -> None:
    blocks = [*(SECTIONS[""] if heading else []), *SECTIONS[heading]]
    session: dict[str, Any] = {"__name__": "session"}
    for block in blocks:
        source = compile(block.replace("/data/", f"{data}/"), f"{PAGE.name}, {heading}", "exec")
        if ELSEWHERE.search(block):
            continue
        for name, maker in MAKERS.items():
            if name in block:
                made_once(maker, data / "ecmwf")
        exec(source, session)  # noqa: S102 - the page's own code
    # Somewhere else there are no chunks, for which zarr gives missing values and no error.
    with propagate_pools():
        for value in session.values():
            if isinstance(value, xr.Dataset):
                assert all(value.notnull().all().compute().values())
            elif is_dask_collection(value):
                assert len(value.compute()) > 0
