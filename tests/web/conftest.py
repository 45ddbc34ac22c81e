"""Pages in a real Chromium on a live server; any console error, policy violation or outside request fails the test."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

playwright_api = pytest.importorskip("playwright.sync_api")

SHOTS = Path(__file__).resolve().parents[2] / "test-results" / "shots"
PICTURES = os.environ.get("BURSAR_PICTURES") == "1"  # `make pictures`; drawing a page takes as long as all checks of it
WAIT_SECONDS = 60  # a busy machine is slow, not wrong
WIDTHS = {"light": (1280, 900), "dark": (1280, 900), "phone": (390, 844)}
# What can be checked without eyes is the same in the dark.
LOOKS = tuple(WIDTHS) if PICTURES else ("light", "phone")


def chromium() -> str | None:
    """The system's browser; Playwright's own is never downloaded."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return os.environ.get("BURSAR_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("browser")
            if chromium() is None:
                item.add_marker(pytest.mark.skip(reason="no Chromium on this machine"))
    # The story is one test that takes as long as half of the others: whoever gets it begins with it.
    items.sort(key=lambda item: item.path.stem != "test_story")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    # Playwright's synchronous interface runs an event loop in this thread; Django then refuses the database.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    playwright_api.expect.set_options(timeout=WAIT_SECONDS * 1000)
    with playwright_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def session_of(person: Any) -> str:
    """A session as after a login, without the login page."""
    store = SessionStore()
    store[SESSION_KEY] = str(person.pk)
    store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    store[HASH_SESSION_KEY] = person.get_session_auth_hash()
    store.create()
    return str(store.session_key)


class Visitor:
    """A person at a browser. `look` is light, dark or phone."""

    def __init__(self, browser: Any, base: str, person: Any, look: str, *, javascript: bool = True) -> None:
        width, height = WIDTHS[look]
        self.base = base
        self.look = look
        self.complaints: list[str] = []
        self.allowed_statuses: set[int] = set()
        self.context = browser.new_context(
            base_url=base,
            viewport={"width": width, "height": height},
            color_scheme="dark" if look == "dark" else "light",
            locale="en-GB",
            timezone_id="UTC",
            reduced_motion="reduce",
            java_script_enabled=javascript,
        )
        if person is not None:
            self.context.add_cookies([{"name": "sessionid", "value": session_of(person), "url": base}])
        self.context.set_default_timeout(WAIT_SECONDS * 1000)
        # The policy's own events, before any script of the page runs.
        self.context.add_init_script(
            "window.__violations = [];"
            "document.addEventListener('securitypolicyviolation', (e) =>"
            " window.__violations.push(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));"
        )
        self.page = self.context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error in the page: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("response", self._on_response)

    def _on_console(self, message: Any) -> None:
        if message.type not in {"error", "warning"}:
            return
        if "Failed to load resource" in message.text:
            return  # told by its status below
        self.complaints.append(f"console {message.type}: {message.text}")

    def _on_request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https"} and not request.url.startswith(self.base):
            self.complaints.append(f"outside request: {request.url}")

    def _on_response(self, response: Any) -> None:
        refused = response.status >= 400 and response.status not in self.allowed_statuses
        if refused and urlsplit(response.url).path != "/favicon.ico":
            self.complaints.append(f"{response.status} for {response.url}")

    def allow(self, *statuses: int) -> None:
        """Answers that this test asks for on purpose."""
        self.allowed_statuses |= set(statuses)

    def go(self, path: str) -> Any:
        """Open a page and look whether all is in order there; what its scripts draw at first is drawn when it is loaded."""
        response = self.page.goto(path, wait_until="load")
        self.check()
        return response

    def check(self) -> None:
        """Nothing complained, nothing is wider than the window, nothing is nameless."""
        violations = self.page.evaluate("window.__violations || []")
        assert violations == [], f"policy violations on {self.page.url}: {violations}"
        assert self.complaints == [], f"complaints on {self.page.url}: {self.complaints}"
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.page.url} is {wide}px too wide at {self.look}"
        assert self.nameless() == [], f"controls without a name on {self.page.url}"

    def nameless(self) -> list[str]:
        """Controls that a screen reader could not name."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, progress')]
            .filter((e) => e.checkVisibility() && !(e.labels && e.labels.length) && !e.getAttribute('aria-label')
                && !e.getAttribute('aria-labelledby') && !e.title && !e.textContent.trim() && !e.value)
            .map((e) => e.outerHTML.slice(0, 200))"""
        )

    def look_at(self, path: str, name: str) -> None:
        """Open a page and show it."""
        self.go(path)
        self.show(name)

    def show(self, name: str) -> None:
        """The page at both widths, each checked; where somebody is going to look, in the dark too and kept as pictures."""
        before = self.look
        for look in LOOKS:
            self.turn(look)
            for _attempt in range(10):  # the layout follows a moment later; what stays wrong, `check` tells
                if self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
                    break
                self.page.wait_for_timeout(100)
            self.check()
            self.shoot(name)
        self.turn(before)

    def turn(self, look: str) -> None:
        width, height = WIDTHS[look]
        self.look = look
        self.page.emulate_media(color_scheme="dark" if look == "dark" else "light")
        self.page.set_viewport_size({"width": width, "height": height})

    def shoot(self, name: str) -> None:
        """A picture of the whole page, to be looked at; of a very long one its beginning, as drawing the rest takes a minute."""
        if not PICTURES:
            return
        SHOTS.mkdir(parents=True, exist_ok=True)
        height = self.page.evaluate("document.documentElement.scrollHeight")
        self.page.screenshot(path=SHOTS / f"{name}-{self.look}.png", full_page=height < 10_000)

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def visit(browser: Any, live_server: Any, transactional_db: None) -> Iterator[Callable[..., Visitor]]:
    """`visit(person, look="phone")`: a browser of their own, watched until the test ends."""
    opened: list[Visitor] = []

    def open_for(person: Any = None, look: str = "light", **more: Any) -> Visitor:
        visitor = Visitor(browser, live_server.url, person, look, **more)
        opened.append(visitor)
        return visitor

    yield open_for
    try:
        for visitor in opened:
            visitor.check()
    finally:
        for visitor in opened:
            visitor.close()
