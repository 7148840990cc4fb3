"""Which worker is in which pool, now and before it left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dask_pools.model import Link, Pool, Topology, pools_of_resources

#: So many workers that left are remembered, each for a few hundred bytes: bytes that came
#: from a worker which has left are still counted for its link.
REMEMBERED = 10_000


class Membership:
    """The pools of workers, kept as the workers come and go.

    Parameters
    ----------
    remembered : int
        Number of workers that left whose pools are remembered.

    Examples
    --------
    >>> membership = Membership()
    >>> membership.join("tcp://10.0.0.1:1", ["pool-ecmwf", "GPU"], nthreads=2)
    >>> membership.pools_of("tcp://10.0.0.1:1")
    ('ecmwf',)
    >>> membership.topology
    Topology(pools=(Pool(name='ecmwf', workers=1, nthreads=2),))
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        #: Pools and threads of the workers that are here.
        self._here: dict[str, tuple[tuple[str, ...], int]] = {}
        #: Pools of workers that left, the one that left last at the end.
        self._left: dict[str, tuple[str, ...]] = {}
        #: Addresses of the workers of each pool; never an empty set.
        self._members: dict[str, set[str]] = {}
        #: Derived from the above on demand, dropped at each change.
        self._topology: Topology | None = None

    def join(self, address: str, resources: Iterable[str], nthreads: int) -> None:
        """Add a worker, or renew what is known of it.

        Parameters
        ----------
        address : str
            Its address on the scheduler.
        resources : iterable of str
            Names of all its resources; those that begin with ``pool-`` name its pools.
        nthreads : int
            Number of its threads.
        """
        self._forget(address)
        self._left.pop(address, None)
        pools = pools_of_resources(resources)
        self._here[address] = (pools, nthreads)
        for pool in pools:
            self._members.setdefault(pool, set()).add(address)

    def leave(self, address: str) -> None:
        """Remove a worker, and remember its pools. One that is not here is no mistake."""
        if address not in self._here:
            return
        self._left[address] = self._forget(address)
        if len(self._left) > self._remembered:
            del self._left[next(iter(self._left))]

    def _forget(self, address: str) -> tuple[str, ...]:
        pools, _ = self._here.pop(address, ((), 0))
        for pool in pools:
            self._members[pool].discard(address)
            if not self._members[pool]:
                del self._members[pool]
        self._topology = None
        return pools

    @property
    def members(self) -> Mapping[str, set[str]]:
        """Addresses of the workers of each pool; a pool without workers is not in it."""
        return self._members

    def pools_of(self, address: str) -> tuple[str, ...]:
        """Return the pools of a worker, also of one that left, sorted; empty if it has none."""
        here = self._here.get(address)
        return self._left.get(address, ()) if here is None else here[0]

    @property
    def topology(self) -> Topology:
        """The pools that have workers now."""
        if self._topology is None:
            self._topology = Topology(
                tuple(
                    Pool(name, len(members), sum(self._here[address][1] for address in members))
                    for name, members in sorted(self._members.items())
                )
            )
        return self._topology

    def link(self, source: str, target: str) -> Link | None:
        """Find the link over which a value goes from one worker to another.

        Parameters
        ----------
        source, target : str
            Addresses of the worker that sends and of the worker that receives.

        Returns
        -------
        Link or None
            None if they have a pool in common, or if one of them has no pool. A worker of
            several pools counts as one of its first.
        """
        sources, targets = self.pools_of(source), self.pools_of(target)
        if not sources or not targets or not set(sources).isdisjoint(targets):
            return None
        return Link(sources[0], targets[0])
