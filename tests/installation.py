"""A whole Bursar of its own: its folder, its database, its web server and its worker as processes, driven from outside."""

import contextlib
import email
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.policy import default as of_mails
from pathlib import Path
from typing import Any

import httpx

from tests.databases import digest_of_migrations

START_SECONDS = 120

_PEOPLE = """
import json, sys
from bursar.kernel.clock import now
from bursar.structure import services
from bursar.structure.models import Person
from bursar.structure.roles import TokenScope

told = {}
for key, email in json.loads(PEOPLE).items():
    person = Person.objects.filter(email=email).first() or services.register_person(
        email=email, full_name=key.replace("_", " ").title(), verified=True, by=None, at=now()
    )
    token = services.create_token(
        person=person, name="story", scopes=[scope.value for scope in TokenScope], days=1, by=person, at=now()
    )
    told[key] = {"id": person.pk, "token": token.token}
print("TOLD " + json.dumps(told))
"""


@dataclass
class Somebody:
    """A person who talks to the API with a token of theirs."""

    id: int
    client: httpx.Client

    def get(self, path: str, **query: Any) -> Any:
        return _answer(self.client.get(path, params=query))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return _answer(self.client.post(path, json=dict(body or {})))

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return _answer(self.client.put(path, json=dict(body)))

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return _answer(self.client.patch(path, json=dict(body)))


def _answer(response: httpx.Response) -> Any:
    assert response.status_code < 300, f"{response.request.method} {response.request.url}: {response.text}"
    return response.json() if response.content else None


def await_true(what: str, ready: Callable[[], Any], seconds: float) -> float:
    """Wait until something holds; how many seconds that took."""
    begun = time.monotonic()
    while not ready():
        assert time.monotonic() - begun < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.5)
    return time.monotonic() - begun


def _tables() -> Path:
    """The embedded database's folder as it is after `bursar upgrade`, made once for all processes until a migration changes."""
    name = f"bursar-tables-{os.getuid()}-"
    folder = Path(tempfile.gettempdir()) / (name + digest_of_migrations())
    with folder.with_name(f"{name}lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in folder.parent.glob(f"{name}*/"):
                shutil.rmtree(old, ignore_errors=True)
            made = Installation()
            made.home.chmod(0o755)
            made.command("upgrade")
            made.home.rename(folder)
    return folder / "pg"


@dataclass
class Installation:
    """`operator` is its first operator's address, `password` theirs. Everything below one temporary folder.

    has_tables   it begins with a copy of tables that were made once, where making them is not what is told
    """

    operator: str = "operator@example.org"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bursar-story-", dir="/tmp")))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    clients: list[httpx.Client] = field(default_factory=list)
    port: int = 0
    has_tables: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BURSAR_", "DATABASE_URL", "DJANGO_"))}
        mail = (self.home / "mail").as_uri()
        return {**kept, "BURSAR_HOME": str(self.home), "PORT": str(self.port), "BURSAR_MAIL_URL": mail}

    def start(self) -> None:
        self.home.chmod(0o755)  # the embedded database runs as a user of its own
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        if self.has_tables:
            subprocess.run(["cp", "-a", str(_tables()), str(self.home / "pg")], check=True)
        self.command(
            "init", "--email", self.operator, "--name", "The Operator", "--password-stdin",
            "--base-url", self.url, stdin=self.password + "\n",
        )  # fmt: skip
        self.spawn("serve")
        self.spawn("worker")
        await_true("the web server", self._answers, START_SECONDS)

    def _answers(self) -> bool:
        for name, process in self.processes.items():
            assert process.poll() is None, self.log(name)
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        return False

    def command(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "bursar.config", *words],
            input=stdin, capture_output=True, text=True, env=self.environment, timeout=START_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"bursar {words[0]}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def spawn(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bursar.config", name, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=self.environment,
            )  # fmt: skip
        self.processes[name] = process
        return process

    def people(self, names: Sequence[str]) -> dict[str, Somebody]:
        """People with verified addresses and a token each: the part of the story that a browser's tests tell."""
        wanted = {name: self.operator if name == "operator" else f"{name}@example.org" for name in names}
        code = _PEOPLE.replace("PEOPLE", repr(json.dumps(wanted)))
        told = self.command("manage", "shell", "--verbosity", "0", "-c", code)
        people = json.loads(told.split("TOLD ", 1)[1])
        known = {}
        for name, person in people.items():
            client = httpx.Client(
                base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {person['token']}"}, timeout=60
            )
            self.clients.append(client)
            known[name] = Somebody(person["id"], client)
        return known

    def mails_to(self, address: str) -> list[str]:
        """The texts of the mails that left for the address, in no order."""
        found = []
        for file in (self.home / "mail").glob("*"):
            for one in file.read_bytes().split(b"-" * 79 + b"\n"):
                mail = email.message_from_bytes(one, policy=of_mails)
                body = mail.get_body(("plain",))
                if body is not None and address in str(mail["To"]):
                    found.append(str(body.get_content()))
        return found

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")[-5000:]

    def stop(self) -> None:
        while self.clients:
            self.clients.pop().close()
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        shutil.rmtree(self.home, ignore_errors=True)
