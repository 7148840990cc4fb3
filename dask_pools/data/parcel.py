"""What crosses between this process and a worker: values, calls and errors, pickled by us.

Dask would pickle them as well, but it unpickles what a task is made of on the scheduler, which
need not have the same packages; and where a result or an error cannot be unpickled on the client,
it breaks the connection, or loses the message. So tasks carry bytes, and the two ends open them.
"""

from __future__ import annotations

import builtins
import contextlib
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

from distributed.protocol.pickle import dumps

from dask_pools.errors import PoolError, RemoteError

__all__ = ["PoolFailureError", "pack", "pack_call", "unpack", "unpack_call"]


def pack(value: object) -> bytes:
    """Pickle a value: once, so that whoever passes it on passes on bytes.

    Examples
    --------
    >>> unpack(pack([1, 2]))
    [1, 2]
    """
    packed: bytes = dumps(value)
    return packed


def unpack(packed: bytes) -> Any:
    """Make a value again.

    Raises
    ------
    RemoteError
        If that is not possible here.
    """
    try:
        return pickle.loads(packed)  # noqa: S301 - of our worker
    except Exception as error:
        raise RemoteError(
            f"What a worker has sent cannot be made here: {type(error).__name__}: {error}. "
            "Install the same packages here as in the environment of the pool's workers."
        ) from error


def pack_call(call: object) -> bytes:
    """Pickle what a worker is to do.

    Raises
    ------
    TypeError
        If it cannot be pickled.
    """
    try:
        return pack(call)
    except Exception as error:
        raise TypeError(
            f"An argument cannot be sent to a worker: {type(error).__name__}: {error}. Give what "
            "can be pickled, or a function without arguments that makes it there."
        ) from error


def unpack_call(packed: bytes) -> Any:
    """Make a call again, on a worker."""
    return pickle.loads(packed)  # noqa: S301 - of our client


#: distributed replaces errors whose messages are longer than a limit of its own.
_LONGEST_TEXT = 2000


class PoolFailureError(PoolError):
    """An error on its way from a worker: the error itself, and enough to tell of it without.

    Parameters
    ----------
    packed : bytes
        The error, pickled; empty if that was not possible.
    kind : str
        Name of its class.
    base : type
        The class of Python itself that is nearest to it.
    text : str
        Its message.
    story : str
        Where it happened, and its traceback.
    """

    def __init__(self, packed: bytes, kind: str, base: type, text: str, story: str) -> None:
        super().__init__(packed, kind, base, text, story)
        self.packed, self.kind, self.base, self.text, self.story = packed, kind, base, text, story

    def __str__(self) -> str:
        return f"{self.kind}: {self.text[:_LONGEST_TEXT]}"

    def __repr__(self) -> str:
        # What workers log of a task that has failed.
        return f"{type(self).__name__}({str(self)!r})"

    @classmethod
    def of(cls, error: BaseException, where: str) -> PoolFailureError:
        """Prepare an error for its way.

        Parameters
        ----------
        error : BaseException
            The error, just caught. If it is a `FileNotFoundError`, its message is told the place.
        where : str
            The place, such as ``"pool 'ecmwf'"``.

        Examples
        --------
        >>> str(PoolFailureError.of(FileNotFoundError(2, "No such file", "/x"), "pool 'ecmwf'"))
        "FileNotFoundError: [Errno 2] No such file in pool 'ecmwf': '/x'"
        """
        told = "".join(traceback.format_exception(error)).rstrip()
        if isinstance(error, FileNotFoundError):
            _place(error, where)
        try:
            packed = pack(error)
        except Exception:  # noqa: BLE001 - whatever an error's own pickling may raise
            packed = b""
        story = f"Raised in {where}:\n\n{told}"
        return cls(packed, type(error).__name__, _base(type(error)), str(error), story)

    def original(self) -> BaseException:
        """Make the error again, or if its class is not here, the nearest one that is."""
        error: BaseException | None = None
        # Whatever unpickling the error of another may raise.
        with contextlib.suppress(Exception):
            error = pickle.loads(self.packed)  # noqa: S301 - of our worker
        if not isinstance(error, BaseException):
            try:
                error = self.base(f"{self.kind}: {self.text}")
            except TypeError:  # an error whose class wants more, such as UnicodeDecodeError
                error = RemoteError(f"{self.kind}: {self.text}")
        if error.__traceback__ is None:  # else it shows where it was raised, and here is no news
            error.add_note(self.story)
        return error


def _place(error: FileNotFoundError, where: str) -> None:
    """Say in the message of an error where it happened."""
    if error.strerror is not None:
        error.strerror = f"{error.strerror} in {where}"
        error.args = (error.args[0], error.strerror, *error.args[2:])
    elif error.args:
        error.args = (f"{error.args[0]} (in {where})", *error.args[1:])


def _base(kind: type[BaseException]) -> type[BaseException]:
    """Return the nearest class of Python's own; `RemoteError` in place of plain `Exception`.

    Examples
    --------
    >>> class Missing(KeyError): ...
    >>> _base(Missing), _base(type("Odd", (Exception,), {}))
    (<class 'KeyError'>, <class 'dask_pools.errors.RemoteError'>)
    """
    found = next(c for c in _ancestors(kind) if getattr(builtins, c.__name__, None) is c)
    return RemoteError if found in {Exception, BaseException} else found


def _ancestors(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    return (c for c in kind.__mro__ if issubclass(c, BaseException))
