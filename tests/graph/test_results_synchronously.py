"""Random computations: the result with pools is the result without, no cluster needed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from dask.array.optimization import optimize
from dask.core import flatten
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from dask_pools import propagate_pools
from dask_pools.graph.optimize import place_graph
from dask_pools.graph.options import Options
from dask_pools.model import Link, LinkClass, Pool, Topology
from dask_pools.planning.policies import policy_names
from tests import placed
from tests.computations import Computation, assert_close, assert_equal, eager, merge
from tests.sources import synchronously
from tests.strategies import computations

pytestmark = [
    # Where an example fails, it takes a while to find a small one.
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::dask.array.core.PerformanceWarning"),
]

TWO, THREE = ("a", "b"), ("a", "b", "c")

any_computation = computations(TWO) | computations(THREE)
any_policy = st.sampled_from(sorted(policy_names()))
#: Links of which the way round about may be the cheaper one.
PRICES = Topology(
    (Pool("a"), Pool("b"), Pool("c")),
    (Link("a", "b", price=9), Link("a", "c", price=2), Link("c", "b", price=1)),
    default=LinkClass("dear", price=4),
)
any_options = st.builds(
    Options,
    policy=any_policy,
    objective=st.sampled_from(["bytes", "money", "time"]),
    topology=st.sampled_from([None, PRICES]),
    exact_order=st.booleans(),
)


def place(
    collections: tuple[Any, ...], computation: Computation, options: Options = Options()
) -> Any:
    graph, keys = merge(collections)
    return place_graph(graph, keys, options, pin=computation.around, transfers=True), keys


def check_placed(computation: Computation, options: Options) -> None:
    expected = computation.results()
    with propagate_pools(options.policy):  # also where an array becomes delayed values
        collections = computation.build()
    graph, keys = place(collections, computation, options)
    placed.check(graph, keys)
    values = placed.run(graph)
    # Where reductions are regrouped, numbers are added in another order.
    same = assert_equal if options.exact_order else assert_close
    for collection, result in zip(collections, expected, strict=True):
        same(placed.results(values, collection), result)


@given(any_computation, any_options)
@settings(max_examples=150)
def test_placed_tasks_give_the_same_result_and_stay_in_their_pools(computation, options):
    check_placed(computation, options)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(computations(TWO, 16) | computations(THREE, 16), any_options)
@settings(max_examples=1500)
def test_placed_tasks_of_long_computations(computation, options):
    check_placed(computation, options)


@given(any_computation, any_policy)
@settings(max_examples=60)
def test_pools_change_nothing_without_a_cluster(computation, policy):
    expected = computation.results()
    with propagate_pools(policy):
        collections = computation.build(persist=lambda x: x.persist(scheduler="synchronous"))
        with computation.context():
            found = synchronously(*collections)
    for result, other in zip(found, expected, strict=True):
        assert_equal(result, other)


@given(any_computation)
@settings(max_examples=40)
def test_result_is_that_of_numpy(computation):
    """The oracle of the other tests is Dask; this is the oracle's own."""
    # Among equal numbers Dask returns the first one of the blocks, and NumPy of the whole.
    flat = {s.operation for s in computation.steps if ("axis", None) in s.arguments}
    assume("argreduce" not in flat)
    values: list[Any] = []
    for step in computation.steps:
        values.append(eager(step, [values[i] for i in step.inputs]))
    found = computation.results()
    for i, result in zip(computation.outputs, found, strict=True):
        assert_close(result, values[i].astype(result.dtype))


def stock_tasks(collections: tuple[Any, ...]) -> int:
    graph, keys = merge(collections)
    return len(dict(optimize(graph, list(flatten(keys)))))


@given(any_computation)
@settings(max_examples=60)
def test_tasks_are_about_as_many_as_those_of_stock_dask(computation):
    """Beside each transfer there is at most one more: two steps that Dask fuses are apart."""
    computation.results()
    graph, _ = place(computation.build(), computation)
    stock = stock_tasks(computation.stock.build())
    ours = sum(graph.plan.tasks.values())
    assert ours <= 1.2 * stock + 2 * len(graph.plan.transfers) + 2


# The same plan in every process


def fixed_computations(count: int) -> list[Computation]:
    """Draw computations that are the same at every run."""
    drawn: list[Computation] = []

    @seed(20260101)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(any_computation)
    def draw(computation: Computation) -> None:
        drawn.append(computation)

    draw()
    return drawn


def pickled_graphs(count: int) -> bytes:
    """Build graphs here: some names that xarray gives to keys hang on the hash seed."""
    computations = fixed_computations(count)
    return cloudpickle.dumps([(*merge(c.build()), c.around) for c in computations])


def plans(pickled: bytes) -> list[Any]:
    """Place graphs, and tell all that was decided."""
    found = []
    for (graph, keys, around), policy in product(pickle.loads(pickled), sorted(policy_names())):
        made = place_graph(graph, keys, Options(policy), pin=around, transfers=True)
        where = {str(key): dict(a) for key, (_, a) in placed.tasks_of(made).items()}
        moved = [(str(t.key), t.link.source, t.link.target, t.nbytes) for t in made.plan.transfers]
        found.append([where, sorted(moved)])
    return found


IN_ANOTHER_PROCESS = """
import json, sys
from tests.graph.test_results_synchronously import plans
print(json.dumps(plans(sys.stdin.buffer.read())))
"""


def start(hash_seed: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
    )


def test_plan_is_the_same_in_every_process():
    pickled = pickled_graphs(60)
    processes = [start(hash_seed) for hash_seed in ("1", "2")]
    answers = [json.loads(process.communicate(pickled, timeout=100)[0]) for process in processes]
    for one, other in zip(*answers, strict=True):
        assert one == other
