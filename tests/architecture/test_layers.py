"""The layers hold, and the linter that says so sees each kind of violation when one is planted."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINTER = Path(sys.executable).parent / "lint-imports"


def lint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINTER), "--no-cache", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for source in (ROOT / "src" / "bursar").rglob("*.py"):
        target = folder / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return folder


def test_lint__the_code_as_it_is__keeps_every_contract(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [
        pytest.param("layers", "structure/planted.py", "import bursar.catalogue", id="a lower layer imports a higher one"),
        pytest.param("layers", "kernel/planted.py", "import bursar.plugins", id="the kernel imports the plugins"),
        pytest.param("layers", "engine/planted.py", "import bursar.plugins", id="two on the same line import each other"),
        pytest.param("layers", "structure/planted.py", "def late():\n    import bursar.web", id="an import inside a function"),
        pytest.param("layers", "stray/__init__.py", "", id="a package that nobody placed"),
        pytest.param("bare", "plugins/planted.py", "from django.db import models", id="a plugin imports Django"),
        pytest.param("bare", "kernel/planted.py", "import numpy", id="the kernel imports NumPy"),
        pytest.param("engine", "engine/planted.py", "import time", id="the engine asks the clock of the machine"),
        pytest.param("engine", "engine/planted.py", "from bursar.kernel import clock", id="the engine asks our clock"),
        pytest.param("engine", "engine/planted.py", "import django", id="the engine imports Django"),
    ],
)  # fmt: skip
def test_lint__violation_planted__contract_is_broken(copy: Path, contract: str, file: str, line: str) -> None:
    planted = copy / "src" / "bursar" / file
    fresh_folder = not planted.parent.exists()
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(f"{line}\n")
    try:
        done = lint(copy, "--contract", contract)
    finally:
        shutil.rmtree(planted.parent) if fresh_folder else planted.unlink()
    assert done.returncode == 1
    assert "0 kept, 1 broken" in done.stdout


def test_contracts__every_package__has_its_place() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = {contract["id"]: contract for contract in linter["contracts"]}
    placed = {
        name.strip(" ()") for line in contracts["layers"]["layers"] for name in line.split("|")
    }  # fmt: skip
    packages = {p.parent.name for p in (ROOT / "src" / "bursar").glob("*/__init__.py")}
    assert packages - placed == set()
    # The linter refuses a contract about a package that does not exist, so the agent's comes with the agent.
    assert ("agent" in packages) == ("agent" in contracts)


BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"django", "numpy", "psycopg", "procrastinate", "ninja", "allauth"}:
            raise ImportError(f"{name} is not part of the bare distribution")

sys.meta_path.insert(0, Blocker())
import importlib, pkgutil
from importlib.metadata import entry_points
import bursar.kernel, bursar.plugins
for package in (bursar.kernel, bursar.plugins):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
found = {point.name: point.load() for point in entry_points(group="bursar.plugins")}
print(" ".join(sorted(found)))
assert not {"django", "numpy"} & set(sys.modules)
"""


def test_import__kernel_and_plugins_without_the_servers_libraries__works() -> None:
    clean = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run([sys.executable, "-c", BLOCK], env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ldap", "manual", "script", "simulator", "slurm"]


AGENT_ALONE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in SERVER:
            raise ModuleNotFoundError(f"{name} comes with the server")

import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.partition(".")[0] in SERVER else real(name, package)
sys.meta_path.insert(0, Blocker())
from bursar.config.cli import main
sys.argv = ["bursar", *sys.argv[1:]]
main()
"""
SERVERS_LIBRARIES = (
    "django", "numpy", "psycopg", "procrastinate", "ninja", "allauth", "cryptography", "msgspec", "uvicorn", "a2wsgi",
    "structlog", "jsonschema", "joserfc",
)  # fmt: skip


def test_command__without_the_servers_libraries__knows_the_agent_alone(tmp_path: Path) -> None:
    code = f"SERVER = {set(SERVERS_LIBRARIES)!r}\n{AGENT_ALONE}"

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, env={"NO_COLOR": "1"}
        )

    told = call("--help")
    assert told.returncode == 0, told.stderr
    assert "agent" in told.stdout
    assert "serve" not in told.stdout
    checked = call("agent", "check", "--config", str(tmp_path / "none.toml"))
    assert (checked.returncode, checked.stderr.strip()) == (
        2,
        f"there is no file {tmp_path / 'none.toml'}; name it with --config",
    )
