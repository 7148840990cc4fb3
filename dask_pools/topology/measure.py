"""How fast the links between the pools of a cluster are.

Links are measured one at a time, so that they do not disturb each other; `probe` says how.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dask_pools.errors import MeasurementError, UnknownPoolError, near_miss, one_of
from dask_pools.model import Link, Pool, Topology, pools_of_resources
from dask_pools.topology.probe import Effort, Measurement, measure_link
from dask_pools.topology.read import read_topology
from dask_pools.topology.write import write_topology
from dask_pools.units import counted, format_bytes

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

#: Fewer than two pools have no link between them.
_LEAST_POOLS = 2


def measure_links(
    client: Client,
    *,
    pools: Iterable[str] | None = None,
    nbytes: str | float = "32 MB",
    rounds: int = 3,
    timeout: str | float = "5 min",
    topology: str | os.PathLike[str] | Mapping[str, Any] | Topology | None = None,
    path: str | os.PathLike[str] | None = None,
    on_link: Callable[[Measurement], object] | None = None,
) -> Topology:
    """Measure bandwidth and round trip of the links between pools, with real transfers.

    Parameters
    ----------
    client : Client
        A client of the cluster. The scheduler needs no plugin.
    pools : iterable of str, optional
        Between which pools. Default: all that have workers.
    nbytes : str or float, default "32 MB"
        So many bytes cross each link at most: between n pools, n * (n - 1) times as many.
    rounds : int, default 3
        Over how many transfers they are shared out; the median counts.
    timeout : str or float, default "5 min"
        How long one link may take; without a unit, seconds.
    topology : path, mapping or Topology, optional
        What is known already: prices, rules of egress, forbidden links, which are *not*
        measured. As for `read_topology`. Default: the file at `path` if there is one, else
        what Dask's configuration has.
    path : path, optional
        Where to write the result as YAML. A file that is there is replaced; what it says
        beside the speeds is kept, unless `topology` is given, but its comments are not.
    on_link : callable, optional
        Called with a `Measurement` after each link.

    Returns
    -------
    Topology
        What was known, with the speeds that were measured. With an asynchronous client: an
        awaitable of it.

    Raises
    ------
    UnknownPoolError
        If no worker is in one of the `pools`.
    MeasurementError
        If fewer than two pools have workers, or workers do not reach each other.
    TopologyError, ValueError
        If an argument is not as described.
    FileNotFoundError
        If there is no directory for `path`. Nothing has been measured then.

    Notes
    -----
    A bandwidth is that of one value between one worker of each pool, the first by address;
    many workers together may get more out of the link. A worker of several pools counts as
    one of its first. Bytes are bytes in memory; questions of a few bytes come on top.

    Examples
    --------
    >>> from dask_pools import LocalPoolCluster
    >>> with LocalPoolCluster({"ecmwf": 1, "eumetsat": 1}) as cluster:
    ...     with cluster.get_client() as client:
    ...         topology = measure_links(client, nbytes="1 MB")
    >>> topology.link("ecmwf", "eumetsat").bandwidth > 0
    True
    """
    effort = Effort.of(nbytes, rounds, timeout)
    output = None if path is None else Path(path).expanduser()
    if output is not None:
        _check_directory(output)
        if topology is None and output.exists():
            topology = output
    known = read_topology(topology) or Topology(())
    wanted = (pools,) if isinstance(pools, str) else None if pools is None else tuple(pools)
    answer = client.sync(_measure_links, client, known, wanted, effort, output, on_link)
    return cast(Topology, answer)


def _check_directory(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"there is no directory '{path.parent}' to write '{path.name}' in. Make it first, "
            "or choose another. Nothing has been measured."
        )


async def _measure_links(
    client: Client,
    known: Topology,
    wanted: tuple[str, ...] | None,
    effort: Effort,
    output: Path | None,
    on_link: Callable[[Measurement], object] | None,
) -> Topology:
    assert client.scheduler is not None  # noqa: S101 - a client that is connected has one
    workers = (await client.scheduler.identity(n_workers=-1))["workers"]
    members = members_of(workers)
    found: list[Measurement] = []
    for source, target in permutations(choose_pools(members, wanted), 2):
        link = known.link(source, target)
        if not link.allowed:
            logger.info("%s is forbidden, and not measured", link)
            continue
        measured = await measure_link(client, link, members[source][0], members[target][0], effort)
        found.append(measured)
        if on_link is not None:
            on_link(measured)
    total = sum(measured.nbytes for measured in found)
    logger.info("Moved %s to measure %s", format_bytes(total), counted(len(found), "link"))
    topology = with_speeds(known, present_pools(workers), [m.link for m in found])
    if output is not None:
        write_topology(topology, output)
    return topology


def members_of(workers: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Sort workers into pools, each into one.

    Parameters
    ----------
    workers : mapping
        By address, what the scheduler says of a worker: a mapping with its ``resources``.

    Returns
    -------
    dict of str to list of str
        Addresses by pool, both sorted.

    Examples
    --------
    >>> members_of({"tcp://b": {"resources": {"pool-a": 1}}, "tcp://c": {"resources": {}}})
    {'a': ['tcp://b']}
    """
    found: dict[str, list[str]] = {}
    for address in sorted(workers):
        for name in pools_of_resources(workers[address]["resources"])[:1]:
            found.setdefault(name, []).append(address)
    return dict(sorted(found.items()))


def present_pools(workers: Mapping[str, Mapping[str, Any]]) -> list[Pool]:
    """Count the workers of pools, those of several in each of them.

    Examples
    --------
    >>> present_pools({"tcp://b": {"resources": {"pool-a": 1, "pool-b": 1}, "nthreads": 2}})
    [Pool(name='a', workers=1, nthreads=2), Pool(name='b', workers=1, nthreads=2)]
    """
    threads: dict[str, list[int]] = {}
    for info in workers.values():
        for name in pools_of_resources(info["resources"]):
            threads.setdefault(name, []).append(info["nthreads"])
    return [Pool(name, len(n), sum(n)) for name, n in sorted(threads.items())]


def choose_pools(
    members: Mapping[str, list[str]], wanted: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Choose the pools between which links are measured; see `measure_links`.

    Examples
    --------
    >>> choose_pools({"a": ["tcp://1"], "b": ["tcp://2"]}, None)
    ('a', 'b')
    """
    start = "Start workers with resources such as 'pool-ecmwf=1'."
    if not members:
        raise MeasurementError(f"No worker of this cluster is in a pool. {start}")
    for name in wanted or ():
        if name not in members:
            raise UnknownPoolError(
                f"No worker is in pool {name!r}. Pools with workers: {one_of(members)}."
                f"{near_miss(str(name), members)}"
            )
    chosen = tuple(sorted(set(members if wanted is None else wanted)))
    if len(chosen) < _LEAST_POOLS:
        raise MeasurementError(
            f"A link is between two pools, and here {counted(len(chosen), 'pool')} is asked for: "
            f"{one_of(chosen)}. Pools with workers: {one_of(members)}. "
            + ("Name two of them." if len(members) >= _LEAST_POOLS else start)
        )
    return chosen


def with_speeds(known: Topology, present: Iterable[Pool], links: Iterable[Link]) -> Topology:
    """Put measured links, and the pools that are present, into what is known.

    Examples
    --------
    >>> known = Topology((Pool("a", egress="none"), Pool("b")), (Link("a", "b", price=0.02),))
    >>> fast = with_speeds(known, [Pool("a", 1, 2)], [Link("b", "a", bandwidth=1e6)])
    >>> fast.pools
    (Pool(name='a', workers=1, nthreads=2, egress='none'), Pool(name='b'))
    >>> fast.links
    (Link(source='a', target='b', price=0.02), Link(source='b', target='a', bandwidth=1000000.0))
    """
    pools = {p.name: p for p in known.pools}
    for p in present:
        pools[p.name] = replace(known.pool(p.name), workers=p.workers, nthreads=p.nthreads)
    # A link is the key of its newest description.
    newest = {(link.source, link.target): link for link in (*known.links, *links)}
    return replace(known, pools=tuple(pools.values()), links=tuple(newest.values()))
