"""Print every lower bound of pyproject.toml as an exact version: pip's constraints for CI.

With them pip installs the oldest versions that the package says it works with.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
BOUND = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<version>[\w.]+)")


def lowest(pyproject: Path) -> Iterator[str]:
    """Yield ``name==version`` for each requirement of the package, its extras and its tests."""
    table = tomllib.loads(pyproject.read_text())
    own = table["project"]["name"]
    groups = [
        table["project"]["dependencies"],
        *table["project"]["optional-dependencies"].values(),
        table["dependency-groups"]["tests"],
    ]
    for requirement in (each for group in groups for each in group):
        if requirement.startswith(f"{own}["):  # an extra that is made of other extras
            continue
        bound = BOUND.fullmatch(requirement)
        if bound is None:
            raise SystemExit(f"{pyproject}: {requirement!r} has no lower bound, write 'name>=1.2'")
        yield f"{bound['name']}=={bound['version']}"


if __name__ == "__main__":
    print("\n".join(lowest(PYPROJECT)))
