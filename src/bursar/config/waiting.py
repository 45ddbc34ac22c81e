"""Answering a provider's question for news when there is news: long poll and Server-Sent Events.

The application itself answers at once and does all that matters: who asks, what they may see, what changed. This layer in
front of it asks again when PostgreSQL calls, or when the time is over. One LISTEN connection serves all who wait.
"""

import asyncio
import json
import logging
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import psycopg

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PATH: Final = "/api/v1/provider/events"
WAIT_SECONDS_MAX: Final = 60
STREAM_SECONDS: Final = 900
"""A stream ends after so long, so that its reader comes back and says anew who it is."""
ALIVE_SECONDS: Final = 15
WAITING_MAX: Final = 2_000
_PROVIDER: Final = b"bursar-provider"


class Bell:
    """Who is called when something of a provider changed, in this process."""

    def __init__(self) -> None:
        self.rung: dict[int, int] = {}
        self.now = 0
        self.stopping = False
        self.heard = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._numbering: asyncio.Task[None] | None = None
        self._more = False
        # Numbering has a thread and so a database connection of its own.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="numbering")

    def start(self) -> None:
        """Begin to listen, at the first question that waits; nothing is done where nobody asks."""
        if self._task is None or self._task.done():
            self._watch_for_the_end()
            self._task = asyncio.get_running_loop().create_task(self._listen())

    def _watch_for_the_end(self) -> None:
        """Let those who wait go when the server is asked to stop, rather than keep it to the end of their time."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if not callable(before):
                continue

            def handle(sent: int, frame: Any, before: Callable[..., Any] = before) -> Any:
                self.stopping = True
                loop.call_soon_threadsafe(self._ring, None)
                return before(sent, frame)

            with suppress(ValueError):  # not in the main thread: whoever runs us there ends us himself
                signal.signal(number, handle)

    def _ring(self, provider_id: int | None) -> None:
        self.now += 1
        if provider_id is None:
            self.rung = dict.fromkeys(self.rung, self.now)
        else:
            self.rung[provider_id] = self.now
        self.heard.set()
        self.heard = asyncio.Event()

    async def wait(self, provider_id: int, since: int, seconds: float) -> bool:
        """Whether it rang for this provider after `since`, within the time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        self.rung.setdefault(provider_id, 0)
        while self.rung[provider_id] <= since and not self.stopping:
            left = until - loop.time()
            if left <= 0:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self.heard.wait(), left)
        return not self.stopping

    async def _listen(self) -> None:
        from bursar.delivery.feed import CHANNEL
        from bursar.events.services import UNTOLD_CHANNEL

        while not self.stopping:
            try:
                async with await psycopg.AsyncConnection.connect(**_connection(), autocommit=True) as connection:
                    await connection.execute(f"LISTEN {UNTOLD_CHANNEL}")
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._number()
                    self._ring(None)  # whatever was called while nobody listened
                    async for called in connection.notifies():
                        if called.channel == UNTOLD_CHANNEL:
                            self._number()
                        elif called.payload.isdecimal():
                            self._ring(int(called.payload))
            except (psycopg.Error, OSError) as error:
                logger.warning("the feed's listener lost the database: %s", type(error).__name__)
                await asyncio.sleep(1)

    def _number(self) -> None:
        """Have what is waiting numbered; what comes while that is done is done right after."""
        self._more = True
        if self._numbering is None or self._numbering.done():
            self._numbering = asyncio.get_running_loop().create_task(self._number_all())

    async def _number_all(self) -> None:
        while self._more:
            self._more = False
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, _number)
            except Exception:
                logger.exception("numbering failed; the next call or question tries again")
                await asyncio.sleep(1)


def _connection() -> dict[str, Any]:
    from django.db import connections

    told = connections["default"].get_connection_params()
    return {key: told[key] for key in ("host", "port", "dbname", "user", "password") if told.get(key)}


def _number() -> None:
    from django.db import close_old_connections

    from bursar.delivery import feed
    from bursar.kernel.clock import now

    close_old_connections()
    try:
        feed.number(at=now())
    finally:
        close_old_connections()


@dataclass
class Answer:
    """What the application answered, whole."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] | None = None
    body: bytes = b""

    def header(self, name: bytes) -> bytes:
        return dict(self.headers or ()).get(name, b"")

    @property
    def provider_id(self) -> int | None:
        told = self.header(_PROVIDER)
        return int(told) if self.status == 200 and told.isdigit() else None


class Waiting:
    """In front of the application: holds questions for news until there is some. Everything else goes through as it is."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.bell: Bell | None = None
        self.waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        query = dict(parse_qsl(scope["query_string"].decode("latin1"), keep_blank_values=True))
        headers = dict(scope["headers"])
        stream = b"text/event-stream" in headers.get(b"accept", b"")
        told = query.get("wait", "0")
        seconds = min(int(told), WAIT_SECONDS_MAX) if told.isdecimal() and len(told) < 5 else 0
        if not stream and seconds == 0:
            await self.app(scope, receive, send)
            return
        if self.bell is None:
            self.bell = Bell()
        self.bell.start()
        gone = asyncio.ensure_future(_until_gone(receive))
        work = asyncio.ensure_future(
            self._stream(scope, query, headers, send) if stream else self._poll(scope, send, seconds)
        )
        self.waiting += 1
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            self.waiting -= 1
            for one in (gone, work):
                one.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)

    async def _ask(self, scope: Scope) -> Answer:
        answer = Answer(headers=[])

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message.get("headers", ()))
            else:
                answer.body += message.get("body", b"")

        async def nothing() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        await self.app(scope, nothing, keep)
        return answer

    async def _poll(self, scope: Scope, send: Send, seconds: int) -> None:
        assert self.bell is not None
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            since = self.bell.now
            answer = await self._ask(scope)
            provider_id = answer.provider_id
            empty = provider_id is not None and answer.header(b"bursar-events") == b"0"
            left = until - loop.time()
            if not empty or left <= 0 or self.bell.stopping or self.waiting > WAITING_MAX:
                break
            assert provider_id is not None
            await self.bell.wait(provider_id, since, left)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers or []})
        await send({"type": "http.response.body", "body": answer.body})

    async def _stream(self, scope: Scope, query: dict[str, str], headers: dict[bytes, bytes], send: Send) -> None:
        assert self.bell is not None
        loop = asyncio.get_running_loop()
        until = loop.time() + STREAM_SECONDS
        after = headers.get(b"last-event-id", b"").decode("latin1") or query.get("after", "0")
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept"]
        begun = False
        while not self.bell.stopping and loop.time() < until:
            since = self.bell.now
            asked = urlencode({**query, "after": after}).encode()
            answer = await self._ask({**scope, "query_string": asked, "headers": plain})
            provider_id = answer.provider_id
            if provider_id is None:
                if not begun:  # refused: said as it is
                    await send(
                        {"type": "http.response.start", "status": answer.status, "headers": answer.headers or []}
                    )
                    await send({"type": "http.response.body", "body": answer.body})
                    return
                break  # what was allowed is allowed no longer
            if not begun:
                begun = True
                await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
            page = json.loads(answer.body)
            frames = b"".join(_frame(event) for event in page["events"])
            if page["events"]:
                after = str(page["events"][-1]["number"])
            await send({"type": "http.response.body", "body": frames or b": alive\n\n", "more_body": True})
            if not page["events"] or int(after) >= page["last_number"]:
                await self.bell.wait(provider_id, since, ALIVE_SECONDS)
        await send({"type": "http.response.body", "body": b""})


_STREAM_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


def _frame(event: dict[str, Any]) -> bytes:
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event['number']}\nevent: {event['subject']}\ndata: {data}\n\n".encode()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
