"""A migration that stood on the main line stays as it is: some database was made with it."""

import hashlib
from pathlib import Path

from tests.architecture.source import PACKAGE

KEPT = Path(__file__).with_name("migrations.txt")


def digest(file: Path) -> str:
    """Of its words, however they are set."""
    return hashlib.sha256("".join(file.read_text(encoding="utf-8").split()).encode()).hexdigest()[:16]


def found() -> dict[str, str]:
    files = sorted(PACKAGE.glob("*/migrations/[0-9]*.py"))
    return {str(file.relative_to(PACKAGE)): digest(file) for file in files}


def test_migrations__that_stand__are_never_changed() -> None:
    lines = [line.split() for line in KEPT.read_text(encoding="utf-8").splitlines()]
    kept = {name: told for told, name in lines}
    here = found()
    changed = sorted(name for name in kept if here.get(name) != kept[name])
    assert changed == [], "databases were made with these: add another migration instead"
    new = [f"{here[name]}  {name}" for name in sorted(here.keys() - kept.keys())]
    assert new == [], f"new migrations belong into {KEPT.name}; from then on they stay"
