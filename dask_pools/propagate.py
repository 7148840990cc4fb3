"""The switch: from here on, computations are placed in pools.

`propagate_pools` does two things.  It hands Dask our optimiser, by the documented settings
``array_optimize``, ``delayed_optimize`` and ``bag_optimize``; and it makes sure that the
scheduler plugin is on every scheduler that is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from dask_pools.graph import adapter
from dask_pools.graph.annotate import keep_pins
from dask_pools.graph.optimize import PoolOptimizer, place_layers
from dask_pools.graph.options import Options
from dask_pools.in_force import InForce
from dask_pools.model import PIN, Topology
from dask_pools.planning.policies import Policy
from dask_pools.scheduler.install import install_for_clients, submission_here
from dask_pools.settings import make_options

#: Settings by which Dask lets the optimiser of a kind of collection be replaced.
HOOKS = ("array_optimize", "delayed_optimize", "bag_optimize")


class propagate_pools(InForce):  # noqa: N801 - a context manager is written in lower case, as dask.annotate
    """Place every task of what is computed in the pool where the fewest bytes have to cross.

    A context manager around ``compute``, ``persist``, ``load`` and the like; or a plain call
    for the rest of the session. Contexts nest, each restores what was there before.

    Parameters
    ----------
    policy : str or callable, optional
        How tasks are placed: ``"mincut"`` for the least cost, ``"makespan"`` for the least time,
        ``"majority"`` for the greedy rule of the first proof of concept, a name given to
        `register_policy`, or a policy itself. Default: ``"makespan"`` if the objective is time,
        else ``"mincut"``.
    objective : {"bytes", "money", "time"}, default "bytes"
        What is to be little: the bytes between pools; what they cost; the time of the busiest
        link or pool.
    topology : Topology, mapping, path or str, optional
        Prices, speeds and rules of pools and links, or the YAML file that has them. Default:
        Dask's configuration ``dask_pools.topology``, if it has one.
    budget : str or float, optional
        What a computation may cost at most between pools: a number of bytes, ``"5 GB"``, or
        ``"2 USD"``. One that would exceed it is refused before it runs, with its plan.
    exact_order : bool, default False
        Whether reductions add up their blocks in Dask's own order. By default the blocks of
        each pool are reduced first, so that one partial result of each pool crosses; results
        are the same up to the order in which floating-point numbers are added.
    locate : bool, default False
        Whether reads that nobody has pinned are pinned as well, by the paths which they read and
        the locations that are known now (`set_locations`, or ``dask_pools.locations`` in Dask's
        configuration). A path in no location leaves its read free.

    Raises
    ------
    UnknownPolicyError
        If no policy has this name.
    ObjectiveError
        If there is no such objective.
    TopologyError
        If the topology is not valid.
    BudgetError
        If the budget is none, or in another currency than the topology's prices.
    LocationError
        If ``locate`` is asked for and no location is known, or one that is configured is not right.
        When it computes: if one task takes data from several places, and no pool has all of it.
    ExpressionArraysError
        If expression arrays are switched on, which ignore pins.
    SchedulerPackageError
        If dask_pools is missing in the scheduler's environment, or another version is there.

    Warns
    -----
    RuntimeWarning
        If the cluster's release of distributed is not as dask_pools knows it; then tasks are placed
        and bound to their pools, and nothing else. Once a cluster.

    Notes
    -----
    On threads and on the synchronous scheduler, results and tasks are the same as without.
    The setting is Dask's configuration: it holds for all threads of the process.

    With ``locate=True`` paths are found without opening anything: in what xarray and zarr have
    opened lazily, in open files of fsspec (`dask.bag.read_text`), and in plain strings that are
    arguments of a function which takes nothing else from the graph, such as
    ``delayed(read)("/data/ecmwf/x.nc")``. What is written to an array that is open in a location
    is written there. Pins come first, also ``pool(None)``, which leaves free what is opened in it.
    Of `dask.delayed` and ``to_delayed``, which flatten graphs when they are called, the call has to
    be inside of the context.

    Examples
    --------
    >>> import dask.array as da
    >>> from dask_pools import pool, propagate_pools
    >>> with pool("ecmwf"):
    ...     predictions = da.arange(4, chunks=2)
    >>> with pool("eumetsat"):
    ...     observations = da.ones(4, chunks=2)
    >>> with propagate_pools():
    ...     (predictions - observations).sum().compute(scheduler="threads")
    np.float64(2.0)
    """

    def __init__(
        self,
        policy: str | Policy | None = None,
        *,
        objective: str = "bytes",
        topology: Topology | Mapping[str, Any] | str | PathLike[str] | None = None,
        budget: str | float | None = None,
        exact_order: bool = False,
        locate: bool = False,
    ) -> None:
        adapter.require_graph_arrays()
        options = make_options(
            policy, objective, topology, budget, exact_order=exact_order, locate=locate
        )
        if options.locations:
            keep_pins()  # those that follow from paths as well
        optimizer = PoolOptimizer(options, submission_here)
        install_for_clients()
        super().__init__(dict.fromkeys(HOOKS, optimizer))


def propagate_pools_in_collection(x: Any, policy: str | Policy = "mincut") -> Any:
    """Place a collection's tasks now, and return the collection with its places annotated.

    Nothing is computed. The steps of the graph stay as they are, each annotated with the
    pools of its tasks, which `get_pool` and ``dask`` show; they count as pins afterwards.

    Parameters
    ----------
    x : dask collection
        An array, an xarray object, a bag or a delayed value.
    policy : str or callable, optional
        As for `propagate_pools`.

    Returns
    -------
    dask collection
        Of the same kind.

    Examples
    --------
    >>> import dask.array as da
    >>> from dask_pools import get_pool, pool, propagate_pools_in_collection
    >>> with pool("ecmwf"):
    ...     predictions = da.ones((4, 4), chunks=2)
    >>> mean = predictions.mean()
    >>> get_pool(mean), get_pool(propagate_pools_in_collection(mean))
    (None, 'ecmwf')
    """
    graph = adapter.high_level_graph(x)
    pools = place_layers(graph, x.__dask_keys__(), Options(policy))
    annotations: dict[str, dict[str, Any] | None] = {}
    for name, layer in graph.layers.items():
        keys = {key: pools[key] for key in layer if key in pools}
        found = set(keys.values())
        own = dict(layer.annotations or {})
        if found != {None} and found:
            own[PIN] = found.pop() if len(found) == 1 else adapter.ByKey(dict(keys))
        annotations[name] = own or None
    rebuild, arguments = x.__dask_postpersist__()
    return rebuild(adapter.with_annotations(graph, annotations), *arguments)
