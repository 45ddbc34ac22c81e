"""Plugins of other distributions are found by their entry point, and a broken one harms nobody else."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest

from bursar.plugins import discovery
from bursar.plugins.contract import abilities

GOOD = """
    from bursar.plugins.contract import BackendSettings, Done, Health, Observation, Plugin, Presence

    class KeySettings(BackendSettings):
        drawer: int = 1

    class KeyPlugin(Plugin):
        key = "{key}"
        title = "Keys in a drawer"
        summary = "Hands out keys."
        version = "3.1"
        Settings = KeySettings

        def check_health(self):
            return Health(())

        def ensure(self, resource):
            return Done(backend_id=f"key-{{resource.id}}")

        def remove(self, resource):
            return Done()

        def observe(self, resource):
            return Observation(Presence.OK)
"""


class Distributions:
    """A folder on sys.path where distributions can be put, as an installer would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, module: str, *, key: str = "keys", attribute: str = "KeyPlugin") -> None:
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[bursar.plugins]\n{key} = {name}:{attribute}\n")
        (self.folder / f"{name}.py").write_text(
            dedent(module).replace("{key}", key).replace("{{", "{").replace("}}", "}")
        )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distributions]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Distributions(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_load__bursars_own__are_there_with_their_abilities() -> None:
    plugins, _ = discovery.load()
    assert abilities(plugins["manual"]) == ("provisions", "pauses")
    assert abilities(plugins["simulator"]) == (
        "provisions", "pauses", "enforces_quota", "manages_accounts", "manages_members", "measures_usage", "imports",
        "actions",
    )  # fmt: skip


def test_load__another_distribution__is_found_and_works(installed: Distributions) -> None:
    installed.add("keydrawer", GOOD)
    plugins, broken = discovery.load()
    plugin = plugins["keys"]
    assert (plugin.title, plugin.version) == ("Keys in a drawer", "3.1")
    assert plugin(plugin.Settings()).offering_defaults().components == ()
    assert not any("keydrawer" in name for name in broken)


@pytest.mark.parametrize(
    ("module", "attribute", "why"),
    [
        ("raise RuntimeError('no licence')", "KeyPlugin", "RuntimeError: no licence"),
        ("import no_such_module_at_all", "KeyPlugin", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("raise SystemExit(3)", "KeyPlugin", "SystemExit: 3"),
        ("def broken(:", "KeyPlugin", "SyntaxError: invalid syntax (brokendist.py, line 1)"),
        ("", "KeyPlugin", "AttributeError: module 'brokendist' has no attribute 'KeyPlugin'"),
        ("KeyPlugin = 7", "KeyPlugin", "7 is not a subclass of bursar.plugins.contract.Plugin"),
    ],
)
def test_load__broken_distribution__says_why_and_the_others_are_there(
    installed: Distributions, module: str, attribute: str, why: str
) -> None:
    installed.add("brokendist", module, key="broken", attribute=attribute)
    installed.add("keydrawer", GOOD)
    plugins, broken = discovery.load()
    assert broken["broken (brokendist)"] == why
    assert {"manual", "simulator", "keys"} <= set(plugins)
    assert "broken" not in plugins


def test_load__undeclared__names_all_that_is_missing(installed: Distributions) -> None:
    installed.add(
        "lazydist",
        """
        from bursar.plugins.contract import ComponentSpec, Billing, Plugin
        one = ComponentSpec("a", "A", "u", Billing.USAGE, "compute", "u")
        class KeyPlugin(Plugin):
            key = "Lazy Key"
            title = ""
            default_components = (one, one)
        """,
        key="lazy",
    )
    _, broken = discovery.load()
    assert broken["lazy (lazydist)"] == (
        "title is missing; summary is missing; version is missing; the key 'Lazy Key' is not of the form a-z, 0-9 and _; "
        "Settings is not a subclass of BackendSettings; two default components have the same key; "
        "check_health is missing; ensure, remove and observe are missing: nothing could be provisioned"
    )


def test_load__key_of_bursars_own__does_not_take_its_place(installed: Distributions) -> None:
    installed.add("aaa_thief", GOOD, key="simulator")
    plugins, broken = discovery.load()
    assert plugins["simulator"].__module__ == "bursar.plugins.simulator.plugin"
    assert broken["simulator (aaa_thief)"] == ("the key 'simulator' belongs to bursar.plugins.simulator.plugin already")


def test_load__key_and_name_differ__is_broken() -> None:
    point = EntryPoint("manuel", "bursar.plugins.manual.plugin:ManualPlugin", discovery.GROUP)
    assert discovery.load([point]) == (
        {},
        {"manuel": "its key is 'manual', its entry point is called 'manuel': they must be the same"},
    )


def test_load__django_and_numpy_not_there__plugins_load() -> None:
    script = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"django", "numpy", "psycopg", "procrastinate", "httpx", "typer"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from bursar.plugins import discovery
import bursar.plugins.simulator.backend.__main__
plugins, broken = discovery.load()
print(sorted(plugins), broken)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("['ldap', 'manual', 'script', 'simulator', 'slurm'] {}\n", "")
