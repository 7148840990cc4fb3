"""A topology as YAML, so that `read_topology` reads the same one again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dask_pools.model import Link, LinkClass, Pool, Topology, link_properties
from dask_pools.topology.quantities import BANDWIDTH, DURATION, SIZE

_QUANTITIES = {"bandwidth": BANDWIDTH, "latency": DURATION, "egress_limit": SIZE}
#: Properties of a link of which nothing is known; they are left out.
_UNKNOWN = link_properties(LinkClass("unknown"))
_WIDTH = 100


def write_topology(topology: Topology, path: str | os.PathLike[str]) -> None:
    """Write a topology into a file of YAML, which `read_topology` reads.

    Parameters
    ----------
    topology : Topology
        What to write. Of its default, the properties are written, not the name of its class.
    path : path
        The file; what is there is overwritten.

    Raises
    ------
    OSError
        If it cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from dask_pools.model import Link, Pool, Topology
    >>> topology = Topology(
    ...     (Pool("ecmwf"), Pool("eumetsat")),
    ...     (Link("ecmwf", "eumetsat", bandwidth=125e6, latency=0.02, price=0.02),),
    ... )
    >>> with TemporaryDirectory() as directory:
    ...     path = Path(directory) / "topology.yaml"
    ...     write_topology(topology, path)
    ...     print(path.read_text().strip())
    currency: USD
    pools:
      ecmwf: {}
      eumetsat: {}
    links:
    - {source: ecmwf, target: eumetsat, bandwidth: 125 MB/s, latency: 20 ms, price: 0.02}
    """
    # The text is complete before the file is opened: an error leaves what was there.
    text = yaml.safe_dump(
        topology_as_mapping(topology), sort_keys=False, default_flow_style=None, width=_WIDTH
    )
    Path(path).expanduser().write_text(text, encoding="utf-8")


def topology_as_mapping(topology: Topology) -> dict[str, Any]:
    """Describe a topology in plain numbers and texts, as `read_topology` takes it.

    Examples
    --------
    >>> from dask_pools.model import Pool, Topology
    >>> topology_as_mapping(Topology((Pool("ecmwf", egress="none"),)))
    {'currency': 'USD', 'pools': {'ecmwf': {'egress': 'none'}}}
    """
    found: dict[str, Any] = {
        "currency": topology.currency,
        "pools": {pool.name: _pool(pool) for pool in topology.pools},
    }
    if topology.default is not None:
        found["default"] = _properties(topology.default)
    if topology.links:
        found["links"] = [
            {"source": link.source, "target": link.target, **_properties(link)}
            for link in topology.links
        ]
    return found


def _pool(pool: Pool) -> dict[str, Any]:
    plain = Pool(pool.name)
    names = ("workers", "nthreads", "egress", "egress_limit")
    return _written({n: getattr(pool, n) for n in names if getattr(pool, n) != getattr(plain, n)})


def _properties(of: Link | LinkClass) -> dict[str, Any]:
    known = link_properties(of).items()
    return _written({name: value for name, value in known if value != _UNKNOWN[name]})


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _QUANTITIES[name].write(value) if name in _QUANTITIES else value
        for name, value in values.items()
    }
