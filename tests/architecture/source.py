"""The source as syntax trees, read once."""

import ast
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", bound=ast.AST)
PACKAGE = Path(__file__).resolve().parents[2] / "src" / "bursar"


@cache
def modules() -> dict[str, ast.Module]:
    """Path below the package -> tree; without migrations, which Django writes."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for path in sorted(PACKAGE.rglob("*.py"))
        if "migrations" not in path.parts and "node_modules" not in path.parts
    }


@cache
def _by_kind() -> dict[type[ast.AST], list[tuple[str, Any]]]:
    found: dict[type[ast.AST], list[tuple[str, Any]]] = {}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            found.setdefault(type(node), []).append((name, node))
    return found


def nodes(kind: type[T]) -> list[tuple[str, T]]:
    """All nodes of this very kind, each with the path of its module."""
    return _by_kind()[kind]


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression made of names and attributes, else what of it can be told."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"
