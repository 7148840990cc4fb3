"""Why a computation cannot be placed, in words: tasks that force it, rules, and ways out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.errors import ResidencyError
from dask_pools.graph import adapter
from dask_pools.graph.titles import readable
from dask_pools.model import Topology
from dask_pools.planning.conflict import Conflict
from dask_pools.planning.problem import PlacementProblem
from dask_pools.units import format_bytes

#: Forbidden links, and further pinned tasks, that are written out; of more the number is told.
_AT_MOST = 4
#: Tasks at both ends of a long chain that are written out.
_ENDS = 6


def explain(
    conflict: Conflict,
    problem: PlacementProblem,
    name: Callable[[int], Key],
    topology: Topology,
    guessed: NDArray[np.bool_] | None = None,
) -> ResidencyError:
    """Make the error of a computation that cannot be placed.

    Parameters
    ----------
    conflict : Conflict
        Why it cannot.
    problem : PlacementProblem
        The problem, before its pools were narrowed.
    name : callable
        Tells the key of a value by its index in the problem.
    topology : Topology
        The rules of pools and links.
    guessed : ndarray of bool, shape (n,), optional
        Values whose size is a guess. Default: none.

    Returns
    -------
    ResidencyError
        To be raised. Its ``chain`` has the keys of the tasks.
    """
    return ResidencyError(
        str(_Words(conflict, problem, name, topology, guessed)), tuple(map(name, conflict.chain))
    )


def shuffle_refused(key: Key) -> ResidencyError:
    """Make the error of a P2P shuffle where some data may not cross.

    Parameters
    ----------
    key : Key
        The key of a step of the shuffle.
    """
    return ResidencyError(
        f"This computation shuffles data with distributed's P2P method (task {key!r}), which sends "
        "pieces to workers of any pool, but the topology says that some data may not cross. "
        "Nothing has been run. Shuffle by tasks, which are placed like others: "
        'dask.config.set({"array.rechunk.method": "tasks"}), or rechunk(..., method="tasks").',
        (key,),
    )


@dataclass(frozen=True, slots=True)
class _Words:
    """One conflict, with all that is needed to tell of it."""

    conflict: Conflict
    problem: PlacementProblem
    name: Callable[[int], Key]
    topology: Topology
    guessed: NDArray[np.bool_] | None

    def __str__(self) -> str:
        conflict = self.conflict
        forced = all(self.problem.pinned[[conflict.chain[0], conflict.chain[-1]]])
        head = (
            "This computation cannot be placed: data would have to leave a pool that it must not "
            "leave. Nothing has been run. "
        )
        head += (
            "The shortest chain of tasks that forces it:"
            if forced
            else "No way was found around the crossing between these two tasks:"
        )
        lines = [head, *self._chain(), *self._others(), "What forbids it:"]
        lines += [f"  {reason}" for reason in self._reasons()]
        lines += ["What to do, any of:", *(f"  {way}" for way in self._ways())]
        return "\n".join(lines)

    # ---- tasks

    def _task(self, value: int) -> str:
        """Name a task: its layer without hashes, and its block."""
        key = self.name(value)
        block = adapter.block_of(key)
        if block is None:
            return repr(readable(str(key)))
        return f"{readable(block[0])!r} {block[1]}" if block[1] else repr(readable(block[0]))

    def _size(self, value: int) -> str:
        if self.guessed is not None and self.guessed[value]:
            return "of unknown size"
        return format_bytes(float(self.problem.sizes[value]))

    def _place(self, value: int) -> str:
        if not self.problem.pinned[value]:
            return "not pinned"
        pools = np.flatnonzero(self.problem.allowed[value]).tolist()
        return "pinned to " + " or ".join(repr(self.problem.pools[p]) for p in pools)

    def _chain(self) -> list[str]:
        """Write a task per line, with an arrow the way its value goes to the one above or below."""
        chain = self.conflict.chain
        needs = set(zip(self.problem.consumers.tolist(), self.problem.values.tolist(), strict=True))
        lines = []
        for i, value in enumerate(chain):
            arrow = "  "
            if i:
                arrow = "->" if (value, chain[i - 1]) in needs else "<-"
            lines.append(
                f"  {arrow} {self._task(value)}: {self._place(value)}, {self._size(value)}"
            )
        if len(lines) > 2 * _ENDS:
            left_out = len(lines) - 2 * _ENDS
            lines[_ENDS:-_ENDS] = [f"     ... {left_out} more tasks ..."]
        return lines

    def _others(self) -> list[str]:
        others = self.conflict.others
        if not others:
            return []
        told = [f"{self._task(v)} ({self._place(v)})" for v in others]
        return [f"  together with {_listed(told)}"]

    # ---- rules

    def _reasons(self) -> list[str]:
        confined, links, closed = self._by_rule()
        reasons = []
        for pool, value in confined.items():
            limit = self.topology.pool(pool).egress_limit
            reasons.append(
                f"raw data of {pool!r} may not leave it (egress='aggregates'): {self._task(value)} "
                f"is {self._over(value, limit)}, and has not passed through a reduction"
            )
        reasons += [f"nothing may leave {pool!r} (egress='none')" for pool in closed]
        if links:
            told = [f"{p!r} -> {q!r}" for p, q in links]
            reasons.append(
                f"the link {told[0]} is not allowed"
                if len(told) == 1
                else f"the links {_listed(told)} are not allowed"
            )
        return reasons

    def _over(self, value: int, limit: float) -> str:
        """Compare a size with the limit, which is 0 where none was given."""
        size = self._size(value)
        return f"{size}, over the limit of {format_bytes(limit)}" if limit else size

    def _by_rule(self) -> tuple[dict[str, int], list[tuple[str, str]], list[str]]:
        """Sort what is forbidden: by pool the smallest value that is confined; links; pools."""
        confined: dict[str, int] = {}
        links: dict[tuple[str, str], None] = {}
        closed: dict[str, None] = {}
        for x in self.conflict.broken:
            source, target = self.problem.pools[x.source], self.problem.pools[x.target]
            if x.rule == "confined":
                old = confined.get(source, x.value)
                confined[source] = min(old, x.value, key=self._bytes)
            elif self.topology.pool(source).egress == "none":
                closed[source] = None
            else:
                links[source, target] = None
        return confined, list(links), list(closed)

    def _bytes(self, value: int) -> tuple[float, int]:
        return float(self.problem.sizes[value]), value

    def _ways(self) -> list[str]:
        confined, links, closed = self._by_rule()
        ways = []
        for pool, value in confined.items():
            ways.append(
                f"reduce the data of {pool!r} (mean, sum, max, ...) before it is combined with "
                "data of other pools"
            )
            if self.guessed is None or not self.guessed[value]:
                size = format_bytes(float(self.problem.sizes[value]))
                ways.append(f"raise egress_limit of {pool!r} to {size}, if its owner agrees")
        ways += [f"allow {p!r} -> {q!r}, by Link({p!r}, {q!r})" for p, q in links[:_AT_MOST]]
        ways += [
            f"relax egress of {pool!r} to 'aggregates', if its owner agrees" for pool in closed
        ]
        if any(_gathers(self.name(value)) for value in self.conflict.chain):
            ways.append(
                "persist() the result, or compute its parts one by one: compute() puts the blocks "
                "of an array together in one pool"
            )
        ends = _listed([self._task(self.conflict.chain[i]) for i in (0, -1)], " or ")
        ways.append(f"pin {ends} to another pool that has the same data (a mirror)")
        return ways


def _gathers(key: Key) -> bool:
    """Whether a task is the last step of Dask's own, which puts the blocks of a result together."""
    return isinstance(key, str) and not adapter.is_delayed_key(key)


def _listed(told: Sequence[str], last: str = ", ") -> str:
    """Join words, with a number in the place of those that are too many.

    Examples
    --------
    >>> _listed(["a", "b"], " or "), _listed(list("abcdef"))
    ('a or b', 'a, b, c, d and 2 more')
    """
    if len(told) > _AT_MOST:
        return f"{', '.join(told[:_AT_MOST])} and {len(told) - _AT_MOST} more"
    return last.join(told)
