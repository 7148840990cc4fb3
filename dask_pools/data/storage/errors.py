"""Errors of object stores, with no secret in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def without_secrets(error: BaseException, secrets: Iterable[str]) -> BaseException:
    """Return an error, or another in its place if it, or one behind it, shows a secret.

    A server may answer with the key it was given, and the errors of its library have the answer.

    Parameters
    ----------
    error : BaseException
        An error of a file system.
    secrets : iterable of str
        What must not be shown.

    Examples
    --------
    >>> without_secrets(PermissionError("no such key: 1f2e"), ["1f2e"])
    PermissionError('no such key: ***')
    >>> error = OSError("broken")
    >>> without_secrets(error, ["1f2e"]) is error
    True
    """
    hidden = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    if not any(secret in text for text in _texts(error) for secret in hidden):
        return error
    message = str(error)
    for secret in hidden:
        message = message.replace(secret, "***")
    # A class of which we know how it is made, and that callers may wait for.
    for kind in (FileNotFoundError, PermissionError, TimeoutError, ValueError):
        if isinstance(error, kind):
            return kind(message)
    return OSError(message)


def _texts(error: BaseException) -> Iterator[str]:
    """Show all that is pickled of an error and of those behind it."""
    seen = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield f"{one!r} {one} {one.args!r} {vars(one)!r}"
            waiting += [one.__cause__, one.__context__]
