"""Small clusters in this process: workers in the pools a and b, one thread each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed.utils_test import gen_cluster

IN_A = {"resources": {"pool-a": 1}}
IN_B = {"resources": {"pool-b": 1}}


def cluster_of(*workers: dict[str, Any], **options: Any) -> Callable[[Any], Any]:
    """Decorate an asynchronous test that takes a client, a scheduler and its workers."""
    nthreads = [("127.0.0.1", 1, worker) for worker in workers]
    return gen_cluster(client=True, nthreads=nthreads, **options)
