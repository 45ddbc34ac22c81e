"""From the asynchronous server to plain functions and back: what arrives, what leaves, and in how many pieces."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bursar.config.threads import UNANNOUNCED_BYTES, WHOLE_BYTES, InThreads, Message

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Answer:
    """The parts of an answer, and whether the server closed it."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.parts)

    def close(self) -> None:
        self.closed += 1


def ask(application: Application, *body: Message, length: int | None = None, chunked: bool = False) -> list[Message]:
    """What a server that calls the application has to send, in order."""
    sent: list[Message] = []
    left = list(body)

    async def receive() -> Message:
        return left.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"bursar.example"), (b"x-name", b"one"), (b"x-name", b"two")]
    headers += [] if length is None else [(b"content-length", str(length).encode())]
    headers += [(b"transfer-encoding", b"chunked")] if chunked else []
    scope = {
        "type": "http", "method": "POST", "path": "/reports", "query_string": b"page=2", "http_version": "1.1", "scheme": "https",
        "headers": headers,
        "server": ("127.0.0.1", 8000), "client": ("192.0.2.7", 4711),
    }  # fmt: skip
    asyncio.run(InThreads(application, threads=1)(scope, receive, send))
    return sent


def part(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


def test_request__small_body_in_pieces__is_whole_and_told_in_a_thread_of_its_own() -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        seen.update(environ, body=environ["wsgi.input"].read(100), thread=threading.current_thread().name)
        start("201 Created", [("Content-Type", "text/plain"), ("X-Umlaut", "ä")])
        return Answer(b"do", b"ne")

    sent = ask(application, part(b"he", more=True), part(b"llo"), length=5)

    assert sent == [
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"content-type", b"text/plain"), (b"x-umlaut", "ä".encode("latin1"))],
        },
        {"type": "http.response.body", "body": b"done", "more_body": False},
    ]
    asked = ("body", "CONTENT_LENGTH", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "wsgi.url_scheme", "HTTP_X_NAME")
    assert [seen[key] for key in asked] == [b"hello", "5", "/reports", "page=2", "192.0.2.7", "https", "one,two"]
    assert seen["thread"].startswith("request")


def test_request__without_a_body__waits_for_nothing() -> None:
    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        start("200 OK", [])
        return Answer(environ["wsgi.input"].read() or b"nothing")

    assert ask(application)[1]["body"] == b"nothing"


def test_request__body_of_unannounced_length__is_whole() -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        seen.update(length=environ["CONTENT_LENGTH"], body=environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start("200 OK", [])
        return Answer(b"done")

    pieces = [part(b"x" * WHOLE_BYTES, more=True), part(b"y", more=True), part(b"")]
    ask(application, *pieces, chunked=True)
    assert seen == {"length": str(WHOLE_BYTES + 1), "body": b"x" * WHOLE_BYTES + b"y"}


def test_request__body_of_unannounced_length_that_does_not_end__is_refused_without_the_application() -> None:
    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        raise AssertionError("it is not asked")

    pieces = [part(b"x" * (1024 * 1024), more=True) for _ in range(UNANNOUNCED_BYTES // 1024 // 1024 + 3)]
    start, body = ask(application, *pieces, chunked=True)
    assert (start["status"], json.loads(body["body"])["code"], body["more_body"]) == (413, "too_large", False)


def test_request__large_body__is_read_as_it_is_asked_for() -> None:
    read: list[int] = []

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        while content := environ["wsgi.input"].read(40_000):
            read.append(len(content))
        start("200 OK", [])
        return Answer(b"read")

    pieces = [part(b"x" * 30_000, more=True), part(b"x" * 30_000, more=True), part(b"x" * 30_000)]
    sent = ask(application, *pieces, length=90_000)

    assert read == [40_000, 40_000, 10_000]
    assert sent[1]["body"] == b"read"


def test_request__who_asks_goes_in_the_middle__is_not_told_to_the_application() -> None:
    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        raise AssertionError("half a request is none")

    assert ask(application, part(b"ha", more=True), {"type": "http.disconnect"}, length=4) == []


def test_answer__large__leaves_in_parts_while_it_is_made() -> None:
    half = b"y" * (WHOLE_BYTES // 2)
    answer = Answer(*[half] * 5)

    def application(_environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        start("200 OK", [("Content-Type", "text/csv")])
        return answer

    sent = ask(application)

    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * 3]
    assert [(len(message["body"]), message["more_body"]) for message in sent[1:]] == [
        (WHOLE_BYTES, True),
        (WHOLE_BYTES, True),
        (WHOLE_BYTES // 2, False),
    ]
    assert answer.closed == 1


def test_answer__empty__is_still_an_answer() -> None:
    answer = Answer()

    def application(_environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        start("304 Not Modified", [])
        return answer

    sent = ask(application)

    assert [sent[0]["status"], sent[1]] == [304, {"type": "http.response.body", "body": b"", "more_body": False}]
    assert answer.closed == 1


def test_answer__breaks_off__is_closed_and_the_server_learns_of_it() -> None:
    class Broken(Answer):
        def __iter__(self) -> Iterator[bytes]:
            yield b"be"
            raise RuntimeError("no more of it")

    answer = Broken()

    def application(_environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        start("200 OK", [])
        return answer

    with pytest.raises(RuntimeError, match="no more of it"):
        ask(application)
    assert answer.closed == 1
