"""What became of somebody else's tests, handed from the pytest that runs them to ours."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Run:
    """The outcome of each test, and what was counted meanwhile."""

    outcomes: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def passed(self) -> set[str]:
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}

    def missed(self) -> list[str]:
        return sorted(self.outcomes.keys() - self.passed())

    @classmethod
    def read(cls, directory: Path) -> Run:
        """Read what the processes of a run have written."""
        run = cls()
        for file in sorted(directory.glob("*.outcomes")):
            for line in file.read_text().splitlines():
                kind, said = json.loads(line)
                if kind == "counts":
                    run.counts.update(said)
                else:
                    run.outcomes.update(said)
        return run


class Outcomes:
    """Writes the outcome of each test of this process as it ends.

    A process that a test brings down leaves behind what it has done so far.
    """

    def __init__(self, directory: Path, counts: Counter[str]) -> None:
        self.file = directory / f"{os.getpid()}.outcomes"
        self.counts = counts
        self.current: dict[str, str] = {}

    def write(self, kind: str, said: dict[str, Any]) -> None:
        if said:
            with self.file.open("a") as file:
                file.write(json.dumps([kind, said]) + "\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report: Any = yield
        # The first phase that does not pass decides: setup, call or teardown.
        if self.current.get(item.nodeid, "passed") == "passed":
            self.current[item.nodeid] = report.outcome
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        # Stays what it is if the process does not survive it.
        self.write("outcomes", {item.nodeid: "crashed"})
        result: Any = yield
        self.write("outcomes", {item.nodeid: self.current.pop(item.nodeid)})
        return result

    def pytest_sessionfinish(self) -> None:
        self.write("counts", self.counts)
