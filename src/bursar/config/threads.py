"""From the asynchronous server to plain functions: each request runs whole in one of a few threads.

What is small goes over whole, and so does a body of unannounced length: a WSGI application reads as much as was announced, which
is then nothing. A bridge that hands over each part of a request and of its answer changes threads five times for a
small one, and each change waits until the other side lets go of the interpreter (docs/adr/0022).
"""

import asyncio
import contextvars
import io
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, cast

from a2wsgi.wsgi import Body, build_environ

if TYPE_CHECKING:
    from a2wsgi.wsgi_typing import WSGIApp

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

WHOLE_BYTES: Final = 64 * 1024
"""A body up to this size is there before its thread begins, and an answer goes out in parts of at least this size."""

UNANNOUNCED_BYTES: Final = 32 * 1024 * 1024
"""How large a body may be whose length is not known before it ends; it is held in memory."""


class InThreads:
    """A WSGI application for an ASGI server."""

    def __init__(self, app: "WSGIApp", threads: int) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        body: io.BytesIO | Body = Body(loop, cast(Any, receive))
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        unannounced = b"transfer-encoding" in headers
        if unannounced or (length.isdigit() and int(length) <= WHOLE_BYTES):
            content = await _content(receive, UNANNOUNCED_BYTES + 1 if unannounced else int(length))
            if content is None:
                return  # whoever asked has gone
            if len(content) > UNANNOUNCED_BYTES:
                for message in _TOO_LARGE:
                    await send(message)
                return
            body = io.BytesIO(content)
            length = b"%d" % len(content)

        def hand_over(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(cast(Any, send(message)), loop).result()

        environ = build_environ(cast(Any, scope), cast(Any, body))
        if unannounced:
            environ["CONTENT_LENGTH"] = length.decode()
        answer = contextvars.copy_context().run
        for message in await loop.run_in_executor(self._pool, answer, self._answer, environ, hand_over):
            await send(message)

    def _answer(self, environ: Any, hand_over: Callable[[Message], None]) -> list[Message]:
        """What is left to send when the application is done: all of a small answer, the end of a large one."""
        begun: list[Message] = []

        def start(status: str, headers: Iterable[tuple[str, str]], _error: Any = None) -> Any:
            told = [(name.lower().encode("latin1"), value.encode("latin1")) for name, value in headers]
            begun[:] = [{"type": "http.response.start", "status": int(status[:3]), "headers": told}]

        response = self._app(environ, start)
        with closing(cast(Any, response)):
            parts = _parts(response)
            last = next(parts)
            for part in parts:
                for message in [*begun, _body(last, more=True)]:
                    hand_over(message)
                begun.clear()
                last = part
        return [*begun, _body(last, more=False)]


async def _content(receive: Receive, length: int) -> bytes | None:
    """The body of a request; None: it never came to its end."""
    content = bytearray()
    while len(content) < length:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        content += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(content)


def _parts(response: Iterable[bytes]) -> Iterator[bytes]:
    """The answer in parts that are worth a change of threads; at least one, which may be empty."""
    gathered: list[bytes] = []
    size = 0
    for chunk in response:
        gathered.append(chunk)
        size += len(chunk)
        if size >= WHOLE_BYTES:
            yield b"".join(gathered)
            gathered.clear()
            size = 0
    yield b"".join(gathered)


def _body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


# Before the application knows of it, and so without its words in other languages.
_TOO_LARGE: Final = (
    {
        "type": "http.response.start",
        "status": 413,
        "headers": [(b"content-type", b"application/problem+json"), (b"connection", b"close")],
    },
    _body(
        json.dumps(
            {
                "type": "urn:bursar:problem:too_large",
                "title": "The request is too large",
                "status": 413,
                "detail": "Send less at once, or say the length of the body before it.",
                "code": "too_large",
            }
        ).encode(),
        more=False,
    ),
)
