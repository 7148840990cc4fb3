"""The optimiser: from the layers of a graph to tasks that each have their place.

Dask calls it instead of its own optimiser, where it materialises a graph: on the scheduler,
or on the client for local schedulers and ``dask.optimize``.  The way of the data::

    layers -> zones -> Dask's blockwise fusion inside zones -> culled tasks
           -> PlacementProblem -> policy -> labels
           -> transfers -> fusion inside each pool -> one annotated layer per pool

On the client nothing is placed for good, as the pools are not known there: pins are kept as
annotations, there are no transfers, and local schedulers run the graph as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any

from dask.typing import Key

from dask_pools.graph import adapter
from dask_pools.graph.annotate import current_pin
from dask_pools.graph.collector import paused_collector
from dask_pools.graph.options import Options
from dask_pools.graph.placing import PlacedGraph, Placing
from dask_pools.graph.submission import SUBMISSION, Submission
from dask_pools.graph.zones import Lossless
from dask_pools.model import Pin

logger = logging.getLogger("dask_pools")


@dataclass(frozen=True, slots=True)
class PoolOptimizer:
    """Dask's optimiser for arrays, delayed values and bags, while pools are propagated.

    One object serves all kinds of collections, so that Dask merges those of one
    ``compute`` into one graph, and they are placed together.

    Parameters
    ----------
    options : Options
        How tasks are placed.
    find_submission : callable or None
        Called where the circumstances of the submission are not known, with the chance to
        find them out; returns None on a client.
    pin : tuple of str or None
        The pin of the whole computation.
    """

    options: Options = Options()
    find_submission: Callable[[], Submission | None] | None = None
    pin: Pin | None = None

    def __call__(self, dsk: Any, keys: Any, **_: Any) -> adapter.HighLevelGraph:
        """Optimise a graph for some keys, as Dask's own optimisers do."""
        submission = SUBMISSION.get()
        if submission is None and self.find_submission is not None:
            submission = self.find_submission()
        placed = place_graph(
            dsk, keys, self.options, pin=self.pin or current_pin(), submission=submission
        )
        if submission is not None and self.options.topology is not None:
            submission.topologies.append(self.options.topology)
        if submission is not None and placed.estimates is not None:
            submission.estimates.append(placed.estimates)
        if submission is not None and logger.isEnabledFor(logging.DEBUG):
            logger.debug("Placed %s", placed.plan.describe())
        return placed.graph

    def __reduce__(self) -> tuple[Any, ...]:
        # Dask pickles the optimiser with the graph, in the thread that calls compute():
        # the last moment at which ``with pool(...): x.compute()`` can be seen.
        return type(self), (self.options, self.find_submission, self.pin or current_pin())


def place_graph(
    dsk: Any,
    keys: Any,
    options: Options = Options(),
    *,
    pin: Pin | None = None,
    submission: Submission | None = None,
    transfers: bool | None = None,
    variables: Mapping[str, str] | None = None,
) -> PlacedGraph:
    """Place every task of a graph.

    Parameters
    ----------
    dsk : HighLevelGraph or mapping
        The graph.
    keys : nested list of keys
        What is wanted of it.
    options : Options
        How tasks are placed.
    pin : tuple of str or None
        The pin of what has no pin of its own.
    submission : Submission or None
        The circumstances of the submission; None if there is no scheduler.
    transfers : bool or None
        Whether to place tasks and carry values between pools. By default, if there is a
        scheduler; otherwise only pins are kept.
    variables : mapping, optional
        Names of variables by layer. If given, the plan is explained: it names what crosses,
        tells why, and how far from the optimum it is at most.
    """
    for_good = submission is not None if transfers is None else transfers
    if not for_good:
        # Nothing crosses, so that there is nothing to refuse, and nothing to pay.
        options = replace(options, objective="bytes", topology=None, budget=None)
    placing = Placing(dsk, keys, options, pin, submission)
    # In a context of its own: layers made here must not take on annotations of the caller.
    with paused_collector():
        return Context().run(placing.run, for_good=for_good, variables=variables)


def place_layers(dsk: Any, keys: Any, options: Options) -> dict[Key, Pin | None]:
    """Place the tasks of a graph whose layers stay as they are; None for an unplaced one."""

    def run() -> dict[Key, Pin | None]:
        placing = Placing(dsk, keys, options)
        making = placing.making
        zones = {name: i for i, name in enumerate(making.graph.layers)}
        making.make(lossless=Lossless.NOTHING, reorder=False, zones=zones)
        placing.place({})
        pins = [*((name,) for name in placing.problem.pools), None]
        found = zip(making.table.keys, placing.labels.tolist(), strict=False)
        return {key: pins[label] for key, label in found}

    return Context().run(run)
