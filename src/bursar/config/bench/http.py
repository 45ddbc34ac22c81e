"""Reports through the front door: a server of its own, clients that keep their connections."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import msgspec

from bursar.config.bench.durable import reports
from bursar.config.bench.nation import Nation
from bursar.kernel.clock import now
from bursar.metering.reports import Report
from bursar.structure.models import Person
from bursar.structure.roles import Role, TokenScope
from bursar.structure.services import create_token, give_membership, register_person

START_SECONDS = 60


@dataclass
class Server:
    port: int
    token: str

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.connect()
        assert connection.sock is not None
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def post(self, connection: http.client.HTTPConnection, batch: Sequence[Report]) -> bytes:
        body = msgspec.json.encode({"reports": batch})
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/usage/reports", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the server answered {answer.status}: {content[:500]!r}")
        return content


@contextmanager
def serving() -> Iterator[int]:
    """`bursar serve` as a process that answers; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "bursar.config", "serve", "--port", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ),
    )  # fmt: skip
    try:
        _await(Server(port, ""))
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def server(nation: Nation) -> Iterator[Server]:
    """A server, and the token of somebody who may report for the nation's provider."""
    with serving() as port:
        yield Server(port, _token(nation))


def _token(nation: Nation) -> str:
    at = now()
    person = Person.objects.filter(email="bench@example.org").first()
    if person is None:
        person = register_person(email="bench@example.org", full_name="Bench", verified=True, by=None, at=at)
        scope = nation.category.provider.organization
        give_membership(person=person, role=Role.PROVIDER_MANAGER, scope=scope, by=None, at=at)
    scopes = [scope.value for scope in TokenScope]
    return create_token(person=person, name="bench", scopes=scopes, days=1, by=person, at=at).token


def _await(made: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connection = made.connect()
            connection.request("GET", "/healthz")
            connection.getresponse().read()  # without a worker beside it its health is not the best
            return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"the server did not answer within {START_SECONDS} s")
        time.sleep(0.2)


def batches_per_client(made: Server, nation: Nation, size: int, count: int) -> float:
    """Reports per second that one client gets through, in batches, the answer read and understood."""
    connection = made.connect()
    for number in range(2):
        made.post(connection, reports(nation, f"http-warm{number}", size))
    ready = [reports(nation, f"http-{number}", size) for number in range(count)]
    spent = []
    for batch in ready:
        begun = perf_counter()
        json.loads(made.post(connection, batch))
        spent.append(perf_counter() - begun)
    return size / sorted(spent)[len(spent) // 2]


def singles(
    made: Server, nation: Nation, *, clients: int, per_second: int, seconds: float
) -> tuple[list[float], list[float]]:
    """Milliseconds of single reports of several clients at a steady rate, and of as many calls that only say the server lives."""
    _steady(made, nation, "warm", clients, per_second, min(seconds, 2.0), report=True)
    found = _steady(made, nation, "single", clients, per_second, seconds, report=True)
    return found, _steady(made, nation, "", clients, per_second, min(seconds, 3.0), report=False)


def _steady(
    made: Server, nation: Nation, name: str, clients: int, per_second: int, seconds: float, *, report: bool
) -> list[float]:
    spent: list[list[float]] = [[] for _ in range(clients)]
    failed: list[BaseException] = []
    count = int(per_second * seconds / clients)
    ready = [reports(nation, f"{name}-{client}", count) if report else [] for client in range(clients)]
    begin = perf_counter() + 0.2

    def run(client: int) -> None:
        try:
            connection = made.connect()
            for number in range(count):
                due = begin + (number + client / clients) * clients / per_second
                time.sleep(max(0.0, due - perf_counter()))
                begun = perf_counter()
                if report:
                    made.post(connection, [ready[client][number]])
                else:
                    connection.request("GET", "/healthz")
                    connection.getresponse().read()
                spent[client].append((perf_counter() - begun) * 1000)
        except BaseException as failure:  # told by whoever waits for the threads
            failed.append(failure)

    threads = [threading.Thread(target=run, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [one for times in spent for one in times]
