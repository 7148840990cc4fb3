"""Secrets do not belong into a catalog: it is sent around, and shown on screens.

Names are judged, and values never shown: a message must not repeat a secret. Workers have the
credentials of their own pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from dask_pools.model.credentials import secret_options

#: Options of xarray that are passed on to what opens stores.
_PASSED_ON = ("storage_options", "backend_kwargs")
#: Parameters of URLs which are secret beside what is secret among options.
_SIGNATURES = frozenset({"sig", "x-amz-signature", "x-goog-signature", "signature"})


def secrets_in_options(options: Mapping[str, object]) -> Iterator[tuple[str, ...]]:
    """Find the options that look like secrets, each as the names that lead to it.

    Parameters
    ----------
    options : mapping
        Arguments of xarray's functions.

    Examples
    --------
    >>> options = {"storage_options": {"anon": False, "secret": "x", "token": "anon"}}
    >>> list(secrets_in_options(options))
    [('storage_options', 'secret')]
    >>> list(secrets_in_options({"chunks": {"key": 10}}))  # of a dimension
    []
    """
    for name, value in options.items():
        if name in _PASSED_ON or not isinstance(value, Mapping):
            for path, _ in secret_options({name: value}):
                yield tuple(path.split("."))


def secrets_in_location(location: str) -> Iterator[str]:
    """Find the parts of a URL that look like secrets, by name.

    Parameters
    ----------
    location : str
        A URL, a chain of them, or a path.

    Examples
    --------
    >>> list(secrets_in_location("https://me:secret@host/x.nc?sig=1234&level=10"))
    ['the password', "the parameter 'sig'"]
    >>> list(secrets_in_location("s3://bucket/predictions.zarr"))
    []
    """
    for link in location.split("::"):
        if "://" not in link:
            continue
        try:
            parts = urlsplit(link)
        except ValueError:  # brackets that are no IPv6 address, such as those of a pattern
            continue
        if parts.password:
            yield "the password"
        for name, value in parse_qsl(parts.query):
            if name.lower() in _SIGNATURES or any(secret_options({name: value})):
                yield f"the parameter {name!r}"
