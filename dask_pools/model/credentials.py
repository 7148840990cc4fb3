"""Which storage options are secret: they stay in the pool whose data they open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: Options that are a secret by their whole name; those of s3fs, of servers, of keys.
_NAMES = frozenset({"key", "pass", "passwd", "pwd", "headers", "cookies", "session"})
#: What the name of a secret has in it.
_PARTS = (
    *("secret", "password", "passphrase", "token", "credential", "auth", "private"),
    *("access_key", "account_key", "api_key", "apikey", "connection_string", "sas_", "ssecustomer"),
)
#: Values which only say how to log in: of gcsfs, and no value at all.
_HARMLESS = frozenset({"anon", "google_default", "cloud", "browser", "cache"})


def secret_options(options: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Find what looks secret in storage options, also inside of nested ones.

    Parameters
    ----------
    options : object
        Storage options, as fsspec takes them; what is neither a mapping nor a list has none.
    name : str
        Where in the options this is.

    Yields
    ------
    tuple of str and object
        The name of the option, with dots between those that are nested, and its value.

    Examples
    --------
    >>> options = {"anon": False, "secret": "…", "client_kwargs": {"aws_access_key_id": "…"}}
    >>> [name for name, value in secret_options(options)]
    ['secret', 'client_kwargs.aws_access_key_id']
    """
    if isinstance(options, Mapping):
        for key, value in options.items():
            path = f"{name}.{key}" if name else str(key)
            if _looks_secret(str(key), value):
                yield path, value
            else:
                yield from secret_options(value, path)
    elif isinstance(options, list | tuple):
        for i, value in enumerate(options):
            yield from secret_options(value, f"{name}.{i}")


def secret_texts(value: object) -> Iterator[str]:
    """List the texts in the value of a secret option, such as those of headers.

    Examples
    --------
    >>> list(secret_texts({"Authorization": "Bearer 1f"}))
    ['Bearer 1f']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from secret_texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secret_texts(inner)


def _looks_secret(name: str, value: object) -> bool:
    if value is None or isinstance(value, bool) or value in ("", *_HARMLESS):
        return False
    lower = name.lower()
    return lower in _NAMES or any(part in lower for part in _PARTS)
