"""How soon a change reaches a provider that listens: many streams, changes at a steady rate, each waited for."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter

from django.db import close_old_connections

from bursar.accounting import services as accounting
from bursar.accounting.models import Allocation
from bursar.catalogue.models import ServiceProvider
from bursar.catalogue.services import authorize_provider, create_category
from bursar.config.bench.http import serving
from bursar.kernel.clock import now
from bursar.structure.models import Workspace
from bursar.structure.roles import Role, TokenScope
from bursar.structure.services import create_organization, create_token, give_membership, register_person

HOUR = 3600


@dataclass
class Listener:
    """A provider with one wallet, somebody who listens, and when which quota was seen."""

    provider: ServiceProvider
    token: str
    allocation: Allocation
    seen: dict[int, float] = field(default_factory=dict)
    reading: "asyncio.Task[None] | None" = None


@dataclass(frozen=True, slots=True)
class Heard:
    """Seconds from a change's commit until its event was read; `lost` were not heard within the time."""

    seconds: list[float]
    lost: int
    changes_per_second: float


def make_listeners(count: int) -> list[Listener]:
    at = now()
    university = create_organization(name="University", slug="bench-university", by=None, at=at)
    workspace = Workspace.objects.get(organization=university)
    made = []
    for number in range(count):
        organization = create_organization(name=f"Centre {number}", slug=f"bench-{number}", by=None, at=at)
        provider = authorize_provider(organization=organization, by=None, at=at)
        category = create_category(
            provider=provider, name="cpu", title="CPU time", product_type="compute", charging="hour",
            unit_name="core-hours", ticks_per_unit=HOUR, by=None, at=at,
        )  # fmt: skip
        person = register_person(email=f"bench{number}@example.org", full_name="Bench", verified=True, by=None, at=at)
        give_membership(person=person, role=Role.PROVIDER_MANAGER, scope=organization, by=None, at=at)
        scopes = [TokenScope.PROVIDER.value, TokenScope.READ.value]
        token = create_token(
            person=person, name="bench", scopes=scopes, days=1, organization=organization, by=person, at=at
        ).token
        allocation = accounting.allocate(
            workspace=workspace, category=category, source=None, quota_ticks=HOUR, start=at,
            end=at + timedelta(days=30), by=None, at=at,
        )  # fmt: skip
        made.append(Listener(provider, token, allocation))
    return made


def measure(listeners: list[Listener], *, per_second: int, seconds: float, say: Callable[[str], None]) -> Heard:
    """All listen to one server by streams; changes go round among them at the rate."""
    with serving() as port:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            begun = [asyncio.run_coroutine_threadsafe(_begin(port, one), loop) for one in listeners]
            for one in begun:
                one.result(120)
            say(f"{len(listeners)} listen")
            committed = _change(listeners, per_second, seconds)
            deadline = perf_counter() + 10
            while perf_counter() < deadline and any(tick not in one.seen for one, tick, _ in committed):
                time.sleep(0.05)
        finally:
            asyncio.run_coroutine_threadsafe(_leave(listeners), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()
    found = [max(0.0, one.seen[tick] - at) for one, tick, at in committed if tick in one.seen]
    spent = committed[-1][2] - committed[0][2]
    return Heard(found, len(committed) - len(found), (len(committed) - 1) / spent)


def _change(listeners: list[Listener], per_second: int, seconds: float) -> list[tuple[Listener, int, float]]:
    """Change one wallet's quota after the other; what was changed and when it was committed."""
    done: list[tuple[Listener, int, float]] = []
    lock, workers, begin = threading.Lock(), 4, perf_counter() + 0.2

    def run(worker: int) -> None:
        for number in range(worker, int(per_second * seconds), workers):
            time.sleep(max(0.0, begin + number / per_second - perf_counter()))
            one, ticks = listeners[number % len(listeners)], HOUR + number + 1
            accounting.change_allocation(allocation=one.allocation, quota_ticks=ticks, by=None, at=now())
            with lock:
                done.append((one, ticks, perf_counter()))
        close_old_connections()

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(done, key=lambda row: row[2])


async def _begin(port: int, listener: Listener) -> None:
    """Open the stream and have it read to the end of the measurement."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(
        f"GET /api/v1/provider/events?after=0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {listener.token}\r\n\r\n".encode()
    )
    await writer.drain()
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"the server answered {status!r}")
    listener.reading = asyncio.ensure_future(_listen(reader, writer, listener))


async def _leave(listeners: list[Listener]) -> None:
    reading = [one.reading for one in listeners if one.reading is not None]
    for one in reading:
        one.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener: Listener) -> None:
    """The writer is kept for as long as is read: without it the line is closed."""
    try:
        while line := await reader.readline():
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                if event["subject"] == "wallet" and event["state"] is not None:
                    listener.seen[event["state"]["quota_ticks"]] = perf_counter()
    finally:
        writer.close()
