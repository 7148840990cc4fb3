"""The import law: every module imports its own folder or a lower number, never upward or sideways.

The modules are parsed, not imported, so that an import inside a function, or one for types
only, counts as well.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dask_pools"
DESIGN = ROOT / "docs" / "explanation" / "design.md"

#: The number of each module and folder at the top of the package.
NUMBERS = {
    "errors": 0,
    "model": 0,
    "units": 0,
    "planning": 1,
    "graph": 2,
    "in_force": 2,
    "yaml_mistakes": 2,
    "scheduler": 3,
    "topology": 3,
    "locations": 3,
    "settings": 4,
    "propagate": 5,
    "deploy": 5,
    "observe": 5,
    "data": 5,
    "planner": 6,
    "demo": 7,
    "cli": 8,
}
#: Modules of number 0 are one vocabulary, and may use each other.
VOCABULARY = 0
#: What modules of a number may import from outside of the package and the standard library.
ALLOWED = {0: frozenset[str](), 1: frozenset({"numpy", "scipy"})}
#: What modules of a number may never import.
FORBIDDEN = {2: frozenset({"distributed"})}
#: The one place that may know distributed's private names.
PRIVATE_NAMES = PACKAGE / "scheduler" / "private"
LONGEST = 400

MODULES = sorted(PACKAGE.rglob("*.py"))
INIT = PACKAGE / "__init__.py"


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_module = pytest.mark.parametrize("path", MODULES, ids=shown)


@dataclass(frozen=True)
class Import:
    """One imported module, and the name that is imported from it (None for the module)."""

    module: str
    name: str | None
    line: int

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def imports(tree: ast.AST) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides its layer"
            assert node.module is not None
            for alias in node.names:
                yield Import(node.module, alias.name, node.lineno)


def unit(path: Path) -> str:
    """Name the module or folder at the top of the package to which a file belongs."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def unit_imported(item: Import) -> str | None:
    """Name the unit which an import reaches; None for the package's own root."""
    parts = item.module.split(".")[1:]
    if parts:
        return parts[0]
    return item.name if item.name in NUMBERS else None


def breaches(source: str, home: str) -> list[str]:
    """List what in a module of the unit `home` is against the law."""
    number = NUMBERS[home]
    found = []
    for item in imports(ast.parse(source)):
        where = f"line {item.line} imports {item.module}"
        if item.top == "dask_pools":
            found += [f"{where}: {why}" for why in [_upward(item, home, number)] if why]
        elif item.top not in sys.stdlib_module_names:
            if number in ALLOWED and item.top not in ALLOWED[number]:
                allowed = ", ".join(sorted(ALLOWED[number])) or "nothing"
                found.append(f"{where}: beside the standard library {home} may import {allowed}")
            if item.top in FORBIDDEN.get(number, ()):
                found.append(f"{where}: {home} must not know {item.top}")
    return found


def _upward(item: Import, home: str, number: int) -> str | None:
    other = unit_imported(item)
    if other is None:
        # The root has the names of all layers; only its version belongs to none of them.
        top = number == max(NUMBERS.values())
        return None if top or item.name == "__version__" else "import from the module itself"
    if other not in NUMBERS:
        return f"{other} has no number in the table of this test"
    if other == home or NUMBERS[other] < number:
        return None
    if NUMBERS[other] == number == VOCABULARY:
        return None
    return f"{home} has number {number}, {other} has {NUMBERS[other]}"


def private_names(source: str) -> list[str]:
    """List the uses of distributed's private names that the syntax alone shows."""
    tree = ast.parse(source)
    found = []
    aliases = set()
    for item in imports(tree):
        if item.top != "distributed":
            continue
        aliases.add(item.name or item.top)
        dotted = [*item.module.split("."), item.name or ""]
        if any(is_private(part) for part in dotted):
            found.append(f"line {item.line}: {'.'.join(dotted)}")
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return found + [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in attributes
        if is_private(node.attr) and base(node) in aliases
    ]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def base(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


@pytest.mark.parametrize("path", [path for path in MODULES if path != INIT], ids=shown)
def test_module_imports_its_own_folder_or_a_lower_number(path: Path) -> None:
    assert unit(path) in NUMBERS, (
        f"give {unit(path)!r} a number: in NUMBERS, and in {shown(DESIGN)}"
    )
    assert breaches(path.read_text(), unit(path)) == []


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent != PRIVATE_NAMES], ids=shown
)
def test_private_names_of_distributed_are_in_one_place(path: Path) -> None:
    assert private_names(path.read_text()) == []


@every_module
def test_module_says_its_purpose(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@every_module
def test_module_has_room_for_one_idea_only(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert [shown(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_importing_the_root_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(INIT.read_text())
    for_types = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    at_run_time = [
        item.module
        for node in ast.walk(tree)
        if id(node) not in for_types and isinstance(node, ast.Import | ast.ImportFrom)
        for item in imports(ast.Module([node], []))
    ]
    assert [name for name in at_run_time if name.split(".")[0] not in sys.stdlib_module_names] == []


def test_design_page_has_the_same_numbers() -> None:
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", DESIGN.read_text(), re.MULTILINE)
    units = {name: int(number) for number, names in rows for name in re.findall(r"`(\w+)", names)}
    assert units == NUMBERS


@pytest.mark.parametrize(
    ("home", "source"),
    [
        ("model", "import numpy"),
        ("errors", "from dask.typing import Key"),
        ("errors", "from dask_pools import planning"),
        ("planning", "import dask"),
        ("planning", "def f():\n    from distributed import Client"),
        ("planning", "from dask_pools.graph.annotate import pool"),
        ("graph", "import distributed.scheduler"),
        ("graph", "from dask_pools import pool"),
        ("graph", "from dask_pools.scheduler import plugin"),
        ("deploy", "from dask_pools.observe.visualize import visualize_pools"),
        ("observe", "import dask_pools.propagate"),
        ("demo", "from dask_pools.testing import x"),
        ("demo", "import dask_pools.cli"),
        ("data", "from dask_pools.propagate import propagate_pools"),
        ("locations", "from dask_pools.data.open import open_dataset"),
        ("graph", "from dask_pools.attic import old"),
    ],
)
def test_breach_of_the_law_is_seen(home: str, source: str) -> None:
    assert len(breaches(source, home)) == 1


@pytest.mark.parametrize(
    ("home", "source"),
    [
        ("model", "import re\nfrom dask_pools.errors import PoolNameError"),
        (
            "planning",
            "import numpy as np\nfrom dask_pools.planning.problem import PlacementProblem",
        ),
        ("graph", "import dask\nfrom dask_pools.planning.place import place"),
        ("scheduler", "from distributed import Scheduler\nfrom dask_pools import __version__"),
        ("cli", "from dask_pools import pool, propagate_pools"),
    ],
)
def test_lawful_import_passes(home: str, source: str) -> None:
    assert breaches(source, home) == []


@pytest.mark.parametrize(
    "source",
    [
        "from distributed.scheduler import _materialize_graph",
        "from distributed._async_taskgroup import AsyncTaskGroup",
        "import distributed\ndistributed.scheduler._x()",
        "from distributed import Scheduler\nScheduler._find_lost_dep_tasks",
    ],
)
def test_private_name_is_seen(source: str) -> None:
    assert len(private_names(source)) == 1
