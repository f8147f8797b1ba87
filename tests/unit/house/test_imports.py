"""No two modules need each other, not for types alone either: whoever reads one of a circle has to read them all."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[3]
HOUSE = ("cli", "fs", "glacier", "meta", "node", "rawx", "s3", "store", "tui")
KNOWN = {
    ("rawx.volume", "rawx.examine"),
    ("rawx.volume", "rawx.probe"),
    ("node.http.message", "node.http.body"),
}
"""Circles that are left, each cut here between two of its modules."""


def _modules() -> dict[str, Path]:
    paths = [path for top in HOUSE for path in (ROOT / top).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def _imports(path: Path, modules: dict[str, Path]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
            found |= below or ({node.module} & modules.keys())
    return found


def test_imports_make_no_circle() -> None:
    modules = _modules()
    graph = {
        name: {other for other in _imports(path, modules) if other != name and (name, other) not in KNOWN} for name, path in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"these need each other: {' -> '.join(error.args[1])}") from None
