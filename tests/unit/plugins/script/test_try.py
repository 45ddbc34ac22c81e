"""Trying a backend by hand, with the example that the documentation ships."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[4] / "docs" / "examples" / "script-backend"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The settings of the how-to page, with the folder and the program where they are here."""
    given = json.loads((EXAMPLE / "settings.json").read_text())
    for verb, command in given.items():
        if isinstance(command, list):
            given[verb] = [str(EXAMPLE / Path(command[0]).name)]
    given["environment"] = {"WORKBENCH_FOLDER": str(tmp_path / "benches")}
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(given))
    return path


def attempt(*words: str | Path) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "bursar.plugins.script", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def answer_of(said: str) -> Any:
    return json.loads(said[said.index("\n") :])


def test_try__ensure_then_observe__tells_the_answers(settings: Path) -> None:
    code, said, trouble = attempt(settings, "ensure")
    assert (code, trouble) == (0, "")
    assert answer_of(said) == {
        "answer": "done",
        "backend_id": "r1",
        "state": {},
        "access": {"Workbench": "r1", "To begin": "workbench begin r1"},
        "changed": [],
    }
    assert said.startswith(f"$ {shlex.quote(str(EXAMPLE / 'workbench.py'))}    # ended with 0 after ")
    code, said, _ = attempt(settings, "observe")
    assert code == 0
    assert answer_of(said)["presence"] == "ok"


def test_try__document_with_another_resource__is_told(settings: Path, tmp_path: Path) -> None:
    document = tmp_path / "document.json"
    document.write_text(json.dumps({"resource": {"id": 12}}))
    code, said, _ = attempt(settings, "ensure", document)
    assert code == 0
    assert answer_of(said)["backend_id"] == "r12"


def test_try__no_answer__says_why_and_ends_with_1(settings: Path, tmp_path: Path) -> None:
    (tmp_path / "benches").write_text("a file where the folder should be")
    code, said, trouble = attempt(settings, "observe")
    assert code == 1
    assert said.endswith(f"the folder {tmp_path}/benches cannot be used: File exists\n")
    assert trouble == (
        "No answer: observe: the command cannot do it now. "
        f"It printed: the folder {tmp_path}/benches cannot be used: File exists\n"
    )


@pytest.mark.parametrize(
    ("given", "verb", "message"),
    [
        ("{", "ensure", "settings.json: it: Invalid JSON: EOF while parsing an object at line 1 column 1\n"),
        ('{"measure": ["/bin/true"]}', "ensure", "settings.json names no command for ensure\n"),
    ],
)
def test_try__settings_that_cannot_be__ends_with_2(tmp_path: Path, given: str, verb: str, message: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(given)
    code, _, trouble = attempt(path, verb)
    assert (code, trouble) == (2, f"{tmp_path}/{message}")


def test_try__unknown_verb__tells_how_to(settings: Path) -> None:
    code, _, trouble = attempt(settings, "destroy")
    assert code == 2
    assert trouble.endswith(
        "Verbs: ensure, remove, observe, pause, resume, enforce_quota, ensure_account, block_account, remove_account, "
        "ensure_group, remove_group, set_members, measure, importable, health\n"
    )
