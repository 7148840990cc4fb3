"""Run a function in a pool, from the client: what opens and writes data goes this way.

One task carries one call: it is ahead of all other tasks of the pool, is not retried, and
what is built inside it is pinned to the pool. The client hears of it once, at the end.
"""

from __future__ import annotations

import contextlib
import contextvars
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from dask.base import annotate, get_annotations
from distributed import Client, get_client, get_worker, worker_client

from dask_pools.data.parcel import PoolFailureError, pack, pack_call, unpack, unpack_call
from dask_pools.errors import one_of
from dask_pools.graph.annotate import pool as pinned
from dask_pools.model import Pin, pools_of_resources
from dask_pools.scheduler.install import ensure_installed

if TYPE_CHECKING:
    from distributed import Future, Worker

#: Ahead of whatever users ask for: somebody waits for this, and it takes a moment.
PRIORITY = 1_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function, with what is in force around it.

    Parameters
    ----------
    function : callable
        The function.
    args : tuple
        Its positional arguments.
    kwargs : mapping
        Its keyword arguments.
    pin : tuple of str or None
        The pools to which is pinned what it builds; None leaves what is in force.
    annotations : mapping
        Dask's annotations of what it builds.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    pin: Pin | None
    annotations: Mapping[str, Any]

    @classmethod
    def of(
        cls, pin: Pin | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Call:
        """Make a call of a function, with the annotations that are in force now."""
        return cls(function, args, kwargs, pin, dict(get_annotations()))

    def run(self, *inputs: Any) -> Any:
        """Call the function, with more arguments, in front of its own."""
        with annotate(**self.annotations), pinned(*self.pin) if self.pin else _nothing():
            return self.function(*inputs, *self.args, **self.kwargs)


def _nothing() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def run_in_pool(
    function: Callable[..., Any], /, *args: Any, pool: Pin | None, what: str, **kwargs: Any
) -> Any:
    """Run a function on a worker of a pool, and return its result.

    Parameters
    ----------
    function : callable
        The function. It, its arguments and its result have to be picklable. What it builds is
        pinned to the pool, and has the annotations which are in force here.
    *args, **kwargs
        Its arguments. Futures and Dask collections among them are passed on as they are.
    pool : tuple of str or None
        The pool, or several of which one is chosen. None: it runs here.
    what : str
        Name of the task on dashboards.

    Returns
    -------
    object
        The result. With an asynchronous client: an awaitable of it. Without a client, and in
        a task that runs in the pool already, the function is run right here.

    Raises
    ------
    UnknownPoolError
        If no worker is in the pool.
    PoolLostError
        If the pool has lost all its workers, and none comes back in time.
    TypeError
        If an argument cannot be pickled.
    RemoteError
        If the result cannot be made here, or for an error whose class is not known here.
    Exception
        Whatever the function raises, with a note of where that was.

    Examples
    --------
    >>> run_in_pool(sum, [1, 2, 3], pool=("ecmwf",), what="add")  # there is no client
    6
    """
    call = Call.of(pool, function, *args, **kwargs)
    return there_or_here(
        () if pool is None else (pool,), lambda client: ask(client, what, call), call.run
    )


def there_or_here(
    pins: Collection[Pin],
    there: Callable[[Client], Awaitable[Any]],
    here: Callable[[], Any],
) -> Any:
    """Do something in pools if there is a client to reach them, else right here.

    Parameters
    ----------
    pins : collection of tuple of str
        The pools. If there are none, or if this is a task in one of each, it is done here.
    there : callable
        Coroutine function of the client, in whose event loop it runs; made of `ask` and `ask_all`.
    here : callable
        Function without arguments.

    Returns
    -------
    object
        What was returned. With an asynchronous client: an awaitable of it.
    """
    with _client_for(pins) as client:
        if client is None:
            return here()
        if pins:
            return client.sync(there, client)
        return _at_once(here) if client.asynchronous else here()


async def _at_once(here: Callable[[], Any]) -> Any:
    """Give an asynchronous client an awaitable, whatever it asks for."""
    return here()


@contextlib.contextmanager
def _client_for(pins: Collection[Pin]) -> Iterator[Client | None]:
    """Find the client to run something in pools; None if it has to be run right here."""
    worker = worker_here()
    if worker is None:
        yield _client_here()
    elif all(set(pin).intersection(pools_of(worker)) for pin in pins):
        yield None
    elif get_client().asynchronous:  # a coroutine on the event loop of its worker
        yield get_client()
    else:
        # It gives back its thread while it waits.
        with worker_client() as client:
            yield client


def worker_here() -> Worker | None:
    """Return the worker that runs the current task, if there is one."""
    try:
        return get_worker()
    except ValueError:
        return None


def pools_of(worker: Worker) -> tuple[str, ...]:
    """Return the pools of a worker, sorted."""
    return pools_of_resources(worker.state.total_resources)


def _client_here() -> Client | None:
    try:
        return cast(Client, Client.current())
    except ValueError:
        return None


async def ask(client: Client, what: str, call: Call) -> Any:
    """Have one call made in its pool, and wait for the result; as `run_in_pool`.

    Parameters
    ----------
    client : Client
        The client in whose event loop this runs.
    what : str
        Name of the task on dashboards.
    call : Call
        The call, which has a pin.
    """
    packed = pack_call(call)
    key = f"{what}-{uuid.uuid4().hex}"

    def submit() -> list[Future[Any]]:
        return [client.submit(_packed, packed, key=key, pure=False, priority=PRIORITY)]

    return await _answer(client, call, submit)


async def ask_all(client: Client, what: str, calls: Sequence[Call], last: Call) -> Any:
    """Have calls made in one pool, in parallel, and one more of the list of their results.

    The results of the calls stay in the pool; that of the last comes here. It is all sent at
    once, and waited for once.

    Parameters
    ----------
    client : Client
        The client in whose event loop this runs.
    what : str
        Name of the tasks on dashboards.
    calls : sequence of Call
        The calls.
    last : Call
        A call of a function of the list of results.
    """
    name = uuid.uuid4().hex
    keys = [f"{what}-part-{i}-{name}" for i in range(len(calls))]
    packed, packed_last = [pack_call(call) for call in calls], pack_call(last)

    def submit() -> list[Future[Any]]:
        parts = client.map(_value, packed, key=keys, pure=False, priority=PRIORITY)
        key = f"{what}-{name}"
        end = client.submit(_packed, packed_last, parts, key=key, pure=False, priority=PRIORITY)
        return [*parts, end]

    return await _answer(client, last, submit)


async def _answer(client: Client, call: Call, submit: Callable[[], list[Future[Any]]]) -> Any:
    """Wait for the last of what is submitted, and leave no futures behind."""
    assert call.pin is not None  # noqa: S101 - what has no pin is not submitted
    await ensure_installed(client)
    # In a context without annotations: those of the user are for what is built, not for this.
    futures = contextvars.Context().run(pinned(*call.pin)(submit))
    try:
        # In the client's event loop this is an awaitable, whatever its annotation says.
        packed = await cast(Awaitable[bytes], futures[-1].result())
    except PoolFailureError as failure:
        error = failure.original()
    else:
        return unpack(packed)
    finally:
        for future in futures:
            future.release()
    raise error


def _packed(packed: bytes, *inputs: Any) -> bytes:
    """Run a call on a worker; its result goes to the client."""
    value = _value(packed, *inputs)
    failure: PoolFailureError
    try:
        return pack(value)
    except Exception as error:  # noqa: BLE001 - whatever the pickling of a user's objects may raise
        failure = PoolFailureError.of(error, _here())
    raise failure


def _value(packed: bytes, *inputs: Any) -> Any:
    """Run a call on a worker; its result stays there."""
    failure: PoolFailureError
    try:
        return unpack_call(packed).run(*inputs)
    except Exception as error:  # noqa: BLE001 - it is raised again, here and on the client
        failure = PoolFailureError.of(error, _here())
    # Outside of the handler: what cannot be pickled must not be its cause.
    raise failure


def _here() -> str:
    return f"pool {one_of(pools_of(get_worker()))}"
