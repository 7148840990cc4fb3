"""One graph on its way to its places: each step of the optimiser, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.typing import Key
from numpy.typing import NDArray

from dask_pools.errors import BudgetError
from dask_pools.graph import adapter
from dask_pools.graph.carrying import Carried, Copyable, carry
from dask_pools.graph.egress import find_confined
from dask_pools.graph.estimates import Estimates, find_estimates
from dask_pools.graph.fusion import Fused, fuse_chains, fuse_into_consumers
from dask_pools.graph.layers import Marks, annotated_graph
from dask_pools.graph.making import Making
from dask_pools.graph.options import Options
from dask_pools.graph.preview import explain_plan, make_plan
from dask_pools.graph.rawness import Made
from dask_pools.graph.reads import find_reads
from dask_pools.graph.refusal import explain, shuffle_refused
from dask_pools.graph.shuffles import Shuffles
from dask_pools.graph.sizes import Sizes, estimate
from dask_pools.graph.submission import Submission
from dask_pools.graph.zones import Lossless
from dask_pools.model import Pin, Topology
from dask_pools.planning.basis import Basis
from dask_pools.planning.bound import lower_bound
from dask_pools.planning.objective import cost_matrix, make_work
from dask_pools.planning.place import place
from dask_pools.planning.plan import Plan
from dask_pools.planning.problem import UNPLACED, PlacementProblem
from dask_pools.planning.residency import PlacementConflictError


@dataclass(frozen=True, slots=True)
class PlacedGraph:
    """A graph whose tasks have their places, and what is known of its run.

    Parameters
    ----------
    graph : HighLevelGraph
        A layer for each pool, annotated.
    plan : Plan
        Tasks per pool, and the transfers with their bytes.
    estimates : Estimates or None
        What hangs on sizes that are not exact.
    """

    graph: adapter.HighLevelGraph
    plan: Plan
    estimates: Estimates | None = None


class Placing:
    """One graph on its way; each step leaves what the later ones need.

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
    """

    #: What is known of the values, tasks first; those from outside follow.
    sizes: Sizes
    #: The P2P shuffles among the tasks.
    shuffles: Shuffles
    problem: PlacementProblem
    #: The pool of each value, an index into those of the problem, or ``UNPLACED``.
    labels: NDArray[np.intp]

    def __init__(
        self,
        dsk: Any,
        keys: Any,
        options: Options,
        pin: Pin | None = None,
        submission: Submission | None = None,
    ) -> None:
        self.outputs = adapter.flat_keys(keys)
        graph = adapter.as_graph(dsk)
        self.making = Making(graph, self.outputs, pin, submission, options.locations)
        self.options = options
        self.submission = submission
        self.free_pin: Pin | None = () if pin is not None and self.making.pins.any else None
        self.topology = _topology(options, submission)

    def run(self, *, for_good: bool, variables: Mapping[str, str] | None = None) -> PlacedGraph:
        """Go all the way.

        Parameters
        ----------
        for_good : bool
            Whether tasks are placed, and values carried; otherwise only pins are kept.
        variables : mapping, optional
            Names of variables by layer. If given, the plan is explained.
        """
        reorder = for_good and not self.options.exact_order
        self.making.make(lossless=self._lossless(), reorder=reorder)
        copyable = self.making.copyable() if for_good else {}
        self.place(copyable)
        table, labels = self.making.table, self.labels
        if for_good:
            carried = carry(table, labels, self.problem, self.basis(), self.outputs, copyable)
        else:
            carried = Carried.nothing(table, labels)
        fused, rows, pins = self._fuse(carried)
        plan = self._plan(carried, rows)
        if variables is not None:
            plan = self._explained(plan, carried, variables)
        self._check_budget(plan, carried)
        graph = self._annotated(fused, rows, pins, carried, for_good)
        return PlacedGraph(graph, plan, self._estimates(fused, rows, carried))

    def _lossless(self) -> Lossless:
        """Say what may be fused before it is known where tasks run."""
        if self.options.objective == "time":
            return Lossless.NOTHING
        pools = self.making.pins.pools()
        rules = self.topology
        if rules is not None and any(rules.pool(name).egress == "aggregates" for name in pools):
            return Lossless.SOURCES
        costs = cost_matrix(self.topology, pools, self.options.objective)
        between = costs[~np.eye(len(pools), dtype=np.bool_)]
        equal = bool((between == between[:1]).all() and np.isfinite(between).all())
        return Lossless.ALL if equal else Lossless.SOURCES

    # ---- placement

    def place(self, copyable: Copyable) -> None:
        """Build the placement problem and have it solved."""
        making, table = self.making, self.making.table
        outside = making.outside()
        codes = [*making.bound.tolist(), *(making.code(pin) for pin, _ in outside.values())]
        pools = {name for code in set(codes) for name in making.pin_table[code] or ()}
        if self.options.objective == "time" and pools and self.submission is not None:
            pools |= set(self.submission.topology.names)
        self.sizes, self.shuffles = self._estimate(outside), making.shuffles()
        self.problem = problem = self._problem(tuple(sorted(pools)), codes, outside, copyable)
        self.labels = np.full(len(codes), UNPLACED, dtype=np.intp)
        if not pools:
            return
        # Values made earlier without a place take no part: what needs them can be anywhere.
        self.part = problem.pinned | (np.arange(len(codes)) < len(table))
        self.whole = problem if self.part.all() else problem.restricted(self.part)
        try:
            self.labels[self.part] = place(self.whole, self.options.policy)
        except PlacementConflictError as error:
            names = np.flatnonzero(self.part)
            guessed = self.basis()[self.part] == Basis.ASSUMED
            raise explain(
                error.conflict,
                self.whole,
                lambda value: table.name(int(names[value])),
                self.topology or Topology(()),
                guessed,
            ) from None
        if self.shuffles:
            if self.whole.forbids:
                raise shuffle_refused(table.name(int(self.shuffles.barriers[0])))
            self.labels = self.shuffles.together(self.labels, problem)

    def _estimate(self, outside: Mapping[Key, tuple[Pin | None, float]]) -> Sizes:
        table, learned = self.making.table, self.submission.learned if self.submission else {}
        nbytes = {key: size for key, (_, size) in outside.items()}
        needs = table.values, table.consumers
        making = self.making
        sizes = estimate(table.tasks(), making.blocks, nbytes, learned, needs, making.told)
        new, old = list(self.making.like), list(self.making.like.values())
        sizes.nbytes[new], sizes.basis[new] = sizes.nbytes[old], sizes.basis[old]
        return sizes

    def basis(self) -> NDArray[np.int8]:
        """Say of each value what its size rests on; those from outside are there."""
        there = np.full(len(self.making.table.outside), Basis.EXACT, dtype=np.int8)
        return np.concatenate([self.sizes.basis, there])

    def _problem(
        self,
        pools: tuple[str, ...],
        codes: list[int],
        outside: Mapping[Key, tuple[Pin | None, float]],
        copyable: Copyable,
    ) -> PlacementProblem:
        making, table = self.making, self.making.table
        rows = np.array([np.isin(pools, pin or pools) for pin in making.pin_table], dtype=np.bool_)
        pin = np.array(codes, dtype=np.intp)
        sizes = np.concatenate([self.sizes.nbytes, [size for _, size in outside.values()]])
        if self.shuffles:
            sizes = self.shuffles.weighed(sizes)
        # What can be made where it is needed costs nothing to have there.
        sizes[list(copyable)] = 0.0
        durations = np.concatenate([self.sizes.seconds, np.zeros(len(outside))])
        problem = PlacementProblem(
            pools=pools,
            sizes=sizes,
            allowed=rows[pin],
            values=table.values,
            consumers=table.consumers,
            costs=cost_matrix(self.topology, pools, self.options.objective),
            bound=pin > 0,
            work=make_work(self.topology, pools, durations),
        )
        made = Made(
            making.graph, making.blocks, making.pins, table, making.layer, making.layer_names
        )
        guessed = self.basis() == Basis.ASSUMED
        confined = find_confined(made, problem, self.topology, guessed)
        return problem if confined is None else replace(problem, confined=confined)

    # ---- plan

    def _plan(self, carried: Carried, rows: NDArray[np.intp]) -> Plan:
        labels = carried.labels[rows[carried.sources[rows] == UNPLACED]]
        counts = np.bincount(labels + 1, minlength=len(self.problem.pools) + 1).tolist()
        names: list[str | None] = [None, *self.problem.pools]
        return make_plan(
            self.problem,
            self.labels,
            tasks={name: count for name, count in zip(names, counts, strict=True) if count},
            transfers=tuple(carried.moved.values()),
            crossing=carried.pairs,
            basis=self.sizes.basis,
            topology=self.topology,
            policy=self.options.name,
            objective=self.options.objective,
            copies=carried.copies,
            regrouped=self.making.regrouped,
        )

    def _check_budget(self, plan: Plan, carried: Carried) -> None:
        budget = self.options.budget
        if budget is None:
            return
        try:
            budget.check(plan)
        except BudgetError:
            # Now it is worth the time to say what it is spent on.
            budget.check(self._explained(plan, carried, {}))
            raise

    def _explained(self, plan: Plan, carried: Carried, variables: Mapping[str, str]) -> Plan:
        making, table = self.making, self.making.table
        pinned = making.pins.mixed | {name for name, pin in making.pins.layers.items() if pin}
        reads = find_reads(making.graph, making.blocks, pinned, making.layer_names)
        sizes = self.problem.sizes
        plan = explain_plan(
            plan,
            self.problem,
            self.labels,
            names=[*table.keys, *table.outside],
            crossing=carried.pairs,
            basis=self.sizes.basis,
            nbytes_read=reads.nbytes(table, making.layer_names, making.layer, sizes),
            sources=reads.arrays,
            variables=variables,
            earlier=len(table),
        )
        if plan.cost and self.options.objective != "time":
            bound = lower_bound(self.whole, self.labels[self.part])
            # Costs in money have a tiny share for bytes, by which the bound may exceed them.
            plan = replace(plan, bound=min(bound, plan.cost))
        return plan

    # ---- fusion

    def _fuse(self, carried: Carried) -> tuple[Fused, NDArray[np.intp], NDArray[np.intp]]:
        """Fuse inside each pool what Dask would have fused; tell rows and pins of what is left."""
        making, table, labels = self.making, carried.table, carried.labels
        keep = carried.crossing | table.mask(self.outputs)
        old = carried.origin >= 0
        vanishing = old & making.vanishing[carried.origin] & ~keep
        pins = np.where(old & making.has_pin[carried.origin], making.bound[carried.origin], 0)
        fused = fuse_into_consumers(table, vanishing)
        rows, pins = fused.rows, making.joined(fused.rows, fused.members, pins)
        if adapter.wants_linear_fusion():
            table = fused.table() if fused.members else table
            # A scheduler without our plugin has to free outputs of shuffles from their pool.
            outputs = [self.making.table.keys[i] for i in self.shuffles.outputs.tolist()]
            alone = table.mask([*carried.moved, *outputs, *self._delayed_keys(fused)])
            fused = fuse_chains(table, labels[rows], alone, keep[rows])
            rows, pins = rows[fused.rows], making.joined(fused.rows, fused.members, pins)
        return fused, rows, pins

    def _delayed_keys(self, fused: Fused) -> list[Key]:
        """Keys that only delayed values need: Dask does not fuse these, unless asked to."""
        if adapter.wants_delayed_fusion():
            return []
        wanted = [key for key in self.outputs if not adapter.is_delayed_key(key)]
        if len(wanted) == len(self.outputs):
            return []
        table = fused.table()
        return [table.keys[i] for i in np.flatnonzero(~table.needed(wanted)).tolist()]

    def _estimates(
        self, fused: Fused, rows: NDArray[np.intp], carried: Carried
    ) -> Estimates | None:
        """Tell what may be corrected when real sizes are known: what was placed to save bytes.

        Not what keeps to rules of single values, or follows a policy of the user's own.
        """
        if self.options.policy != "mincut" or self.problem.confined is not None:
            return None
        return self.estimates(fused.keys, rows, carried)

    def estimates(
        self, keys: list[Key], rows: NDArray[np.intp], carried: Carried
    ) -> Estimates | None:
        """Tell what hangs on sizes that are not exact."""
        free = (self.making.bound == 0) & ~self.making.has_pin
        free[self.shuffles.steps] = False  # they stay together
        sizes = self.sizes.nbytes, self.sizes.basis
        prices = self.problem.pools, self.problem.costs
        return find_estimates(keys, rows, carried, free, sizes, prices)

    # ---- annotations

    def _annotated(
        self,
        fused: Fused,
        rows: NDArray[np.intp],
        pins: NDArray[np.intp],
        carried: Carried,
        for_good: bool,
    ) -> adapter.HighLevelGraph:
        """Gather the tasks in layers, each annotated."""
        names: list[str | None] = [*self.problem.pools, None]  # an unplaced value has label -1
        table = self.making.pin_table
        shape = (len(names), len(table), len(names))
        kinds = np.ravel_multi_index(
            (carried.labels[rows] % len(names), pins, carried.sources[rows] % len(names)), shape
        )

        def marks(kind: int) -> Marks:
            label, pin, source = (int(i) for i in np.unravel_index(kind, shape))
            said = None if names[source] else table[pin] or self.free_pin
            return Marks(names[label], said, names[source])

        return annotated_graph(
            fused.keys,
            fused.nodes,
            kinds,
            marks,
            placed=for_good,
            others=self._other_annotations(),
            output=adapter.layer_name(self.outputs[0]) if self.outputs else "nothing",
        )

    def _other_annotations(self) -> Callable[[Key], dict[str, Any]]:
        """Tell the annotations of other kinds that a task has, as far as Dask keeps them.

        Dask drops those of arrays and bags when it fuses, and keeps those of delayed values.
        """
        making = self.making
        layers, index, layer = making.graph.layers, making.table.index, making.layer

        def others(key: Key) -> dict[str, Any]:
            i = index.get(key) if adapter.is_delayed_key(key) else None
            if i is None:
                return {}
            return adapter.annotations_of(layers[making.layer_names[layer[i]]], key)

        return others


def _topology(options: Options, submission: Submission | None) -> Topology | None:
    """Join what the user says of pools and links with what is there now."""
    if submission is None:
        return options.topology
    if options.topology is None:
        return submission.topology
    return options.topology.among(submission.topology)
