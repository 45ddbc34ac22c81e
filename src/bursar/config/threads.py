"""From the asynchronous server to plain functions: each request runs whole in one of a few threads.

What is small goes over whole. A bridge that hands over each part of a request and of its answer changes threads five times for a
small one, and each change waits until the other side lets go of the interpreter (docs/adr/0022).
"""

import asyncio
import contextvars
import io
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


class InThreads:
    """A WSGI application for an ASGI server."""

    def __init__(self, app: "WSGIApp", threads: int) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        body: io.BytesIO | Body = Body(loop, cast(Any, receive))
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) <= WHOLE_BYTES:
            content = await _content(receive, int(length))
            if content is None:
                return  # whoever asked has gone
            body = io.BytesIO(content)

        def hand_over(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(cast(Any, send(message)), loop).result()

        environ = build_environ(cast(Any, scope), cast(Any, body))
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
