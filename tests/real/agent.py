"""A provider's site: `bursar agent` as a process of another user, with nothing of the server's libraries in reach."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import bursar

PARTS = ("__init__.py", "py.typed", "kernel", "plugins", "agent")
"""Of Bursar, what the bare distribution needs."""


def needed(name: str, extra: str = "") -> Iterator[str]:
    """The distributions that one asks for, with those that they ask for."""
    for line in distribution(name).requires or ():
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
            yield wanted.name
            for each in wanted.extras or {""}:
                yield from needed(wanted.name, each)


def interpreter_for_others() -> str:
    """A Python of this version that any user may run; "" = there is none."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (Path(sys.executable).resolve(), Path(f"/usr/bin/{name}"), Path(f"/usr/local/bin/{name}")):
        if candidate.exists() and all(parent.stat().st_mode & 0o001 for parent in candidate.parents):
            return str(candidate)
    return ""


def install(folder: Path) -> Path:
    """What `pip install bursar[agent]` would bring, copied to where another user may read it."""
    packages = folder / "packages"
    packages.mkdir(mode=0o755)
    source = Path(bursar.__file__).parent
    for part in PARTS:
        found = source / part
        if found.is_dir():
            shutil.copytree(found, packages / "bursar" / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif found.exists():
            (packages / "bursar").mkdir(exist_ok=True)
            shutil.copy(found, packages / "bursar" / part)
    for name in {"bursar", *needed("bursar", "agent")}:
        for file in distribution(name).files or ():
            if file.parts[0] in {"..", "__pycache__"} or (name == "bursar" and ".dist-info" not in file.parts[0]):
                continue
            target = packages / str(file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)
    for path in packages.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return packages


@dataclass
class Site:
    """The agent's folder, file and process. `start` after `kill` is what a supervisor at the site would do."""

    user: str
    folder: Path
    packages: Path
    python: str
    url: str
    token: str
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> Path:
        return self.folder / "agent.toml"

    def write(self, name: str, plugin: str, settings: Mapping[str, Any]) -> None:
        lines = [
            "[server]", f'url = "{self.url}"', f'token_file = "{self.folder}/token"', "",
            "[agent]", f'folder = "{self.folder}/state"', "usage_every_seconds = 3", "health_every_seconds = 5", "",
            "[[backend]]", f'name = "{name}"', f'plugin = "{plugin}"', "[backend.settings]",
        ]  # fmt: skip
        lines += [f"{key} = {_toml(value)}" for key, value in settings.items()]
        self.file.write_text("\n".join(lines) + "\n")
        (self.folder / "token").write_text(self.token + "\n")
        owner = pwd.getpwnam(self.user)
        for path in (self.folder, self.file, self.folder / "token"):
            os.chown(path, owner.pw_uid, owner.pw_gid)
            path.chmod(0o700 if path.is_dir() else 0o600)

    def _options(self) -> dict[str, Any]:
        owner = pwd.getpwnam(self.user)
        return {
            "user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": [], "cwd": "/",
            "env": {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(self.packages), "HOME": "/nonexistent", **self.environment},
        }  # fmt: skip

    def _command(self, *words: str) -> list[str]:
        entry = "from bursar.agent.cli import app; app()"
        return [self.python, "-W", "error", "-c", entry, *words, "--config", str(self.file)]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*words), capture_output=True, text=True, timeout=60, check=False, **self._options()
        )

    def start(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command("run"), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **self._options()
            )

    def kill(self, how: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(20)

    def stop(self) -> float:
        """In good order; how many seconds that took."""
        begun = time.monotonic()
        self.kill(signal.SIGTERM)
        return time.monotonic() - begun

    def log(self) -> str:
        return (self.folder / "agent.log").read_text(errors="replace")[-4000:]

    def memory_mib(self) -> float:
        assert self.process is not None
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
