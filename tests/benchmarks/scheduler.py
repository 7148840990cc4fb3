"""What keeping tasks in their pools costs on the scheduler, and what it saves, next to stock Dask.

    python -m tests.benchmarks.scheduler [PART ...] [--scale SCALE]

Everything is compared in one run: stock Dask with nothing pinned, stock Dask with reads pinned
by their resources, and dask_pools. The parts:

roots       bytes held by 200 reads of 20 MB, each of them reduced at once, on 4 workers
join        the same of two pools whose values are joined over a slow link, and seconds
tasks       microseconds to submit and to finish a task, with 10, 100 and 1,000 workers
balance     milliseconds of a round of work stealing, with 50,000 tasks in a full pool
throughput  seconds of a million trivial tasks on 4 workers

The scale multiplies the numbers of tasks; 1 is what is said above.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence

from tests.benchmarks import scheduler_bytes, scheduler_seconds, throughput

PARTS: dict[str, Callable[[float], None]] = {
    "roots": scheduler_bytes.roots,
    "join": scheduler_bytes.join,
    "tasks": scheduler_seconds.tasks,
    "balance": scheduler_seconds.balance,
    "throughput": throughput.trivial,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of some parts, or of all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args(arguments)
    logging.getLogger("distributed").setLevel(logging.ERROR)
    for part in given.parts or PARTS:
        print(f"\n{part}\n")
        PARTS[part](given.scale)


if __name__ == "__main__":
    main()
