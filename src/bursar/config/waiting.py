"""Answering a provider's question for news when there is news: long poll and Server-Sent Events.

The application itself answers at once and does all that matters: who asks, what they may see, what changed. This layer in
front of it asks again when PostgreSQL calls, or when the time is over. One LISTEN connection serves all who wait.
"""

import asyncio
import json
import logging
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import psycopg

from bursar.config.threads import Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]

PATH: Final = "/api/v1/provider/events"
WAIT_SECONDS_MAX: Final = 60
STREAM_SECONDS: Final = 900
"""A stream ends after so long, so that its reader comes back and says anew who it is."""
ALIVE_SECONDS: Final = 15
TRUSTED_SECONDS: Final = 60
"""So long a stream goes on before it is asked anew who reads it and whether they still may."""
ROUND_SECONDS: Final = 0.1
"""Numbering and reading wait so long after they last began: what comes meanwhile is done together."""
WAITING_MAX: Final = 2_000
_PROVIDER: Final = b"bursar-provider"


@dataclass(eq=False)
class Waiter:
    """Somebody who has read a provider's feed up to a number, and gets what comes after it as the application would tell it."""

    provider_id: int
    after: int
    news: "asyncio.Future[bytes]"


class Bell:
    """Numbers what is untold, and brings the news of each provider to those who wait for it in this process.

    All of it happens in rounds, one after the other in one thread: what comes during a round is done in the next together.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._last: dict[int, int] = {}
        self._waiters: dict[int, set[Waiter]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None
        self._untold = False
        self._called: set[int] = set()
        # A thread and so a database connection of its own.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")

    def start(self) -> None:
        """Begin to listen, at the first question that waits; nothing is done where nobody asks."""
        if self._listening is None or self._listening.done():
            self._watch_for_the_end()
            self._listening = asyncio.get_running_loop().create_task(self._listen())

    def _watch_for_the_end(self) -> None:
        """Let those who wait go when the server is asked to stop, rather than keep it to the end of their time."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if not callable(before):
                continue

            def handle(sent: int, frame: Any, before: Callable[..., Any] = before) -> Any:
                loop.call_soon_threadsafe(self.stop)
                return before(sent, frame)

            with suppress(ValueError):  # not in the main thread: whoever runs us there ends us himself
                signal.signal(number, handle)

    def stop(self) -> None:
        """Let everybody go."""
        self.stopping = True
        for waiter in [waiter for waiters in self._waiters.values() for waiter in waiters]:
            waiter.news.cancel()

    async def news(self, provider_id: int, after: int, seconds: float) -> bytes | None:
        """What changed for the provider after a number, as soon as there is something; None: nothing came within the time."""
        waiter = Waiter(provider_id, after, asyncio.get_running_loop().create_future())
        self._waiters.setdefault(provider_id, set()).add(waiter)
        if self._last.get(provider_id, 0) > after:  # it came while the application answered
            self.call(provider_id, self._last[provider_id])
        try:
            return await asyncio.wait_for(waiter.news, seconds)
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            if self.stopping and waiter.news.cancelled():
                return None
            raise
        finally:
            waiters = self._waiters.get(provider_id, set())
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(provider_id, None)

    def call(self, provider_id: int, last_number: int) -> None:
        """The provider's feed is numbered up to here."""
        self._last[provider_id] = max(last_number, self._last.get(provider_id, 0))
        if any(waiter.after < last_number for waiter in self._waiters.get(provider_id, ())):
            self._called.add(provider_id)
            self._go()

    async def _listen(self) -> None:
        from bursar.delivery.feed import CHANNEL
        from bursar.events.services import UNTOLD_CHANNEL

        while not self.stopping:
            try:
                async with await psycopg.AsyncConnection.connect(**_connection(), autocommit=True) as connection:
                    await connection.execute(f"LISTEN {UNTOLD_CHANNEL}")
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._untold = True
                    self._called |= set(self._waiters)  # whatever was called while nobody listened
                    self._go()
                    async for called in connection.notifies():
                        if called.channel == UNTOLD_CHANNEL:
                            self._untold = True
                            self._go()
                        else:
                            provider_id, _, last = called.payload.partition(":")
                            self.call(int(provider_id), int(last))
            except (psycopg.Error, OSError) as error:
                logger.warning("the feed's listener lost the database: %s", type(error).__name__)
                await asyncio.sleep(1)

    def _go(self) -> None:
        if self._working is None or self._working.done():
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while (self._untold or self._called) and not self.stopping:
            begun = loop.time()
            try:
                await self._round()
            except Exception:
                logger.exception("a round of the feed failed; the next one tries again")
                self._untold = True
                await asyncio.sleep(1)
            await asyncio.sleep(max(0.0, begun + ROUND_SECONDS - loop.time()))

    async def _round(self) -> None:
        loop = asyncio.get_running_loop()
        untold, self._untold = self._untold, False
        called, self._called = self._called, set()
        if untold:
            called |= await loop.run_in_executor(self._thread, _number)
        waiting = [waiter for provider_id in called for waiter in self._waiters.get(provider_id, ())]
        if not waiting:
            return
        try:
            read = await loop.run_in_executor(self._thread, _pages, [(one.provider_id, one.after) for one in waiting])
        except BaseException:
            self._called |= called
            raise
        for waiter, page in zip(waiting, read, strict=True):
            if page is not None and not waiter.news.done():
                waiter.news.set_result(page)


def _connection() -> dict[str, Any]:
    from django.db import connections

    told = connections["default"].get_connection_params()
    return {key: told[key] for key in ("host", "port", "dbname", "user", "password") if told.get(key)}


def _number() -> set[int]:
    from django.db import close_old_connections

    from bursar.delivery import feed
    from bursar.kernel.clock import now

    close_old_connections()
    try:
        return feed.number(at=now())
    finally:
        close_old_connections()


def _pages(asked: list[tuple[int, int]]) -> list[bytes | None]:
    """What is new after each (provider, number), in the order asked; None: nothing. Read together, from each one's lowest."""
    import msgspec
    from django.db import close_old_connections

    from bursar.delivery import feed
    from bursar.kernel.clock import now

    close_old_connections()
    try:
        lowest: dict[int, int] = {}
        for provider_id, after in asked:
            lowest[provider_id] = min(after, lowest.get(provider_id, after))
        pages = feed.pages(lowest, at=now())
        told: list[bytes | None] = []
        for provider_id, after in asked:
            page = pages[provider_id]
            if after > lowest[provider_id]:
                page = replace(page, events=[event for event in page.events if event.number > after])
            told.append(msgspec.json.encode(page) if page.events else None)
        return told
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
            self._stream(scope, query, headers, send) if stream else self._poll(scope, query, send, seconds)
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

    async def _poll(self, scope: Scope, query: dict[str, str], send: Send, seconds: int) -> None:
        """The application answers first: who asks, and whether there is news already. News that comes later is read here."""
        assert self.bell is not None
        begun = asyncio.get_running_loop().time()
        answer = await self._ask(scope)
        provider_id = answer.provider_id
        if provider_id is not None and answer.header(b"bursar-events") == b"0" and self.waiting <= WAITING_MAX:
            left = begun + seconds - asyncio.get_running_loop().time()
            news = await self.bell.news(provider_id, int(query.get("after") or 0), left)
            answer.body = answer.body if news is None else news
        kept = [(name, value) for name, value in answer.headers or () if name != b"content-length"]
        headers = [*kept, (b"content-length", str(len(answer.body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _stream(self, scope: Scope, query: dict[str, str], headers: dict[bytes, bytes], send: Send) -> None:
        assert self.bell is not None
        loop = asyncio.get_running_loop()
        until = loop.time() + STREAM_SECONDS
        after = headers.get(b"last-event-id", b"").decode("latin1") or query.get("after", "0")
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept"]
        begun, trusted, provider_id = False, 0.0, 0
        while not self.bell.stopping and loop.time() < until:
            if loop.time() >= trusted:
                asked = urlencode({**query, "after": after}).encode()
                answer = await self._ask({**scope, "query_string": asked, "headers": plain})
                if answer.provider_id is None:
                    if begun:
                        break  # what was allowed is allowed no longer
                    # Refused: said as it is.
                    await send(
                        {"type": "http.response.start", "status": answer.status, "headers": answer.headers or []}
                    )
                    await send({"type": "http.response.body", "body": answer.body})
                    return
                provider_id, trusted = answer.provider_id, loop.time() + TRUSTED_SECONDS
                news: bytes | None = answer.body
            else:
                news = await self.bell.news(
                    provider_id, int(after), min(ALIVE_SECONDS, max(0.0, trusted - loop.time()))
                )
            if not begun:
                begun = True
                await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
            page: dict[str, Any] = {"events": [], "last_number": 0} if news is None else json.loads(news)
            events = page["events"]
            after = str(events[-1]["number"]) if events else after
            frames = b"".join(map(_frame, events)) or b": alive\n\n"
            await send({"type": "http.response.body", "body": frames, "more_body": True})
            if page["last_number"] > int(after):
                trusted = 0.0  # there is more than one page: the application has it at once
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
