"""The P2P shuffles of a scheduler: rechunk, shuffle and merge of distributed.

A shuffle has *transfer steps*, which cut their input in pieces and send these to workers; a
*barrier*, which waits for all of them; and *outputs*, each of which joins what has come to its
worker. Which output goes to which worker is settled when the first transfer step runs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from dask._task_spec import Alias, DataNode, Task
from dask.typing import Key
from distributed.shuffle._core import P2PBarrierTask, ShuffleId, barrier_key, id_from_key
from distributed.shuffle._scheduler_plugin import ShuffleSchedulerPlugin

from dask_pools.scheduler.private.base import Undo, changed

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import TaskState, WorkerState

#: The name of distributed's plugin on the scheduler.
SHUFFLE = "shuffle"

#: One output of a shuffle: a number, or the indices of a block in the spec's ``new`` chunks.
Partition: TypeAlias = int | tuple[int, ...]
#: Chunks of an array along each axis; not-a-number where unknown.
Chunks: TypeAlias = tuple[tuple[float, ...], ...]

#: Where each function that makes an output has its number among its arguments.
_OUTPUT_ARGUMENT = {"rechunk_unpack": 1, "shuffle_unpack": 1, "merge_unpack": 2}
#: The function of a rechunk's transfer step, and where it has the index of its block.
_RECHUNK_TRANSFER = "rechunk_transfer"
_RECHUNK_ARGUMENT = 2

_NAMES = (
    "_calculate_worker_for",
    "_create",
    "_get",
    "_set_restriction",
    "_fail_on_workers",
    "_clean_on_scheduler",
    "_restart_shuffle",
)


class Spec(Protocol):
    """What distributed's spec of a shuffle tells."""

    @property
    def id(self) -> ShuffleId:
        """The name of the shuffle."""

    @property
    def output_partitions(self) -> Iterable[Any]:
        """All outputs, also those that nobody wants."""

    def pick_worker(self, partition: Any, workers: Sequence[str]) -> str:
        """Choose a worker for an output, as distributed does."""


@dataclass(frozen=True, slots=True)
class Shuffle:
    """One shuffle, when its outputs are to be given to workers.

    Parameters
    ----------
    id : str
        Its name.
    partitions : list
        All its outputs, in order; also those for which there is no task.
    outputs : dict
        The task of each output that somebody wants.
    transfers : list of TaskState
        Its transfer steps, and those of the shuffles which share its outputs.
    blocks : dict or None
        For a rechunk, the transfer step of each block of its input; None for frames.
    chunks : tuple or None
        For a rechunk, its old and its new chunks; None for frames.
    """

    id: str
    partitions: list[Partition]
    outputs: dict[Partition, TaskState]
    transfers: list[TaskState]
    blocks: dict[tuple[int, ...], TaskState] | None
    chunks: tuple[Chunks, Chunks] | None


class GuardedShuffles(ShuffleSchedulerPlugin):
    """distributed's shuffles, with one question to a subclass: who makes which output."""

    #: The answer, while a shuffle is being started; None if distributed chose.
    chosen: Mapping[Partition, str] | None = None

    @abstractmethod
    def choose_workers(
        self, shuffle: Shuffle, workers: Sequence[str]
    ) -> Mapping[Partition, str] | None:
        """Choose the worker of every output; None leaves it to distributed.

        Parameters
        ----------
        shuffle : Shuffle
            The shuffle.
        workers : sequence of str
            The addresses among which distributed would choose; each time it starts at another
            one, so that small shuffles are spread.
        """

    def _calculate_worker_for(self, spec: Any) -> dict[Any, str]:
        # The stock method goes on to align shuffles that share outputs; only its choice for
        # an output of which no other shuffle knows comes to us.
        picking: Any = _Picking(spec, lambda workers: self._choose(spec, workers))
        return super()._calculate_worker_for(picking)

    def _choose(self, spec: Spec, workers: Sequence[str]) -> Mapping[Partition, str] | None:
        self.chosen = self.choose_workers(describe(self.scheduler, spec), workers)
        return self.chosen

    def _create(self, shuffle_id: ShuffleId, key: Key, worker: str) -> Any:
        try:
            run_spec = super()._create(shuffle_id, key, worker)
            if self.chosen is not None:
                self._bind_outputs(run_spec)
        finally:
            vars(self).pop("chosen", None)
        return run_spec

    def _bind_outputs(self, run_spec: Any) -> None:
        # Stock starts an output on any worker, where it learns to which one it belongs.
        barrier = self.scheduler.tasks[barrier_key(run_spec.id)]
        for partition, ts in outputs_of(barrier).items():
            if ts.state in {"released", "waiting", "no-worker"}:
                self._set_restriction(ts, run_spec.worker_for[partition])

    def _get(self, id: ShuffleId, worker: str) -> Any:  # noqa: A002 - stock calls it by name
        # Where a transfer step was fused with its input, an alias stands for it, and only that is
        # released when the shuffle is started again. It may hand on the number of the run before;
        # if all do, no run is begun, and in stock the barrier fails, as it finds none.
        barrier = self.scheduler.tasks.get(barrier_key(id))
        if id not in self.active_shuffles and barrier is not None and barrier.state == "processing":
            self._restart_shuffle(id, self.scheduler, stimulus_id=f"p2p-stale-{id}")
        return super()._get(id, worker)

    def start_again(self, shuffle_id: str, stimulus_id: str) -> None:
        """Start a running shuffle from its beginning, as if one of its workers had left."""
        shuffle = self.active_shuffles.get(ShuffleId(shuffle_id))
        if shuffle is None:
            return
        self._fail_on_workers(shuffle, f"{shuffle} was given to other workers")
        self._clean_on_scheduler(shuffle.id, stimulus_id)
        self._restart_shuffle(shuffle.id, self.scheduler, stimulus_id=stimulus_id)


class _Picking:
    """The spec of a shuffle, of which only the choice of workers is another."""

    def __init__(
        self, spec: Spec, choose: Callable[[Sequence[str]], Mapping[Partition, str] | None]
    ) -> None:
        self.id = spec.id
        self._spec = spec
        self._choose = choose
        self._chosen: Mapping[Partition, str] | None = None
        self._asked = False

    @property
    def output_partitions(self) -> Iterable[Any]:
        return self._spec.output_partitions

    def pick_worker(self, partition: Any, workers: Sequence[str]) -> str:
        if not self._asked:
            self._asked, self._chosen = True, self._choose(workers)
        if self._chosen is None:
            return self._spec.pick_worker(partition, workers)
        return self._chosen[partition]


def describe(scheduler: Scheduler, spec: Any) -> Shuffle:
    """Tell what a scheduler knows of a shuffle."""
    barrier = scheduler.tasks[barrier_key(spec.id)]
    outputs = outputs_of(barrier)
    barriers = dict.fromkeys([barrier])
    for ts in outputs.values():
        barriers.update((d, None) for d in ts.dependencies if id_from_key(d.key))
    rechunk = hasattr(spec, "old") and hasattr(spec, "new")
    return Shuffle(
        id=spec.id,
        partitions=list(spec.output_partitions),
        outputs=outputs,
        transfers=[ts for one in barriers for ts in one.dependencies],
        blocks=_blocks_of(barrier) if rechunk else None,
        chunks=(spec.old, spec.new) if rechunk else None,
    )


def outputs_of(barrier: TaskState) -> dict[Partition, TaskState]:
    """Find the tasks of the outputs of a shuffle, in the order of their numbers."""
    found: dict[Partition, TaskState] = {}
    shuffle_id = id_from_key(barrier.key)
    for ts in barrier.dependents:
        for name, args in _calls(ts.run_spec):
            position = _OUTPUT_ARGUMENT.get(name)
            if position is not None and shuffle_id in args[:position]:
                found[cast(Partition, _plain(args[position]))] = ts
    return dict(sorted(found.items()))


def _blocks_of(barrier: TaskState) -> dict[tuple[int, ...], TaskState]:
    """Find the transfer step of each block of a rechunk's input."""
    found: dict[tuple[int, ...], TaskState] = {}
    for transfer in barrier.dependencies:
        ts = transfer
        # Where a step was fused with the one before, its name is left to an alias.
        while isinstance(ts.run_spec, Alias) and len(ts.dependencies) == 1:
            (ts,) = ts.dependencies
        for name, args in _calls(ts.run_spec):
            if name == _RECHUNK_TRANSFER and args[1] == id_from_key(barrier.key):
                found[tuple(_plain(args[_RECHUNK_ARGUMENT]))] = transfer
    return found


def _calls(run_spec: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Go through the steps of a task, also of those it was fused of: names and arguments."""
    stack = [run_spec]
    while stack:
        task = stack.pop()
        if not isinstance(task, Task):
            continue
        if task.has_subgraph():
            stack += task.args[0].values()
        else:
            yield getattr(task.func, "__name__", ""), task.args


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, DataNode) else value


def replace_shuffles(scheduler: Scheduler, cls: type[GuardedShuffles], **state: object) -> Undo:
    """Turn the shuffles of a scheduler into a subclass, with more attributes.

    The object stays the same, and with it the shuffles that run.

    Raises
    ------
    DistributedChangedError
        If this release of distributed has other shuffles.
    """
    for name in _NAMES:
        if not hasattr(ShuffleSchedulerPlugin, name):
            raise changed(f"ShuffleSchedulerPlugin.{name}")
    if "spec" not in P2PBarrierTask.__slots__:
        raise changed("P2PBarrierTask.spec")
    plugin: Any = scheduler.plugins.get(SHUFFLE)
    if type(plugin) is not ShuffleSchedulerPlugin:
        return _nothing  # switched off, or not Dask's own
    plugin.__class__ = cls
    vars(plugin).update(state)

    def undo() -> None:
        if type(plugin) is cls:
            plugin.__class__ = ShuffleSchedulerPlugin  # type: ignore[assignment]
            for name in state:
                delattr(plugin, name)

    return undo


def _nothing() -> None:
    """Undo what was not done."""


def shuffle_outputs(scheduler: Scheduler) -> Iterator[TaskState]:
    """Go through the outputs of all shuffles that a scheduler knows."""
    for ts in [ts for key, ts in scheduler.tasks.items() if id_from_key(key)]:
        yield from ts.dependents


def workers_allowed(scheduler: Scheduler, ts: TaskState) -> set[WorkerState]:
    """Return the running workers that may run a task."""
    allowed = scheduler.valid_workers(ts)
    return scheduler.running if allowed is None else allowed
