"""The source as syntax trees, read once."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

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


def nodes(kind: type[T]) -> Iterator[tuple[str, T]]:
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield name, node


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression made of names and attributes, else what of it can be told."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"
