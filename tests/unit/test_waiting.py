"""Holding a question for news: what goes through, what waits, what a stream looks like, who leaves."""

import asyncio
import json
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from bursar.config import waiting
from bursar.config.waiting import PATH, Bell, Waiting

Message = MutableMapping[str, Any]


class Application:
    """Answers at once, as the real one: what is in `events` after the number asked for."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.status = 200

    def tell(self, bell: Bell) -> None:
        number = len(self.events) + 1
        self.events.append({"number": number, "subject": "order", "id": number})
        bell._ring(7)

    def body_after(self, after: int) -> bytes:
        events = [event for event in self.events if event["number"] > after]
        return json.dumps({"events": events, "last_number": len(self.events)}).encode()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        query = scope["query_string"].decode()
        self.asked.append(query)
        after = next((int(part[6:]) for part in query.split("&") if part.startswith("after=")), 0)
        body = self.body_after(after)
        events = json.loads(body)["events"]
        headers = [(b"content-type", b"application/json"), (b"bursar-provider", b"7")]
        headers.append((b"bursar-events", str(len(events)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class QuietBell(Bell):
    """Without a database: a test rings it, and what is read is what the application would answer."""

    def __init__(self, application: "Application") -> None:
        super().__init__()
        self.application = application
        self.read: list[tuple[int, int]] = []

    def start(self) -> None:
        pass

    def page(self, provider_id: int, after: int) -> "asyncio.Future[bytes]":
        self.read.append((provider_id, after))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        answer.set_result(self.application.body_after(after))
        return answer


class Call:
    """One question: its messages, and a client that may leave."""

    def __init__(self, front: Waiting, query: str, path: str = PATH, **headers: str) -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        scope = {
            "type": "http", "method": "GET", "path": path, "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        self.task = asyncio.ensure_future(front(scope, self.receive, self.send))

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"it did not come to that: {self.sent}")


@pytest.fixture
def application() -> Application:
    return Application()


def front_of(application: Application) -> Waiting:
    front = Waiting(application)
    front.bell = QuietBell(application)
    return front


def test_question__of_another_address_or_without_waiting__goes_through(application: Application) -> None:
    async def story() -> None:
        front = front_of(application)
        for query, path in (("wait=9", "/api/v1/orders"), ("", PATH), ("wait=x", PATH)):
            call = Call(front, query, path)
            await call.task
            assert json.loads(call.body)["events"] == []

    asyncio.run(story())
    assert application.asked == ["wait=9", "", "wait=x"]


def test_poll__nothing_yet__is_answered_as_soon_as_it_rings(application: Application) -> None:
    async def story() -> None:
        front = front_of(application)
        call = Call(front, "after=0&wait=30")
        await call.until(lambda: len(application.asked) == 1)
        front.bell._ring(8)  # type: ignore[union-attr]  somebody else's
        await asyncio.sleep(0.05)
        assert (call.sent, len(application.asked)) == ([], 1)
        application.tell(front.bell)  # type: ignore[arg-type]
        await asyncio.wait_for(call.task, 5)
        assert [event["number"] for event in json.loads(call.body)["events"]] == [1]

    asyncio.run(story())


def test_poll__it_rings_while_the_application_answers__is_not_missed(application: Application) -> None:
    async def story() -> None:
        front = front_of(application)
        before = application.__class__.__call__

        class Late(Application):
            async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
                await before(self, scope, receive, send)
                if len(self.asked) == 1:
                    self.tell(front.bell)  # type: ignore[arg-type]

        late = Late()
        front.app = late
        front.bell.application = late  # type: ignore[union-attr]
        call = Call(front, "after=0&wait=30")
        await asyncio.wait_for(call.task, 5)
        assert [event["number"] for event in json.loads(call.body)["events"]] == [1]

    asyncio.run(story())


def test_poll__time_is_over__is_answered_empty(application: Application) -> None:
    async def story() -> None:
        call = Call(front_of(application), "after=0&wait=1")
        await asyncio.wait_for(call.task, 5)
        assert json.loads(call.body) == {"events": [], "last_number": 0}

    asyncio.run(story())


def test_poll__refused__is_answered_at_once(application: Application) -> None:
    async def story() -> None:
        application.status = 401
        call = Call(front_of(application), "wait=30")
        await asyncio.wait_for(call.task, 5)
        assert call.sent[0]["status"] == 401

    asyncio.run(story())


def test_poll__server_stops__lets_go(application: Application) -> None:
    async def story() -> None:
        front = front_of(application)
        assert front.bell is not None
        call = Call(front, "wait=30")
        await call.until(lambda: len(application.asked) == 1)
        front.bell.stopping = True
        front.bell._ring(None)
        await asyncio.wait_for(call.task, 5)
        assert call.sent[0]["status"] == 200

    asyncio.run(story())


def test_poll__client_leaves__ends(application: Application) -> None:
    async def story() -> None:
        front = front_of(application)
        call = Call(front, "wait=30")
        await call.until(lambda: len(application.asked) == 1)
        call.left.set()
        await asyncio.wait_for(call.task, 5)
        assert (call.sent, front.waiting) == ([], 0)

    asyncio.run(story())


def test_stream__events__are_frames_with_their_numbers_and_go_on_from_the_last(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        monkeypatch.setattr(waiting, "ALIVE_SECONDS", 0.2)
        front = front_of(application)
        assert front.bell is not None
        application.tell(front.bell)
        call = Call(front, "after=0", accept="text/event-stream", last_event_id="1")
        await call.until(lambda: b": alive\n\n" in call.body)
        application.tell(front.bell)
        await call.until(lambda: b"id: 2" in call.body)
        assert dict(call.sent[0]["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert b'id: 2\nevent: order\ndata: {"number":2,"subject":"order","id":2}\n\n' in call.body
        assert b"id: 1\n" not in call.body
        front.bell.stopping = True
        front.bell._ring(None)
        await asyncio.wait_for(call.task, 5)
        assert call.sent[-1] == {"type": "http.response.body", "body": b""}

    asyncio.run(story())


def test_stream__refused__says_so_as_it_is(application: Application) -> None:
    async def story() -> None:
        application.status = 403
        call = Call(front_of(application), "", accept="text/event-stream")
        await asyncio.wait_for(call.task, 5)
        assert call.sent[0]["status"] == 403

    asyncio.run(story())
