"""`plan`: what a computation would do, asked on the client, before anything runs.

The graph is optimised here just as the scheduler would do it, told of the same circumstances:
which pools have workers, where persisted values lie, what earlier runs have shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

import dask
from distributed import Client, default_client

from dask_pools.errors import unknown_pool
from dask_pools.graph import adapter
from dask_pools.graph.annotate import current_pin
from dask_pools.graph.optimize import place_graph
from dask_pools.graph.options import Options
from dask_pools.graph.submission import Submission
from dask_pools.graph.titles import variable_names
from dask_pools.model import Topology
from dask_pools.planning.comparison import compare
from dask_pools.planning.plan import Plan
from dask_pools.planning.policies import Policy
from dask_pools.propagate import HOOKS
from dask_pools.scheduler.circumstances import circumstances
from dask_pools.scheduler.install import install_on_client
from dask_pools.settings import make_options


def plan(
    *collections: Any,
    policy: str | Policy | None = None,
    objective: str = "bytes",
    topology: Topology | Mapping[str, Any] | str | PathLike[str] | None = None,
    exact_order: bool = False,
    locate: bool = False,
    persist: bool = False,
    client: Client | None = None,
) -> Plan:
    """Say what computing some collections would do, without running anything.

    Parameters
    ----------
    *collections : dask collection
        Arrays, xarray objects, bags, delayed values: what one call of ``compute`` would get.
    policy : str or callable, optional
        As for `propagate_pools`. If it is not the default of the objective, the plan shows the
        figures of the default beside its own.
    objective : {"bytes", "money", "time"}, default "bytes"
        As for `propagate_pools`.
    topology : Topology, mapping, path or str, optional
        As for `propagate_pools`.
    exact_order : bool, default False
        As for `propagate_pools`.
    locate : bool, default False
        As for `propagate_pools`.
    persist : bool, default False
        Plan what ``persist`` does. By default that of ``compute``, which in the end gathers
        each result in one pool.
    client : Client, optional
        The cluster. Default: the current client; without one, nothing is known of workers and
        of earlier runs.

    Returns
    -------
    Plan
        Tasks, bytes read and seconds of each pool; values, bytes, seconds and money on each
        link; what crosses and why; and how far from the optimum it is at most. In notebooks it
        is shown as a table.

    Raises
    ------
    TypeError
        If nothing is given, or something that is not a Dask collection; or if the client is
        asynchronous.
    UnknownPoolError
        If there is a client, and no pool of a pin, or of a location, has workers.
    ResidencyError
        If data that must not leave its pool would have to.
    LocationError, TopologyError, UnknownObjectiveError, UnknownPolicyError
        As for `propagate_pools`.

    Examples
    --------
    >>> import dask.array as da
    >>> from dask_pools import plan, pool
    >>> with pool("ecmwf"):
    ...     predictions = da.random.random((8, 1000), chunks=(1, 1000))
    >>> with pool("eumetsat"):
    ...     observations = da.random.random(1000, chunks=1000)
    >>> print(plan(predictions.mean(axis=0) - observations).describe())
    ecmwf -> eumetsat: 8 kB in 1 transfer
    """
    if not collections:
        raise TypeError("plan() got nothing to plan: give it one Dask collection or more")
    graphs = [adapter.high_level_graph(x) for x in collections]
    options = make_options(policy, objective, topology, exact_order=exact_order, locate=locate)
    submission = _submission(client, graphs)
    default = make_options(
        None, objective, options.topology, exact_order=exact_order, locate=locate
    )
    variables = variable_names(collections)
    recorder = _Recorder(options, submission, variables)
    with dask.config.set(dict.fromkeys(HOOKS, recorder)):
        adapter.materialise(collections, finalise=not persist)
    made = recorder.plan()
    if options.name == default.name:
        return made
    other = _Recorder(default, submission, variables)
    for dsk, keys in recorder.graphs:
        other(dsk, keys)
    return compare({options.name: made, default.name: other.plan()})


class _Recorder:
    """Dask's optimiser, for once: keeps the plans of the graphs that it is given."""

    def __init__(
        self, options: Options, submission: Submission | None, variables: Mapping[str, str]
    ) -> None:
        self.options = options
        self.variables = variables
        self.submission = submission
        self.pin = current_pin()
        self.graphs: list[tuple[Any, Any]] = []
        self.plans: list[Plan] = []

    def __call__(self, dsk: Any, keys: Any, **_: Any) -> adapter.HighLevelGraph:
        placed = place_graph(
            dsk,
            keys,
            self.options,
            pin=self.pin,
            submission=self.submission,
            transfers=True,
            variables=self.variables,
        )
        if self.submission is not None:
            there = self.submission.topology.names
            for name in placed.plan.tasks:
                if name is not None and name not in there:
                    raise unknown_pool((name,), there, "a task")
        self.graphs.append((dsk, keys))
        self.plans.append(placed.plan)
        return placed.graph

    def plan(self) -> Plan:
        """Return the plan; Dask merges all collections that one optimiser serves."""
        (plan,) = self.plans
        return plan


def _submission(client: Client | None, graphs: Iterable[adapter.HighLevelGraph]) -> Any:
    """Find out what the scheduler would tell the optimiser; None without a cluster."""
    if client is None:
        try:
            client = default_client()
        except ValueError:
            return None
    if client.asynchronous:
        raise TypeError(
            "plan() asks the scheduler, and waits for the answer, which an asynchronous client "
            "cannot do: plan in a program without one, or give client= a synchronous client"
        )
    install_on_client(client)
    keys = [key for graph in graphs for key in adapter.future_keys(graph)]
    return circumstances(client, keys)
