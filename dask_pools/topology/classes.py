"""Named classes of links: what they cost and carry where nobody has measured.

The numbers are public ones of 2022 to 2024, meant as a start: say your own prices where you have
a contract, and measure with `dask_pools.measure_links`. Where a provider has several prices for a
kind of link, it is the highest; prices of no provider lie in the middle of theirs. A bandwidth is
the median between two virtual machines over many connections; on AWS a machine with less than 32
processors gets at most 5 Gbit/s out of its region, and so does one TCP connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dask_pools.errors import TopologyError, near_miss, one_of
from dask_pools.model import LinkClass

#: Bytes per second in one Gbit/s.
_GBIT = 125e6

# Where the numbers come from.
_SKYPLANE = "Skyplane's public tables of throughput and prices (2022-24)"
_AWS = "AWS's documents"
_TRIPS = "round trips of 20 ms inside of Europe, 85 ms between US east and Europe"
_SPEEDS = f"{_SKYPLANE}; {_TRIPS}"
_AS_AWS = f"price: {_SKYPLANE}; speed assumed to be that of AWS"
_ZONE = f"speed of one TCP connection: {_AWS}; round trip and price assumed, for one zone"
_NFS = "bandwidth of the NFS link of the proof of concept of 2022; round trip inside of Europe"

# Name, Gbit/s, seconds of a round trip, USD per GB, reference.
_ROWS = (
    ("same-region", 5, 0.001, 0, _ZONE),
    ("same-cloud-same-continent", 4.8, 0.02, 0.02, _SPEEDS),
    ("same-cloud-between-continents", 3.6, 0.085, 0.05, _SPEEDS),
    ("between-clouds-same-continent", 5.5, 0.02, 0.09, _SPEEDS),
    ("between-clouds-between-continents", 3.4, 0.085, 0.09, _SPEEDS),
    ("research-network", 0.029, 0.02, 0, _NFS),
    ("aws-same-continent", 4.8, 0.02, 0.02, _SPEEDS),
    ("aws-between-continents", 3.6, 0.085, 0.02, _SPEEDS),
    ("aws-from-sydney", 3.6, None, 0.098, _SKYPLANE),
    ("aws-from-sao-paulo", 3.6, None, 0.138, _SKYPLANE),
    ("aws-to-another-cloud", 5.5, 0.02, 0.09, _SPEEDS),
    ("gcp-same-continent", 4.8, 0.02, 0.02, _AS_AWS),
    ("gcp-between-continents", 3.6, 0.085, 0.08, _AS_AWS),
    ("gcp-to-another-cloud", 5.5, 0.02, 0.12, _SPEEDS),
    ("azure-same-continent", 4.8, 0.02, 0.02, _AS_AWS),
    ("azure-between-continents", 3.6, 0.085, 0.05, _AS_AWS),
    ("azure-to-another-cloud", 5.5, 0.02, 0.0875, _SPEEDS),
)

#: All named classes, by name.
LINK_CLASSES: Mapping[str, LinkClass] = MappingProxyType(
    {
        name: LinkClass(name, gbit * _GBIT, seconds, price, reference=reference)
        for name, gbit, seconds, price, reference in _ROWS
    }
)


def link_class(name: str) -> LinkClass:
    """Return a class of links by its name.

    Parameters
    ----------
    name : str
        ``"same-region"``, ``"same-cloud-same-continent"``,
        ``"same-cloud-between-continents"``, ``"between-clouds-same-continent"``,
        ``"between-clouds-between-continents"``, ``"research-network"``; of a provider
        ``"aws-same-continent"``, ``"aws-between-continents"``, ``"aws-to-another-cloud"``
        and so on, also for ``gcp`` and ``azure``; for dear ends ``"aws-from-sydney"`` and
        ``"aws-from-sao-paulo"``. The source pays: the class of a link is that of its source.

    Returns
    -------
    LinkClass
        With its bandwidth in bytes per second, its round trip in seconds, its price in USD
        per GB, and where these come from as its `reference`.

    Raises
    ------
    TopologyError
        If there is no such class.

    Examples
    --------
    >>> link_class("aws-same-continent").link("ireland", "frankfurt", price=0.01)
    Link(source='ireland', target='frankfurt', bandwidth=600000000.0, latency=0.02, price=0.01)
    """
    try:
        return LINK_CLASSES[name]
    except (KeyError, TypeError):
        raise TopologyError(
            f"{name!r} is no class of links. Classes: {one_of(LINK_CLASSES)}."
            f"{near_miss(str(name), LINK_CLASSES)}"
        ) from None
